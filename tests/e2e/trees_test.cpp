// Trees of drafted tokens: a session looks at all their branches in one step and keeps one, and
// every logit is that of the branch decoded alone, to the bit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "tests/e2e/golden_run.h"
#include "tests/e2e/plan_cache.h"
#include "tests/e2e/running_model.h"
#include "tests/sampling.h"

namespace e2e {
namespace {

using llmrt::Session;
using llmrt::TreeToken;
using testing::HasSubstr;

constexpr int kRows = 24;

bool sameBits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

std::vector<TreeToken> randomTree(int rows, int32_t seq, int64_t vocab_size, int before,
                                  std::mt19937& random) {
  std::vector<TreeToken> tree;
  for (int i = 0; i < rows; ++i) {
    const int parent = static_cast<int>(random() % static_cast<unsigned>(i + 1)) - 1;
    tree.push_back({seq, static_cast<int32_t>(3 + random() % static_cast<unsigned>(vocab_size - 3)),
                    parent < 0 ? -1 : before + parent});
  }
  return tree;
}

/// Rows from the root to `row`, ascending.
std::vector<int32_t> branchOf(std::span<const TreeToken> tree, int32_t row) {
  std::vector<int32_t> branch;
  for (; row >= 0; row = tree[static_cast<size_t>(row)].parent) branch.insert(branch.begin(), row);
  return branch;
}

class Trees : public testing::TestWithParam<std::string> {};

TEST_P(Trees, GiveTheBitsOfEachBranchDecodedAlone) {
  const RunningModel model(compiledPlan(goldenModel(GetParam()),
                                        {"--verify", std::to_string(kRows), "--max-batch", "2"}));
  ASSERT_TRUE(model.ok());
  const int64_t vocab_size = model.plan->vocabSize();
  const auto session = model.session({.threads = 2, .max_batch = 2}),
             alone = model.session({.threads = 1});
  ASSERT_TRUE(session && alone);
  std::mt19937 random(7);
  // The second sequence is short: a step has trees at two depths.
  Ids text = somePrompt(50, vocab_size), other = somePrompt(3, vocab_size);
  ASSERT_TRUE(session->prefill(0, text).ok() && session->prefill(1, other).ok());
  for (int round = 0; round < 3; ++round) {
    std::vector<TreeToken> trees = randomTree(kRows - 6, 0, vocab_size, 0, random);
    const std::vector<TreeToken> second = randomTree(6, 1, vocab_size, kRows - 6, random);
    trees.insert(trees.end(), second.begin(), second.end());
    const llmrt::Status looked = session->verify(trees);
    ASSERT_TRUE(looked.ok()) << looked.message();
    ASSERT_EQ(session->kvLen(0), static_cast<int64_t>(text.size()));
    for (int32_t row = 0; row < kRows; ++row) {
      alone->reset(0);
      const std::vector<int32_t> branch = branchOf(trees, row);
      ASSERT_TRUE(alone->prefill(0, trees[static_cast<size_t>(row)].seq == 0 ? text : other).ok());
      for (const int32_t r : branch)
        ASSERT_TRUE(alone->decode(0, trees[static_cast<size_t>(r)].token).ok());
      ASSERT_TRUE(sameBits(session->logits(row), alone->logits()))
          << "round " << round << ", row " << row << ", " << branch.size() << " deep";
    }
    // A branch of the first sequence is kept, of the second in the second round alone.
    std::vector<int32_t> accepted = branchOf(trees, kRows - 7 - round);
    if (round == 1) accepted.push_back(kRows - 6);
    const llmrt::Status kept = session->commit(accepted);
    ASSERT_TRUE(kept.ok()) << kept.message();
    for (const int32_t row : accepted) {
      const TreeToken& t = trees[static_cast<size_t>(row)];
      (t.seq == 0 ? text : other).push_back(t.token);
    }
    ASSERT_EQ(session->kvLen(0), static_cast<int64_t>(text.size()));
    ASSERT_EQ(session->kvLen(1), static_cast<int64_t>(other.size()));
  }
  // What was kept is what decoding it would have left.
  for (int32_t seq = 0; seq < 2; ++seq) {
    alone->reset(0);
    ASSERT_TRUE(alone->prefill(0, seq == 0 ? text : other).ok());
    ASSERT_TRUE(session->decode(seq, 5).ok() && alone->decode(0, 5).ok());
    EXPECT_TRUE(sameBits(session->logits(), alone->logits())) << "sequence " << seq;
  }
}

// The short form has each kind of attention and of recurrent state.
const llmc_tests::Sweep<std::string> kModels = {
    {"llama_mha", "mistral_window_bf16", "gemma4_e2b", "gpt_oss", "deepseek_v3", "lfm2",
     "nemotron_h_moe", "qwen3_next"},
    {"gemma3", "gemma4", "qwen2_moe", "gpt2", "mamba2", "granitemoehybrid", "qwen3_5"}};

LLMC_INSTANTIATE_SWEEP(Trees, kModels, [](const auto& info) { return info.param; });

TEST(TreesOfASession, AreForgottenUnlessTheyAreCommitted) {
  const RunningModel model(compiledPlan(goldenModel("llama_mha"), {"--verify", "8"}));
  ASSERT_TRUE(model.ok());
  const auto session = model.session({.threads = 1}), plain = model.session({.threads = 1});
  ASSERT_TRUE(session && plain);
  const Ids text = somePrompt(62, model.plan->vocabSize());
  ASSERT_TRUE(session->prefill(0, text).ok() && plain->prefill(0, text).ok());
  const TreeToken tree[] = {{0, 5, -1}, {0, 6, 0}, {0, 7, 0}, {0, 8, 2}};
  ASSERT_TRUE(session->verify(tree).ok());
  ASSERT_TRUE(session->decode(0, 9).ok() && plain->decode(0, 9).ok());
  EXPECT_TRUE(sameBits(session->logits(), plain->logits()));
  const int32_t root[] = {0};
  EXPECT_THAT(session->commit(root).message(), HasSubstr("verify() comes before it"));
  ASSERT_TRUE(session->verify(tree).ok());
  ASSERT_TRUE(session->commit({}).ok());
  EXPECT_EQ(session->kvLen(0), 63);
}

TEST(TreesOfASession, ThatAreNoneAreRefused) {
  const RunningModel model(compiledPlan(goldenModel("llama_mha"), {"--verify", "8"}));
  ASSERT_TRUE(model.ok());
  const auto session = model.session({.threads = 1});
  ASSERT_TRUE(session && session->prefill(0, somePrompt(5, model.plan->vocabSize())).ok());
  const std::vector<TreeToken> many(9, TreeToken{0, 5, -1});
  EXPECT_THAT(session->verify(many).message(), HasSubstr("9 tokens in trees"));
  const TreeToken behind[] = {{0, 5, 0}};
  EXPECT_THAT(session->verify(behind).message(), HasSubstr("continues token 0"));
  const TreeToken tree[] = {{0, 5, -1}, {0, 6, 0}, {0, 7, 0}};
  ASSERT_TRUE(session->verify(tree).ok());
  const int32_t siblings[] = {0, 1, 2}, backwards[] = {1, 0}, no_root[] = {1}, outside[] = {3};
  EXPECT_THAT(session->commit(siblings).message(), HasSubstr("does not continue"));
  EXPECT_THAT(session->commit(backwards).message(), HasSubstr("does not continue"));
  EXPECT_THAT(session->commit(no_root).message(), HasSubstr("does not continue"));
  EXPECT_THAT(session->commit(outside).message(), HasSubstr("accepted token 3 of 3"));
  const int32_t branch[] = {0, 2};
  EXPECT_TRUE(session->commit(branch).ok());  // what was refused has changed nothing
  EXPECT_EQ(session->kvLen(0), 7);
}

TEST(TreesOfASession, NeedAPlanThatHasCodeForThem) {
  const RunningModel model(compiledPlan(goldenModel("llama_mha"), {}));
  ASSERT_TRUE(model.ok());
  const auto session = model.session({.threads = 1});
  ASSERT_TRUE(session);
  const TreeToken tree[] = {{0, 5, -1}};
  EXPECT_THAT(session->verify(tree).message(), HasSubstr("--verify"));
}

}  // namespace
}  // namespace e2e
