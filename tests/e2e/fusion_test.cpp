// Every pass that may be left out: the model says the same without it.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/e2e/golden_run.h"
#include "tests/e2e/plan_cache.h"
#include "tests/e2e/running_model.h"

namespace e2e {
namespace {

// Greedy ids are certain beyond the golden tolerance, so fused and unfused are compared with the
// same golden run.
void expectGoldenWithout(const std::string& passes, const std::string& name) {
  SCOPED_TRACE(name);
  const auto golden = goldenOf(name);
  const std::string dtype = golden["stored_dtype"];
  const nlohmann::json* run = goldenRun(golden, dtype, "f32");
  ASSERT_TRUE(run);
  const RunningModel model(compiledPlan(
      goldenModel(name), {"--dtype", dtype, "--kv-dtype", "f32", "--disable-pass", passes}));
  ASSERT_TRUE(model.ok());
  const auto session = model.session({.threads = 2, .prefill_chunk = 29});
  ASSERT_TRUE(session);
  expectGoldenRun(*session, golden, *run);
}

class Fusion : public testing::TestWithParam<std::string> {};

TEST_P(Fusion, ChangesNeitherIdsNorLogitsBeyondTheTolerance) {
  for (const char* name : {"llama_gqa_biases", "mistral_window_bf16"})
    expectGoldenWithout(GetParam(), name);
}

class FamilyFusion : public testing::TestWithParam<std::string> {};

TEST_P(FamilyFusion, EveryOpHasAKernelOfItsOwn) { expectGoldenWithout(kEveryFusion, GetParam()); }

// Every architecture, and each form of layer that one of them has.
std::vector<std::string> unfusedNames() {
  return withEveryArchitecture(
      {"cohere_qk_norm", "falcon_40b", "gpt_neox", "phi3_longrope", "stablelm"});
}

INSTANTIATE_TEST_SUITE_P(, FamilyFusion, testing::ValuesIn(unfusedNames()),
                         [](const auto& info) { return info.param; });

INSTANTIATE_TEST_SUITE_P(, Fusion,
                         testing::Values("llm-fuse-norm-qkv", "llm-fuse-norm-glu",
                                         "llm-fuse-residual", "llm-fuse-norm-logits", kEveryFusion,
                                         std::string("canonicalize,llm-plan-memory,") +
                                             kEveryFusion),
                         [](const auto& info) {
                           std::string name =
                               info.param == kEveryFusion ? "every_fusion" : info.param;
                           if (name.starts_with("canonicalize")) name = "everything";
                           std::replace(name.begin(), name.end(), '-', '_');
                           return "without_" + name;
                         });

}  // namespace
}  // namespace e2e
