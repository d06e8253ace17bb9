// Sequences that begin with what others have computed: the same bits as alone, whatever is kept,
// evicted, copied, cut or fails.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <random>

#include "runtime/session/prefix_index.h"
#include "tests/runtime/example_plan.h"
#include "tests/runtime/shared_texts.h"

namespace llmrt {
namespace {

using example::Case;
using example::everyState;
using example::Ids;
using example::kRefused;
using example::Model;
using example::plain;
using example::someTokens;

std::vector<float> logitsOf(const Session& session) {
  return {session.logits().begin(), session.logits().end()};
}
std::vector<float> logitsAlone(const Model& model, const Ids& text) {
  const auto session = model.session();
  EXPECT_TRUE(session->prefill(0, text).ok());
  return logitsOf(*session);
}

void window(schema::PlanT& plan) {
  example::addWindow(plan);
  example::addRefusing(plan);
}
void windowAlone(schema::PlanT& plan) {
  window(plan);
  plan.states[0]->window = 1000;  // a state that never passes anything, but may be given up
}
void recurrent(schema::PlanT& plan) {
  example::addRecurrent(plan);
  example::addRefusing(plan);
}

class Prefixes : public testing::TestWithParam<Case> {};

TEST_P(Prefixes, GiveTheSameBits) {
  int64_t shared_tokens = 0, no_room = 0;
  for (unsigned seed = 0; seed < 8; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const Model model(GetParam().change);
    const auto session =
        model.session({.threads = 1, .max_batch = 3, .kv_tokens = GetParam().kv_tokens});
    ASSERT_TRUE(session);
    std::vector<Ids> texts(3), ended;
    const auto append = [&](int32_t seq, const Ids& more) {
      Ids& text = texts[static_cast<size_t>(seq)];
      const Status status = session->prefill(seq, more);
      if (status.ok()) {
        text.insert(text.end(), more.begin(), more.end());
        ASSERT_EQ(logitsOf(*session), logitsAlone(model, text));
        return;
      }
      ASSERT_EQ(status.code(), StatusCode::kOutOfMemory) << status.message();
      ++no_room;
      session->reset(seq);
      text.clear();
    };
    for (int turn = 0; turn < 150; ++turn) {
      SCOPED_TRACE(turn);
      const auto seq = static_cast<int32_t>(random() % 3);
      Ids& text = texts[static_cast<size_t>(seq)];
      switch (random() % 8) {
        case 0:
        case 1: {  // a text that begins like another, which runs or has ended
          Ids next;
          const Ids& other =
              random() % 2 || ended.empty() ? texts[random() % 3] : ended[random() % ended.size()];
          next = other;
          if (!other.empty() && random() % 2) next.resize(random() % other.size());
          const Ids more = someTokens(1 + random() % 70, random);
          next.insert(next.end(), more.begin(), more.end());
          if (next.size() > 180) next.resize(100);
          const Session::Shared shared = session->share(seq, next);
          ASSERT_LT(shared.tokens, static_cast<int64_t>(next.size()));
          ASSERT_LE(shared.tokens, shared.known);
          ASSERT_EQ(session->kvLen(seq), shared.tokens);
          shared_tokens += shared.tokens;
          text.assign(next.begin(), next.begin() + shared.tokens);
          if (random() % 4 == 0) break;  // it runs later
          append(seq, {next.begin() + shared.tokens, next.end()});
          break;
        }
        case 2:
          session->keep(seq, text);
          break;
        case 3:
          session->keepAll(seq, text);
          ended.push_back(text);
          break;
        case 4:
          if (random() % 2) break;
          session->reset(seq);
          text.clear();
          break;
        case 5: {
          const int64_t to = static_cast<int64_t>(
              text.size() - random() % (std::min<size_t>(text.size(), 90) + 1));
          text.resize(static_cast<size_t>(session->truncate(seq, to)));
          break;
        }
        case 6:
          if (text.size() > 190) break;
          ASSERT_FALSE(session->decode(seq, kRefused).ok());
          text.resize(static_cast<size_t>(session->kvLen(seq)));
          break;
        default:
          if (text.size() < 170) append(seq, someTokens(1 + random() % 30, random));
      }
      if (HasFatalFailure()) return;
      ASSERT_EQ(session->kvLen(seq), static_cast<int64_t>(text.size()));
    }
    for (int32_t seq = 0; seq < 3; ++seq) session->reset(seq);
    session->forgetKept();
    EXPECT_EQ(session->states().numUsedBlocks(), 0);
    EXPECT_EQ(session->states().index().numNodes(), 0u);
  }
  EXPECT_GT(shared_tokens, 500);
  if (GetParam().kv_tokens > 0) {
    EXPECT_GT(no_room, 0);
  }
}

// What a session has kept comes back in another over the same directory: the same bits as alone,
// whatever states there are, and however few blocks there is room for.
TEST_P(Prefixes, ComeBackFromAStore) {
  const std::string folder = testing::TempDir() + "prefix_store_" + GetParam().name;
  std::filesystem::remove_all(folder);
  const Model model(GetParam().change);
  std::vector<std::string> told;
  const auto start = [&] {
    return model.session(
        {.threads = 1,
         .max_batch = 3,
         .kv_tokens = GetParam().kv_tokens,
         .store = {folder, uint64_t{1} << 30, [&](const std::string& s) { told.push_back(s); }}});
  };
  std::vector<Ids> ended;
  int64_t from_store = 0;
  for (unsigned seed = 0; seed < 12; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const auto session = start();
    ASSERT_TRUE(session);
    for (int turn = 0; turn < 6; ++turn) {
      SCOPED_TRACE(turn);
      const auto seq = static_cast<int32_t>(random() % 3);
      Ids text;
      if (!ended.empty()) text = ended[random() % ended.size()];
      if (!text.empty() && random() % 4 == 0) text.resize(random() % text.size());
      const Ids more = someTokens(1 + random() % 90, random);
      text.insert(text.end(), more.begin(), more.end());
      if (text.size() > 190) text.resize(100);
      for (int32_t other = 0; other < 3; ++other) session->reset(other);
      const int64_t shared = session->share(seq, text).tokens;
      if (turn == 0) from_store += shared;
      ASSERT_LT(shared, static_cast<int64_t>(text.size()));
      for (size_t done = static_cast<size_t>(shared); done < text.size();) {
        const size_t n = std::min(text.size() - done, size_t{1} + random() % 70);
        ASSERT_TRUE(session->prefill(seq, std::span<const int32_t>(text).subspan(done, n)).ok());
        done += n;
        if (random() % 2) session->keep(seq, std::span<const int32_t>(text).first(done));
        if (random() % 2) (void)session->store();
      }
      ASSERT_EQ(logitsOf(*session), logitsAlone(model, text));
      session->keepAll(seq, text);
      ended.push_back(text);
    }
    for (int32_t seq = 0; seq < 3; ++seq) session->reset(seq);
    while (session->store()) {
    }
    session->forgetKept();
    EXPECT_EQ(session->states().numUsedBlocks(), 0);
    EXPECT_EQ(session->states().index().numNodes(), 0u);
  }
  EXPECT_GT(from_store, 128);
  EXPECT_TRUE(told.empty()) << told.front();
  std::filesystem::remove_all(folder);
}

INSTANTIATE_TEST_SUITE_P(
    Plans, Prefixes,
    testing::Values(Case{"plain", plain, 0}, Case{"tight", plain, 256}, Case{"window", window, 0},
                    Case{"tight_window", window, 256}, Case{"window_alone", windowAlone, 0},
                    Case{"tight_window_alone", windowAlone, 256}, Case{"recurrent", recurrent, 0},
                    Case{"tight_recurrent", recurrent, 256}, Case{"every_state", everyState, 0},
                    Case{"tight_every_state", everyState, 256}),
    [](const auto& info) { return std::string(info.param.name); });

// The last block is copied when two go on in it, not before.
TEST(Prefix, ABlockIsCopiedWhenItIsWritten) {
  const Model model;
  const auto session = model.session({.threads = 1, .max_batch = 3});
  std::mt19937 random(1);
  const Ids text = someTokens(100, random);
  ASSERT_TRUE(session->prefill(0, text).ok());
  session->keepAll(0, text);
  Ids longer = text;
  longer.push_back(5);
  EXPECT_EQ(session->share(1, longer).tokens, 100);
  EXPECT_EQ(session->states().numUsedBlocks(), 2);
  ASSERT_TRUE(session->decode(0, 7).ok());  // it wrote the block: it goes on in place
  EXPECT_EQ(session->states().numUsedBlocks(), 2);
  ASSERT_TRUE(session->decode(1, 5).ok());
  EXPECT_EQ(session->states().numUsedBlocks(), 3);
  EXPECT_EQ(logitsOf(*session), logitsAlone(model, longer));
  longer.back() = 7;
  ASSERT_TRUE(session->decode(0, 9).ok());
  longer.push_back(9);
  EXPECT_EQ(logitsOf(*session), logitsAlone(model, longer));
}

// A sequence that needs every block has them, whatever is kept of its own last one.
TEST(Prefix, WhatIsKeptIsGivenUpBeforeASequenceCannotGoOn) {
  const Model model;
  const auto session = model.session({.threads = 1, .max_batch = 2, .kv_tokens = 200});
  std::mt19937 random(2);
  Ids text = someTokens(200, random);
  ASSERT_TRUE(session->prefill(0, text).ok());  // all four blocks
  session->keepAll(0, text);
  ASSERT_EQ(session->truncate(0, 195), 195);
  text.resize(195);
  text.push_back(3);
  ASSERT_TRUE(session->decode(0, 3).ok());
  EXPECT_EQ(logitsOf(*session), logitsAlone(model, text));
}

TEST(Prefix, SnapshotsTakeNoMoreThanTheTokensBeforeThem) {
  // A slot as large as the keys and values of 40 tokens.
  const Model model([](schema::PlanT& p) { example::addRecurrent(p); });
  const auto session = model.session({.threads = 1, .max_batch = 2});
  const uint64_t slot = session->states().slotsBytes();
  constexpr int64_t kTokenBytes =
      2 * example::kLayers * example::kNumHeads * example::kHeadDim * sizeof(float);
  EXPECT_EQ(session->snapshotPays(1), slot <= kTokenBytes);
  EXPECT_FALSE(session->snapshotPays(0));
  std::mt19937 random(3);
  Ids text;
  for (int i = 0; i < 190; ++i) {
    text.push_back(static_cast<int32_t>(random() % example::kVocab));
    ASSERT_TRUE(session->decode(0, text.back()).ok());
    session->keepAll(0, text);
    EXPECT_LE(session->states().index().numSnapshots() * slot,
              static_cast<uint64_t>(kTokenBytes) * text.size());
  }
}

/// The index over blocks that nothing is in.
struct Tree {
  explicit Tree(int64_t num_blocks) : pools(1) {
    pools[0].emplace(2, 64 * num_blocks, 0, num_blocks);
    index.emplace(pools, 2);
  }
  void add(int32_t seq, const Ids& text) {
    pools[0]->grow(
        seq, static_cast<int64_t>(text.size()), [&](int32_t block) { index->evict(0, block); },
        [](int32_t) {});
    index->addAll(seq, text);
    pools[0]->shrink(seq, 0);
    index->goBack(seq, 0);
  }
  std::vector<std::optional<KvBlocks>> pools;
  std::optional<PrefixIndex> index;
};

// Two blocks of one hash: a hash alone proves nothing.
TEST(Prefix, TextsOfOneHashAreToldApart) {
  // Behind two tokens the hashes of two texts are so close that the next token makes up for it.
  std::vector<std::pair<uint64_t, int32_t>> hashes;
  for (int32_t token = 0; token < 1 << 19; ++token) {
    const int32_t two[] = {token, 1};
    hashes.push_back({PrefixIndex::hashBehind(0, two), token});
  }
  std::sort(hashes.begin(), hashes.end());
  Ids a(64, 1), b(64, 1);
  size_t i = 1;
  while (i < hashes.size() && hashes[i].first - hashes[i - 1].first > INT32_MAX - 1) ++i;
  ASSERT_LT(i, hashes.size());
  a[0] = hashes[i].second;
  b[0] = hashes[i - 1].second;
  b[2] = a[2] + static_cast<int32_t>(hashes[i].first - hashes[i - 1].first);
  ASSERT_EQ(PrefixIndex::hashBehind(0, a), PrefixIndex::hashBehind(0, b));
  Tree tree(4);
  tree.add(0, a);
  EXPECT_EQ(tree.index->find(b).tokens, 0);
  EXPECT_EQ(tree.index->find(a).tokens, 64);
  tree.add(0, b);
  const auto of_a = tree.index->find(a), of_b = tree.index->find(b);
  EXPECT_EQ(of_b.tokens, 64);
  EXPECT_NE(of_a.nodes, of_b.nodes);
}

TEST(Prefix, FindsTheLongestBeginning) {
  Tree tree(8);
  std::mt19937 random(4);
  Ids a = someTokens(200, random), b = a;
  b[150] = (b[150] + 1) % example::kVocab;
  tree.add(0, a);
  EXPECT_EQ(tree.index->find(a).tokens, 200);
  EXPECT_EQ(tree.index->find(b).tokens, 150);
  EXPECT_EQ(tree.index->find({}).tokens, 0);
  tree.add(1, b);
  EXPECT_EQ(tree.index->find(b).tokens, 200);
  EXPECT_EQ(tree.index->numNodes(), 6u);  // two are common
  // What an unfilled block holds is in the whole one that begins with it.
  a.resize(230);
  tree.add(0, a);
  EXPECT_EQ(tree.index->find(a).tokens, 230);
  EXPECT_EQ(tree.index->numNodes(), 6u);
  tree.index->clear();
  EXPECT_EQ(tree.pools[0]->numFree(), 8);
  EXPECT_EQ(tree.index->find(a).tokens, 0);
}

}  // namespace
}  // namespace llmrt
