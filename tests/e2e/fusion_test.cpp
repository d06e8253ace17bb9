// Every pass that may be left out: the model says the same without it.
#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>

#include "tests/e2e/golden_run.h"
#include "tests/e2e/plan_cache.h"
#include "tests/e2e/running_model.h"
#include "tests/sampling.h"

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
  std::vector<std::string> flags = {"--dtype",        dtype, "--kv-dtype", "f32",
                                    "--disable-pass", passes};
  if (name == "phi3_longrope") flags.insert(flags.end(), {"--max-seq-len", "128"});
  const RunningModel model(compiledPlan(goldenModel(name), flags));
  ASSERT_TRUE(model.ok());
  const auto session = model.session({.threads = 2, .prefill_chunk = 29});
  ASSERT_TRUE(session);
  expectGoldenRun(*session, golden, *run);
}

class Fusion : public testing::TestWithParam<std::tuple<std::string, std::string>> {};

TEST_P(Fusion, ChangesNeitherIdsNorLogitsBeyondTheTolerance) {
  expectGoldenWithout(std::get<0>(GetParam()), std::get<1>(GetParam()));
}

class FamilyFusion : public testing::TestWithParam<std::string> {};

TEST_P(FamilyFusion, EveryOpHasAKernelOfItsOwn) { expectGoldenWithout(kEveryFusion, GetParam()); }

// Every architecture, and each form of layer that one of them has.
llmc_tests::Sweep<std::string> unfusedNames() {
  return llmc_tests::everyNth(withEveryArchitecture({"cohere_qk_norm", "falcon_40b", "gpt_neox",
                                                     "phi3_longrope", "stablelm"}),
                              5, 2);
}

LLMC_INSTANTIATE_SWEEP(FamilyFusion, unfusedNames(), [](const auto& info) { return info.param; });

llmc_tests::Sweep<std::tuple<std::string, std::string>> passesAndModels() {
  return llmc_tests::diagonal(
      std::vector<std::string>{"llm-fuse-norm-qkv", "llm-fuse-norm-glu", "llm-fuse-residual",
                               "llm-fuse-norm-logits", kEveryFusion,
                               std::string("canonicalize,llm-plan-memory,") + kEveryFusion},
      std::vector<std::string>{"llama_gqa_biases", "mistral_window_bf16"});
}

LLMC_INSTANTIATE_SWEEP(Fusion, passesAndModels(), [](const auto& info) {
  const std::string passes = std::get<0>(info.param);
  std::string name = passes == kEveryFusion ? "every_fusion" : passes;
  if (name.starts_with("canonicalize")) name = "everything";
  std::replace(name.begin(), name.end(), '-', '_');
  return "without_" + name + '_' + std::get<1>(info.param);
});

}  // namespace
}  // namespace e2e
