// The aarch64 code of a plan, run under qemu: the ids and the very bits that this machine's own
// target gives.
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace e2e
