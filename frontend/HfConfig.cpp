#include "frontend/HfConfig.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "frontend/GenerationConfig.h"
#include "frontend/HfFamilies.h"
#include "frontend/HfReaders.h"
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

constexpr int64_t kMostHeadDim = 1 << 16;

// Weights stored in a type that cannot be read leave the code: it is compiled for bf16.
llmrt::DType unreadDtype(const std::string& name, ModelSpec& spec) {
  spec.unread_dtype = name;
  return llmrt::DType::kBF16;
}

Result<std::optional<llmrt::DType>> parseDtype(const JsonFields& config, ModelSpec& spec) {
  for (const char* field : {"dtype", "torch_dtype"}) {
    LLMRT_ASSIGN_OR_RETURN(auto text, config.getString(field));
    if (!text) continue;
    std::string name = text->starts_with("torch.") ? text->substr(6) : *text;
    if (name == "float32") return std::optional(llmrt::DType::kF32);
    if (name == "float16") return std::optional(llmrt::DType::kF16);
    if (name == "bfloat16") return std::optional(llmrt::DType::kBF16);
    if (name.starts_with("float8")) return std::optional(unreadDtype("fp8", spec));
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
  return invalidData(name + " is " + briefJson(value) +
                     ", expected a token id (0 to 2147483647, or -1 for none)");
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

// Of yarn; 0 counts as absent. DeepSeek scales scores by a square of it.
Status checkMscale(const std::string& field, std::optional<double> value) {
  if (value.value_or(0) == 0 || (*value > 0 && *value <= 1e6)) return {};
  return invalidData(field + " is " + numberText(*value) + ", must be 0 to 1000000");
}

// One set of rope parameters. `inner`: rope_scaling or rope_parameters (of one kind of layer), or
// null. RotaryEmbeddingConfigMixin.convert_rope_params_to_dict and standardize_rope_params:
// rope_theta inside wins over rope_theta beside; original_max_position_embeddings beside wins over
// the one inside, and max_position_embeddings stands in for both.
Status parseRopeParameters(const JsonFields& config, const Architecture& architecture,
                           const nlohmann::json* inner, const std::string& prefix,
                           double partial_factor, const ModelSpec& spec, int64_t head_dim,
                           Rope& out) {
  static const nlohmann::json kEmpty = nlohmann::json::object();
  const JsonFields rope(inner ? *inner : kEmpty, prefix);
  LLMRT_ASSIGN_OR_RETURN(auto theta, rope.getNumber("rope_theta"));
  if (theta) {
    LLMRT_RETURN_IF_ERROR(checkPositive(rope.nameOf("rope_theta"), *theta));
    out.theta = *theta;
  }
  LLMRT_ASSIGN_OR_RETURN(auto inner_partial, rope.getNumber("partial_rotary_factor"));
  const char* type_field = rope.has("rope_type") ? "rope_type" : "type";
  LLMRT_ASSIGN_OR_RETURN(auto type, rope.getString(type_field));
  if (type == "proportional") {
    out.scaling = RopeScaling::kProportional;
    out.dim = head_dim;
    out.proportion = inner_partial.value_or(1.0);
    LLMRT_ASSIGN_OR_RETURN(auto factor, rope.getNumber("factor"));
    out.factor = factor.value_or(1.0);
    if (out.proportion >= 0 && out.proportion <= 1) return {};
    return invalidData(rope.nameOf("partial_rotary_factor") + " is " + briefJson(out.proportion) +
                       ", must be 0 to 1");
  }
  const double partial = inner_partial.value_or(partial_factor);
  if (partial != 1.0 && !architecture.has_partial_rotary)
    return unsupported((inner_partial ? rope : config).nameOf("partial_rotary_factor") + " " +
                       briefJson(partial) + " is not supported (only 1.0 is)");
  if (!(partial > 0 && partial <= 1))
    return invalidData("partial_rotary_factor is " + briefJson(partial) +
                       ", must be above 0 and at most 1");
  if (head_dim > kMostHeadDim) return {};  // checkSpec() says which field makes it so
  out.dim = static_cast<int64_t>(static_cast<double>(head_dim) * partial);
  if (head_dim >= 2 && out.dim < 2)
    return invalidData("partial_rotary_factor " + briefJson(partial) + " leaves nothing to rotate");

  if (!type || *type == "default") return {};
  LLMRT_ASSIGN_OR_RETURN(auto outer_length, config.getInt("original_max_position_embeddings"));
  LLMRT_ASSIGN_OR_RETURN(auto inner_length, rope.getInt("original_max_position_embeddings"));
  const bool phi3 = spec.architecture == "phi3";
  if (phi3 && !outer_length) outer_length = 4096;  // the configuration class's default
  out.original_max_position_embeddings =
      outer_length ? *outer_length : inner_length.value_or(spec.max_position_embeddings);
  const double stretch =
      static_cast<double>(spec.max_position_embeddings) /
      static_cast<double>(std::max<int64_t>(1, out.original_max_position_embeddings));
  LLMRT_ASSIGN_OR_RETURN(auto attention_factor, rope.getNumber("attention_factor"));

  // Early files of Phi-3 call it so.
  if (*type == "longrope" || *type == "su" || (phi3 && *type == "yarn")) {
    out.scaling = RopeScaling::kLongrope;
    LLMRT_ASSIGN_OR_RETURN(out.short_factor, rope.needNumbers("short_factor"));
    LLMRT_ASSIGN_OR_RETURN(out.long_factor, rope.needNumbers("long_factor"));
    LLMRT_ASSIGN_OR_RETURN(auto factor, rope.getNumber("factor"));
    const double ratio = factor.value_or(stretch);
    if (attention_factor) {
      LLMRT_RETURN_IF_ERROR(checkPositive(rope.nameOf("attention_factor"), *attention_factor));
      out.attention_factor = *attention_factor;
    } else if (ratio > 1 && out.original_max_position_embeddings > 1) {
      out.attention_factor =
          std::sqrt(1 + std::log(ratio) /
                            std::log(static_cast<double>(out.original_max_position_embeddings)));
    }
    // Of Phi-3.5-MoE: scales of cos and sin for either length, in place of the one above.
    for (const char* field : {"short_mscale", "long_mscale"}) {
      LLMRT_ASSIGN_OR_RETURN(auto mscale, rope.getNumber(field));
      if (mscale && std::abs(*mscale - out.attention_factor) > 1e-6 * out.attention_factor)
        return unsupported(rope.nameOf(field) + " " + briefJson(*mscale) + " is not supported (" +
                           briefJson(out.attention_factor) + ", the scale of these lengths, is)");
    }
    return {};
  }
  if (*type == "yarn") {
    out.scaling = RopeScaling::kYarn;
    LLMRT_ASSIGN_OR_RETURN(auto factor, rope.getNumber("factor"));
    out.factor = factor.value_or(stretch);
    LLMRT_ASSIGN_OR_RETURN(auto beta_fast, rope.getNumber("beta_fast"));
    LLMRT_ASSIGN_OR_RETURN(auto beta_slow, rope.getNumber("beta_slow"));
    LLMRT_ASSIGN_OR_RETURN(auto truncate, rope.getBool("truncate"));
    LLMRT_ASSIGN_OR_RETURN(auto mscale, rope.getNumber("mscale"));
    LLMRT_ASSIGN_OR_RETURN(auto mscale_all, rope.getNumber("mscale_all_dim"));
    out.beta_fast = beta_fast.value_or(0) != 0 ? *beta_fast : 32.0;
    out.beta_slow = beta_slow.value_or(0) != 0 ? *beta_slow : 1.0;
    out.truncate = truncate.value_or(true);
    LLMRT_RETURN_IF_ERROR(checkMscale(rope.nameOf("mscale"), mscale));
    LLMRT_RETURN_IF_ERROR(checkMscale(rope.nameOf("mscale_all_dim"), mscale_all));
    if (attention_factor) {
      out.attention_factor = *attention_factor;
    } else if (mscale.value_or(0) != 0 && mscale_all.value_or(0) != 0) {
      out.attention_factor = yarnScale(out.factor, *mscale) / yarnScale(out.factor, *mscale_all);
    } else {
      out.attention_factor = yarnScale(out.factor, 1.0);
    }
    return {};
  }
  if (*type == "linear") {
    out.scaling = RopeScaling::kLinear;
  } else if (*type == "dynamic") {
    out.scaling = RopeScaling::kDynamic;
    out.original_max_position_embeddings = spec.max_position_embeddings;
  } else if (*type == "llama3") {
    out.scaling = RopeScaling::kLlama3;
  } else {
    return unsupported(
        rope.nameOf(type_field) + " " + briefJson(*type) +
        " is not supported (default, linear, dynamic, llama3, yarn, longrope, proportional are)");
  }
  LLMRT_ASSIGN_OR_RETURN(out.factor, rope.needNumber("factor"));
  if (out.scaling != RopeScaling::kLlama3) return {};
  LLMRT_ASSIGN_OR_RETURN(out.low_freq_factor, rope.needNumber("low_freq_factor"));
  LLMRT_ASSIGN_OR_RETURN(out.high_freq_factor, rope.needNumber("high_freq_factor"));
  return {};
}

// rope_scaling, when not empty, wins over rope_parameters. Either may hold one set for layers with
// a window and one for those without; where layers with a window have rotary embeddings of their
// own and there is one set, it is that of the others.
Status parseRope(const JsonFields& config, const Architecture& architecture, ModelSpec& spec) {
  LLMRT_ASSIGN_OR_RETURN(auto theta, config.getNumber("rope_theta"));
  if (!theta) {
    LLMRT_ASSIGN_OR_RETURN(theta, config.getNumber("rotary_emb_base"));  // older GPT-NeoX
    if (theta) LLMRT_RETURN_IF_ERROR(checkPositive("rotary_emb_base", *theta));
  }
  spec.rope.theta = theta.value_or(architecture.default_rope_theta);
  LLMRT_ASSIGN_OR_RETURN(auto partial, config.getNumber("partial_rotary_factor"));
  if (!partial) {
    LLMRT_ASSIGN_OR_RETURN(partial, config.getNumber("rotary_pct"));
  }
  const double factor = partial.value_or(architecture.default_partial_rotary_factor);

  const nlohmann::json* parameters = nullptr;
  nlohmann::json defaults;
  if (architecture.default_rope_parameters && !config.has("rope_parameters")) {
    defaults = nlohmann::json::parse(architecture.default_rope_parameters);
    parameters = &defaults;
  }
  std::string name = "rope_scaling";
  for (const char* candidate : {"rope_scaling", "rope_parameters"}) {
    const nlohmann::json* value = config.find(candidate);
    if (!value) continue;
    if (!value->is_object())
      return invalidData(std::string(candidate) + " is " + briefJson(*value) +
                         ", expected an object");
    if (value->empty()) continue;
    parameters = value;
    name = candidate;
    break;
  }
  const nlohmann::json* nested = nullptr;
  if (parameters) {
    for (const auto& [key, value] : parameters->items()) {
      if (!value.is_object()) continue;
      nested = parameters;
      if (architecture.default_local_rope_theta == 0)
        return unsupported(name + "." + key +
                           ": rotary embeddings that differ by layer are not supported for "
                           "model_type " +
                           spec.architecture);
      if (key != "full_attention" && key != "sliding_attention")
        return unsupported(name + "." + key +
                           ": rotary embeddings of such layers are not supported "
                           "(full_attention and sliding_attention are)");
    }
  }
  if (architecture.default_local_rope_theta != 0) {
    LLMRT_ASSIGN_OR_RETURN(auto local_theta, config.getNumber("rope_local_base_freq"));
    if (local_theta) LLMRT_RETURN_IF_ERROR(checkPositive("rope_local_base_freq", *local_theta));
    spec.local_rope.emplace().theta = local_theta.value_or(architecture.default_local_rope_theta);
  }
  if (!nested) {
    if (spec.local_rope)
      LLMRT_RETURN_IF_ERROR(parseRopeParameters(config, architecture, nullptr, name + ".", factor,
                                                spec, spec.head_dim, *spec.local_rope));
    return parseRopeParameters(config, architecture, parameters, name + ".", factor, spec,
                               spec.ropeHeadDim(false), spec.rope);
  }
  const JsonFields kinds(*nested, name + ".");
  LLMRT_RETURN_IF_ERROR(parseRopeParameters(config, architecture, kinds.find("full_attention"),
                                            name + ".full_attention.", factor, spec,
                                            spec.ropeHeadDim(false), spec.rope));
  return parseRopeParameters(config, architecture, kinds.find("sliding_attention"),
                             name + ".sliding_attention.", factor, spec, spec.ropeHeadDim(true),
                             *spec.local_rope);
}

// The configuration class's default, where it has one (0: none).
Result<int64_t> intOr(const JsonFields& config, const char* field, int64_t otherwise) {
  LLMRT_ASSIGN_OR_RETURN(auto value, config.getInt(field));
  if (value) return *value;
  if (otherwise != 0) return otherwise;
  return config.needInt(field);
}

/// The name that the config uses.
const char* older(const JsonFields& config, const char* older_name, const char* name) {
  return older_name && config.has(older_name) ? older_name : name;
}

// What lists the layers goes before their number.
Result<int64_t> numLayers(const JsonFields& config, const ConfigNames& names) {
  for (const char* field : {names.layers, names.older_layers}) {
    const nlohmann::json* layers = field ? config.find(field) : nullptr;
    if (layers && layers->is_array()) return static_cast<int64_t>(layers->size());
    if (layers && layers->is_string())
      return static_cast<int64_t>(layers->get_ref<const std::string&>().size());
  }
  return config.needInt(names.num_layers);
}

Status parseSizes(const JsonFields& config, const Architecture& architecture, ModelSpec& spec) {
  const ConfigNames& names = architecture.fields;
  LLMRT_ASSIGN_OR_RETURN(spec.hidden_size, config.needInt(names.hidden_size));
  // Others follow from it.
  LLMRT_RETURN_IF_ERROR(checkRange(names.hidden_size, spec.hidden_size, 1, kMaxHiddenSize));
  LLMRT_ASSIGN_OR_RETURN(
      auto intermediate,
      config.getInt(older(config, names.older_intermediate_size, names.intermediate_size)));
  if (intermediate) {
    spec.intermediate_size = *intermediate;
  } else if (architecture.default_intermediate_size > 0) {
    spec.intermediate_size = architecture.default_intermediate_size;
  } else if (architecture.default_intermediate_size == -1) {
    spec.intermediate_size = 4 * spec.hidden_size;
  } else {
    LLMRT_ASSIGN_OR_RETURN(spec.intermediate_size, config.needInt(names.intermediate_size));
  }
  LLMRT_ASSIGN_OR_RETURN(spec.num_layers, numLayers(config, names));
  LLMRT_ASSIGN_OR_RETURN(spec.num_heads,
                         intOr(config, names.num_heads, architecture.default_num_heads));
  LLMRT_RETURN_IF_ERROR(checkRange(names.num_heads, spec.num_heads, 1, kMaxHeads));
  LLMRT_ASSIGN_OR_RETURN(spec.vocab_size,
                         intOr(config, "vocab_size", architecture.default_vocab_size));
  LLMRT_ASSIGN_OR_RETURN(auto max_position, config.getInt(names.max_positions));
  spec.max_position_embeddings =
      max_position.value_or(architecture.default_max_position_embeddings);

  // The configuration classes take null, and Llama's absence, as num_attention_heads.
  LLMRT_ASSIGN_OR_RETURN(auto kv_heads, config.getInt(names.num_kv_heads));
  spec.num_kv_heads = kv_heads.value_or(spec.num_heads);
  if (!kv_heads && architecture.default_num_kv_heads != 0 && !config.isNull(names.num_kv_heads))
    spec.num_kv_heads = architecture.default_num_kv_heads;

  LLMRT_ASSIGN_OR_RETURN(auto head_dim,
                         config.getInt(older(config, names.older_head_dim, "head_dim")));
  if (!head_dim && architecture.default_head_dim != 0 && !config.isNull("head_dim"))
    head_dim = architecture.default_head_dim;
  if (head_dim) {
    spec.head_dim = *head_dim;
    return {};
  }
  if (spec.hidden_size % spec.num_heads != 0)
    return invalidData(std::string(names.hidden_size) + " (" + std::to_string(spec.hidden_size) +
                       ") is not a multiple of " + names.num_heads + " (" +
                       std::to_string(spec.num_heads) + ") and there is no head_dim");
  spec.head_dim = spec.hidden_size / spec.num_heads;
  return {};
}

// HF's Mistral has no biases whatever the config says; a checkpoint that has them would be read
// wrongly.
Status parseBiases(const JsonFields& config, const Architecture& architecture, ModelSpec& spec) {
  spec.qkv_bias = architecture.qkv_bias;
  spec.o_bias = architecture.o_bias;
  spec.mlp_bias = architecture.mlp_bias;
  if (readsOwnBiases(architecture)) return {};
  LLMRT_ASSIGN_OR_RETURN(auto attention_bias, config.getBool("attention_bias"));
  LLMRT_ASSIGN_OR_RETURN(auto mlp_bias, config.getBool("mlp_bias"));
  if (architecture.has_biases) {
    if (attention_bias) spec.qkv_bias = spec.o_bias = *attention_bias;
    if (mlp_bias) spec.mlp_bias = *mlp_bias;
    return {};
  }
  const char* field = attention_bias.value_or(false) ? "attention_bias"
                      : mlp_bias.value_or(false)     ? "mlp_bias"
                                                     : nullptr;
  if (field && !(spec.qkv_bias && spec.mlp_bias))
    return unsupported(std::string(field) + " true is not supported for model_type " +
                       spec.architecture);
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

/// layer_types, where a config lists them.
Status parseLayerTypes(const JsonFields& config, ModelSpec& spec) {
  const nlohmann::json* types = config.find("layer_types");
  if (!types || findArchitecture(spec.architecture)->fields.layers) return {};
  if (!types->is_array()) return invalidData("layer_types is not a list");
  if (static_cast<int64_t>(types->size()) != spec.num_layers)
    return invalidData("layer_types has " + std::to_string(types->size()) +
                       " entries, but num_hidden_layers is " + std::to_string(spec.num_layers));
  spec.windowed_layers.clear();
  spec.mixers.clear();
  for (const nlohmann::json& type : *types) {
    const Mixer mixer =
        type.is_string() ? spec.mixerOfType(type.get_ref<const std::string&>()) : Mixer::kNone;
    spec.mixers.push_back(mixer == Mixer::kNone ? Mixer::kAttention : mixer);
    const bool attends = type == "full_attention" || type == "sliding_attention" ||
                         (type == "attention" && spec.state_space.num_heads > 0);
    if (mixer == Mixer::kNone && !attends)
      return unsupported("layer_types holds " + briefJson(type) + ", full_attention" +
                         (spec.short_conv.size > 0 && spec.sliding_window > 0
                              ? ", sliding_attention and "
                              : " and ") +
                         (spec.short_conv.size > 0         ? "conv"
                          : spec.state_space.num_heads > 0 ? "mamba"
                          : spec.delta.num_value_heads > 0 ? "linear_attention"
                                                           : "sliding_attention") +
                         " are supported");
    if (type == "sliding_attention" && spec.sliding_window == 0)
      return invalidData(
          "layer_types holds \"sliding_attention\", but the model has no sliding_window");
    spec.windowed_layers.push_back(type == "sliding_attention");
  }
  if (std::ranges::all_of(spec.mixers, [](Mixer m) { return m == Mixer::kAttention; }))
    spec.mixers.clear();
  return {};
}

/// How many blocks of multi-token prediction a model has. Qwen3-Next has one, and does not say so.
Status parseMtp(const JsonFields& config, ModelSpec& spec) {
  if (spec.form.names.mtp_layer.empty()) return {};
  if (spec.architecture == "qwen3_next") spec.mtp.num_blocks = 1;
  for (const char* field : {"mtp_num_hidden_layers", "num_nextn_predict_layers"})
    LLMRT_RETURN_IF_ERROR(readCount(config, field, 0, kMaxLayers, spec.mtp.num_blocks));
  return {};
}

Status parseQuantization(const JsonFields& config, ModelSpec& spec) {
  const nlohmann::json* quantization = config.find("quantization_config");
  if (!quantization) return {};
  const bool named = quantization->is_object() && quantization->contains("quant_method");
  const nlohmann::json method = named ? (*quantization)["quant_method"] : nlohmann::json();
  if (method == "mxfp4" && spec.architecture == "gpt_oss") return {};  // readGptOss() does
  for (const std::string unread : {"fp8", "fbgemm_fp8", "mxfp4"}) {
    if (method != unread) continue;
    spec.dtype = unreadDtype(unread, spec);
    return {};
  }
  return unsupported("quantization_config" +
                     (named ? " with quant_method " + briefJson(method) : std::string()) +
                     " is not supported: use the model's unquantised checkpoint");
}

Status refuseUnsupported(const JsonFields& config) {
  for (const char* part : {"vision_config", "audio_config"}) {
    if (config.has(part))
      return unsupported(std::string(part) +
                         ": models that read more than text are not supported where they have no "
                         "text_config; give the config and weights of the language model alone");
  }
  return {};
}

// architectures decides before model_type: the files of some models say a model_type of their own.
Result<const Architecture*> parseArchitecture(const JsonFields& config) {
  LLMRT_ASSIGN_OR_RETURN(auto model_type, config.getString("model_type"));
  const nlohmann::json* classes = config.find("architectures");
  if (classes && classes->is_array() && !classes->empty() && classes->front().is_string()) {
    const Architecture* of_class =
        findArchitectureOfClass(classes->front().get_ref<const std::string&>());
    if (of_class) return of_class;
  }
  if (!model_type) return invalidData("field model_type is missing: not a model's config");
  if (const Architecture* of_type = findArchitecture(*model_type)) return of_type;
  return unsupported("model_type " + briefJson(*model_type) +
                     " is not supported (known: " + knownArchitectures() + ")");
}

Result<ModelSpec> parseText(const nlohmann::json& json, std::string name) {
  const JsonFields config(json);
  ModelSpec spec;
  spec.name = std::move(name);
  LLMRT_ASSIGN_OR_RETURN(const Architecture* architecture, parseArchitecture(config));
  spec.architecture = architecture->model_type;
  spec.form = architecture->form;

  LLMRT_RETURN_IF_ERROR(refuseUnsupported(config));
  LLMRT_ASSIGN_OR_RETURN(spec.dtype, parseDtype(config, spec));
  LLMRT_RETURN_IF_ERROR(parseQuantization(config, spec));
  LLMRT_RETURN_IF_ERROR(parseSizes(config, *architecture, spec));
  LLMRT_ASSIGN_OR_RETURN(auto eps, config.getNumber(architecture->fields.eps));
  spec.rms_norm_eps = eps.value_or(architecture->default_rms_norm_eps);
  LLMRT_ASSIGN_OR_RETURN(auto hidden_act, config.getString(architecture->fields.activation));
  LLMRT_ASSIGN_OR_RETURN(spec.activation,
                         parseActivation(hidden_act.value_or(architecture->default_activation)));
  LLMRT_RETURN_IF_ERROR(parseBiases(config, *architecture, spec));
  LLMRT_RETURN_IF_ERROR(parseSlidingWindow(config, *architecture, spec));
  LLMRT_RETURN_IF_ERROR(readFamily(*architecture, config, spec));
  LLMRT_RETURN_IF_ERROR(parseMtp(config, spec));
  LLMRT_RETURN_IF_ERROR(parseLayerTypes(config, spec));
  if (!spec.learned_positions) LLMRT_RETURN_IF_ERROR(parseRope(config, *architecture, spec));
  LLMRT_RETURN_IF_ERROR(finishFamily(*architecture, config, spec));
  LLMRT_ASSIGN_OR_RETURN(auto tied, config.getBool(older(config, architecture->fields.older_tied,
                                                         "tie_word_embeddings")));
  spec.tie_word_embeddings = tied.value_or(architecture->default_tied);
  // What the configuration class assumes; null means none.
  if (!config.isNull("bos_token_id") && architecture->default_bos >= 0)
    spec.bos_token_id = architecture->default_bos;
  if (!config.isNull("eos_token_id") && architecture->default_eos >= 0)
    spec.eos_token_ids = {architecture->default_eos};
  LLMRT_RETURN_IF_ERROR(parseSpecialTokens(config, spec));

  LLMRT_RETURN_IF_ERROR(checkSpec(spec));
  computeInvFreq(spec.rope, spec.ropeHeadDim(false));
  if (spec.local_rope) computeInvFreq(*spec.local_rope, spec.head_dim);
  return spec;
}

// A model of text and more: what is said of the whole stands beside text_config.
Result<ModelSpec> parseWrapper(const nlohmann::json& json, std::string name) {
  const JsonFields config(json);
  LLMRT_ASSIGN_OR_RETURN(const auto model_type, config.getString("model_type"));
  const Wrapper* wrapper = model_type ? findWrapper(*model_type) : nullptr;
  if (!wrapper)
    return unsupported("text_config: the text models of model_type " +
                       briefJson(model_type ? nlohmann::json(*model_type) : nlohmann::json()) +
                       " are not supported (known: " + knownWrappers() +
                       "); give the config and weights of the language model alone");
  nlohmann::json text = *config.find("text_config");
  if (!text.is_object())
    return invalidData("text_config is " + briefJson(text) + ", expected an object");
  if (!text.contains("model_type")) text["model_type"] = wrapper->text_model_type;
  for (const char* field :
       {"dtype", "torch_dtype", "quantization_config", "bos_token_id", "eos_token_id"})
    if (config.has(field) && !JsonFields(text).has(field)) text[field] = json[field];
  // Transformers ties what the whole says, and so does this where it says something.
  if (config.has("tie_word_embeddings")) text["tie_word_embeddings"] = json["tie_word_embeddings"];
  Result<ModelSpec> spec = parseText(text, std::move(name));
  if (!spec.ok()) return std::move(spec).status().withContext("text_config");
  std::string left_out;
  for (const char* part : {"vision", "audio"})
    if (config.has((std::string(part) + "_config").c_str()))
      left_out += std::string(left_out.empty() ? "; left out: " : ", ") + part;
  spec->notes.push_back("what is compiled is the text model of " + *model_type + left_out);
  return spec;
}

Result<ModelSpec> parse(const nlohmann::json& json, std::string name) {
  if (!json.is_object()) return invalidData("is not a JSON object");
  return JsonFields(json).has("text_config") ? parseWrapper(json, std::move(name))
                                             : parseText(json, std::move(name));
}

Status parseGeneration(const nlohmann::json& json, ModelSpec& spec) {
  if (!json.is_object()) return invalidData("is not a JSON object");
  const JsonFields config(json);
  LLMRT_RETURN_IF_ERROR(parseSpecialTokens(config, spec));
  return readGenerationFields(config, spec);
}

}  // namespace

// transformers' activations.py, ACT2FN: the names that mean one of ours.
Result<Activation> parseActivation(const std::string& name) {
  if (name == "silu" || name == "swish") return Activation::kSilu;
  if (name == "gelu") return Activation::kGelu;
  if (name == "gelu_pytorch_tanh" || name == "gelu_new" || name == "gelu_fast")
    return Activation::kGeluTanh;
  if (name == "relu") return Activation::kRelu;
  if (name == "relu2") return Activation::kRelu2;
  return unsupported("hidden_act " + briefJson(name) +
                     " is not supported (silu, gelu, gelu_pytorch_tanh, relu, relu2 are)");
}

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
