// The same logits, bit for bit, whatever the threads, the chunks of the prompt, the batch.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <filesystem>
#include <ostream>
#include <tuple>

#include "tests/e2e/plan_cache.h"
#include "tests/e2e/running_model.h"
#include "tests/sampling.h"

namespace e2e {
namespace {

// Where two rows of logits differ first, "" where they are the same bits.
std::string difference(const Logits& a, const Logits& b) {
  if (a.size() != b.size())
    return std::to_string(a.size()) + " and " + std::to_string(b.size()) + " logits";
  for (size_t v = 0; v < a.size(); ++v) {
    if (std::memcmp(&a[v], &b[v], sizeof(float)) != 0) {
      char text[100];
      std::snprintf(text, sizeof text, "token %zu: %.9g and %.9g", v, a[v], b[v]);
      return text;
    }
  }
  return "";
}

void expectSameBits(const Continuation& a, const Continuation& b, const std::string& what) {
  EXPECT_EQ(a.ids, b.ids) << what;
  ASSERT_EQ(a.logits.size(), b.logits.size()) << what;
  for (size_t s = 0; s < a.logits.size(); ++s)
    EXPECT_EQ(difference(a.logits[s], b.logits[s]), "") << what << ", step " << s;
}

struct Case {
  const char* name;
  std::string model;
  int prompt;  // tokens: more than 64, no multiple of 7 or 64
};

void PrintTo(const Case& c, std::ostream* os) { *os << c.name; }

class Bits : public testing::TestWithParam<std::tuple<Case, std::string>> {
 protected:
  static constexpr int kSteps = 6;
  const Case& model() const { return std::get<0>(GetParam()); }

  void SetUp() override {
    if (!std::filesystem::exists(model().model))
      GTEST_SKIP() << model().model << " is absent (LLMC_MATERIAL_DIR)";
  }
  std::string plan() const {
    return compiledPlan(model().model, {"--dtype", std::get<1>(GetParam()), "--max-batch", "3"});
  }
};

TEST_P(Bits, AreTheSameForAnyThreadsAndChunks) {
  const RunningModel running(plan());
  ASSERT_TRUE(running.ok());
  const Ids prompt = somePrompt(model().prompt, running.plan->vocabSize());
  Continuation first;
  const int64_t chunks[] = {1, 7, 64, 0};  // 0: the plan's, here all at once
  for (int threads = 1; threads <= 4; ++threads) {
    for (int64_t chunk : chunks) {
      if (!llmc_tests::fullTests() && chunk != chunks[threads - 1]) continue;
      const auto session = running.session({.threads = threads, .prefill_chunk = chunk});
      ASSERT_TRUE(session);
      const Continuation c = continueGreedily(*session, prompt, kSteps);
      if (first.logits.empty()) first = c;
      expectSameBits(first, c,
                     std::to_string(threads) + " threads, chunks of " + std::to_string(chunk));
    }
  }
}

TEST_P(Bits, OfPrefillAreThoseOfDecodes) {
  const RunningModel running(plan());
  ASSERT_TRUE(running.ok());
  const Ids prompt = somePrompt(model().prompt, running.plan->vocabSize());
  const auto whole = running.session({.threads = 2}), single = running.session({.threads = 2});
  ASSERT_TRUE(whole && single);
  for (size_t i = 0; i < prompt.size(); ++i) {
    // Logits of every position: prefill's of the prompt cut behind it.
    const Logits decoded = decode(*single, prompt[i]);
    if (i % 16 != 0 && i + 1 != prompt.size()) continue;
    whole->reset(0);
    ASSERT_EQ(difference(prefill(*whole, std::span(prompt).first(i + 1)), decoded), "")
        << "position " << i;
  }
}

// One step with part of a prompt, a decode and a whole prompt in it gives each the bits it has
// alone.
TEST_P(Bits, DoNotDependOnWhatElseIsInTheBatch) {
  const RunningModel running(plan());
  ASSERT_TRUE(running.ok());
  const Ids prompt = somePrompt(model().prompt, running.plan->vocabSize());
  const auto alone = running.session({.threads = 2});
  ASSERT_TRUE(alone);
  const std::span<const int32_t> ids(prompt);
  const Logits expected_long = prefill(*alone, ids.first(60));
  alone->reset(0);
  const Logits expected_decode = prefill(*alone, ids.subspan(3, 21));
  alone->reset(0);
  const Logits expected_short = prefill(*alone, ids.subspan(7, 9));

  const auto mixed = running.session({.threads = 2, .max_batch = 3});
  ASSERT_TRUE(mixed);
  ASSERT_TRUE(mixed->prefill(0, ids.first(23)).ok());
  ASSERT_TRUE(mixed->prefill(1, ids.subspan(3, 20)).ok());
  std::vector<llmrt::StepToken> step;
  for (size_t i = 23; i < 60; ++i)
    step.push_back({.seq = 0, .token = prompt[i], .want_logits = i == 59});
  step.push_back({.seq = 1, .token = prompt[23], .want_logits = true});
  for (size_t i = 7; i < 16; ++i)
    step.push_back({.seq = 2, .token = prompt[i], .want_logits = i == 15});
  const llmrt::Status status = mixed->step(step);
  ASSERT_TRUE(status.ok()) << status.message();
  ASSERT_EQ(mixed->numLogitsRows(), 3);
  const auto row = [&](int64_t i) {
    return Logits(mixed->logits(i).begin(), mixed->logits(i).end());
  };
  EXPECT_EQ(difference(row(0), expected_long), "");
  EXPECT_EQ(difference(row(1), expected_decode), "");
  EXPECT_EQ(difference(row(2), expected_short), "");
}

llmc_tests::Sweep<std::tuple<Case, std::string>> modelsAndDtypes() {
  const std::vector<Case> models = {
      Case{"mistral_window", goldenModel("mistral_window"), 165},
      Case{"llama_mqa_head_dim_24", goldenModel("llama_mqa_head_dim_24"), 165},
      Case{"gemma2", goldenModel("gemma2"), 165},
      Case{"phi", goldenModel("phi"), 165},
      Case{"qwen2_moe", goldenModel("qwen2_moe"), 165},
      Case{"gpt_oss", goldenModel("gpt_oss"), 165},
      Case{"deepseek_v3", goldenModel("deepseek_v3"), 165},
      Case{"qwen3_5", goldenModel("qwen3_5"), 165},
      Case{"tiny_stories", material("weights/TinyStories-656K-bf16"), 300}};
  return llmc_tests::diagonal(models, std::vector<std::string>{"f32", "f16", "bf16"});
}

LLMC_INSTANTIATE_SWEEP(Bits, modelsAndDtypes(), [](const auto& info) {
  return std::string(std::get<0>(info.param).name) + "_" + std::get<1>(info.param);
});

}  // namespace
}  // namespace e2e
