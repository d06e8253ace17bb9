// Every golden, in every dtype, through the fused and the unfused pipeline, on every CPU target: an
// hour of compiling, so no test of ctest (README.md says how it is run).
//
// x86-64-v3 stays within the golden's tolerance; the other targets give the very bits of x86-64-v3.
#include <gtest/gtest.h>

#include <algorithm>

#include "runtime/executor/cpu_features.h"
#include "tests/e2e/emulated_aarch64.h"
#include "tests/e2e/golden_run.h"
#include "tests/e2e/greedy_hashes.h"
#include "tests/e2e/plan_cache.h"

namespace e2e {
namespace {

struct Combination {
  std::string name, dtype;
  bool fused;
};

std::vector<Combination> combinations() {
  std::vector<Combination> all;
  for (const std::string& name : goldenNames())
    for (const char* dtype : {"f32", "bf16", "f16"})
      for (const bool fused : {true, false}) all.push_back({name, dtype, fused});
  return all;
}

class EveryTarget : public testing::TestWithParam<Combination> {
 protected:
  void SetUp() override {
    const Combination& c = GetParam();
    std::vector<std::string> flags = goldenFlags(c.name);
    flags.insert(flags.end(), {"--dtype", c.dtype, "--kv-dtype", c.dtype, "--target",
                               "x86-64-v3,x86-64-v4,aarch64"});
    if (!c.fused) flags.insert(flags.end(), {"--disable-pass", kEveryFusion});
    plan_ = compiledPlan(goldenModel(c.name), flags);
    golden_ = goldenOf(c.name);
    ASSERT_FALSE(plan_.empty());
  }

  Ids prompt() const { return golden_["prompt_ids"]; }

  std::string plan_;
  nlohmann::json golden_;
};

TEST_P(EveryTarget, V3EqualsTransformers) {
  const RunningModel model(plan_, "x86-64-v3");
  ASSERT_TRUE(model.ok());
  const nlohmann::json* run = goldenRun(golden_, GetParam().dtype, GetParam().dtype);
  ASSERT_TRUE(run);
  const auto session = model.session({.threads = 1});
  ASSERT_TRUE(session);
  expectGoldenRun(*session, golden_, *run);
}

TEST_P(EveryTarget, V4GivesTheBitsOfV3) {
  const auto supported = llmrt::supportedCpuTargets();
  if (std::find(supported.begin(), supported.end(), "x86-64-v4") == supported.end())
    GTEST_SKIP() << "this machine does not run x86-64-v4 (tests/emulated does)";
  std::string hashes[2];
  for (const int v4 : {0, 1}) {
    const RunningModel model(plan_, v4 ? "x86-64-v4" : "x86-64-v3");
    ASSERT_TRUE(model.ok());
    const auto session = model.session({.threads = 1});
    ASSERT_TRUE(session);
    hashes[v4] = greedyHashes(*session, prompt(), 4);
  }
  EXPECT_EQ(hashes[1], hashes[0]);
}

TEST_P(EveryTarget, Aarch64GivesTheBitsOfV3) {
  E2E_NEED_QEMU();
  const RunningModel model(plan_, "x86-64-v3");
  ASSERT_TRUE(model.ok());
  const auto session = model.session({.threads = 1});
  ASSERT_TRUE(session);
  expectTheSameBitsOnAarch64(plan_, *session, prompt(), 4);
}

INSTANTIATE_TEST_SUITE_P(, EveryTarget, testing::ValuesIn(combinations()), [](const auto& info) {
  const Combination& c = info.param;
  return c.name + '_' + c.dtype + (c.fused ? "_fused" : "_unfused");
});

}  // namespace
}  // namespace e2e
