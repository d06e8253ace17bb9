#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "frontend/HfConfig.h"
#include "runtime/io/json.h"

namespace llmc {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Optional;
using testing::StartsWith;

json smallLlama() {
  return json::parse(
      R"({"model_type": "llama", "hidden_size": 64, "intermediate_size": 172, "num_hidden_layers": 2,
                         "num_attention_heads": 8, "vocab_size": 512})");
}
json smallMistral() {
  json config = smallLlama();
  config["model_type"] = "mistral";
  return config;
}

ModelSpec parsed(const json& config) {
  auto spec = parseHfConfig(config, "config.json", "small");
  EXPECT_TRUE(spec.ok()) << spec.status().message();
  return spec.ok() ? *spec : ModelSpec{};
}
std::string refusal(const json& config) {
  auto spec = parseHfConfig(config, "config.json", "small");
  EXPECT_FALSE(spec.ok()) << config;
  if (spec.ok()) return "";
  EXPECT_THAT(spec.status().message(), StartsWith("config.json: "));
  EXPECT_EQ(spec.status().message().find('\n'), std::string::npos);
  return spec.status().message();
}
// The small llama with fields replaced.
json with(const std::string& fields, json config = smallLlama()) {
  config.update(json::parse(fields));
  return config;
}

TEST(HfConfig, AbsentFieldsOfLlamaHaveHfDefaults) {
  const ModelSpec spec = parsed(smallLlama());
  EXPECT_EQ(spec.architecture, "llama");
  EXPECT_EQ(spec.name, "small");
  EXPECT_EQ(spec.hidden_size, 64);
  EXPECT_EQ(spec.intermediate_size, 172);
  EXPECT_EQ(spec.num_layers, 2);
  EXPECT_EQ(spec.num_heads, 8);
  EXPECT_EQ(spec.num_kv_heads, 8);
  EXPECT_EQ(spec.head_dim, 8);
  EXPECT_EQ(spec.vocab_size, 512);
  EXPECT_EQ(spec.max_position_embeddings, 2048);
  EXPECT_EQ(spec.rms_norm_eps, 1e-6);
  EXPECT_EQ(spec.activation, Activation::kSilu);
  EXPECT_EQ(spec.rope.theta, 10000.0);
  EXPECT_EQ(spec.rope.scaling, RopeScaling::kNone);
  EXPECT_EQ(spec.sliding_window, 0);
  EXPECT_FALSE(spec.qkv_bias || spec.o_bias || spec.mlp_bias || spec.tie_word_embeddings);
  EXPECT_FALSE(spec.dtype);
  EXPECT_THAT(spec.bos_token_id, Optional(1));
  EXPECT_THAT(spec.eos_token_ids, ElementsAre(2));
}

TEST(HfConfig, AbsentFieldsOfMistralHaveHfDefaults) {
  const ModelSpec spec = parsed(smallMistral());
  EXPECT_EQ(spec.num_kv_heads, 8);
  EXPECT_EQ(spec.max_position_embeddings, 131072);
  EXPECT_EQ(spec.sliding_window, 4096);
  EXPECT_EQ(parsed(with(R"({"sliding_window": null})", smallMistral())).sliding_window, 0);
  EXPECT_EQ(parsed(with(R"({"sliding_window": 7})", smallMistral())).sliding_window, 7);
  EXPECT_EQ(parsed(with(R"({"sliding_window": 7})")).sliding_window, 0) << "llama ignores it";
  // HF's default is 8 when the field is absent and num_attention_heads when it is null.
  EXPECT_EQ(parsed(with(R"({"num_attention_heads": 16})", smallMistral())).num_kv_heads, 8);
  EXPECT_EQ(
      parsed(with(R"({"num_attention_heads": 16, "num_key_value_heads": null})", smallMistral()))
          .num_kv_heads,
      16);
}

TEST(HfConfig, NullCountsAsAbsent) {
  const ModelSpec spec = parsed(with(
      R"({"head_dim": null, "num_key_value_heads": null, "rope_scaling": null, "rope_theta": null,
               "rope_parameters": null, "tie_word_embeddings": null, "torch_dtype": null, "attention_bias": null,
               "quantization_config": null, "pretraining_tp": null, "partial_rotary_factor": null,
               "bos_token_id": null, "eos_token_id": null})"));
  EXPECT_EQ(spec.head_dim, 8);
  EXPECT_FALSE(spec.bos_token_id);
  EXPECT_THAT(spec.eos_token_ids, IsEmpty());
}

TEST(HfConfig, ReadsWhatIsWritten) {
  const ModelSpec spec = parsed(
      with(R"({"head_dim": 10, "num_key_value_heads": 2, "attention_bias": true, "mlp_bias": true,
               "tie_word_embeddings": true, "rms_norm_eps": 1e-5, "max_position_embeddings": 99,
               "hidden_act": "gelu_pytorch_tanh", "bos_token_id": 5, "eos_token_id": [6, 7], "pretraining_tp": 1})"));
  EXPECT_EQ(spec.head_dim, 10);
  EXPECT_EQ(spec.num_kv_heads, 2);
  EXPECT_TRUE(spec.qkv_bias && spec.o_bias && spec.mlp_bias && spec.tie_word_embeddings);
  EXPECT_EQ(spec.rms_norm_eps, 1e-5);
  EXPECT_EQ(spec.max_position_embeddings, 99);
  EXPECT_EQ(spec.activation, Activation::kGeluTanh);
  EXPECT_THAT(spec.bos_token_id, Optional(5));
  EXPECT_THAT(spec.eos_token_ids, ElementsAre(6, 7));
  EXPECT_EQ(parsed(with(R"({"hidden_act": "gelu"})")).activation, Activation::kGelu);
}

TEST(HfConfig, BothSpellingsOfDtype) {
  EXPECT_THAT(parsed(with(R"({"torch_dtype": "bfloat16"})")).dtype, Optional(llmrt::DType::kBF16));
  EXPECT_THAT(parsed(with(R"({"dtype": "float16"})")).dtype, Optional(llmrt::DType::kF16));
  EXPECT_THAT(parsed(with(R"({"dtype": "torch.float32"})")).dtype, Optional(llmrt::DType::kF32));
  EXPECT_THAT(refusal(with(R"({"torch_dtype": "float8_e4m3fn"})")),
              HasSubstr("torch_dtype \"float8_e4m3fn\""));
}

TEST(HfConfig, EverySpellingOfRopeGivesTheSameSpec) {
  const char* spellings[] = {
      R"({"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 4}})",
      R"({"rope_theta": 5e5, "rope_scaling": {"rope_type": "linear", "factor": 4.0}})",
      R"({"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 500000.0}})",
      R"({"rope_theta": 1.0, "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 500000.0}})",
      R"({"rope_theta": 5e5, "rope_scaling": {}, "rope_parameters": {"rope_type": "linear", "factor": 4.0}})",
  };
  for (const char* spelling : spellings) {
    const ModelSpec spec = parsed(with(spelling));
    EXPECT_EQ(spec.rope.theta, 500000.0) << spelling;
    EXPECT_EQ(spec.rope.scaling, RopeScaling::kLinear) << spelling;
    EXPECT_EQ(spec.rope.factor, 4.0) << spelling;
  }
  const ModelSpec spec =
      parsed(with(R"({"rope_parameters": {"rope_type": "default", "rope_theta": 7.5}})"));
  EXPECT_EQ(spec.rope.theta, 7.5);
  EXPECT_EQ(spec.rope.scaling, RopeScaling::kNone);
}

TEST(HfConfig, OriginalContextOfLlama3HasThreePlaces) {
  auto original = [](const std::string& inner, const std::string& outer) {
    return parsed(
               with(R"({"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1,
                           "high_freq_factor": 4)" +
                    inner + "}" + outer + "}"))
        .rope.original_max_position_embeddings;
  };
  EXPECT_EQ(original("", ""), 2048);
  EXPECT_EQ(original(R"(, "original_max_position_embeddings": 512)", ""), 512);
  EXPECT_EQ(original(R"(, "original_max_position_embeddings": 512)",
                     R"(, "original_max_position_embeddings": 256)"),
            256);
}

// Expected values: the formulas of transformers v5's modeling_rope_utils.py in numpy float32, as
// hexadecimal floats.
TEST(HfConfig, InverseFrequenciesAreThoseOfHf) {
  auto expectClose = [](const std::vector<double>& got, const std::vector<double>& expected,
                        int stride) {
    for (size_t i = 0; i < expected.size(); ++i) {
      const double value = got[i * static_cast<size_t>(stride)];
      EXPECT_EQ(value, static_cast<float>(value));
      EXPECT_EQ(value, expected[i]) << i;
    }
  };
  const ModelSpec plain = parsed(with(R"({"head_dim": 16})"));
  ASSERT_EQ(plain.rope.inv_freq.size(), 8u);
  expectClose(plain.rope.inv_freq,
              {0x1p+0, 0x1.43d136p-2, 0x1.99999ap-4, 0x1.030dc6p-5, 0x1.47ae14p-7, 0x1.9e7c7p-9,
               0x1.0624dep-10, 0x1.4b96cp-12},
              1);
  const ModelSpec linear =
      parsed(with(R"({"head_dim": 16, "rope_scaling": {"type": "linear", "factor": 4.0}})"));
  for (size_t i = 0; i < 8; ++i) EXPECT_EQ(linear.rope.inv_freq[i], plain.rope.inv_freq[i] / 4);

  auto config = llmrt::readJsonFile(std::string(LLMC_MODELS_DIR) + "/llama-3.2-1b.json");
  ASSERT_TRUE(config.ok()) << config.status().message();
  const ModelSpec llama3 = parsed(*config);
  ASSERT_EQ(llama3.rope.inv_freq.size(), 32u);
  // Indices 0, 4, ... are high, medium (16) and low frequencies.
  expectClose(llama3.rope.inv_freq,
              {0x1p+0, 0x1.8d276p-3, 0x1.34119p-5, 0x1.ddee9ep-8, 0x1.c26c4p-12, 0x1.1f91fp-17,
               0x1.be2188p-20, 0x1.5a0f4ep-22},
              4);
  EXPECT_EQ(llama3.rope.inv_freq[15], 0x1.524f36p-10);
  EXPECT_EQ(llama3.rope.inv_freq[17], 0x1.9731eep-14);
}

TEST(HfConfig, RefusesWhatIsNotSupportedByFieldAndValue) {
  struct Case {
    const char* fields;
    const char* message;
  };
  const Case cases[] = {
      {R"({"model_type": "qwen9"})",
       "model_type \"qwen9\" is not supported (known: llama, mistral)"},
      {R"({"model_type": null})", "model_type is missing"},
      {R"({"model_type": 7})", "model_type is 7, expected a string"},
      {R"({"hidden_size": null})", "hidden_size is missing"},
      {R"({"vocab_size": null})", "vocab_size is missing"},
      {R"({"num_hidden_layers": null})", "num_hidden_layers is missing"},
      {R"({"num_attention_heads": null})", "num_attention_heads is missing"},
      {R"({"intermediate_size": null})", "intermediate_size is missing"},
      {R"({"hidden_size": "64"})", "hidden_size is \"64\", expected an integer"},
      {R"({"hidden_size": 64.5})", "hidden_size is 64.5, expected an integer"},
      {R"({"hidden_size": 0})", "hidden_size is 0"},
      {R"({"hidden_size": -64})", "hidden_size is -64"},
      {R"({"hidden_size": 18446744073709551615})", "hidden_size is 18446744073709551615"},
      {R"({"num_hidden_layers": 1000000000000})", "num_hidden_layers is 1000000000000"},
      {R"({"hidden_size": 1048576, "head_dim": 8, "num_hidden_layers": 10000, "vocab_size": 134217728})",
       "hidden_size 1048576, intermediate_size"},
      {R"({"num_attention_heads": 0})", "num_attention_heads (0)"},
      {R"({"num_attention_heads": 7})",
       "hidden_size (64) is not a multiple of num_attention_heads (7)"},
      {R"({"num_key_value_heads": 3})",
       "num_attention_heads (8) is not a multiple of num_key_value_heads (3)"},
      {R"({"num_key_value_heads": 0})", "num_key_value_heads is 0"},
      {R"({"head_dim": 9})", "head_dim is 9, must be even"},
      {R"({"head_dim": -2})", "head_dim is -2"},
      {R"({"rms_norm_eps": 0})", "rms_norm_eps is 0.0"},
      {R"({"hidden_act": "relu"})", "hidden_act \"relu\" is not supported"},
      {R"({"pretraining_tp": 2})", "pretraining_tp 2 is not supported"},
      {R"({"partial_rotary_factor": 0.5})", "partial_rotary_factor 0.5 is not supported"},
      {R"({"quantization_config": {"quant_method": "gptq"}})",
       "quantization_config with quant_method \"gptq\""},
      {R"({"rope_theta": 0})", "rope_theta is 0.0"},
      {R"({"rope_theta": "big"})", "rope_theta is \"big\", expected a number"},
      {R"({"rope_scaling": 2.0})", "rope_scaling is 2.0, expected an object"},
      {R"({"rope_scaling": {"type": "yarn", "factor": 2}})",
       "rope_scaling.type \"yarn\" is not supported"},
      {R"({"rope_scaling": {"rope_type": "dynamic", "factor": 2}})",
       "rope_scaling.rope_type \"dynamic\""},
      {R"({"rope_parameters": {"rope_type": "longrope"}})",
       "rope_parameters.rope_type \"longrope\""},
      {R"({"rope_scaling": {"type": "linear"}})", "field rope_scaling.factor is missing"},
      {R"({"rope_scaling": {"type": "linear", "factor": 0}})", "rope_scaling.factor is 0.0"},
      {R"({"rope_scaling": {"type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4}})",
       "high_freq_factor (4.0) is not above low_freq_factor (4.0)"},
      {R"({"rope_parameters": {"partial_rotary_factor": 0.25}})",
       "rope_parameters.partial_rotary_factor 0.25"},
      {R"({"rope_parameters": {"full_attention": {"rope_type": "default"}}})",
       "rope_parameters.full_attention"},
      {R"({"model_type": "mistral", "sliding_window": 0})", "sliding_window is 0"},
      {R"({"model_type": "mistral", "sliding_window": -1})", "sliding_window is -1"},
      {R"({"model_type": "mistral", "attention_bias": true})",
       "attention_bias true is not supported for model_type mistral"},
      {R"({"attention_bias": 1})", "attention_bias is 1, expected true or false"},
      {R"({"eos_token_id": "x"})", "eos_token_id is \"x\", expected a token id"},
      {R"({"eos_token_id": [2, 4294967296]})", "eos_token_id is 4294967296"},
  };
  for (const Case& c : cases)
    EXPECT_THAT(refusal(with(c.fields)), HasSubstr(c.message)) << c.fields;
  EXPECT_THAT(refusal(json::array()), HasSubstr("is not a JSON object"));
  EXPECT_THAT(refusal(json("text")), HasSubstr("is not a JSON object"));
}

TEST(HfConfig, GenerationConfigOverridesTokensAndSetsSampling) {
  ModelSpec spec = parsed(smallLlama());
  ASSERT_TRUE(
      parseGenerationConfig(
          json::parse(
              R"({"eos_token_id": [9, 10], "do_sample": true, "temperature": 0.6, "top_p": 0.9})"),
          "generation_config.json", spec)
          .ok());
  EXPECT_THAT(spec.bos_token_id, Optional(1));
  EXPECT_THAT(spec.eos_token_ids, ElementsAre(9, 10));
  EXPECT_TRUE(spec.generation.do_sample);
  EXPECT_EQ(spec.generation.temperature, 0.6);
  EXPECT_EQ(spec.generation.top_k, 50) << "GenerationConfig's default";
  EXPECT_EQ(spec.generation.top_p, 0.9);
  EXPECT_THAT(
      parseGenerationConfig(json::parse(R"({"top_p": 1.5})"), "generation_config.json", spec)
          .message(),
      HasSubstr("generation_config.json: top_p is 1.5"));
}

TEST(HfConfig, TheKeptMistralIsMistral7B) {
  auto config = llmrt::readJsonFile(std::string(LLMC_MODELS_DIR) + "/mistral.json");
  ASSERT_TRUE(config.ok()) << config.status().message();
  const ModelSpec spec = parsed(*config);
  EXPECT_EQ(numParameters(spec), 7241732096) << "what HF counts";
  EXPECT_EQ(spec.head_dim, 128);
  EXPECT_EQ(spec.sliding_window, 4096);
}

TEST(HfConfig, ParameterCountOfLlama1B) {
  auto config = llmrt::readJsonFile(std::string(LLMC_MODELS_DIR) + "/llama-3.2-1b.json");
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(numParameters(parsed(*config)), 1235814400) << "what HF counts";
}

TEST(HfConfig, RealConfigsParseOrNameTheirModelType) {
  const auto folder = std::filesystem::path(LLMC_MATERIAL_DIR) / "configs" / "hf";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no material at " << folder;
  int parsed_count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string path = entry.path().string();
    auto config = llmrt::readJsonFile(path);
    ASSERT_TRUE(config.ok()) << config.status().message();
    if (path.find("generation_config") != std::string::npos) {
      ModelSpec spec;
      const llmrt::Status status = parseGenerationConfig(*config, path, spec);
      EXPECT_TRUE(status.ok()) << status.message();
      continue;
    }
    auto spec = parseHfConfig(*config, path, "x");
    if ((*config)["model_type"] == "llama") {
      EXPECT_TRUE(spec.ok()) << spec.status().message();
      ++parsed_count;
    } else {
      ASSERT_FALSE(spec.ok()) << path;
      EXPECT_THAT(spec.status().message(), HasSubstr("model_type \"")) << path;
    }
  }
  EXPECT_GE(parsed_count, 5);
}

}  // namespace
}  // namespace llmc
