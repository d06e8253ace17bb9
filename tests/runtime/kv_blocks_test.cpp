// Blocks of tokens among sequences, with windows and without: never none left, none in two places.
#include "runtime/session/kv_blocks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <vector>

namespace llmrt {
namespace {

constexpr int64_t kTokens = LLMC_KV_BLOCK_TOKENS;
const auto kNoClear = [](int32_t) {};

TEST(KvBlocks, ShrinkingGivesBackWhatGrowingTook) {
  KvBlocks blocks(2, 130, 0, 6);  // three blocks each
  std::vector<int32_t> cleared;
  const auto clear = [&](int32_t block) { cleared.push_back(block); };
  blocks.grow(0, 65, clear);
  blocks.grow(1, 10, clear);
  const std::vector<int32_t> before(blocks.tables(), blocks.tables() + blocks.numBlocks());
  blocks.grow(1, 130, clear);
  blocks.shrink(1, 10);
  EXPECT_EQ(std::vector<int32_t>(blocks.tables(), blocks.tables() + blocks.numBlocks()), before);
  EXPECT_TRUE(cleared.empty());
  blocks.grow(0, 130, clear);  // takes one that sequence 1 had
  EXPECT_EQ(cleared, (std::vector<int32_t>{3}));
}

TEST(KvBlocks, AWindowBoundsThem) {
  // 4096 tokens of window, steps of 512 rows: 64 blocks of window, 3 of edges, 8 of a step.
  EXPECT_EQ(KvBlocks::blocksNeeded(1, 1 << 20, 4096, 512), 75);
  EXPECT_EQ(KvBlocks::blocksNeeded(8, 1 << 20, 4096, 512), 8 * 67 + 8);
  // What is shorter anyhow, or has no window.
  EXPECT_EQ(KvBlocks::blocksNeeded(8, 1000, 4096, 512), 8 * 16);
  EXPECT_EQ(KvBlocks::blocksNeeded(1, 1 << 20, 0, 512), (1 << 20) / 64);
}

TEST(KvBlocks, PassedBlocksAreClearedBeforeTheyAreUsedAgain) {
  KvBlocks blocks(1, 10000, 64, KvBlocks::blocksNeeded(1, 10000, 64, 2));
  std::set<int32_t> cleared;
  for (int64_t tokens = 0; tokens < 5000; ++tokens) {
    blocks.grow(0, tokens + 1, [&](int32_t block) { cleared.insert(block); });
    blocks.pass(0, tokens + 1);
  }
  EXPECT_EQ(cleared.size(), 3u);  // two that a window lies in, and the one next to it
}

/// Sequences that do what sessions let them: steps that succeed or fail, of rows of some of them,
/// truncations, resets.
void expectEnough(uint32_t seed) {
  std::mt19937 random(seed);
  const auto below = [&](int64_t n) {
    return static_cast<int64_t>(random() % static_cast<uint32_t>(n));
  };
  const int64_t batch = 1 + below(6), max_seq_len = 1 + below(3000);
  const int64_t window = below(4) == 0 ? 0 : 1 + below(below(2) ? 300 : 70);
  const int64_t max_rows = 1 + below(below(2) ? 400 : 5);
  SCOPED_TRACE(testing::Message() << "seed " << seed << " batch " << batch << " max_seq_len "
                                  << max_seq_len << " window " << window << " rows " << max_rows);
  KvBlocks blocks(batch, max_seq_len, window,
                  KvBlocks::blocksNeeded(batch, max_seq_len, window, max_rows));
  std::vector<int64_t> length(static_cast<size_t>(batch));
  std::vector<bool> was_cut(length.size());
  const auto firstRead = [&](int64_t pos) {
    return window == 0 ? 0 : std::max<int64_t>(0, pos - window + 1) / kTokens;
  };
  // What each sequence must have for rows behind its tokens, each in one place alone.
  const auto expectApart = [&](const std::vector<int64_t>& end) {
    std::set<int32_t> seen;
    int64_t count = 0;
    for (int64_t seq = 0; seq < batch; ++seq) {
      const auto s = static_cast<size_t>(seq);
      for (int64_t b = firstRead(length[s]); b * kTokens < end[s]; ++b, ++count) {
        const int32_t block = blocks.block(seq, b * kTokens);
        ASSERT_TRUE(block >= 0 && block < blocks.numBlocks());
        seen.insert(block);
      }
    }
    ASSERT_EQ(static_cast<int64_t>(seen.size()), count);
  };
  for (int turn = 0; turn < 300; ++turn) {
    const int64_t what = below(10);
    if (what == 0) {
      const auto seq = static_cast<size_t>(below(batch));
      blocks.shrink(static_cast<int64_t>(seq), length[seq] = 0);
      was_cut[seq] = false;
    } else if (what == 1) {
      const auto seq = static_cast<size_t>(below(batch));
      const int64_t to =
          length[seq] > 0 ? length[seq] - below(std::min<int64_t>(length[seq], 200)) : 0;
      if (!blocks.holds(static_cast<int64_t>(seq), to)) length[seq] = 0;
      was_cut[seq] = length[seq] > 0;
      length[seq] = std::min(length[seq], to);
      blocks.shrink(static_cast<int64_t>(seq), length[seq]);
    } else {
      // A step, with rows for as many sequences as there are rows.
      int64_t left = max_rows;
      std::vector<int64_t> end = length;
      for (size_t seq = 0; seq < length.size() && left > 0; ++seq) {
        if (below(3) == 0) continue;
        const int64_t n = std::min(1 + below(below(2) ? left : 2), max_seq_len - length[seq]);
        if (n <= 0 || n > left) continue;
        left -= n;
        end[seq] = length[seq] + n;
        const int64_t wanted =
            (end[seq] + kTokens - 1) / kTokens - (length[seq] + kTokens - 1) / kTokens;
        ASSERT_LE(wanted, blocks.numFree());
        blocks.grow(static_cast<int64_t>(seq), end[seq], kNoClear);
      }
      expectApart(end);
      const bool succeeds = below(5) > 0;
      for (size_t seq = 0; seq < length.size(); ++seq) {
        if (succeeds) {
          length[seq] = end[seq];
          blocks.pass(static_cast<int64_t>(seq), length[seq]);
        } else {
          const bool held = blocks.holds(static_cast<int64_t>(seq), length[seq]);
          blocks.shrink(static_cast<int64_t>(seq), length[seq]);
          ASSERT_TRUE(held && blocks.holds(static_cast<int64_t>(seq), length[seq]));
        }
        // A block's tokens can be taken back once, whatever the window.
        ASSERT_TRUE(blocks.holds(static_cast<int64_t>(seq),
                                 std::max<int64_t>(0, length[seq] - (was_cut[seq] ? 0 : kTokens))));
      }
    }
    expectApart(length);
    if (testing::Test::HasFatalFailure()) return;
  }
  for (int64_t seq = 0; seq < batch; ++seq) blocks.shrink(seq, 0);
  EXPECT_EQ(blocks.numFree(), blocks.numBlocks());
}

TEST(KvBlocks, AreEnoughForAnySequences) {
  for (uint32_t seed = 0; seed < 400; ++seed) {
    expectEnough(seed);
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace llmrt
