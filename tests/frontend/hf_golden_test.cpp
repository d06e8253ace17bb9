// Small configs against what Hugging Face's configuration classes make of them
// (tests/golden/configs.json, which tests/golden/README.md describes).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <set>

#include "frontend/HfConfig.h"
#include "models/Architectures.h"
#include "runtime/io/json.h"

namespace llmc {
namespace {

using nlohmann::json;

json goldens() {
  auto file = llmrt::readJsonFile(std::string(LLMC_GOLDEN_DIR) + "/configs.json");
  EXPECT_TRUE(file.ok()) << file.status().message();
  return file.ok() ? (*file)["cases"] : json::array();
}

// The spellings that the goldens have.
std::optional<Activation> activationOf(const std::string& name) {
  if (name == "silu") return Activation::kSilu;
  if (name == "gelu") return Activation::kGelu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh") return Activation::kGeluTanh;
  if (name == "relu2") return Activation::kRelu2;
  return std::nullopt;
}

// Frequencies come from a pow that is correctly rounded here and within a few units in PyTorch, and
// attention factors from the same formula in double.
void expectRope(const json& expected, const Rope& rope) {
  EXPECT_NEAR(rope.attention_factor, expected["attention_factor"].get<double>(), 1e-15);
  for (const auto& [name, got] :
       {std::pair{"inv_freq", rope.inv_freq}, {"long_inv_freq", rope.long_inv_freq}}) {
    const std::vector<double> want = expected.value(name, std::vector<double>());
    ASSERT_EQ(got.size(), want.size()) << name;
    for (size_t i = 0; i < want.size(); ++i)
      EXPECT_NEAR(got[i], want[i], std::abs(want[i]) * 0x1p-21) << name << ' ' << i;
  }
}

void expectSpec(const json& expected, const ModelSpec& spec) {
  EXPECT_EQ(spec.intermediate_size, expected["intermediate_size"]);
  if (!expected["num_kv_heads"].is_null()) {
    EXPECT_EQ(spec.num_kv_heads, expected["num_kv_heads"]);
    EXPECT_EQ(spec.head_dim, expected["head_dim"]);
  }
  EXPECT_EQ(spec.max_position_embeddings, expected["max_position_embeddings"]);
  EXPECT_EQ(spec.rms_norm_eps, expected["eps"]);
  EXPECT_EQ(activationOf(expected["activation"]), spec.activation) << expected["activation"];
  EXPECT_EQ(spec.tie_word_embeddings, expected["tie_word_embeddings"]);
  EXPECT_EQ(spec.bos_token_id ? json(*spec.bos_token_id) : json(), expected["bos"]);
  EXPECT_EQ(json(spec.eos_token_ids), expected["eos"]);
  const json& rope = expected["rope"];
  EXPECT_EQ(spec.local_rope.has_value(), rope.contains("sliding_attention"));
  for (int64_t i = 0; i < spec.num_layers; ++i) {
    const auto at = static_cast<size_t>(i);
    EXPECT_EQ(spec.layerForm(i).window, expected["windows"][at]) << "layer " << i;
    const bool linear = std::ranges::count(expected["linear"], json(i)) > 0;
    EXPECT_EQ(spec.layerForm(i).mixer == Mixer::kDelta, linear) << "layer " << i;
    if (linear) continue;
    const bool nope = expected["nope"].empty() ? rope.empty() : expected["nope"][at].get<bool>();
    EXPECT_EQ(spec.layerForm(i).rope < 0, nope) << "layer " << i;
    EXPECT_EQ(spec.layerForm(i).rope == 1, spec.local_rope && expected["windows"][at] != 0)
        << "layer " << i;
  }
  if (rope.empty()) return;
  expectRope(rope.contains("") ? rope[""] : rope["full_attention"], spec.rope);
  if (spec.local_rope) expectRope(rope["sliding_attention"], *spec.local_rope);
}

TEST(HfGolden, ConfigsMeanWhatTransformersMakesOfThem) {
  for (const json& golden : goldens()) {
    SCOPED_TRACE(golden["name"]);
    const auto spec = parseHfConfig(golden["config"], "config.json", "golden");
    ASSERT_TRUE(spec.ok()) << spec.status().message();
    expectSpec(golden["expected"], *spec);
  }
}

TEST(HfGolden, EveryArchitectureOfTransformersIsThere) {
  std::set<std::string> seen;
  for (const json& golden : goldens()) seen.insert(golden["config"]["model_type"]);
  for (const Architecture& architecture : architectures()) {
    const std::string model_type(architecture.model_type);
    // Transformers has no class of these.
    if (model_type == "internlm2" || model_type == "minicpm") continue;
    EXPECT_TRUE(seen.contains(model_type)) << model_type;
  }
}

/// `config` parses, into a spec whose tensors can be listed, or is refused in one line.
void expectNoHarm(const json& config) {
  const auto spec = parseHfConfig(config, "config.json", "hostile");
  if (!spec.ok()) {
    EXPECT_EQ(spec.status().message().find('\n'), std::string::npos);
    return;
  }
  EXPECT_GT(numParameters(*spec), 0);
  EXPECT_GT(modelWeights(*spec).size(), 0u);
}

// Each number of each config in turn; sums and products that overflow show under UBSan.
TEST(HfGolden, NoNumberDoesHarm) {
  const json hostile[] = {0,
                          -1,
                          3,
                          int64_t{1} << 31,
                          int64_t{1} << 62,
                          std::numeric_limits<int64_t>::max(),
                          std::numeric_limits<int64_t>::min(),
                          1e-300,
                          1e300};
  for (const json& golden : goldens()) {
    SCOPED_TRACE(golden["name"]);
    for (const auto& [field, value] : golden["config"].items()) {
      for (const json& number : hostile) {
        SCOPED_TRACE(field + " " + number.dump());
        json config = golden["config"];
        if (value.is_number()) {
          config[field] = number;
          expectNoHarm(config);
        }
        if (!value.is_object()) continue;
        for (const auto& [inner, inner_value] : value.items()) {
          if (!inner_value.is_number()) continue;
          config[field][inner] = number;
          expectNoHarm(config);
          config[field][inner] = inner_value;
        }
      }
    }
  }
}

}  // namespace
}  // namespace llmc
