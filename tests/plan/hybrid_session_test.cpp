// A model of two kinds of layers, linear attention and attention, from its IR to a session: chunks
// of prompts, decoding, trees and what is kept of them give the bits of one token after another.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <random>

#include "mlir/Parser/Parser.h"
#include "runtime/executor/cpu_features.h"
#include "runtime/executor/plan.h"
#include "runtime/executor/thread_team.h"
#include "runtime/executor/weights.h"
#include "runtime/session/session.h"
#include "tests/ir/Evaluator.h"
#include "tests/plan/hybrid_model.h"

namespace llmc::test {
namespace {

using llmrt::Session;
using llmrt::TreeToken;

constexpr int kTreeRows = kHybridTreeRows;
constexpr int64_t kVocab = kHybridVocab;

/// With code for this machine.
std::string compiled() {
  return hybridPlan([](llm::ModelOp model, PlanParts& parts) {
    auto image = cpu::compileKernels(model, *cpu::findCpuTarget(llmrt::supportedCpuTargets()[0]));
    EXPECT_TRUE(static_cast<bool>(image));
    if (!image) return false;
    parts.images.push_back(std::move(*image));
    return true;
  });
}

class HybridSession : public testing::Test {
 protected:
  void SetUp() override {
    path_ = compiled();
    ASSERT_FALSE(path_.empty());
    auto plan = llmrt::Plan::open(path_);
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    plan_ = *std::move(plan);
    auto team = llmrt::ThreadTeam::create(1);
    ASSERT_TRUE(team.ok());
    auto weights = llmrt::Weights::synthesize(*plan_, 3, **team);
    ASSERT_TRUE(weights.ok()) << weights.status().message();
    weights_ = *std::move(weights);
  }
  void TearDown() override { std::remove(path_.c_str()); }

  std::unique_ptr<Session> session(int threads, int64_t sequences) {
    auto made = Session::create(*plan_, *weights_, {.threads = threads, .max_batch = sequences});
    EXPECT_TRUE(made.ok()) << made.status().message();
    return made.ok() ? *std::move(made) : nullptr;
  }
  /// Every token of `text` by itself.
  void decodeAll(Session& session, std::span<const int32_t> text) {
    for (const int32_t token : text) ASSERT_TRUE(session.decode(0, token).ok());
  }
  static std::vector<int32_t> someText(size_t length, std::mt19937& random) {
    std::vector<int32_t> text(length);
    for (int32_t& token : text) token = static_cast<int32_t>(random() % kVocab);
    return text;
  }
  static bool sameBits(std::span<const float> a, std::span<const float> b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
  }

  std::string path_;
  std::unique_ptr<llmrt::Plan> plan_;
  std::unique_ptr<llmrt::Weights> weights_;
};

TEST_F(HybridSession, GivesTheSameBitsInChunksAndTokenByToken) {
  std::mt19937 random(5);
  const std::vector<int32_t> text = someText(75, random);
  const auto chunks = session(2, 1), alone = session(1, 1);
  ASSERT_TRUE(chunks && alone);
  ASSERT_TRUE(chunks->prefill(0, text).ok());
  decodeAll(*alone, text);
  EXPECT_TRUE(sameBits(chunks->logits(), alone->logits()));
}

TEST_F(HybridSession, GivesARowOfATreeTheBitsOfItsBranchAndGoesOnFromWhatIsKept) {
  std::mt19937 random(6);
  const auto trees = session(2, 3), alone = session(1, 1);
  ASSERT_TRUE(trees && alone);
  // The last sequence begins with a tree.
  std::vector<std::vector<int32_t>> texts = {someText(40, random), someText(3, random), {}};
  for (int32_t seq = 0; seq < 2; ++seq)
    ASSERT_TRUE(trees->prefill(seq, texts[static_cast<size_t>(seq)]).ok());
  for (int round = 0; round < 4; ++round) {
    std::vector<TreeToken> tree;
    for (const auto& [seq, rows] : {std::pair{0, 10}, {1, 4}, {2, 6}}) {
      const auto first = static_cast<int32_t>(tree.size());
      for (int32_t i = 0; i < rows; ++i) {
        const auto parent = static_cast<int32_t>(random() % static_cast<unsigned>(i + 1)) - 1;
        tree.push_back(
            {seq, static_cast<int32_t>(random() % kVocab), parent < 0 ? -1 : first + parent});
      }
    }
    const llmrt::Status looked = trees->verify(tree);
    ASSERT_TRUE(looked.ok()) << looked.message();
    std::vector<int32_t> accepted;
    for (int32_t row = 0; row < kTreeRows; ++row) {
      const TreeToken& last = tree[static_cast<size_t>(row)];
      std::vector<int32_t> branch;
      for (int32_t r = row; r >= 0; r = tree[static_cast<size_t>(r)].parent)
        branch.insert(branch.begin(), r);
      alone->reset(0);
      decodeAll(*alone, texts[static_cast<size_t>(last.seq)]);
      for (const int32_t r : branch)
        ASSERT_TRUE(alone->decode(0, tree[static_cast<size_t>(r)].token).ok());
      ASSERT_TRUE(sameBits(trees->logits(row), alone->logits()))
          << "round " << round << ", row " << row;
      // Of each sequence the branch of its last row is kept, but in the second round none of the
      // second sequence's.
      const bool ends = row + 1 == kTreeRows || tree[static_cast<size_t>(row) + 1].seq != last.seq;
      if (ends && (round != 1 || last.seq != 1))
        accepted.insert(accepted.end(), branch.begin(), branch.end());
    }
    const llmrt::Status kept = trees->commit(accepted);
    ASSERT_TRUE(kept.ok()) << kept.message();
    for (const int32_t row : accepted) {
      const TreeToken& t = tree[static_cast<size_t>(row)];
      texts[static_cast<size_t>(t.seq)].push_back(t.token);
    }
  }
  for (int32_t seq = 0; seq < 3; ++seq) {
    alone->reset(0);
    decodeAll(*alone, texts[static_cast<size_t>(seq)]);
    ASSERT_TRUE(trees->decode(seq, 7).ok() && alone->decode(0, 7).ok());
    EXPECT_TRUE(sameBits(trees->logits(), alone->logits())) << "sequence " << seq;
  }
}

TEST_F(HybridSession, GoesBackToASnapshotBehindATree) {
  std::mt19937 random(8);
  const auto trees = session(1, 1), alone = session(1, 1);
  ASSERT_TRUE(trees && alone);
  const std::vector<int32_t> text = someText(12, random);
  ASSERT_TRUE(trees->prefill(0, text).ok());
  const auto snapshot = trees->snapshot(0);
  ASSERT_TRUE(snapshot.ok());
  const TreeToken tree[] = {{0, 4, -1}, {0, 9, 0}};
  const int32_t accepted[] = {0, 1};
  ASSERT_TRUE(trees->verify(tree).ok() && trees->commit(accepted).ok());
  EXPECT_EQ(trees->kvLen(0), 14);
  ASSERT_TRUE(trees->restore(*snapshot).ok());
  decodeAll(*alone, text);
  ASSERT_TRUE(trees->decode(0, 1).ok() && alone->decode(0, 1).ok());
  EXPECT_TRUE(sameBits(trees->logits(), alone->logits()));
}

// The same of what the ops mean, whatever their kernels.
TEST(HybridMeaning, OfACommitIsThatOfDecoding) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  context.getOrLoadDialect<llm::LLMDialect>();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(hybridText(), &context);
  ASSERT_TRUE(module);
  Evaluator evaluator(*module->getOps<llm::ModelOp>().begin(), randomWeights(4));
  auto row = [](int32_t token, int32_t pos) {
    return Row{.tokenId = token, .pos = pos, .slot = pos};
  };
  KvState trees, alone;
  for (KvState* state : {&trees, &alone}) evaluator.run("decode", {row(3, 0), row(9, 1)}, *state);
  // 4 and 5 follow the text, 6 follows 5: that branch is kept.
  const std::vector<Row> tree = {{.tokenId = 4, .pos = 2, .slot = 2, .parent = -1},
                                 {.tokenId = 5, .pos = 2, .slot = 3, .parent = -1},
                                 {.tokenId = 6, .pos = 3, .slot = 4, .parent = 1}};
  const Matrix looked = evaluator.run("verify", tree, trees);
  evaluator.run("commit",
                {{.tokenId = 5, .pos = 2, .slot = 3, .keptRow = 1},
                 {.tokenId = 6, .pos = 3, .slot = 4, .keptRow = 2}},
                trees);
  const Matrix decoded = evaluator.run("decode", {row(5, 2), row(6, 3)}, alone);
  EXPECT_TRUE(std::equal(looked.row(1), looked.row(3), decoded.row(0)));
  EXPECT_EQ(evaluator.run("decode", {row(7, 4)}, trees),
            evaluator.run("decode", {row(7, 4)}, alone));
}

}  // namespace
}  // namespace llmc::test
