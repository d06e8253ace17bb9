// The aarch64 code of a plan, run under qemu: the ids and the very bits that this machine's own
// target gives.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

#include "tests/e2e/emulated_aarch64.h"
#include "tests/e2e/plan_cache.h"

namespace e2e {
namespace {

void expectTheBitsOfThisMachine(const std::string& plan, const Ids& prompt, int count) {
  const RunningModel model(plan);
  ASSERT_TRUE(model.ok());
  const auto session = model.session({.threads = 2});
  ASSERT_TRUE(session);
  expectTheSameBitsOnAarch64(plan, *session, prompt, count);
}

TEST(Aarch64, TellsTheStoryOfThisMachine) {
  E2E_NEED_QEMU();
  E2E_NEED_MATERIAL(kStoriesModel);
  expectTheBitsOfThisMachine(storiesPlan(), {1, 403, 407, 261, 378}, 8);
}

TEST(Aarch64, GivesTheBitsOfThisMachineInEveryDtype) {
  E2E_NEED_QEMU();
  for (const char* dtype : {"f32", "f16", "bf16"}) {
    SCOPED_TRACE(dtype);
    expectTheBitsOfThisMachine(compiledPlan(goldenModel("mistral_window"),
                                            {"--dtype", dtype, "--target", "x86-64-v3,aarch64"}),
                               somePrompt(70, 131), 6);
  }
}

// Which instructions a CPU has, the system says.
TEST(Aarch64, TakesTheBestTargetOfThePlanThatTheCpuHas) {
  E2E_NEED_QEMU();
  const std::string all = compiledPlan(
      goldenModel("llama_mha"), {"--target", "x86-64-v3,aarch64,aarch64-dotprod,aarch64-i8mm"});
  const std::string matrix = compiledPlan(goldenModel("llama_mha"), {"--target", "aarch64-i8mm"});
  for (const char* target : {"aarch64", "aarch64-dotprod", "aarch64-i8mm"}) {
    SCOPED_TRACE(target);
    EXPECT_EQ(runOnAarch64(target, all, {1, 5}, 1).err, std::string(target) + '\n');
    const Output output = runOnAarch64(target, matrix, {1, 5}, 1);
    const bool has = std::string(target) == "aarch64-i8mm";
    EXPECT_EQ(output.status, has ? 0 : 1) << output.err;
    if (has) continue;
    // One line that says what the plan has and what the machine runs.
    EXPECT_EQ(std::count(output.err.begin(), output.err.end(), '\n'), 1) << output.err;
    EXPECT_THAT(output.err, testing::HasSubstr("aarch64-i8mm"));
    EXPECT_THAT(output.err, testing::HasSubstr(target));
  }
}

}  // namespace
}  // namespace e2e
