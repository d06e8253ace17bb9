// llama2.c's 260K-parameter model as GGUF: greedy text equal to what llama2.c prints, to the
// letter.
//
// `run model -t 0 -n STEPS [-i PROMPT]` forwards one token a step, the first being BOS. While the
// prompt lasts its tokens are taken, after it the likeliest: a prompt of P ids (with BOS) leaves
// STEPS - (P - 1) generated tokens. It prints every token but BOS, the first without its leading
// space, and ends early only at a BOS. A newline follows.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <tuple>

#include "runtime/executor/cpu_features.h"
#include "tests/e2e/plan_cache.h"
#include "tests/e2e/process.h"
#include "tests/e2e/running_model.h"
#include "tests/sampling.h"

namespace e2e {
namespace {

constexpr int kBos = 1;

struct Story {
  const char* golden;
  int steps;
  std::string prompt;
  Ids prompt_ids;
};

// Ids of tok512's "Once upon a time".
const Story kStories[] = {
    {"karpathy_expected_n200_noprompt.txt", 200, "", {kBos}},
    {"gold_noprompt_n256.txt", 256, "", {kBos}},
    {"gold_once_n200.txt", 200, "Once upon a time", {kBos, 403, 407, 261, 378}},
};

constexpr const char* kChunks[] = {"1", "7", "64"};

std::string expectedText(const Story& story) {
  std::string text = readFile(material("weights/stories260K/golden/") + story.golden);
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

// What llama2.c would have printed, by llmrun with `flags`.
void expectStory(const Story& story, const std::string& plan, std::vector<std::string> flags) {
  SCOPED_TRACE(std::string(story.golden) + ' ' + commandLine(flags));
  const int count = story.steps - static_cast<int>(story.prompt_ids.size()) + 1;
  flags.insert(flags.end(),
               {"--prompt", story.prompt, "-n", std::to_string(count), "--ignore-eos"});
  const auto json = llmrunJson(plan, flags);
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["prompt_ids"], story.prompt_ids);
  EXPECT_THAT(json["ids"].get<Ids>(), testing::Not(testing::Contains(kBos)))
      << "llama2.c would have ended there";
  EXPECT_EQ(json["ids"].size(), static_cast<size_t>(count));
  EXPECT_EQ(story.prompt + json["text"].get<std::string>(), expectedText(story));
}

class Stories260K : public testing::TestWithParam<std::tuple<std::string, int>> {
 protected:
  void SetUp() override {
    E2E_NEED_MATERIAL(kStoriesModel);
    const auto supported = llmrt::supportedCpuTargets();
    if (std::find(supported.begin(), supported.end(), target()) == supported.end()) {
      GTEST_SKIP() << "this machine does not run " << target();
    }
  }
  std::string target() const { return std::get<0>(GetParam()); }
  size_t numThreads() const { return static_cast<size_t>(std::get<1>(GetParam())); }
  std::string threads() const { return std::to_string(numThreads()); }
};

TEST_P(Stories260K, EqualLlama2cToTheLetterWithAnyChunkAtRunTime) {
  const std::string plan = storiesPlan();
  ASSERT_FALSE(plan.empty());
  for (size_t s = 0; s < std::size(kStories); ++s) {
    for (size_t c = 0; c < std::size(kChunks); ++c) {
      if (!llmc_tests::fullTests() && c != (s + numThreads()) % std::size(kChunks)) continue;
      expectStory(
          kStories[s], plan,
          {"--cpu-target", target(), "--threads", threads(), "--prefill-chunk", kChunks[c]});
    }
  }
}

TEST_P(Stories260K, EqualLlama2cToTheLetterWithAnyChunkAtCompileTime) {
  // In the short form x86-64-v3 has two of the chunks and x86-64-v4 the third, whatever the
  // threads.
  for (size_t c = 0; c < std::size(kChunks); ++c) {
    if (!llmc_tests::fullTests() && (c == 1) != (target() == "x86-64-v4")) continue;
    const std::string plan = compiledPlan(
        material(kStoriesModel), {"--dtype", "f32", "--max-seq-len", "512", "--prefill-chunk",
                                  kChunks[c], "--target", target()});
    ASSERT_FALSE(plan.empty());
    expectStory(kStories[2], plan, {"--threads", threads()});
  }
}

INSTANTIATE_TEST_SUITE_P(, Stories260K,
                         testing::Combine(testing::Values<std::string>("x86-64-v3", "x86-64-v4"),
                                          testing::Values(1, 2)),
                         [](const auto& info) {
                           std::string name = std::get<0>(info.param) + "_threads_" +
                                              std::to_string(std::get<1>(info.param));
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// Plain output: the generated text alone and one newline, as it streams.
TEST(Stories, AreStreamedWhole) {
  E2E_NEED_MATERIAL(kStoriesModel);
  const std::string plan = storiesPlan();
  ASSERT_FALSE(plan.empty());
  const Output output = run({LLMRUN, plan, "--prompt", "", "-n", "200", "--ignore-eos"});
  EXPECT_EQ(output.status, 0) << output.err;
  EXPECT_EQ(output.out, expectedText(kStories[0]) + '\n');
  EXPECT_EQ(output.err, "");
}

}  // namespace
}  // namespace e2e
