// The demo model, from text to text, as Transformers writes it.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "tests/e2e/plan_cache.h"
#include "tests/e2e/process.h"
#include "tests/e2e/running_model.h"

namespace e2e {
namespace {

TEST(Demo, WritesWhatTransformersWrites) {
  const std::string file = goldenModel("demo/golden.json");
  if (!std::filesystem::exists(file))
    GTEST_SKIP() << file << " is absent: make_demo_golden.py writes it";
  const auto golden = nlohmann::json::parse(readFile(file));
  for (const auto& text : golden["texts"]) {
    for (const auto& golden_run : text["runs"]) {
      const std::string kv = golden_run["kv_dtype"];
      SCOPED_TRACE(text["prompt"].get<std::string>() + ", KV cache " + kv);
      const std::string plan =
          compiledPlan(demoModel(), {"--dtype", golden_run["weights_dtype"], "--kv-dtype", kv});
      ASSERT_FALSE(plan.empty());
      const Ids ids = golden_run["greedy_ids"];
      const bool ended = golden_run["ended"];
      const auto json = llmrunJson(
          plan, {"--prompt", text["prompt"], "--temperature", "0", "--repetition-penalty", "1",
                 "-n", std::to_string(ids.size() + ended), "--top-logits", "5"});
      ASSERT_TRUE(json.is_object());
      EXPECT_EQ(json["prompt_ids"], text["prompt_ids"]);
      Ids actual = json["ids"];
      if (ended) {
        EXPECT_EQ(json["finish_reason"], "eos");
        ASSERT_FALSE(actual.empty());
        actual.pop_back();  // EOS
      }
      EXPECT_EQ(actual, ids);
      EXPECT_EQ(json["text"], golden_run["text"]);
      for (size_t k = 0; k < golden_run["top"].size(); ++k) {
        EXPECT_NEAR(json["steps"][0][k][1].get<double>(), golden_run["top"][k][1].get<double>(),
                    golden_run["tolerance"].get<double>());
      }
    }
  }
}

}  // namespace
}  // namespace e2e
