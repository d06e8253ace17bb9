#include "tests/e2e/golden_run.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "tests/e2e/plan_cache.h"
#include "tests/e2e/process.h"
#include "tests/e2e/running_model.h"

namespace e2e {
namespace {

namespace fs = std::filesystem;

struct Worst {
  double error = -1, actual = 0, expected = 0;
  std::string where;

  void see(double a, double e, const std::string& at) {
    const double difference = std::abs(a - e);
    if (difference <= error) return;  // false for a NaN, which counts as the worst
    *this = {std::isnan(difference) ? INFINITY : difference, a, e, at};
  }
};

nlohmann::json configOf(const std::string& name) {
  return nlohmann::json::parse(readFile(goldenModel(name) + "/config.json"));
}

}  // namespace

std::vector<std::string> goldenNames() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(goldenModel(""))) {
    // A folder without a model (the demo's) has a test of its own.
    if (fs::exists(entry.path() / "golden.json") && fs::exists(entry.path() / "config.json"))
      names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

nlohmann::json goldenOf(const std::string& name) {
  return nlohmann::json::parse(readFile(goldenModel(name) + "/golden.json"));
}

std::string goldenModelType(const std::string& name) { return configOf(name)["model_type"]; }

std::string goldenStoredType(const std::string& name) {
  const nlohmann::json config = configOf(name);
  return config.contains("dtype") ? config["dtype"] : config["torch_dtype"];
}

std::vector<std::string> goldenFlags(const std::string& name) {
  if (!configOf(name).contains("quantization_config")) return {};
  return {"--activations", "float"};
}

std::vector<std::string> withEveryArchitecture(std::vector<std::string> names) {
  std::set<std::string> model_types;
  for (const std::string& name : names) model_types.insert(goldenModelType(name));
  for (const std::string& name : goldenNames())
    if (model_types.insert(goldenModelType(name)).second) names.push_back(name);
  return names;
}

const nlohmann::json* goldenRun(const nlohmann::json& golden, const std::string& weights,
                                const std::string& kv) {
  for (const nlohmann::json& run : golden["runs"])
    if (run["weights_dtype"] == weights && run["kv_dtype"] == kv) return &run;
  ADD_FAILURE() << golden["case"] << " has no run " << weights << '/' << kv;
  return nullptr;
}

void expectGoldenRun(llmrt::Session& session, const nlohmann::json& golden,
                     const nlohmann::json& run) {
  const Ids prompt = golden["prompt_ids"], positions = golden["positions"], ids = run["greedy_ids"];
  Worst worst;
  Logits logits;
  for (size_t p = 0; p < positions.size(); ++p) {
    const auto begin = static_cast<size_t>(session.kvLen(0)),
               end = static_cast<size_t>(positions[p]) + 1;
    logits = prefill(session, std::span(prompt).subspan(begin, end - begin));
    const Logits expected = run["logits"][p];
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
         run["steps"][s]["top"].get<std::vector<std::pair<int32_t, double>>>()) {
      worst.see(logits[static_cast<size_t>(id)], value,
                "step " + std::to_string(s) + ", token " + std::to_string(id));
    }
    logits = decode(session, ids[s]);
  }
  const double tolerance = run["tolerance"];
  EXPECT_LE(worst.error, tolerance)
      << worst.where << ": " << worst.actual << ", golden " << worst.expected;
  testing::Test::RecordProperty("worst_of_tolerance", std::to_string(worst.error / tolerance));
}

}  // namespace e2e
