#include "frontend/HfConfig.h"

#include <limits>

#include "frontend/JsonFields.h"
#include "models/Architectures.h"
#include "models/CheckSpec.h"
#include "models/Rope.h"

namespace llmc {
namespace {

using llmrt::invalidData;
using llmrt::Result;
using llmrt::Status;
using llmrt::unsupported;

// transformers' activations.py, ACT2FN: the names that mean one of ours.
Result<Activation> parseActivation(const std::string& name) {
  if (name == "silu" || name == "swish") return Activation::kSilu;
  if (name == "gelu") return Activation::kGelu;
  if (name == "gelu_pytorch_tanh" || name == "gelu_new") return Activation::kGeluTanh;
  return unsupported("hidden_act " + briefJson(name) +
                     " is not supported (silu, gelu, gelu_pytorch_tanh are)");
}

Result<std::optional<llmrt::DType>> parseDtype(const JsonFields& config) {
  for (const char* field : {"dtype", "torch_dtype"}) {
    LLMRT_ASSIGN_OR_RETURN(auto text, config.getString(field));
    if (!text) continue;
    std::string name = text->starts_with("torch.") ? text->substr(6) : *text;
    if (name == "float32") return std::optional(llmrt::DType::kF32);
    if (name == "float16") return std::optional(llmrt::DType::kF16);
    if (name == "bfloat16") return std::optional(llmrt::DType::kBF16);
    return unsupported(std::string(field) + " " + briefJson(*text) +
                       " is not supported (float32, float16, bfloat16 are)");
  }
  return std::optional<llmrt::DType>();
}

// A non-negative int is a token; -1 is how some say that there is none.
Result<std::optional<int64_t>> parseTokenId(const std::string& name, const nlohmann::json& value) {
  if (value.is_number_integer()) {
    if (value == -1) return std::optional<int64_t>();
    if (value >= 0 && value <= std::numeric_limits<int32_t>::max())
      return std::optional(value.get<int64_t>());
  }
  return invalidData(name + " is " + briefJson(value) + ", expected a token id");
}

Status parseSpecialTokens(const JsonFields& config, ModelSpec& spec) {
  if (const nlohmann::json* bos = config.find("bos_token_id")) {
    LLMRT_ASSIGN_OR_RETURN(spec.bos_token_id, parseTokenId("bos_token_id", *bos));
  }
  if (const nlohmann::json* eos = config.find("eos_token_id")) {
    spec.eos_token_ids.clear();
    const nlohmann::json list = eos->is_array() ? *eos : nlohmann::json::array({*eos});
    for (const nlohmann::json& value : list) {
      LLMRT_ASSIGN_OR_RETURN(auto id, parseTokenId("eos_token_id", value));
      if (id) spec.eos_token_ids.push_back(*id);
    }
  }
  return {};
}

Status refusePartialRotary(const JsonFields& fields) {
  LLMRT_ASSIGN_OR_RETURN(auto factor, fields.getNumber("partial_rotary_factor"));
  if (factor && *factor != 1.0)
    return unsupported(fields.nameOf("partial_rotary_factor") + " " + briefJson(*factor) +
                       " is not supported (only 1.0 is)");
  return {};
}

// RotaryEmbeddingConfigMixin.convert_rope_params_to_dict and standardize_rope_params: rope_scaling,
// when not empty, wins over rope_parameters; rope_theta inside wins over rope_theta beside;
// original_max_position_embeddings beside wins over the one inside, and max_position_embeddings
// stands in for both.
Status parseRope(const JsonFields& config, ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(refusePartialRotary(config));
  LLMRT_ASSIGN_OR_RETURN(auto theta, config.getNumber("rope_theta"));
  spec.rope.theta = theta.value_or(10000.0);

  const nlohmann::json* parameters = nullptr;
  const char* parameters_name = "rope_scaling";
  for (const char* name : {"rope_scaling", "rope_parameters"}) {
    const nlohmann::json* value = config.find(name);
    if (!value) continue;
    if (!value->is_object())
      return invalidData(std::string(name) + " is " + briefJson(*value) + ", expected an object");
    if (value->empty()) continue;
    parameters = value;
    parameters_name = name;
    break;
  }
  if (!parameters) return {};

  const JsonFields rope(*parameters, std::string(parameters_name) + ".");
  for (const auto& [key, value] : parameters->items()) {
    if (value.is_object())
      return unsupported(rope.nameOf(key.c_str()) +
                         ": rotary embeddings that differ by layer are not supported");
  }
  LLMRT_RETURN_IF_ERROR(refusePartialRotary(rope));
  LLMRT_ASSIGN_OR_RETURN(auto inner_theta, rope.getNumber("rope_theta"));
  if (inner_theta) spec.rope.theta = *inner_theta;

  const char* type_field = rope.has("rope_type") ? "rope_type" : "type";
  LLMRT_ASSIGN_OR_RETURN(auto type, rope.getString(type_field));
  if (!type || *type == "default") return {};
  if (*type != "linear" && *type != "llama3")
    return unsupported(rope.nameOf(type_field) + " " + briefJson(*type) +
                       " is not supported (default, linear, llama3 are)");
  LLMRT_ASSIGN_OR_RETURN(spec.rope.factor, rope.needNumber("factor"));
  if (*type == "linear") {
    spec.rope.scaling = RopeScaling::kLinear;
    return {};
  }
  spec.rope.scaling = RopeScaling::kLlama3;
  LLMRT_ASSIGN_OR_RETURN(spec.rope.low_freq_factor, rope.needNumber("low_freq_factor"));
  LLMRT_ASSIGN_OR_RETURN(spec.rope.high_freq_factor, rope.needNumber("high_freq_factor"));
  LLMRT_ASSIGN_OR_RETURN(auto outer, config.getInt("original_max_position_embeddings"));
  LLMRT_ASSIGN_OR_RETURN(auto inner, rope.getInt("original_max_position_embeddings"));
  spec.rope.original_max_position_embeddings =
      outer ? *outer : inner.value_or(spec.max_position_embeddings);
  return {};
}

Status parseSizes(const JsonFields& config, const Architecture& architecture, ModelSpec& spec) {
  LLMRT_ASSIGN_OR_RETURN(spec.hidden_size, config.needInt("hidden_size"));
  LLMRT_ASSIGN_OR_RETURN(spec.intermediate_size, config.needInt("intermediate_size"));
  LLMRT_ASSIGN_OR_RETURN(spec.num_layers, config.needInt("num_hidden_layers"));
  LLMRT_ASSIGN_OR_RETURN(spec.num_heads, config.needInt("num_attention_heads"));
  LLMRT_ASSIGN_OR_RETURN(spec.vocab_size, config.needInt("vocab_size"));
  LLMRT_ASSIGN_OR_RETURN(auto max_position, config.getInt("max_position_embeddings"));
  spec.max_position_embeddings =
      max_position.value_or(architecture.default_max_position_embeddings);

  // The configuration classes take null, and Llama's absence, as num_attention_heads.
  LLMRT_ASSIGN_OR_RETURN(auto kv_heads, config.getInt("num_key_value_heads"));
  spec.num_kv_heads = kv_heads.value_or(spec.num_heads);
  if (!kv_heads && architecture.default_num_kv_heads != 0 && !config.isNull("num_key_value_heads"))
    spec.num_kv_heads = architecture.default_num_kv_heads;

  LLMRT_ASSIGN_OR_RETURN(auto head_dim, config.getInt("head_dim"));
  if (head_dim) {
    spec.head_dim = *head_dim;
    return {};
  }
  if (spec.num_heads < 1 || spec.hidden_size % spec.num_heads != 0)
    return invalidData("hidden_size (" + std::to_string(spec.hidden_size) +
                       ") is not a multiple of num_attention_heads (" +
                       std::to_string(spec.num_heads) + ") and there is no head_dim");
  spec.head_dim = spec.hidden_size / spec.num_heads;
  return {};
}

// HF's Mistral has no biases whatever the config says; a checkpoint that has them would be read
// wrongly.
Status parseBiases(const JsonFields& config, const Architecture& architecture, ModelSpec& spec) {
  LLMRT_ASSIGN_OR_RETURN(auto attention_bias, config.getBool("attention_bias"));
  LLMRT_ASSIGN_OR_RETURN(auto mlp_bias, config.getBool("mlp_bias"));
  spec.qkv_bias = spec.o_bias = attention_bias.value_or(false);
  spec.mlp_bias = mlp_bias.value_or(false);
  if (!architecture.has_biases && (spec.qkv_bias || spec.mlp_bias))
    return unsupported(std::string(spec.qkv_bias ? "attention_bias" : "mlp_bias") +
                       " true is not supported for model_type " + spec.architecture);
  return {};
}

Status parseSlidingWindow(const JsonFields& config, const Architecture& architecture,
                          ModelSpec& spec) {
  if (!architecture.has_sliding_window) return {};
  LLMRT_ASSIGN_OR_RETURN(auto window, config.getInt("sliding_window"));
  if (window) {
    if (*window == 0)
      return invalidData("sliding_window is 0, must be at least 1, or null for none");
    spec.sliding_window = *window;
  } else if (!config.isNull("sliding_window")) {
    spec.sliding_window = architecture.default_sliding_window;
  }
  return {};
}

Status refuseUnsupported(const JsonFields& config) {
  if (const nlohmann::json* quantization = config.find("quantization_config")) {
    const bool named = quantization->is_object() && quantization->contains("quant_method");
    return unsupported("quantization_config" +
                       (named ? " with quant_method " + briefJson((*quantization)["quant_method"])
                              : std::string()) +
                       " is not supported: use the model's unquantised checkpoint");
  }
  LLMRT_ASSIGN_OR_RETURN(auto pretraining_tp, config.getInt("pretraining_tp"));
  if (pretraining_tp && *pretraining_tp != 1)
    return unsupported("pretraining_tp " + std::to_string(*pretraining_tp) +
                       " is not supported (only 1 is)");
  return {};
}

Result<ModelSpec> parse(const nlohmann::json& json, std::string name) {
  if (!json.is_object()) return invalidData("is not a JSON object");
  const JsonFields config(json);
  ModelSpec spec;
  spec.name = std::move(name);
  LLMRT_ASSIGN_OR_RETURN(auto model_type, config.getString("model_type"));
  if (!model_type) return invalidData("field model_type is missing: not a model's config");
  const Architecture* architecture = findArchitecture(*model_type);
  if (!architecture)
    return unsupported("model_type " + briefJson(*model_type) +
                       " is not supported (known: " + knownArchitectures() + ")");
  spec.architecture = *model_type;

  LLMRT_RETURN_IF_ERROR(refuseUnsupported(config));
  LLMRT_RETURN_IF_ERROR(parseSizes(config, *architecture, spec));
  LLMRT_ASSIGN_OR_RETURN(auto eps, config.getNumber("rms_norm_eps"));
  spec.rms_norm_eps = eps.value_or(architecture->default_rms_norm_eps);
  LLMRT_ASSIGN_OR_RETURN(auto hidden_act, config.getString("hidden_act"));
  LLMRT_ASSIGN_OR_RETURN(spec.activation, parseActivation(hidden_act.value_or("silu")));
  LLMRT_RETURN_IF_ERROR(parseBiases(config, *architecture, spec));
  LLMRT_RETURN_IF_ERROR(parseSlidingWindow(config, *architecture, spec));
  LLMRT_RETURN_IF_ERROR(parseRope(config, spec));
  LLMRT_ASSIGN_OR_RETURN(auto tied, config.getBool("tie_word_embeddings"));
  spec.tie_word_embeddings = tied.value_or(false);
  LLMRT_ASSIGN_OR_RETURN(spec.dtype, parseDtype(config));
  // Both configuration classes assume 1 and 2; null means none.
  if (!config.isNull("bos_token_id")) spec.bos_token_id = 1;
  if (!config.isNull("eos_token_id")) spec.eos_token_ids = {2};
  LLMRT_RETURN_IF_ERROR(parseSpecialTokens(config, spec));

  LLMRT_RETURN_IF_ERROR(checkSpec(spec));
  computeInvFreq(spec.rope, spec.head_dim);
  return spec;
}

Status parseGeneration(const nlohmann::json& json, ModelSpec& spec) {
  if (!json.is_object()) return invalidData("is not a JSON object");
  const JsonFields config(json);
  LLMRT_RETURN_IF_ERROR(parseSpecialTokens(config, spec));
  GenerationDefaults& generation = spec.generation;
  LLMRT_ASSIGN_OR_RETURN(auto do_sample, config.getBool("do_sample"));
  LLMRT_ASSIGN_OR_RETURN(auto temperature, config.getNumber("temperature"));
  LLMRT_ASSIGN_OR_RETURN(auto top_k, config.getInt("top_k"));
  LLMRT_ASSIGN_OR_RETURN(auto top_p, config.getNumber("top_p"));
  LLMRT_ASSIGN_OR_RETURN(auto penalty, config.getNumber("repetition_penalty"));
  generation.do_sample = do_sample.value_or(false);
  generation.temperature = temperature.value_or(1.0);
  generation.top_k = top_k.value_or(50);  // GenerationConfig's default
  generation.top_p = top_p.value_or(1.0);
  generation.repetition_penalty = penalty.value_or(1.0);
  if (!(generation.temperature >= 0 && generation.temperature <= 1e6))
    return invalidData("temperature is " + briefJson(generation.temperature) +
                       ", must be 0 or more");
  if (generation.top_k < 0 || generation.top_k > std::numeric_limits<int32_t>::max())
    return invalidData("top_k is " + std::to_string(generation.top_k) + ", must be 0 or more");
  if (!(generation.top_p > 0 && generation.top_p <= 1))
    return invalidData("top_p is " + briefJson(generation.top_p) +
                       ", must be above 0 and at most 1");
  if (!(generation.repetition_penalty > 0 && generation.repetition_penalty <= 1e6))
    return invalidData("repetition_penalty is " + briefJson(generation.repetition_penalty) +
                       ", must be above 0");
  return {};
}

}  // namespace

Result<ModelSpec> parseHfConfig(const nlohmann::json& config, const std::string& path,
                                std::string name) {
  Result<ModelSpec> spec = parse(config, std::move(name));
  if (!spec.ok()) return std::move(spec).status().withContext(path);
  return spec;
}

Status parseGenerationConfig(const nlohmann::json& config, const std::string& path,
                             ModelSpec& spec) {
  return parseGeneration(config, spec).withContext(path);
}

}  // namespace llmc
