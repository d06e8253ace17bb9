// Tiny random models against Hugging Face Transformers in float64. tests/golden/README.md describes
// the files; the tolerance in each is derived in the head of make_goldens.py, and greedy ids there
// are certain beyond it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "tests/e2e/plan_cache.h"
#include "tests/e2e/process.h"
#include "tests/e2e/running_model.h"

namespace e2e {
namespace {

namespace fs = std::filesystem;

nlohmann::json goldenOf(const std::string& name) {
  return nlohmann::json::parse(readFile(goldenModel(name) + "/golden.json"));
}

// The cases, or those whose checkpoint is in bf16 or f16.
std::vector<std::string> goldenNames(bool narrow_only = false) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(goldenModel(""))) {
    // A folder without a model (the demo's) has a test of its own.
    const std::string name = entry.path().filename().string();
    if (!fs::exists(entry.path() / "golden.json") || !fs::exists(entry.path() / "config.json"))
      continue;
    if (!narrow_only || goldenOf(name)["stored_dtype"] != "f32") names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

struct Worst {
  double error = -1, actual = 0, expected = 0;
  std::string where;

  void see(double a, double e, const std::string& at) {
    const double difference = std::abs(a - e);
    if (difference <= error) return;  // false for a NaN, which counts as the worst
    *this = {std::isnan(difference) ? INFINITY : difference, a, e, at};
  }
};

class Golden : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { golden_ = goldenOf(GetParam()); }

  std::string stored() const { return golden_["stored_dtype"]; }

  // With the model compiled in `weights` and `kv`: every golden logit, in process and through
  // llmrun, and every id.
  void expectRun(const std::string& weights, const std::string& kv) {
    SCOPED_TRACE("weights " + weights + ", KV cache " + kv);
    const auto& runs = golden_["runs"];
    const auto found = std::find_if(runs.begin(), runs.end(), [&](const auto& r) {
      return r["weights_dtype"] == weights && r["kv_dtype"] == kv;
    });
    ASSERT_NE(found, runs.end());
    const std::string plan =
        compiledPlan(goldenModel(GetParam()), {"--dtype", weights, "--kv-dtype", kv});
    const RunningModel model(plan);
    ASSERT_TRUE(model.ok());
    expectLogits(*found, model);
    expectLlmrun(*found, plan);
  }

 private:
  void expectLogits(const nlohmann::json& golden, const RunningModel& model) {
    const Ids prompt = golden_["prompt_ids"], positions = golden_["positions"],
              ids = golden["greedy_ids"];
    const auto session = model.session({.threads = 2});
    ASSERT_TRUE(session);
    Worst worst;
    Logits logits;
    // The prompt goes in piece by piece, each ending where golden logits are.
    for (size_t p = 0; p < positions.size(); ++p) {
      const auto begin = static_cast<size_t>(session->kvLen(0)),
                 end = static_cast<size_t>(positions[p]) + 1;
      logits = prefill(*session, std::span(prompt).subspan(begin, end - begin));
      const Logits expected = golden["logits"][p];
      ASSERT_EQ(logits.size(), expected.size());
      for (size_t v = 0; v < logits.size(); ++v) {
        worst.see(logits[v], expected[v],
                  "position " + std::to_string(positions[p]) + ", token " + std::to_string(v));
      }
    }
    for (size_t s = 0; s < ids.size(); ++s) {
      ASSERT_FALSE(logits.empty());
      EXPECT_EQ(argmax(logits), ids[s]) << "step " << s;
      for (const auto& [id, value] :
           golden["steps"][s]["top"].get<std::vector<std::pair<int32_t, double>>>()) {
        worst.see(logits[static_cast<size_t>(id)], value,
                  "step " + std::to_string(s) + ", token " + std::to_string(id));
      }
      logits = decode(*session, ids[s]);
    }
    EXPECT_LE(worst.error, golden["tolerance"].get<double>())
        << worst.where << ": " << worst.actual << ", golden " << worst.expected;
    RecordProperty("worst_of_tolerance",
                   std::to_string(worst.error / golden["tolerance"].get<double>()));
  }

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

INSTANTIATE_TEST_SUITE_P(, Golden, testing::ValuesIn(goldenNames()),
                         [](const auto& info) { return info.param; });

class NarrowGolden : public Golden {};

TEST_P(NarrowGolden, EqualsTransformersWithARoundedCache) { expectRun(stored(), stored()); }

// bf16 and f16 widen to f32 exactly. (f32 kept as bf16 or f16 is no golden: ours leaves norms and
// biases in f32.)
TEST_P(NarrowGolden, EqualsTransformersWidenedToF32) { expectRun("f32", "f32"); }

INSTANTIATE_TEST_SUITE_P(, NarrowGolden, testing::ValuesIn(goldenNames(/*narrow_only=*/true)),
                         [](const auto& info) { return info.param; });

TEST(GoldenFiles, ArePresent) { EXPECT_GE(goldenNames().size(), 12u); }

}  // namespace
}  // namespace e2e
