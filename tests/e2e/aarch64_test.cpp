// The aarch64 code of a plan, run under qemu: the ids and the very bits that this machine's own
// target gives.
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/e2e/greedy_hashes.h"
#include "tests/e2e/plan_cache.h"
#include "tests/e2e/process.h"
#include "tests/e2e/running_model.h"

namespace e2e {
namespace {

[[maybe_unused]] void expectTheBitsOfThisMachine(const std::string& qemu, const std::string& plan,
                                                 const Ids& prompt, int count) {
  const RunningModel model(plan);
  ASSERT_TRUE(model.ok());
  const auto session = model.session({.threads = 2});
  ASSERT_TRUE(session);
  std::vector<std::string> args = {qemu,           "-L", "/usr/aarch64-linux-gnu",
                                   AARCH64_RUNNER, plan, std::to_string(count)};
  for (int32_t id : prompt) args.push_back(std::to_string(id));
  const Output output = run(args);
  EXPECT_EQ(output.status, 0) << output.err;
  EXPECT_EQ(output.out, greedyHashes(*session, prompt, count));
}

#ifdef QEMU_AARCH64
#define E2E_NEED_QEMU()
#else
#define QEMU_AARCH64 ""
#define E2E_NEED_QEMU() \
  GTEST_SKIP() << "aarch64-linux-gnu-g++ or qemu-aarch64 was missing when this was configured"
#endif

TEST(Aarch64, TellsTheStoryOfThisMachine) {
  E2E_NEED_QEMU();
  E2E_NEED_MATERIAL(kStoriesModel);
  const std::string plan = storiesPlan();
  ASSERT_FALSE(plan.empty());
  expectTheBitsOfThisMachine(QEMU_AARCH64, plan, {1, 403, 407, 261, 378}, 8);
}

TEST(Aarch64, GivesTheBitsOfThisMachineInEveryDtype) {
  E2E_NEED_QEMU();
  for (const char* dtype : {"f32", "f16", "bf16"}) {
    SCOPED_TRACE(dtype);
    const std::string plan = compiledPlan(goldenModel("mistral_window"),
                                          {"--dtype", dtype, "--target", "x86-64-v3,aarch64"});
    ASSERT_FALSE(plan.empty());
    expectTheBitsOfThisMachine(QEMU_AARCH64, plan, somePrompt(70, 131), 6);
  }
}

}  // namespace
}  // namespace e2e
