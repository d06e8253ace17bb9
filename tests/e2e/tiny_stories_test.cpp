// A trained Llama in Hugging Face form, tied, with GQA: ids, text and logits equal what float64
// arithmetic gives.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "tests/e2e/plan_cache.h"
#include "tests/e2e/process.h"
#include "tests/e2e/running_model.h"

namespace e2e {
namespace {

const std::string kModel = "weights/TinyStories-656K-bf16";

// |logit - golden| of an implementation in float32, as derived in the head of
// tests/golden/make_goldens.py, with this model's sizes: u = 2^-24; the squares of a layer's errors
// in units of u are hidden_size (128) four times, kv_len (150), intermediate_size (384) and 128 for
// o, plus those of scores up to 16: RoPE's angles, (150 * 0.118 * 16 / 2)^2, and the product, (128
// + 16) * (16 / 2)^2: 31000, twice for two layers. A logit's share is 4 u sqrt(62000) times
// max|w_v| (9.72) * max|norm weight| (0.89) = 5.2e-4. The ids are certain: the smallest gap of the
// two largest is 0.0024.
constexpr double kTolerance = 5.2e-4;

class TinyStories : public testing::TestWithParam<std::string> {};

TEST_P(TinyStories, EqualsTheGoldenIdsTextAndLogits) {
  E2E_NEED_MATERIAL(kModel);
  const auto golden =
      nlohmann::json::parse(readFile(material(kModel + "/golden/" + GetParam() + ".json")));
  const std::string plan = compiledPlan(material(kModel), {"--dtype", "f32"});
  ASSERT_FALSE(plan.empty());
  const auto json =
      llmrunJson(plan, {"--prompt", golden["prompt"], "-n", "200", "--top-logits", "5"});
  ASSERT_TRUE(json.is_object());
  EXPECT_EQ(json["prompt_ids"], golden["prompt_ids"]);
  EXPECT_EQ(json["ids"], golden["generated_ids"]);
  EXPECT_EQ(json["finish_reason"], "eos");

  // The golden text is prompt and continuation with special tokens, the last of which is EOS.
  const std::string whole = golden["text"], text = json["text"], eos = "<|end_story|>";
  ASSERT_GE(whole.size(), text.size() + eos.size());
  EXPECT_EQ(whole.substr(whole.size() - eos.size() - text.size()), text + eos);

  const auto& steps = golden["first5_top5_logits"];
  ASSERT_EQ(json["steps"].size(), json["ids"].size());
  for (size_t s = 0; s < steps.size(); ++s) {
    for (size_t k = 0; k < steps[s].size(); ++k) {
      EXPECT_EQ(json["steps"][s][k][0], steps[s][k][0]) << "step " << s << ", place " << k;
      EXPECT_NEAR(json["steps"][s][k][1].get<double>(), steps[s][k][1].get<double>(), kTolerance)
          << "step " << s << ", place " << k;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, TinyStories, testing::Values<std::string>("greedy_1", "greedy_2"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace e2e
