// Sessions that look at trees of drafted tokens, on the tests' driver, with the generated kernels:
// every logit is that of the branch decoded alone there, to the bit.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <random>

#include "codegen/cuda/Codegen.h"
#include "runtime/cuda/device.h"
#include "runtime/executor/plan.h"
#include "runtime/executor/thread_team.h"
#include "runtime/executor/weights.h"
#include "runtime/session/session.h"
#include "tests/cuda/fake_run.h"
#include "tests/e2e/golden_run.h"
#include "tests/plan/hybrid_model.h"
#include "tests/sampling.h"

namespace llmc::test {
namespace {

using llmrt::Session;
using llmrt::TreeToken;
using Ids = std::vector<int32_t>;
using Tree = std::vector<TreeToken>;

/// A plan opened on the device.
class DeviceModel {
 public:
  enum Weights { kOwn, kSynthetic };
  /// ok() is false after a test failure, also for an empty path.
  explicit DeviceModel(const std::string& path, Weights weights = kOwn) {
    if (!path.empty()) open(path, weights);
  }
  bool ok() const { return weights_ != nullptr; }
  int64_t vocabSize() const { return plan_->vocabSize(); }
  /// Null after a test failure.
  std::unique_ptr<Session> session(int64_t max_batch) const {
    auto session =
        Session::create(*plan_, *weights_, {.max_batch = max_batch, .device = device_.get()});
    if (session.ok()) return *std::move(session);
    ADD_FAILURE() << session.status().message();
    return nullptr;
  }

 private:
  void open(const std::string& path, Weights of) {
    auto device = llmrt::cuda::CudaDevice::open("cuda");
    ASSERT_TRUE(device.ok()) << device.status().message();
    device_ = *std::move(device);
    auto plan = llmrt::Plan::open(path, {.device = device_.get()});
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    plan_ = *std::move(plan);
    auto team = llmrt::ThreadTeam::create(1);
    ASSERT_TRUE(team.ok());
    auto weights =
        of == kOwn ? llmrt::Weights::map(*plan_) : llmrt::Weights::synthesize(*plan_, 3, **team);
    ASSERT_TRUE(weights.ok()) << weights.status().message();
    weights_ = *std::move(weights);
  }

  std::unique_ptr<llmrt::cuda::CudaDevice> device_;
  std::unique_ptr<llmrt::Plan> plan_;
  std::unique_ptr<llmrt::Weights> weights_;
};

class RandomTokens {
 public:
  explicit RandomTokens(int64_t vocab_size) : vocab_size_(static_cast<unsigned>(vocab_size)) {}
  int32_t token() { return static_cast<int32_t>(random_() % vocab_size_); }
  unsigned below(int end) { return random_() % static_cast<unsigned>(end); }
  Ids text(int count) {
    Ids ids;
    while (static_cast<int>(ids.size()) < count) ids.push_back(token());
    return ids;
  }
  /// Adds a tree of `rows` tokens.
  void addTree(Tree& trees, int rows, int32_t seq) {
    const auto first = static_cast<int32_t>(trees.size());
    for (int i = 0; i < rows; ++i) {
      const auto parent = static_cast<int32_t>(below(i + 1)) - 1;
      trees.push_back({seq, token(), parent < 0 ? -1 : first + parent});
    }
  }

 private:
  std::mt19937 random_{11};
  unsigned vocab_size_;
};

Ids branchOf(const Tree& trees, int32_t row) {
  Ids branch;
  for (; row >= 0; row = trees[static_cast<size_t>(row)].parent) branch.insert(branch.begin(), row);
  return branch;
}

/// The rows of `trees` so that each comes behind its parent with nothing but the parent's other
/// descendants between them: who decodes the branches one after another goes over each row once.
Ids inDepth(const Tree& trees) {
  std::vector<Ids> branches;
  for (int32_t row = 0; row < std::ssize(trees); ++row) branches.push_back(branchOf(trees, row));
  std::sort(branches.begin(), branches.end());
  Ids rows;
  for (const Ids& branch : branches) rows.push_back(branch.back());
  return rows;
}

/// One sequence that decodes texts one token after another: a prompt, then the rest.
class Alone {
 public:
  Alone(std::unique_ptr<Session> session, Ids prompt)
      : session_(std::move(session)), prompt_(std::move(prompt)) {}

  /// The logits behind the prompt and `tokens`, of which there is one at least.
  std::span<const float> decode(const Ids& tokens) {
    size_t same = 0;
    while (same + 1 < tokens.size() && same < tokens_.size() && tokens_[same] == tokens[same])
      ++same;
    const auto keep = static_cast<int64_t>(prompt_.size() + same);
    if (session_->kvLen(0) < keep || session_->truncate(0, keep) != keep) {
      session_->reset(0);
      EXPECT_TRUE(session_->prefill(0, prompt_).ok());
      same = 0;
    }
    for (size_t i = same; i < tokens.size(); ++i) EXPECT_TRUE(session_->decode(0, tokens[i]).ok());
    tokens_ = tokens;
    return session_->logits();
  }

 private:
  std::unique_ptr<Session> session_;
  Ids prompt_, tokens_;  // what it has
};

/// Three rounds of trees of two sequences, of which a branch is kept each.
void expectBranchesOf(const DeviceModel& model, int rows, int length) {
  ASSERT_TRUE(model.ok());
  RandomTokens random(model.vocabSize());
  const Ids prompts[] = {random.text(length), random.text(3)};
  const auto session = model.session(2);
  Alone alone[] = {{model.session(1), prompts[0]}, {model.session(1), prompts[1]}};
  Ids texts[2];  // behind the prompts
  for (int32_t seq = 0; seq < 2; ++seq) ASSERT_TRUE(session->prefill(seq, prompts[seq]).ok());
  for (int round = 0; round < 3; ++round) {
    Tree trees;
    random.addTree(trees, rows - 5 - round, 0);
    const auto second = static_cast<int32_t>(trees.size());
    random.addTree(trees, 5, 1);
    const llmrt::Status looked = session->verify(trees);
    ASSERT_TRUE(looked.ok()) << looked.message();
    for (const int32_t row : inDepth(trees)) {
      const int32_t seq = trees[static_cast<size_t>(row)].seq;
      Ids text = texts[seq];
      for (int32_t r : branchOf(trees, row)) text.push_back(trees[static_cast<size_t>(r)].token);
      const auto logits = session->logits(row), expected = alone[seq].decode(text);
      ASSERT_EQ(logits.size(), expected.size());
      ASSERT_EQ(std::memcmp(logits.data(), expected.data(), logits.size_bytes()), 0)
          << "round " << round << ", row " << row << " of sequence " << seq;
    }
    // A branch of the first sequence is kept, of the second in the second round alone.
    Ids accepted = branchOf(trees, second - 1 - static_cast<int32_t>(random.below(4)));
    if (round == 1)
      for (int32_t row : branchOf(trees, second + 3)) accepted.push_back(row);
    const llmrt::Status kept = session->commit(accepted);
    ASSERT_TRUE(kept.ok()) << kept.message();
    for (int32_t row : accepted) {
      const TreeToken& t = trees[static_cast<size_t>(row)];
      texts[t.seq].push_back(t.token);
    }
  }
  // What was kept is what decoding it leaves.
  for (int32_t seq = 0; seq < 2; ++seq) {
    ASSERT_EQ(session->kvLen(seq), std::ssize(prompts[seq]) + std::ssize(texts[seq]));
    texts[seq].push_back(5);
    ASSERT_TRUE(session->decode(seq, 5).ok());
    const auto logits = session->logits(), expected = alone[seq].decode(texts[seq]);
    EXPECT_EQ(std::memcmp(logits.data(), expected.data(), logits.size_bytes()), 0)
        << "sequence " << seq;
  }
}

struct Form {
  const char* model;
  const char* disabled = "";  // passes
  int rows = 20;              // of a step
  int prompt = 50;            // tokens of the first sequence
};

class CudaTreeSession : public testing::TestWithParam<Form> {};

TEST_P(CudaTreeSession, LogitsAreThoseOfEachBranchDecodedAlone) {
  const auto& [name, disabled, rows, length] = GetParam();
  Strings flags = {"--target", "cuda:sm_80", "--verify", std::to_string(rows), "--max-batch", "2"};
  if (*disabled) flags.insert(flags.end(), {"--disable-pass", disabled});
  expectBranchesOf(DeviceModel(fakePlan(sourcePath("tests/golden/") + name, flags)), rows, length);
}

// The short form has each kind of attention and of recurrent state, fused and not.
const llmc_tests::Sweep<Form> kForms = {
    {{"llama_mha"},
     {"llama_head_dim_20_bf16", "", 40, 62},  // rows in groups of 16
     {"mistral_window_bf16"},
     {"gemma4_e2b", e2e::kEveryFusion},
     {"gpt_oss"},
     {"deepseek_v3"},
     // Under the shim, a token of a recurrent state takes the longest.
     {"qwen3_next", "", 12, 20},
     {"nemotron_h_moe", "", 12, 20}},
    {{"llama_mha", e2e::kEveryFusion},
     {"gemma3"},
     {"gemma4_e2b"},
     {"gpt2"},
     {"qwen2_moe"},
     {"qwen3_next"},
     {"nemotron_h_moe"}}};

LLMC_INSTANTIATE_SWEEP(CudaTreeSession, kForms, [](const auto& info) {
  return std::string(info.param.model) + (*info.param.disabled ? "_unfused" : "");
});

// Layers whose states are recurrent: verify keeps what they take of its rows, commit goes on from
// it.
TEST(CudaTreesOfAHybrid, LogitsAreThoseOfEachBranchDecodedAlone) {
  const std::string plan = hybridPlan([](llm::ModelOp model, PlanParts& parts) {
    auto source = cuda::emitCuda(model);
    if (!source) ADD_FAILURE() << llvm::toString(source.takeError());
    if (!source) return false;
    auto image = cuda::compileKernels(*source, *cuda::findCudaTarget("cuda:sm_80"));
    if (!image) ADD_FAILURE() << llvm::toString(image.takeError());
    if (!image) return false;
    parts.cuda_images.push_back(std::move(*image));
    return true;
  });
  expectBranchesOf(DeviceModel(plan, DeviceModel::kSynthetic), kHybridTreeRows, 40);
  std::remove(plan.c_str());
}

}  // namespace
}  // namespace llmc::test
