// One plan, several CPUs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "runtime/core/cpu_features.h"
#include "tests/e2e/plan_cache.h"
#include "tests/e2e/process.h"
#include "tests/e2e/running_model.h"

namespace e2e {
namespace {

using testing::HasSubstr;

const char kTargets[] = "x86-64-v3,x86-64-v4,aarch64";

bool runsHere(const std::string& target) {
  const auto supported = llmrt::supportedCpuTargets();
  return std::find(supported.begin(), supported.end(), target) != supported.end();
}

TEST(Target, IsTheBestOfThePlanThatThisMachineRuns) {
  const RunningModel model(compiledPlan(goldenModel("llama_mha"), {"--target", kTargets}));
  ASSERT_TRUE(model.ok());
  const auto supported = llmrt::supportedCpuTargets();
  const auto best = std::find_if(supported.begin(), supported.end(), [](const std::string& name) {
    return std::strstr(kTargets, name.c_str());
  });
  ASSERT_NE(best, supported.end());
  EXPECT_EQ(model.plan->targetName(), *best);
}

TEST(Target, V4GivesTheBitsOfV3) {
  if (!runsHere("x86-64-v4")) GTEST_SKIP() << "this machine does not run x86-64-v4";
  for (const char* dtype : {"f32", "f16", "bf16"}) {
    SCOPED_TRACE(dtype);
    const std::string plan =
        compiledPlan(goldenModel("llama_mha"), {"--dtype", dtype, "--target", kTargets});
    const RunningModel v3(plan, "x86-64-v3"), v4(plan, "x86-64-v4");
    ASSERT_TRUE(v3.ok() && v4.ok());
    // Two plans open at once have each its own code.
    EXPECT_NE(v3.plan->kernel(0), v4.plan->kernel(0));
    const Ids prompt = somePrompt(80, v3.plan->vocabSize());
    const auto a = v3.session({.threads = 1}), b = v4.session({.threads = 2, .prefill_chunk = 7});
    ASSERT_TRUE(a && b);
    const Continuation expected = continueGreedily(*a, prompt, 8),
                       actual = continueGreedily(*b, prompt, 8);
    EXPECT_EQ(actual.ids, expected.ids);
    ASSERT_EQ(actual.logits.size(), expected.logits.size());
    for (size_t s = 0; s < actual.logits.size(); ++s) {
      EXPECT_EQ(std::memcmp(actual.logits[s].data(), expected.logits[s].data(),
                            actual.logits[s].size() * sizeof(float)),
                0)
          << "step " << s;
    }
  }
}

TEST(Target, OfAnotherCpuIsRefusedInOneLineThatNamesBoth) {
  const bool here = runsHere("aarch64");
  const std::string other = here ? "x86-64-v3" : "aarch64";
  const std::string plan = compiledPlan(goldenModel("llama_mha"), {"--target", other});
  ASSERT_FALSE(plan.empty());
  const Output output = run({LLMRUN, plan, "--prompt-ids", "1,5", "-n", "2"});
  EXPECT_EQ(output.status, 1);
  EXPECT_EQ(output.out, "");
  EXPECT_EQ(std::count(output.err.begin(), output.err.end(), '\n'), 1) << output.err;
  EXPECT_THAT(output.err, HasSubstr(plan));
  EXPECT_THAT(output.err, HasSubstr(other));
  for (const std::string& name : llmrt::supportedCpuTargets())
    EXPECT_THAT(output.err, HasSubstr(name));
  EXPECT_THAT(output.err, HasSubstr("--target"));
}

TEST(Target, ThatThePlanLacksIsRefused) {
  const std::string plan = compiledPlan(goldenModel("llama_mha"), {"--target", kTargets});
  ASSERT_FALSE(plan.empty());
  const Output output =
      run({LLMRUN, plan, "--cpu-target", "sapphirerapids", "--prompt-ids", "1,5", "-n", "2"});
  EXPECT_EQ(output.status, 1);
  EXPECT_THAT(output.err, HasSubstr("--cpu-target asks for sapphirerapids"));
}

}  // namespace
}  // namespace e2e
