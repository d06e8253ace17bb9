// Blocks of tokens among sequences, with windows and without: never none left, none in two places.
#include "runtime/session/kv_blocks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <random>
#include <set>
#include <vector>

namespace llmrt {
namespace {

constexpr int64_t kTokens = LLMC_KV_BLOCK_TOKENS;
const auto kNone = [](int32_t) {};

TEST(KvBlocks, ShrinkingGivesBackWhatGrowingTook) {
  KvBlocks blocks(2, 130, 0, 6);  // three blocks each
  std::vector<int32_t> cleared;
  const auto clear = [&](int32_t block) { cleared.push_back(block); };
  blocks.grow(0, 65, kNone, clear);
  blocks.grow(1, 10, kNone, clear);
  const std::vector<int32_t> before(blocks.tables(), blocks.tables() + blocks.numBlocks());
  blocks.grow(1, 130, kNone, clear);
  blocks.shrink(1, 10);
  EXPECT_EQ(std::vector<int32_t>(blocks.tables(), blocks.tables() + blocks.numBlocks()), before);
  EXPECT_TRUE(cleared.empty());
  blocks.grow(0, 130, kNone, clear);  // takes one that sequence 1 had
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
    blocks.grow(0, tokens + 1, kNone, [&](int32_t block) { cleared.insert(block); });
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
        blocks.grow(static_cast<int64_t>(seq), end[seq], kNone, kNone);
      }
      expectApart(end);
      const bool succeeds = below(5) > 0;
      for (size_t seq = 0; seq < length.size(); ++seq) {
        if (succeeds) {
          length[seq] = end[seq];
          blocks.pass(static_cast<int64_t>(seq), length[seq]);
        } else {
          const bool held = blocks.holds(static_cast<int64_t>(seq), length[seq]);
          blocks.undo(static_cast<int64_t>(seq), length[seq]);
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

/// What blocks hold, by what sequences write; and what each sequence, and a cache, must find there.
class SharedBlocks {
 public:
  explicit SharedBlocks(uint32_t seed)
      : random_(seed),
        batch_(2 + below(4)),
        window_(below(3) == 0 ? 1 + below(200) : 0),
        blocks_(batch_, kMaxSeqLen, window_, 4 + below(20)),
        memory_(static_cast<size_t>(blocks_.numBlocks())),
        texts_(static_cast<size_t>(batch_)) {}

  void run() {
    for (int turn = 0; turn < 400; ++turn) {
      SCOPED_TRACE(testing::Message() << "turn " << turn);
      const int64_t seq = below(batch_);
      switch (below(8)) {
        case 0:
          cut(seq, 0);
          break;
        case 1:
          truncate(seq);
          break;
        case 2:
          share(seq);
          break;
        case 3:
          claim(seq);
          break;
        case 4:
          if (!claims_.empty()) evict(claims_.begin()->first);
          break;
        default:
          step(seq);
      }
      check();
      if (testing::Test::HasFatalFailure()) return;
    }
    for (int64_t seq = 0; seq < batch_; ++seq) cut(seq, 0);
    EXPECT_EQ(blocks_.numObtainable(), blocks_.numBlocks());
    while (!claims_.empty()) evict(claims_.begin()->first);
    EXPECT_EQ(blocks_.numFree(), blocks_.numBlocks());
  }

 private:
  static constexpr int64_t kMaxSeqLen = 600;
  using Block = std::array<int, kTokens>;  // 0: cleared
  using Text = std::vector<int>;

  int64_t below(int64_t n) { return static_cast<int64_t>(random_() % static_cast<uint32_t>(n)); }
  Text& text(int64_t seq) { return texts_[static_cast<size_t>(seq)]; }
  int64_t length(int64_t seq) { return static_cast<int64_t>(text(seq).size()); }
  Block& memory(int32_t block) { return memory_[static_cast<size_t>(block)]; }
  void clear(int32_t block, int64_t first) {
    std::fill(memory(block).begin() + first, memory(block).end(), 0);
  }
  void evict(int32_t block) {
    ASSERT_EQ(claims_.erase(block), 1u);
    blocks_.claim(block, 0);
  }

  void cut(int64_t seq, int64_t to) {
    text(seq).resize(static_cast<size_t>(to));
    if (blocks_.shrink(seq, to)) clear(blocks_.block(seq, to), to % kTokens);
  }
  void truncate(int64_t seq) {
    const int64_t to = length(seq) - below(std::min<int64_t>(length(seq), 100) + 1);
    cut(seq, blocks_.holds(seq, to) ? to : 0);
  }
  void share(int64_t seq) {
    const int64_t from = below(batch_);
    if (from == seq || length(from) == 0) return;
    const int64_t n = length(from) - below(std::min<int64_t>(length(from), 100));
    for (int64_t i = blocks_.firstRead(n); i * kTokens < n; ++i)
      if (blocks_.heldBlock(from, i) < 0) return;
    cut(seq, 0);
    blocks_.share(seq, n, [&](int64_t i) { return blocks_.heldBlock(from, i); });
    text(seq).assign(text(from).begin(), text(from).begin() + n);
  }
  void claim(int64_t seq) {
    const int64_t i = length(seq) / kTokens - below(3);
    const int32_t block = i < 0 ? -1 : blocks_.heldBlock(seq, i);
    const int64_t n = std::min(length(seq) - i * kTokens, kTokens);
    if (block < 0 || n <= 0 || claims_.count(block)) return;
    claims_[block].assign(text(seq).begin() + i * kTokens, text(seq).begin() + i * kTokens + n);
    blocks_.claim(block, n);
  }
  void step(int64_t seq) {
    const int64_t now = length(seq), to = std::min(now + 1 + below(below(2) ? 150 : 3), kMaxSeqLen);
    const int64_t missing = blocks_.missing(seq, now, to), free = blocks_.numObtainable();
    if (to == now || missing > free) return;
    const auto evict_idle = [&](int32_t block) { evict(block); };
    const bool copy_fails = below(10) == 0;
    const Status status = blocks_.own(
        seq, now, evict_idle,
        [&](int32_t a, int32_t b) {
          if (copy_fails) return internalError("no copy");
          memory(b) = memory(a);
          return Status();
        },
        [&](int32_t block, int64_t first) { clear(block, first); });
    if (!status.ok()) return;
    const int64_t given_up = blocks_.numObtainable();
    blocks_.grow(seq, to, evict_idle, [&](int32_t block) { clear(block, 0); });
    // Of the old last block nobody may be left.
    ASSERT_GE(blocks_.numObtainable(), free - missing);
    ASSERT_LE(blocks_.numObtainable(), given_up);
    for (int64_t pos = now; pos < to; ++pos)
      memory(blocks_.block(seq, pos))[static_cast<size_t>(pos % kTokens)] = ++next_;
    if (below(6) == 0) {  // fails
      if (blocks_.undo(seq, now)) clear(blocks_.block(seq, now), now % kTokens);
      return;
    }
    for (int64_t pos = now; pos < to; ++pos)
      text(seq).push_back(memory(blocks_.block(seq, pos))[static_cast<size_t>(pos % kTokens)]);
    blocks_.pass(seq, to);
  }

  void check() {
    std::set<int32_t> used;
    for (int64_t seq = 0; seq < batch_; ++seq) {
      ASSERT_TRUE(blocks_.holds(seq, length(seq)));
      for (int64_t i = 0; i < blocks_.blocksPerSeq(); ++i)
        if (blocks_.heldBlock(seq, i) >= 0) used.insert(blocks_.heldBlock(seq, i));
      for (int64_t pos = blocks_.firstRead(length(seq)) * kTokens; pos < length(seq); ++pos)
        ASSERT_EQ(memory(blocks_.block(seq, pos))[static_cast<size_t>(pos % kTokens)],
                  text(seq)[static_cast<size_t>(pos)])
            << "token " << pos << " of sequence " << seq;
      if (length(seq) % kTokens == 0 || blocks_.isForeign(seq, length(seq))) continue;
      for (int64_t i = length(seq) % kTokens; i < kTokens; ++i)
        ASSERT_EQ(memory(blocks_.block(seq, length(seq)))[static_cast<size_t>(i)], 0)
            << "behind sequence " << seq;
    }
    ASSERT_EQ(blocks_.numObtainable(), blocks_.numBlocks() - static_cast<int64_t>(used.size()));
    for (const auto& [block, text] : claims_) {
      used.insert(block);
      ASSERT_TRUE(std::equal(text.begin(), text.end(), memory(block).begin())) << block;
    }
    ASSERT_EQ(blocks_.numFree(), blocks_.numBlocks() - static_cast<int64_t>(used.size()));
  }

  std::mt19937 random_;
  int64_t batch_, window_;
  KvBlocks blocks_;
  std::vector<Block> memory_;
  std::vector<Text> texts_;
  std::map<int32_t, Text> claims_;
  int next_ = 0;
};

TEST(KvBlocks, HoldersOfABlockKeepWhatTheyHaveOfIt) {
  for (uint32_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    SharedBlocks(seed).run();
    if (testing::Test::HasFailure()) return;
  }
}

TEST(KvBlocks, TheLongestIdleGoFirstAndEndsOfTextsBeforeTheirBeginnings) {
  KvBlocks blocks(2, 256, 0, 4);
  blocks.grow(0, 128, kNone, kNone);
  blocks.grow(1, 128, kNone, kNone);
  std::vector<int32_t> order;
  for (const int64_t seq : {1, 0})
    for (const int64_t i : {1, 0}) order.push_back(blocks.heldBlock(seq, i));
  for (const int32_t block : order) blocks.claim(block, kTokens);
  blocks.shrink(1, 0);
  blocks.shrink(0, 0);
  EXPECT_EQ(blocks.numFree(), 0);
  std::vector<int32_t> evicted;
  blocks.grow(
      0, 256,
      [&](int32_t block) {
        evicted.push_back(block);
        blocks.claim(block, 0);
      },
      kNone);
  EXPECT_EQ(evicted, order);
}

}  // namespace
}  // namespace llmrt
