// Tiny random models against Hugging Face Transformers in float64. tests/golden/README.md describes
// the files; the tolerance in each is derived in the heads of the scripts that make them, and
// greedy ids there are certain beyond it.
#include <gtest/gtest.h>

#include <set>

#include "tests/e2e/golden_run.h"
#include "tests/e2e/plan_cache.h"
#include "tests/e2e/running_model.h"
#include "tests/sampling.h"

namespace e2e {
namespace {

// The cases whose checkpoint is in bf16 or f16.
std::vector<std::string> narrowNames() {
  std::vector<std::string> names;
  for (const std::string& name : goldenNames())
    if (goldenStoredType(name) != "float32") names.push_back(name);
  return names;
}

// One case of each architecture that has none in bf16.
std::vector<std::string> wideNames() {
  std::set<std::string> model_types;
  for (const std::string& name : goldenNames())
    if (goldenStoredType(name) == "bfloat16") model_types.insert(goldenModelType(name));
  std::vector<std::string> names;
  for (const std::string& name : goldenNames())
    if (model_types.insert(goldenModelType(name)).second) names.push_back(name);
  return names;
}

class Golden : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { golden_ = goldenOf(GetParam()); }

  std::string stored() const { return golden_["stored_dtype"]; }

  // With the model compiled in `weights` and `kv`: every golden logit, in process and through
  // llmrun, and every id.
  void expectRun(const std::string& weights, const std::string& kv) {
    SCOPED_TRACE("weights " + weights + ", KV cache " + kv);
    const nlohmann::json* run = goldenRun(golden_, weights, kv);
    ASSERT_TRUE(run);
    std::vector<std::string> flags = goldenFlags(GetParam());
    flags.insert(flags.end(), {"--dtype", weights, "--kv-dtype", kv});
    // Its golden is of the frequencies of a long context, which nobody gets unasked.
    if (GetParam() == "phi3_longrope") flags.insert(flags.end(), {"--max-seq-len", "128"});
    const std::string plan = compiledPlan(goldenModel(GetParam()), flags);
    const RunningModel model(plan);
    ASSERT_TRUE(model.ok());
    const auto session = model.session({.threads = 2});
    ASSERT_TRUE(session);
    expectGoldenRun(*session, golden_, *run);
    expectLlmrun(*run, plan);
  }

 private:
  void expectLlmrun(const nlohmann::json& golden, const std::string& plan) {
    const auto json = llmrunJson(plan, {"--prompt-ids", joined(golden_["prompt_ids"].get<Ids>()),
                                        "-n", "20", "--ignore-eos", "--top-logits", "5"});
    ASSERT_TRUE(json.is_object());
    EXPECT_EQ(json["prompt_ids"], golden_["prompt_ids"]);
    EXPECT_EQ(json["ids"], golden["greedy_ids"]);
    ASSERT_EQ(json["steps"].size(), golden["steps"].size());
    for (size_t s = 0; s < golden["steps"].size(); ++s) {
      EXPECT_NEAR(json["steps"][s][0][1].get<double>(),
                  golden["steps"][s]["top"][0][1].get<double>(), golden["tolerance"].get<double>())
          << "step " << s;
    }
  }

  nlohmann::json golden_;
};

// Compiled as stored, the KV cache unrounded: what tells weights, shapes, RoPE and window apart
// most sharply.
TEST_P(Golden, EqualsTransformersAsStored) { expectRun(stored(), "f32"); }

// The short form runs every case once: one whose checkpoint is narrow in one of three ways.
llmc_tests::Sweep<std::string> asStored() {
  llmc_tests::Sweep<std::string> sweep = llmc_tests::everyNth(narrowNames(), 3, 0);
  for (const std::string& name : goldenNames())
    if (goldenStoredType(name) == "float32") sweep.short_form.push_back(name);
  return sweep;
}

LLMC_INSTANTIATE_SWEEP(Golden, asStored(), [](const auto& info) { return info.param; });

class RoundedCacheGolden : public Golden {};

TEST_P(RoundedCacheGolden, EqualsTransformers) { expectRun(stored(), stored()); }

LLMC_INSTANTIATE_SWEEP(RoundedCacheGolden, llmc_tests::everyNth(narrowNames(), 3, 1),
                       [](const auto& info) { return info.param; });

// bf16 and f16 widen to f32 exactly.
class WidenedGolden : public Golden {};

TEST_P(WidenedGolden, EqualsTransformers) { expectRun("f32", "f32"); }

LLMC_INSTANTIATE_SWEEP(WidenedGolden, llmc_tests::everyNth(narrowNames(), 3, 2),
                       [](const auto& info) { return info.param; });

// What --dtype bf16 makes of a checkpoint in f32: matrices and cache rounded, norms and biases not.
class WideGolden : public Golden {};

TEST_P(WideGolden, EqualsTransformersRoundedToBf16) { expectRun("bf16", "bf16"); }

LLMC_INSTANTIATE_SWEEP(WideGolden, llmc_tests::everyNth(wideNames(), 5),
                       [](const auto& info) { return info.param; });

TEST(GoldenFiles, ArePresent) { EXPECT_GE(goldenNames().size(), 48u); }

}  // namespace
}  // namespace e2e
