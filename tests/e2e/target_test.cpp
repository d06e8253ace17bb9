// One plan, several CPUs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "runtime/executor/cpu_features.h"
#include "runtime/schema/plan_generated.h"
#include "tests/e2e/golden_run.h"
#include "tests/e2e/plan_cache.h"
#include "tests/e2e/process.h"
#include "tests/e2e/running_model.h"
#include "tests/sampling.h"

namespace e2e {
namespace {

using testing::HasSubstr;

const char kTargets[] = "x86-64-v3,x86-64-v4,znver4,aarch64,aarch64-dotprod,aarch64-i8mm";

std::string planOfAllTargets() {
  return compiledPlan(goldenModel("llama_mha"), {"--dtype", "f32", "--target", kTargets});
}

bool runsHere(const std::string& target) {
  const auto supported = llmrt::supportedCpuTargets();
  return std::find(supported.begin(), supported.end(), target) != supported.end();
}

TEST(Target, IsTheBestOfThePlanThatThisMachineRuns) {
  const RunningModel model(planOfAllTargets());
  ASSERT_TRUE(model.ok());
  const auto supported = llmrt::supportedCpuTargets();
  const auto best = std::find_if(supported.begin(), supported.end(), [](const std::string& name) {
    return std::strstr(kTargets, name.c_str());
  });
  ASSERT_NE(best, supported.end());
  EXPECT_EQ(model.plan->targetName(), *best);
}

TEST(Target, V4GivesTheBitsOfV3) {
  // Compiled on any machine: one that emulates the target may have no compiler (tests/emulated).
  std::map<std::string, std::string> plans;
  plans["f32"] = planOfAllTargets();
  // In bf16 the short form has six architectures, below.
  std::vector<std::string> narrow = {"f16"};
  if (llmc_tests::fullTests()) narrow.push_back("bf16");
  for (const std::string& dtype : narrow)
    plans[dtype] = compiledPlan(goldenModel("llama_mha"),
                                {"--dtype", dtype, "--target", "x86-64-v3,x86-64-v4"});
  if (!runsHere("x86-64-v4")) GTEST_SKIP() << "this machine does not run x86-64-v4";
  for (const auto& [dtype, plan] : plans) {
    SCOPED_TRACE(dtype);
    const RunningModel v3(plan, "x86-64-v3"), v4(plan, "x86-64-v4");
    ASSERT_TRUE(v3.ok() && v4.ok());
    // Two plans open at once have each its own code.
    EXPECT_NE(v3.plan->kernel(0), v4.plan->kernel(0));
    const Ids prompt = somePrompt(80, v3.plan->vocabSize());
    const auto a = v3.session({.threads = 1}), b = v4.session({.threads = 2, .prefill_chunk = 7});
    ASSERT_TRUE(a && b);
    expectSameBits(continueGreedily(*b, prompt, 8), continueGreedily(*a, prompt, 8));
  }
}

// The targets that round the left operand of a product with bf16 weights to bf16.
class RoundingTarget : public testing::TestWithParam<std::tuple<std::string, std::string>> {};

TEST_P(RoundingTarget, GivesTheSameBitsWhateverTheRowsAndThreads) {
  const auto& [target, name] = GetParam();
  const auto planFor = [&name = name](const std::string& t) {
    return compiledPlan(goldenModel(name),
                        {"--dtype", "bf16", "--kv-dtype", "bf16", "--target", t});
  };
  // Compiled on any machine: one that emulates the target may have no compiler (tests/emulated).
  const std::string plan = planFor(target);
  if (!runsHere(target)) GTEST_SKIP() << "this machine does not run " << target;
  const RunningModel rounding(plan), v3(planFor("x86-64-v3"));
  ASSERT_TRUE(rounding.ok() && v3.ok());
  const Ids prompt = somePrompt(80, rounding.plan->vocabSize());
  const auto a = rounding.session({.threads = 1}),
             b = rounding.session({.threads = 2, .prefill_chunk = 7}),
             c = v3.session({.threads = 1});
  ASSERT_TRUE(a && b && c);
  const Continuation expected = continueGreedily(*a, prompt, 8);
  expectSameBits(continueGreedily(*b, prompt, 8), expected);
  // For layers without norms behind their products. A relative error of 2^-9, independent in the
  // six products of a layer (attention's two among them) and the logits', so that they add in
  // squares; twice that, since a softmax turns a score's error times its size into one of p.
  const Logits fma = prefill(*c, prompt);
  double squares = 0, errors = 0;
  for (size_t v = 0; v < fma.size(); ++v) {
    squares += double(fma[v]) * fma[v];
    errors += std::pow(double(expected.logits[0][v]) - fma[v], 2);
  }
  const double layers = rounding.plan->schema().model()->num_layers();
  EXPECT_GT(errors, 0) << "these are the FMA kernels' bits";
  EXPECT_LE(std::sqrt(errors / squares), 2 * std::sqrt(6 * layers + 1) * 0x1p-9);
}

llmc_tests::Sweep<std::tuple<std::string, std::string>> roundingTargetsAndModels() {
  return llmc_tests::diagonal(
      std::vector<std::string>{"znver4", "sapphirerapids"},
      std::vector<std::string>{"mistral_window_bf16", "llama_head_dim_20_bf16", "qwen3", "gpt_neox",
                               "phi3", "mixtral", "qwen2_moe"});
}

LLMC_INSTANTIATE_SWEEP(RoundingTarget, roundingTargetsAndModels(), [](const auto& info) {
  return std::get<0>(info.param) + '_' + std::get<1>(info.param);
});

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
  const std::string plan = compiledPlan(goldenModel("llama_mha"), {"--target", "aarch64"});
  ASSERT_FALSE(plan.empty());
  const Output output = run({LLMRUN, plan, "--cpu-target", "x86-64-v3", "--prompt-ids", "1,5"});
  EXPECT_EQ(output.status, 1);
  EXPECT_THAT(output.err, HasSubstr("--cpu-target asks for x86-64-v3"));
}

TEST(Target, ThatThisMachineDoesNotRunIsRefused) {
  const std::string plan = planOfAllTargets();
  ASSERT_FALSE(plan.empty());
  const Output output = run({LLMRUN, plan, "--cpu-target", "aarch64", "--prompt-ids", "1,5"});
  EXPECT_EQ(output.status, 1);
  EXPECT_THAT(output.err, HasSubstr("--cpu-target aarch64: is code for another machine"));
}

// In bf16; the other dtypes and unfused plans: every_target.
class EveryArchitecture : public testing::TestWithParam<std::string> {};

TEST_P(EveryArchitecture, V4GivesTheBitsOfV3) {
  if (!runsHere("x86-64-v4")) GTEST_SKIP() << "this machine does not run x86-64-v4";
  // Two plans: golden_test has that of x86-64-v3, too.
  const auto plan = [&](const std::string& target) {
    return compiledPlan(goldenModel(GetParam()),
                        {"--dtype", "bf16", "--kv-dtype", "bf16", "--target", target});
  };
  const RunningModel v3(plan("x86-64-v3")), v4(plan("x86-64-v4"));
  ASSERT_TRUE(v3.ok() && v4.ok());
  const Ids prompt = goldenOf(GetParam())["prompt_ids"];
  const auto a = v3.session({.threads = 1}), b = v4.session({.threads = 2, .prefill_chunk = 29});
  ASSERT_TRUE(a && b);
  expectSameBits(continueGreedily(*b, prompt, 4), continueGreedily(*a, prompt, 4));
}

LLMC_INSTANTIATE_SWEEP(EveryArchitecture, llmc_tests::everyNth(withEveryArchitecture(), 10, 4),
                       [](const auto& info) { return info.param; });

}  // namespace
}  // namespace e2e
