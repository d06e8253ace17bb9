// Every pass that may be left out: the model says the same without it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "tests/e2e/plan_cache.h"
#include "tests/e2e/process.h"
#include "tests/e2e/running_model.h"

namespace e2e {
namespace {

const char kEveryFusion[] =
    "llm-fuse-norm-qkv,llm-fuse-norm-glu,llm-fuse-norm-linear,llm-fuse-residual,"
    "llm-fuse-norm-residual,llm-fuse-norm-logits";

// Greedy ids are certain beyond the golden tolerance, so fused and unfused are compared with the
// same golden run.
void expectGoldenWithout(const std::string& passes, const std::string& name) {
  SCOPED_TRACE(name);
  const auto golden = nlohmann::json::parse(readFile(goldenModel(name) + "/golden.json"));
  const std::string dtype = golden["stored_dtype"];
  const auto& runs = golden["runs"];
  const auto golden_run = std::find_if(runs.begin(), runs.end(), [&](const auto& r) {
    return r["weights_dtype"] == dtype && r["kv_dtype"] == "f32";
  });
  const RunningModel model(compiledPlan(
      goldenModel(name), {"--dtype", dtype, "--kv-dtype", "f32", "--disable-pass", passes}));
  ASSERT_TRUE(model.ok());
  const auto session = model.session({.threads = 2, .prefill_chunk = 29});
  ASSERT_TRUE(session);
  const Ids ids = (*golden_run)["greedy_ids"];
  const Continuation c =
      continueGreedily(*session, golden["prompt_ids"].get<Ids>(), static_cast<int>(ids.size()));
  EXPECT_EQ(c.ids, ids);
  const Logits expected = (*golden_run)["logits"].back();
  ASSERT_EQ(c.logits[0].size(), expected.size());
  double worst = 0;
  for (size_t v = 0; v < expected.size(); ++v) {
    const double error = std::abs(c.logits[0][v] - expected[v]);
    worst = error <= worst ? worst : error;
  }
  EXPECT_LE(worst, (*golden_run)["tolerance"].get<double>());
}

class Fusion : public testing::TestWithParam<std::string> {};

TEST_P(Fusion, ChangesNeitherIdsNorLogitsBeyondTheTolerance) {
  for (const char* name : {"llama_gqa_biases", "mistral_window_bf16"})
    expectGoldenWithout(GetParam(), name);
}

class FamilyFusion : public testing::TestWithParam<std::string> {};

TEST_P(FamilyFusion, EveryOpHasAKernelOfItsOwn) { expectGoldenWithout(kEveryFusion, GetParam()); }

// One of each form of layer.
INSTANTIATE_TEST_SUITE_P(, FamilyFusion,
                         testing::Values<std::string>("qwen3", "granite", "gemma2", "gemma3",
                                                      "glm4", "olmo", "olmo2", "cohere_qk_norm",
                                                      "gpt2", "gpt_neox", "phi", "stablelm",
                                                      "phi3_longrope", "qwen2_moe", "gpt_oss",
                                                      "deepseek_v3"),
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
