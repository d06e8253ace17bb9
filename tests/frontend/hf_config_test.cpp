#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <set>

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
  EXPECT_THAT(refusal(with(R"({"torch_dtype": "int8"})")), HasSubstr("torch_dtype \"int8\""));
  EXPECT_THAT(refusal(with(R"({"hidden_size": 1099511627776})")),
              HasSubstr("hidden_size is 1099511627776, must be 1 to"));
  EXPECT_THAT(refusal(with(R"({"head_dim": 1099511627776})")),
              HasSubstr("head_dim is 1099511627776, must be 1 to"));
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

TEST(HfConfig, PretrainingTpChangesNothing) {
  // As SmolLM3's config has it.
  EXPECT_EQ(parsed(with(R"({"pretraining_tp": 2})")).num_layers, parsed(with(R"({})")).num_layers);
}

TEST(HfConfig, RefusesWhatIsNotSupportedByFieldAndValue) {
  struct Case {
    const char* fields;
    const char* message;
  };
  const Case cases[] = {
      {R"({"model_type": "qwen9"})",
       "model_type \"qwen9\" is not supported (known: llama, mistral, "},
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
      {R"({"num_attention_heads": 0})", "num_attention_heads is 0, must be 1 to 16384"},
      {R"({"num_attention_heads": 7})",
       "hidden_size (64) is not a multiple of num_attention_heads (7)"},
      {R"({"num_key_value_heads": 3})",
       "num_attention_heads (8) is not a multiple of num_key_value_heads (3)"},
      {R"({"num_key_value_heads": 0})", "num_key_value_heads is 0"},
      {R"({"head_dim": 9})", "head_dim is 9, must be even"},
      {R"({"head_dim": -2})", "head_dim is -2"},
      {R"({"rms_norm_eps": -1})", "rms_norm_eps is -1.0, must be 0 to 1e+30"},
      {R"({"hidden_act": "tanh"})", "hidden_act \"tanh\" is not supported"},
      {R"({"partial_rotary_factor": 0.5})", "partial_rotary_factor 0.5 is not supported"},
      {R"({"quantization_config": {"quant_method": "gptq"}})",
       "quantization_config with quant_method \"gptq\""},
      {R"({"rope_theta": 0})", "rope_theta is 0.0, must be above 0 (1e-30 to 1e+30)"},
      {R"({"rope_theta": 1e308})", "rope_theta is 1e+308, must be above 0 (1e-30 to 1e+30)"},
      {R"({"rope_theta": "big"})", "rope_theta is \"big\", expected a number"},
      {R"({"rope_scaling": 2.0})", "rope_scaling is 2.0, expected an object"},
      {R"({"rope_scaling": {"type": "mrope", "factor": 2}})",
       "rope_scaling.type \"mrope\" is not supported"},
      {R"({"rope_scaling": {"rope_type": "yarn", "factor": -2}})", "rope_scaling.factor is -2.0"},
      {R"({"rope_parameters": {"rope_type": "longrope"}})",
       "field rope_parameters.short_factor is missing"},
      {R"({"rope_parameters": {"rope_type": "longrope", "short_factor": [1], "long_factor": "x"}})",
       "rope_parameters.long_factor is \"x\", expected a list of numbers"},
      {R"({"rope_parameters": {"rope_type": "longrope", "short_factor": [1], "long_factor": [1]}})",
       "rope_scaling.short_factor has 1 factors"},
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

GenerationDefaults generationOf(const std::string& fields) {
  ModelSpec spec = parsed(smallLlama());
  const llmrt::Status status =
      parseGenerationConfig(json::parse(fields), "generation_config.json", spec);
  EXPECT_TRUE(status.ok()) << status.message();
  return spec.generation;
}

TEST(HfConfig, EveryRecommendationIsUsedOrNamed) {
  const GenerationDefaults used = generationOf(R"({
    "do_sample": true, "temperature": 0.3, "top_k": 0, "top_p": 0.9, "min_p": 0.15,
    "repetition_penalty": 1.05, "no_repeat_ngram_size": 3, "suppress_tokens": [3, 4],
    "begin_suppress_tokens": [5], "bad_words_ids": [[6], [7, 8], [2]], "stop_strings": "User:",
    "max_new_tokens": 512, "eos_token_id": 2})");
  EXPECT_EQ(used.max_new_tokens, 512);
  EXPECT_EQ(used.top_k, 0);
  EXPECT_EQ(used.min_p, 0.15);
  EXPECT_EQ(used.repetition_penalty, 1.05);
  EXPECT_EQ(used.no_repeat_ngram_size, 3);
  EXPECT_THAT(used.suppress_tokens, ElementsAre(3, 4));
  EXPECT_THAT(used.begin_suppress_tokens, ElementsAre(5));
  EXPECT_THAT(used.bad_words, ElementsAre(ElementsAre(6), ElementsAre(7, 8))) << "EOS is no word";
  EXPECT_THAT(used.stop_strings, ElementsAre("User:"));
  EXPECT_THAT(used.unused, IsEmpty());
  EXPECT_THAT(generationOf(R"({"stop_strings": ["a", "b"]})").stop_strings, ElementsAre("a", "b"));

  EXPECT_THAT(generationOf(R"({"typical_p": 0.9, "num_beams": 4, "max_time": 5,
                               "guidance_scale": 1.5, "max_length": 50})")
                  .unused,
              ElementsAre("max_time 5", "num_beams 4", "guidance_scale 1.5", "typical_p 0.9",
                          "max_length 50"));
  // At HF's defaults, of no consequence here, or as long as the context.
  EXPECT_THAT(generationOf(R"({"typical_p": 1.0, "num_beams": 1, "min_length": 0, "max_length": 20,
                               "max_new_tokens": null, "length_penalty": 2, "use_cache": false,
                               "pad_token_id": 0, "cache_implementation": "hybrid",
                               "transformers_version": "4.40.0"})")
                  .unused,
              IsEmpty());
  EXPECT_THAT(generationOf(R"({"max_length": 1000000})").unused, IsEmpty());
}

TEST(HfConfig, AChatsTemperatureIsTheConfigsOrTheUsualOne) {
  EXPECT_EQ(generationOf("{}").chat_temperature, 0.7);
  EXPECT_EQ(generationOf(R"({"temperature": 0.9})").chat_temperature, 0.9);
  EXPECT_EQ(generationOf(R"({"do_sample": false})").chat_temperature, 0);
}

TEST(HfConfig, ABadGenerationConfigIsNamed) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"min_p": -0.1})", "min_p is -0.1, must be from 0 to 1"},
      {R"({"no_repeat_ngram_size": -1})", "no_repeat_ngram_size is -1"},
      {R"({"max_new_tokens": 0})", "max_new_tokens is 0, must be above 0"},
      {R"({"suppress_tokens": 3})", "suppress_tokens is 3, expected a list of token ids"},
      {R"({"begin_suppress_tokens": [99999999999]})", "begin_suppress_tokens is [99999999999]"},
      {R"({"bad_words_ids": [3]})", "bad_words_ids is 3, expected a list of token ids"},
      {R"({"bad_words_ids": [[]]})", "bad_words_ids holds an empty list"},
      {R"({"stop_strings": [1]})", "stop_strings is [1], expected a string or a list of them"}};
  for (const auto& [fields, message] : cases) {
    ModelSpec spec = parsed(smallLlama());
    EXPECT_THAT(
        parseGenerationConfig(json::parse(fields), "generation_config.json", spec).message(),
        HasSubstr(message));
  }
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

// What tells a family's models apart; the numbers themselves are held to goldens (tests/golden).
TEST(HfConfig, FamiliesReadTheirOwnFields) {
  auto small = [](const std::string& fields) { return parsed(with(fields)); };
  const ModelSpec qwen2 = small(
      R"({"model_type": "qwen2", "num_key_value_heads": 8, "sliding_window": 32, "max_window_layers": 1})");
  EXPECT_TRUE(qwen2.qkv_bias && !qwen2.o_bias);
  EXPECT_EQ(qwen2.sliding_window, 0) << "use_sliding_window is false";
  EXPECT_EQ(small(R"({"model_type": "qwen2", "num_key_value_heads": 8, "use_sliding_window": true,
                      "sliding_window": 32, "max_window_layers": 1})")
                .windowed_layers,
            (std::vector<bool>{false, true}));
  EXPECT_EQ(small(R"({"model_type": "qwen3", "num_key_value_heads": 8})").head_dim, 128);
  EXPECT_EQ(small(R"({"model_type": "gemma2"})").windowed_layers, (std::vector<bool>{true, false}));
  EXPECT_EQ(small(R"({"model_type": "gemma2"})").attention_softcap, 50.0);
  const ModelSpec gemma3 = small(R"({"model_type": "gemma3_text", "rope_local_base_freq": 5000})");
  ASSERT_TRUE(gemma3.local_rope);
  EXPECT_EQ(gemma3.local_rope->theta, 5000.0);
  EXPECT_EQ(gemma3.rope.theta, 1e6);
  EXPECT_EQ(small(R"({"model_type": "smollm3", "num_hidden_layers": 4})").nope_layers,
            (std::vector<bool>{false, false, false, true}));
  const ModelSpec falcon = small(R"({"model_type": "falcon"})");
  EXPECT_EQ(falcon.num_kv_heads, 1);
  EXPECT_TRUE(falcon.form.parallel && falcon.form.shared_norm);
  const ModelSpec neox = small(R"({"model_type": "gpt_neox", "rotary_pct": 0.25, "head_dim": 16})");
  EXPECT_EQ(neox.rope.dim, 4);
  const ModelSpec granite = small(R"({"model_type": "granite", "logits_scaling": 8})");
  EXPECT_EQ(granite.logit_scale, 0.125);
}

// The sizes that Gemma 4 E2B is published with.
TEST(HfConfig, Gemma4LayersDifferInHeadsSizesAndWhoseKeysTheyRead) {
  auto config = llmrt::readJsonFile(std::string(LLMC_MODELS_DIR) + "/gemma-4-e2b.json");
  ASSERT_TRUE(config.ok());
  const ModelSpec spec = parsed(*config);
  EXPECT_EQ(spec.per_layer_size, 256);
  EXPECT_EQ(spec.attention_scale, 1);
  for (const int64_t layer : {0, 13, 14, 15, 33, 34}) {
    SCOPED_TRACE(layer);
    const LayerForm form = spec.layerForm(layer);
    const bool full = layer % 5 == 4, shared = layer >= 15;
    EXPECT_EQ(form.window, full ? 0 : 512);
    EXPECT_EQ(form.heads, (Heads{.num_kv_heads = 1, .dim = full ? 512 : 256, .shares_kv = shared}));
    EXPECT_EQ(form.intermediate_size, shared ? 12288 : 6144);
  }
  // A quarter of a head's pairs turns; the others stand still.
  ASSERT_EQ(spec.rope.inv_freq.size(), 256u);
  EXPECT_GT(spec.rope.inv_freq[63], 0);
  EXPECT_EQ(spec.rope.inv_freq[64], 0);
  ASSERT_EQ(spec.local_rope->inv_freq.size(), 128u);
  EXPECT_GT(spec.local_rope->inv_freq[127], 0);
  int projections = 0;
  for (const ModelWeight& weight : modelWeights(spec))
    if (weight.role == "k_proj") projections += static_cast<int>(weight.num_layers);
  EXPECT_EQ(projections, 15) << "layers that share have none";
}

TEST(HfConfig, Gemma4SaysHeadsByTheirKindOrLayerByLayer) {
  const auto heads = [](const std::string& fields) {
    return parsed(with(R"({"model_type": "gemma4_text", "hidden_size_per_layer_input": 0,
                           "num_attention_heads": 8, "num_hidden_layers": 2,
                           "layer_types": ["sliding_attention", "full_attention"], )" +
                       fields + "}"))
        .layerForm(1)
        .heads;
  };
  EXPECT_EQ(heads(R"("num_key_value_heads": 2)"), (Heads{.num_kv_heads = 2, .dim = 512}));
  EXPECT_EQ(heads(R"("num_key_value_heads": 2, "global_head_dim": 64, "attention_k_eq_v": true,
                     "num_global_key_value_heads": 1)"),
            (Heads{.num_kv_heads = 1, .dim = 64, .key_is_value = true}));
  EXPECT_EQ(heads(R"("num_key_value_heads": 2, "num_global_key_value_heads": 1)").num_kv_heads, 2)
      << "without attention_k_eq_v it has no effect";
  EXPECT_EQ(heads(R"("num_key_value_heads": 2, "global_head_dim": 64,
                     "per_layer_config": {"1": {"head_dim": 32, "num_key_value_heads": 4}}, "head_dim": 16)"),
            (Heads{.num_kv_heads = 4, .dim = 32}));
}

// sqrt(1152) is 33.94; the nearest bf16 is 34.
TEST(HfConfig, GemmaScalesEmbeddingsInTheDtypeOfItsConfig) {
  const auto scale = [](const std::string& more) {
    return parsed(with(R"({"model_type": "gemma3_text", "hidden_size": 1152)" + more + "}"))
        .embeddingScale();
  };
  EXPECT_EQ(scale(R"(, "torch_dtype": "bfloat16")"), 34.0);
  EXPECT_EQ(scale(R"(, "dtype": "float16")"), 33.9375);
  EXPECT_EQ(scale(R"(, "dtype": "float32")"), std::sqrt(1152.0f));
  EXPECT_EQ(scale(""), 34.0) << "what is compiled where neither config nor --dtype says";
}

// The config of Gemma 3 4B, which leaves to the configuration class what has its default.
TEST(HfConfig, AModelOfTextAndMoreIsItsTextModel) {
  const ModelSpec spec = parsed(json::parse(R"({
      "architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3",
      "eos_token_id": [1, 106], "torch_dtype": "bfloat16", "mm_tokens_per_image": 256,
      "text_config": {"hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text",
                      "num_hidden_layers": 34, "sliding_window": 1024,
                      "rope_scaling": {"factor": 8.0, "rope_type": "linear"}},
      "vision_config": {"hidden_size": 1152, "model_type": "siglip_vision_model"}})"));
  EXPECT_EQ(spec.architecture, "gemma3_text");
  EXPECT_EQ(spec.hidden_size, 2560);
  EXPECT_EQ(spec.num_heads, 8);
  EXPECT_EQ(spec.num_kv_heads, 4);
  EXPECT_EQ(spec.vocab_size, 262208);
  EXPECT_EQ(spec.rope.factor, 8.0);
  EXPECT_TRUE(spec.tie_word_embeddings);
  EXPECT_THAT(spec.dtype, Optional(llmrt::DType::kBF16));
  EXPECT_THAT(spec.eos_token_ids, ElementsAre(1, 106));
  EXPECT_THAT(spec.notes,
              ElementsAre("what is compiled is the text model of gemma3; left out: vision"));
}

// Qwen3.5 0.8B's, whose layers and sizes the class would assume too, but for these.
TEST(HfConfig, LayersOfLinearAttentionHaveMixersAndWeightsOfTheirOwn) {
  const ModelSpec spec = parsed(json::parse(R"({
      "architectures": ["Qwen3_5ForConditionalGeneration"], "model_type": "qwen3_5",
      "tie_word_embeddings": true, "vision_config": {"model_type": "qwen3_5"},
      "text_config": {"attn_output_gate": true, "dtype": "bfloat16", "head_dim": 256,
          "hidden_size": 1024, "intermediate_size": 3584, "linear_num_value_heads": 16,
          "model_type": "qwen3_5_text", "mtp_num_hidden_layers": 1, "num_attention_heads": 8,
          "num_hidden_layers": 24, "num_key_value_heads": 2,
          "rope_parameters": {"mrope_interleaved": true, "mrope_section": [11, 11, 10],
              "partial_rotary_factor": 0.25, "rope_theta": 10000000, "rope_type": "default"}}})"));
  EXPECT_EQ(spec.delta.qkvSize(), 6144);
  EXPECT_EQ(spec.rope.dim, 64);
  EXPECT_TRUE(spec.tie_word_embeddings);
  const auto runs = mixerRuns(spec);
  ASSERT_EQ(runs.size(), 12u);
  EXPECT_EQ(runs[0].kind.first, Mixer::kDelta);
  EXPECT_EQ(runs[0].num_layers, 3);
  EXPECT_EQ(runs[3].kind.first, Mixer::kAttention);
  EXPECT_EQ(runs[3].first_layer, 7);
  EXPECT_EQ(runs[3].suffix, "_7");
  EXPECT_EQ(mlpRuns(spec).size(), 1u);
  std::map<std::string, int64_t> layers;
  for (const ModelWeight& w : modelWeights(spec)) layers[w.symbol] = w.num_layers;
  EXPECT_EQ(layers["input_norm"], 24);
  EXPECT_EQ(layers["up_proj"], 24);
  EXPECT_EQ(layers["in_proj_qkv"], 3);
  EXPECT_EQ(layers["conv1d_4"], 3);
  EXPECT_EQ(layers["output_gate_23"], 1);
  // 752 M, without the vision tower and the layer that predicts a token more.
  EXPECT_NEAR(static_cast<double>(numParameters(spec)), 752e6, 1e6);
}

TEST(HfConfig, LongropeTakesTheScaleThatItWouldCompute) {
  const ModelSpec spec = parsed(with(R"({"model_type": "phi3", "head_dim": 4, "rope_scaling":
      {"type": "longrope", "short_mscale": 1.0, "long_mscale": 1.0, "short_factor": [1, 1],
       "long_factor": [2, 2]}})"));
  EXPECT_EQ(spec.rope.attention_factor, 1.0);
}

TEST(HfConfig, RunsOfMlpsSayWhatTheirWeightsAreCalled) {
  const ModelSpec spec = parsed(with(
      R"({"model_type": "qwen3_moe", "num_hidden_layers": 6, "num_experts": 2, "num_experts_per_tok": 1,
          "moe_intermediate_size": 8, "mlp_only_layers": [0, 3, 4], "num_key_value_heads": 8})"));
  std::vector<std::string> runs;
  for (const auto& run : mlpRuns(spec))
    runs.push_back(std::to_string(run.first_layer) + '+' + std::to_string(run.num_layers) +
                   (run.kind.first == Mlp::kExperts ? " routed" : " dense") + run.suffix);
  EXPECT_THAT(runs, ElementsAre("0+1 dense", "1+2 routed", "3+2 dense_3", "5+1 routed_5"));
  std::set<std::string> symbols;
  for (const ModelWeight& w : modelWeights(spec)) symbols.insert(w.symbol);
  for (const char* symbol : {"up_proj", "router", "up_proj_3", "router_5"})
    EXPECT_TRUE(symbols.contains(symbol)) << symbol;
}

TEST(HfConfig, ExpertsOfGptOssHaveAnActivationOfTheirOwn) {
  const ModelSpec spec = parsed(with(R"({"model_type": "gpt_oss", "num_local_experts": 4})"));
  EXPECT_EQ(spec.activation, Activation::kSilu);
  EXPECT_THAT(spec.experts.activation, Optional(Activation::kQuickGelu));
  EXPECT_EQ(spec.experts.limit, 7.0);
}

TEST(HfConfig, ExpertsOfGptOssAreKeptInMxfp4) {
  const ModelSpec spec = parsed(with(R"({"model_type": "gpt_oss", "num_local_experts": 4,
                                         "intermediate_size": 96,
                                         "quantization_config": {"quant_method": "mxfp4"}})"));
  EXPECT_EQ(spec.unread_dtype, "");
  int experts = 0;
  for (const ModelWeight& w : modelWeights(spec)) {
    const bool expected = w.kind == ModelWeight::Kind::kMatrix && w.num_experts > 0;
    EXPECT_EQ(w.format == llmrt::findWeightFormat("mxfp4"), expected) << w.symbol;
    if (!expected) continue;
    ++experts;
    EXPECT_TRUE(w.view && w.view->takesWholeBlocks(w.cols, 32)) << w.symbol;
    EXPECT_TRUE(w.view->isInside(w.rows, w.cols, w.num_experts)) << w.symbol;
  }
  EXPECT_EQ(experts, 3);
}

// As many runs of layers as layers, each with weights of its own.
TEST(HfConfig, ListsEachTensorOfManyRunsOfLayersOnce) {
  json config = with(R"({"model_type": "qwen3_moe", "num_hidden_layers": 128, "num_experts": 2,
                         "num_experts_per_tok": 1, "moe_intermediate_size": 8,
                         "decoder_sparse_step": 2, "num_key_value_heads": 8})");
  const ModelSpec spec = parsed(config);
  // q, k, v, o, their two norms, two of the layer; three of a dense MLP or a router and three of
  // each expert; embeddings, norm and head.
  std::set<std::string> names;
  for (const TensorNeed& need : requiredTensors(spec))
    EXPECT_TRUE(names.insert(need.name).second) << need.name;
  EXPECT_EQ(names.size(), 128u * 8 + 64 * 3 + 64 * 7 + 3);
  config["num_hidden_layers"] = 129;
  EXPECT_THAT(refusal(config),
              HasSubstr("num_hidden_layers is 129, and layers of different kinds (layer_types) "
                        "alternate 128 times, at most 127 are supported"));
  config["decoder_sparse_step"] = 1;
  EXPECT_EQ(parsed(config).num_layers, 129) << "layers of one kind are one run";
}

TEST(HfConfig, PythonsNumbersAreNamedWhereTheyMatter) {
  const auto parse = [](const std::string& field) {
    auto config = llmrt::parseJson(R"({"model_type": "llama", "hidden_size": 64,
        "intermediate_size": 172, "num_hidden_layers": 2, "num_attention_heads": 8,
        "vocab_size": 512, )" + field + "}",
                                   "config.json");
    EXPECT_TRUE(config.ok()) << config.status().message();
    return *config;
  };
  EXPECT_EQ(parsed(parse(R"("time_step_limit": [0, Infinity], "router_jitter": NaN)")).num_layers,
            2);
  EXPECT_THAT(refusal(parse(R"("rope_theta": Infinity)")),
              HasSubstr("rope_theta is Infinity, expected a finite number"));
  EXPECT_THAT(refusal(parse(R"("rms_norm_eps": NaN)")), HasSubstr("rms_norm_eps is NaN, expected"));
  EXPECT_THAT(refusal(parse(R"("num_key_value_heads": -Infinity)")),
              HasSubstr("num_key_value_heads is -Infinity, expected an integer"));
  EXPECT_THAT(refusal(parse(R"("bos_token_id": NaN)")),
              HasSubstr("bos_token_id is NaN, expected a token id"));
  EXPECT_THAT(refusal(parse(R"("rope_scaling": {"type": "linear", "factor": NaN})")),
              HasSubstr("rope_scaling.factor is NaN, expected a finite number"));
  EXPECT_THAT(refusal(parse(R"("head_dim": 2, "rope_scaling": {"type": "longrope",
                                "short_factor": [NaN], "long_factor": [1]})")),
              HasSubstr("rope_scaling.short_factor is NaN, must be above 0"));
}

TEST(HfConfig, HeadsMayHaveAnOddSizeWherePositionsAreLearned) {
  const json gpt2 = json::parse(R"({"model_type": "gpt2", "n_embd": 36, "n_layer": 2, "n_head": 4,
                                    "vocab_size": 131})");
  EXPECT_EQ(parsed(gpt2).head_dim, 9);
  EXPECT_THAT(refusal(with(R"({"model_type": "gpt_neox", "hidden_size": 36,
                               "num_attention_heads": 4, "rotary_pct": 0.25})")),
              HasSubstr("head_dim is 9, must be even for rotary embeddings"));
}

TEST(HfConfig, ANormMayAddNothing) {
  EXPECT_EQ(parsed(with(R"({"rms_norm_eps": 0})")).rms_norm_eps, 0);
}

// modeling_gemma3.py stores it and never reads it; Gemma 2 does.
TEST(HfConfig, TheScoresOfGemma3AreNotCapped) {
  const std::string fields = R"(, "num_key_value_heads": 8, "attn_logit_softcapping": 50.0})";
  const ModelSpec gemma3 = parsed(with(R"({"model_type": "gemma3_text")" + fields));
  EXPECT_EQ(gemma3.attention_softcap, 0);
  EXPECT_THAT(gemma3.notes, ElementsAre(HasSubstr("attn_logit_softcapping 50.0 has no effect")));
  const ModelSpec gemma2 = parsed(with(R"({"model_type": "gemma2")" + fields));
  EXPECT_EQ(gemma2.attention_softcap, 50);
  EXPECT_THAT(gemma2.notes, IsEmpty());
}

// The files of Phi-4-mini say model_type phi4.
TEST(HfConfig, ArchitecturesDecidesBeforeModelType) {
  EXPECT_EQ(
      parsed(with(R"({"model_type": "phi4", "architectures": ["Phi3ForCausalLM"]})")).architecture,
      "phi3");
  EXPECT_EQ(parsed(with(R"({"architectures": ["Unheard"]})")).architecture, "llama");
}

TEST(HfConfig, RefusesWhatAFamilyCannotDoByField) {
  struct Case {
    const char* fields;
    const char* message;
  };
  const Case cases[] = {
      {R"({"model_type": "falcon", "alibi": true})", "alibi true is not supported"},
      {R"({"model_type": "olmo", "clip_qkv": 8.0})", "clip_qkv 8.0 is not supported"},
      {R"({"model_type": "stablelm", "qk_layernorm": true})", "qk_layernorm true"},
      {R"({"model_type": "phi", "qk_layernorm": true})", "qk_layernorm true"},
      {R"({"model_type": "gemma4_text", "use_bidirectional_attention": "all"})",
       "use_bidirectional_attention \"all\" is not supported"},
      {R"({"model_type": "gemma4_text", "vocab_size_per_layer_input": 64})",
       "vocab_size_per_layer_input 64 is not supported"},
      {R"({"model_type": "gemma4_text", "hidden_size_per_layer_input": 0,
           "per_layer_config": {"0": {"head_dim": 8}, "1": {"head_dim": 16}}})",
       "per_layer_config.1.head_dim: heads that differ"},
      {R"({"model_type": "gemma4_text", "hidden_size_per_layer_input": 0,
           "per_layer_config": {"1": {"sliding_window": 8}}})",
       "per_layer_config.1.sliding_window is not supported"},
      {R"({"model_type": "gemma4_text", "hidden_size_per_layer_input": 0, "num_kv_shared_layers": 1})",
       "num_kv_shared_layers is 1, but no layer before them is of the type \"full_attention\""},
      {R"({"model_type": "minicpm", "num_experts": 8})", "num_experts 8 is not supported"},
      {R"({"model_type": "minicpm", "sparse_config": {"topk": 64}})",
       "sparse_config is not supported"},
      {R"({"model_type": "phi3", "head_dim": 4, "rope_scaling": {"type": "longrope", "short_mscale": 1.25,
           "short_factor": [1, 1], "long_factor": [2, 2]}})",
       "rope_scaling.short_mscale 1.25 is not supported (1.0, the scale"},
      {R"({"model_type": "phi3", "head_dim": 4, "rope_scaling": {"type": "longrope", "short_mscale": 1.0,
           "attention_factor": 0, "short_factor": [1, 1], "long_factor": [2, 2]}})",
       "rope_scaling.attention_factor is 0.0, must be above 0"},
      {R"({"model_type": "gemma3_text", "rope_local_base_freq": -1})",
       "rope_local_base_freq is -1.0, must be above 0"},
      {R"({"model_type": "gemma3_text", "rope_parameters": {"sliding_attention": {"rope_theta": -1}}})",
       "rope_parameters.sliding_attention.rope_theta is -1.0, must be above 0"},
      {R"({"model_type": "granite", "attention_multiplier": 0})",
       "attention_multiplier is 0.0, must be above 0 (1e-30 to 1e+30)"},
      {R"({"model_type": "minicpm", "scale_emb": 1e308})",
       "scale_emb is 1e+308, must be -1e+30 to 1e+30"},
      {R"({"model_type": "smollm3", "no_rope_layer_interval": 0})",
       "no_rope_layer_interval is 0, must be 1 to 10000"},
      {R"({"model_type": "gpt2", "n_embd": -1, "n_layer": 1, "n_head": 1})",
       "n_embd is -1, must be 1 to 1048576"},
      {R"({"model_type": "mixtral", "num_key_value_heads": 8, "num_local_experts": 4096})",
       "num_local_experts is 4096, must be 1 to 1024"},
      {R"({"model_type": "gemma3", "text_config": {}})",
       "text_config: field hidden_size is missing"},
      {R"({"model_type": "gemma3", "text_config": 3})", "text_config is 3, expected an object"},
      {R"({"model_type": "llava", "text_config": {}})",
       "text_config: the text models of model_type \"llava\" are not supported (known: gemma3, "},
      {R"({"model_type": "gemma3", "vision_config": {}})",
       "vision_config: models that read more than text are not supported where they have no"},
      {R"({"model_type": "gemma2", "layer_types": ["chunked_attention", "full_attention"]})",
       "layer_types holds \"chunked_attention\""},
      {R"({"model_type": "qwen3_5_text", "layer_types": ["chunked_attention", "full_attention"]})",
       "layer_types holds \"chunked_attention\", full_attention and linear_attention are "
       "supported"},
      {R"({"model_type": "qwen3_5_text", "num_key_value_heads": 8, "linear_num_value_heads": 24})",
       "linear_num_value_heads (24) is not a multiple of linear_num_key_heads (16)"},
      {R"({"model_type": "qwen3_5_text", "num_key_value_heads": 8, "linear_conv_kernel_dim": 1})",
       "linear_conv_kernel_dim is 1, must be 2 to 32"},
      {R"({"model_type": "qwen3_5_text", "full_attention_interval": 0})",
       "full_attention_interval is 0, must be 1 to 10000"},
      {R"({"model_type": "gemma2", "layer_types": ["full_attention"]})",
       "layer_types has 1 entries, but num_hidden_layers is 2"},
      {R"({"model_type": "gemma2", "layer_types": []})",
       "layer_types has 0 entries, but num_hidden_layers is 2"},
      {R"({"layer_types": ["full_attention", "sliding_attention"]})",
       "layer_types holds \"sliding_attention\", but the model has no sliding_window"},
      {R"({"model_type": "smollm3", "num_key_value_heads": 8, "no_rope_layers": []})",
       "no_rope_layers has 0 entries, but num_hidden_layers is 2"},
      {R"({"model_type": "qwen3_moe"})", "field num_experts is missing"},
      {R"({"model_type": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 5, "moe_intermediate_size": 8})",
       "num_experts_per_tok is 5, must be 1 to 4"},
      {R"({"model_type": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 2,
           "moe_intermediate_size": 8, "mlp_only_layers": [7]})",
       "mlp_only_layers holds 7"},
      {R"({"model_type": "deepseek_v3", "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4,
           "v_head_dim": 8, "n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 8,
           "topk_method": "greedy"})",
       "topk_method \"greedy\" is not supported"},
      {R"({"model_type": "gpt_oss", "num_local_experts": 4, "swiglu_alpha": 2.0})",
       "swiglu_alpha 2.0"},
  };
  for (const Case& c : cases)
    EXPECT_THAT(refusal(with(c.fields)), HasSubstr(c.message)) << c.fields;
}

// As in HF's modeling_rope_utils.py, worked out in numpy float32.
TEST(HfConfig, QueriesOfMinistral3GrowWithTheirPosition) {
  const json small = with(R"({"model_type": "ministral3"})");
  const ModelSpec defaults = parsed(small);
  EXPECT_EQ(defaults.query_growth, 0.1);
  EXPECT_EQ(defaults.query_growth_every, 16384);
  EXPECT_EQ(defaults.rope.scaling, RopeScaling::kYarn);
  EXPECT_EQ(defaults.rope.attention_factor, 1);
  const ModelSpec said = parsed(with(R"({"rope_parameters": {"rope_type": "yarn", "factor": 4.0,
      "original_max_position_embeddings": 1024, "llama_4_scaling_beta": 0.4}})",
                                     small));
  EXPECT_EQ(said.query_growth, 0.4);
  EXPECT_EQ(said.query_growth_every, 1024);
  const ModelSpec none =
      parsed(with(R"({"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}})", small));
  EXPECT_EQ(none.query_growth, 0);
  EXPECT_THAT(refusal(with(R"({"rope_parameters": {"rope_type": "default",
      "llama_4_scaling_beta": 0.1}})",
                           small)),
              HasSubstr("original_max_position_embeddings of llama_4_scaling_beta is 0"));
  EXPECT_THAT(refusal(with(R"({"rope_parameters": {"llama_4_scaling_beta": -0.1}})", small)),
              HasSubstr("llama_4_scaling_beta is -0.1"));
}

TEST(HfConfig, YarnAndLongropeScaleAsHfDoes) {
  const ModelSpec yarn =
      parsed(with(R"({"head_dim": 16, "max_position_embeddings": 4096, "rope_scaling":
      {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024}})"));
  EXPECT_NEAR(yarn.rope.attention_factor, 1.1386294361119891, 1e-15);  // 0.1 ln 4 + 1
  EXPECT_EQ(yarn.rope.inv_freq.front(), 1.0) << "turns often: left";
  const ModelSpec plain = parsed(with(R"({"head_dim": 16})"));
  EXPECT_FLOAT_EQ(static_cast<float>(yarn.rope.inv_freq.back()),
                  static_cast<float>(plain.rope.inv_freq.back() / 4))
      << "turns seldom: divided";
  const ModelSpec longrope = parsed(with(R"({"head_dim": 4, "max_position_embeddings": 4096,
      "original_max_position_embeddings": 1024, "rope_scaling":
      {"type": "longrope", "short_factor": [1.0, 2.0], "long_factor": [4.0, 8.0]}})"));
  EXPECT_NEAR(longrope.rope.attention_factor, std::sqrt(1 + std::log(4.0) / std::log(1024.0)),
              1e-15);
  EXPECT_EQ(longrope.rope.inv_freq[0], 1.0);
  EXPECT_EQ(longrope.rope.long_inv_freq[0], 0.25);
  EXPECT_NEAR(longrope.rope.long_inv_freq[1], longrope.rope.inv_freq[1] / 4, 1e-9);
}

TEST(HfConfig, StoredTypesThatAreNotReadAreCodeForBf16) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"quantization_config": {"quant_method": "fp8"}})", "fp8"},
      {R"({"torch_dtype": "float16", "quantization_config": {"quant_method": "mxfp4"}})", "mxfp4"},
      {R"({"quantization_config": {"quant_method": "fbgemm_fp8"}})", "fbgemm_fp8"},
      {R"({"torch_dtype": "float8_e4m3fn"})", "fp8"},
  };
  for (const auto& [config, unread] : cases) {
    const ModelSpec spec = parsed(with(config));
    EXPECT_EQ(spec.unread_dtype, unread);
    EXPECT_THAT(spec.dtype, Optional(llmrt::DType::kBF16));
  }
}

TEST(HfConfig, RealConfigsParse) {
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
    EXPECT_TRUE(spec.ok()) << spec.status().message();
    ++parsed_count;
  }
  EXPECT_GE(parsed_count, 20);
}

}  // namespace
}  // namespace llmc
