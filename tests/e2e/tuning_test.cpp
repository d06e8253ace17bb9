// Tunings change how fast kernels are, and no bit of what they compute.
#include <gtest/gtest.h>

#include <random>

#include "runtime/executor/cpu_features.h"
#include "runtime/io/weight_format.h"
#include "runtime/schema/plan_generated.h"
#include "tests/e2e/plan_cache.h"
#include "tests/e2e/process.h"
#include "tests/e2e/running_model.h"
#include "tests/sampling.h"

namespace e2e {
namespace {

struct TunedModel {
  std::string golden;
  std::vector<std::string> flags;
};

/// A number that is allowed (codegen/cpu/Tuning.cpp: kTuningFields), or none.
void addField(nlohmann::json& to, const char* name, const std::vector<int>& values,
              std::mt19937& rng) {
  if (rng() % 4) to[name] = values[rng() % values.size()];
}

/// A file with other numbers for every size of every op and kind of weights: of a model's own sizes
/// the nearest are found.
std::string randomTuning(const std::string& target, const std::vector<std::string>& weights,
                         std::mt19937& rng) {
  nlohmann::json products = nlohmann::json::array();
  for (const std::string& format : weights)
    for (const char* activations : {"float", "int8"})
      for (const char* op :
           {"norm_qkv", "norm_glu", "linear_residual", "norm_logits", "linear", "norm_linear",
            "norm_projections", "expert_glu", "expert_down", "head_linear"})
        for (const char* rows : {"few", "many"})
          for (int outputs = 16; outputs <= 1024; outputs *= 2) {
            nlohmann::json one = {
                {"op", op},          {"outputs", outputs},         {"inputs", 64},
                {"weights", format}, {"activations", activations}, {"rows", rows}};
            addField(one, "stream_panels", {1, 2, 4, 8, 16}, rng);
            addField(one, "ahead_bytes", {0, 64, 960, 4096, 65536}, rng);
            addField(one, "ahead_level", {1, 2}, rng);
            addField(one, "tile_rows", {1, 2, 3, 5, 7, 12, 13, 24, 32}, rng);
            addField(one, "tile_panels", {1, 2, 4, 8}, rng);
            addField(one, "piece_cols", {256, 512, 65536}, rng);
            addField(one, "block_rows", {16, 17, 64, 1024}, rng);
            addField(one, "join_tiles", {1, 2, 3, 5, 8}, rng);
            products.push_back(one);
          }
  return nlohmann::json({{"llmc_tuning", 1},
                         {"cpus",
                          {{{"cpu", "any"},
                            {"model", "random"},
                            {"target", target},
                            {"threads", 1},
                            {"products", products}}}}})
      .dump();
}

class Tuning : public testing::TestWithParam<TunedModel> {};

TEST_P(Tuning, ChangesNoBit) {
  const TunedModel& tested = GetParam();
  const ScratchDir folder;
  std::vector<std::string> formats;
  for (const llmrt::WeightFormat& format : llmrt::kWeightFormats) formats.emplace_back(format.name);
  std::mt19937 rng(20261130);
  std::vector<std::string> targets = llmrt::supportedCpuTargets();
  // Of the short form the best: the instructions of its own have the most ways to go wrong.
  if (!llmc_tests::fullTests()) targets.resize(1);
  for (const std::string& target : targets) {
    SCOPED_TRACE(target);
    Continuation expected;
    for (int i = -1; i < (llmc_tests::fullTests() ? 8 : 1); ++i) {
      SCOPED_TRACE(i);
      const std::string tuning = folder / "tuning.json", plan = folder / "p.fb";
      writeFile(tuning, randomTuning(target, formats, rng));
      std::vector<std::string> command = {
          LLMC,   "compile",  goldenModel(tested.golden), "-o", plan, "--force", "--target",
          target, "--tuning", i < 0 ? "none" : tuning};
      if (llmc_tests::fullTests())
        command.insert(command.end(), {"--verify", "16", "--max-batch", "3"});
      command.insert(command.end(), tested.flags.begin(), tested.flags.end());
      const Output ran = run(command);
      ASSERT_EQ(ran.status, 0) << ran.err;
      const RunningModel model(plan, target);
      ASSERT_TRUE(model.ok());
      const std::string by = model.plan->schema().producer()->str();
      EXPECT_EQ(by.ends_with(" tuned by tuning.json: any (random), 1 thread"), i >= 0) << by;
      const auto session = model.session({.threads = 2, .prefill_chunk = 37});
      ASSERT_TRUE(session);
      const Continuation got = continueGreedily(*session, somePrompt(53, 64), 5);
      if (i < 0)
        expected = got;
      else
        expectSameBits(got, expected);
    }
  }
}

std::string goldenOf(const testing::TestParamInfo<TunedModel>& info) { return info.param.golden; }
INSTANTIATE_TEST_SUITE_P(, Tuning,
                         testing::Values(TunedModel{"mistral_window_bf16", {}},
                                         TunedModel{"llama_gqa_biases", {"--quantize", "q4"}}),
                         goldenOf);
INSTANTIATE_TEST_SUITE_P(Full, Tuning,
                         testing::Values(TunedModel{"mixtral", {"--dtype", "f16"}},
                                         TunedModel{"deepseek_v2_lite", {"--dtype", "bf16"}}),
                         goldenOf);

}  // namespace
}  // namespace e2e
