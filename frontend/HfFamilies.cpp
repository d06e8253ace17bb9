#include "frontend/HfFamilies.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "frontend/HfHybrids.h"
#include "frontend/HfReaders.h"
#include "models/CheckSpec.h"
#include "models/Rope.h"
#include "runtime/io/tensor_name.h"
#include "runtime/io/weight_format.h"

namespace llmc {
namespace {

using llmrt::invalidData;
using llmrt::Result;
using llmrt::Status;
using llmrt::unsupported;

//===----------------------------------------------------------------------===//
// Dense families
//===----------------------------------------------------------------------===//

// use_sliding_window switches sliding_window on, for the layers from max_window_layers on.
Status readQwen(const JsonFields& config, ModelSpec& spec) {
  bool use = false;
  LLMRT_RETURN_IF_ERROR(readBool(config, "use_sliding_window", use));
  if (!use) return {};
  if (!config.isNull("sliding_window")) spec.sliding_window = 4096;  // the class's default
  LLMRT_RETURN_IF_ERROR(readInt(config, "sliding_window", spec.sliding_window));
  int64_t first = 28;  // the configuration class's default
  LLMRT_RETURN_IF_ERROR(readInt(config, "max_window_layers", first));
  spec.windowed_layers = perLayer(spec, [&](int64_t i) { return i >= first; });
  return {};
}

Status readSmolLm3(const JsonFields& config, ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(refuse(config, "use_sliding_window"));
  int64_t interval = 4;
  LLMRT_RETURN_IF_ERROR(readCount(config, "no_rope_layer_interval", 1, kMaxLayers, interval));
  spec.nope_layers = perLayer(spec, [&](int64_t i) { return (i + 1) % interval == 0; });
  if (!config.has("no_rope_layers")) return {};
  // It says 1 for a layer that has rope, and may go on behind the last layer.
  LLMRT_ASSIGN_OR_RETURN(const std::vector<int64_t> roped, readLayers(config, "no_rope_layers"));
  if (roped.size() < spec.nope_layers.size())
    return invalidData("no_rope_layers has " + std::to_string(roped.size()) +
                       " entries, but num_hidden_layers is " + std::to_string(spec.num_layers));
  for (size_t i = 0; i < spec.nope_layers.size(); ++i) spec.nope_layers[i] = roped[i] == 0;
  return {};
}

Status readInternLm2(const JsonFields& config, ModelSpec& spec) {
  bool bias = false;
  LLMRT_RETURN_IF_ERROR(readBool(config, "bias", bias));
  spec.qkv_bias = spec.o_bias = bias;
  return {};
}

Status readMiniCpm(const JsonFields& config, ModelSpec& spec) {
  int64_t experts = 0;
  LLMRT_RETURN_IF_ERROR(readInt(config, "num_experts", experts));
  if (experts > 0)
    return unsupported("num_experts " + std::to_string(experts) +
                       " is not supported for model_type minicpm");
  if (config.has("sparse_config"))
    return unsupported(
        "sparse_config is not supported: attention to chosen blocks of the text (MiniCPM4); the "
        "model is dense without it");
  LLMRT_RETURN_IF_ERROR(readNumber(config, "scale_emb", spec.embedding_scale));
  double depth = 1, base = 1;
  LLMRT_RETURN_IF_ERROR(readNumber(config, "scale_depth", depth));
  LLMRT_RETURN_IF_ERROR(readNumber(config, "dim_model_base", base));
  if (depth != 0) spec.residual_scale = depth / std::sqrt(static_cast<double>(spec.num_layers));
  if (base != 0) spec.logit_scale = base / static_cast<double>(spec.hidden_size);
  return {};
}

Status readGranite(const JsonFields& config, ModelSpec& spec) {
  double scaling = 1;
  spec.attention_scale = 1;
  LLMRT_RETURN_IF_ERROR(readNumber(config, "embedding_multiplier", spec.embedding_scale));
  LLMRT_RETURN_IF_ERROR(readNumber(config, "residual_multiplier", spec.residual_scale));
  LLMRT_RETURN_IF_ERROR(readPositive(config, "attention_multiplier", spec.attention_scale));
  LLMRT_RETURN_IF_ERROR(readPositive(config, "logits_scaling", scaling));
  spec.logit_scale = 1 / scaling;
  return {};
}

Status readGraniteHybrid(const JsonFields& config, ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(readGranite(config, spec));
  return readGraniteMamba(config, spec);
}

Status readGlm(const JsonFields& config, ModelSpec& spec) {
  // The configuration class's default, for null too.
  spec.eos_token_ids = {151329, 151336, 151338};
  spec.qkv_bias = true;
  return readBool(config, "attention_bias", spec.qkv_bias);
}

Status readGemmaActivation(const JsonFields& config, ModelSpec& spec) {
  // modeling_gemma.py rounds embed_scale to the dtype of the weights, as the models were trained:
  // the config's, or else the checkpoint's, whatever --dtype a plan is made with.
  spec.embedding_scale = std::sqrt(static_cast<double>(std::max<int64_t>(0, spec.hidden_size)));
  spec.rounds_embedding_scale = true;
  // Early files of Gemma 1 say hidden_act "gelu" and mean the other one; hidden_activation, where
  // it is, goes before it.
  LLMRT_ASSIGN_OR_RETURN(auto activation, config.getString("hidden_activation"));
  const char* field = activation ? "hidden_activation" : "hidden_act";
  if (!activation) {
    LLMRT_ASSIGN_OR_RETURN(activation, config.getString(field));
    if (activation == "gelu") activation.reset();
  }
  if (activation && *activation != "gelu_pytorch_tanh")
    return unsupported(std::string(field) + " " + briefJson(*activation) +
                       " is not supported (gelu_pytorch_tanh is)");
  spec.activation = Activation::kGeluTanh;
  return {};
}

Status readGemma(const JsonFields& config, ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(readGemmaActivation(config, spec));
  return refuse(config, "use_bidirectional_attention");
}

Status readGemma23(const JsonFields& config, ModelSpec& spec, int64_t pattern) {
  LLMRT_RETURN_IF_ERROR(readGemma(config, spec));
  double scalar = 256;
  LLMRT_RETURN_IF_ERROR(readPositive(config, "query_pre_attn_scalar", scalar));
  spec.attention_scale = 1 / std::sqrt(scalar);
  LLMRT_RETURN_IF_ERROR(readCap(config, "final_logit_softcapping", spec.logit_softcap));
  spec.windowed_layers = perLayer(spec, [&](int64_t i) { return (i + 1) % pattern != 0; });
  return {};
}

Status readGemma2(const JsonFields& config, ModelSpec& spec) {
  if (!config.isNull("attn_logit_softcapping")) spec.attention_softcap = 50.0;
  if (!config.isNull("final_logit_softcapping")) spec.logit_softcap = 30.0;
  LLMRT_RETURN_IF_ERROR(readCap(config, "attn_logit_softcapping", spec.attention_softcap));
  return readGemma23(config, spec, 2);
}

Status readGemma3(const JsonFields& config, ModelSpec& spec) {
  // The name in files that were taken out of a model of text and images.
  LLMRT_RETURN_IF_ERROR(readInt(config, "sliding_window_attention_size", spec.sliding_window));
  int64_t pattern = 6;
  LLMRT_RETURN_IF_ERROR(readCount(config, "sliding_window_pattern", 1, kMaxLayers, pattern));
  // Gemma3Attention stores it and hands it to no attention function.
  LLMRT_ASSIGN_OR_RETURN(const auto softcap, config.getNumber("attn_logit_softcapping"));
  if (softcap)
    spec.notes.push_back("attn_logit_softcapping " + briefJson(*softcap) +
                         " has no effect, as in Transformers: Gemma 3 does not cap its scores");
  return readGemma23(config, spec, pattern);
}

/// What Gemma 4 says of single layers, in place of global_head_dim: heads of those without a
/// window.
Status readPerLayerConfig(const nlohmann::json& layers, ModelSpec& spec) {
  const auto malformed = [&] {
    return invalidData(
        "per_layer_config is " + briefJson(layers) +
        ", expected an object of layers, each with head_dim and num_key_value_heads");
  };
  if (!layers.is_object()) return malformed();
  Heads& heads = spec.full_heads.emplace(Heads{spec.num_kv_heads, spec.head_dim});
  if (layers.empty()) return malformed();
  for (const auto& [layer, overrides] : layers.items()) {
    if (!overrides.is_object()) return malformed();
    const JsonFields fields(overrides, "per_layer_config." + layer + ".");
    Heads own{spec.num_kv_heads, spec.head_dim};
    LLMRT_RETURN_IF_ERROR(readCount(fields, "head_dim", 1, 1 << 12, own.dim));
    LLMRT_RETURN_IF_ERROR(readCount(fields, "num_key_value_heads", 1, kMaxHeads, own.num_kv_heads));
    for (const auto& [key, value] : overrides.items())
      if (key != "head_dim" && key != "num_key_value_heads")
        return unsupported(fields.nameOf(key.c_str()) + " is not supported (head_dim and " +
                           "num_key_value_heads are)");
    if (&overrides != &layers.front() && own != heads)
      return unsupported(fields.nameOf("head_dim") + ": heads that differ among the layers of " +
                         "per_layer_config are not supported");
    heads = own;
  }
  return {};
}

Status readGemma4(const JsonFields& config, ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(readGemmaActivation(config, spec));
  // "vision" concerns images alone.
  LLMRT_ASSIGN_OR_RETURN(const auto both_ways, config.getString("use_bidirectional_attention"));
  if (both_ways && *both_ways != "vision")
    return unsupported("use_bidirectional_attention " + briefJson(*both_ways) +
                       " is not supported (null and \"vision\" are)");
  spec.attention_scale = 1;
  LLMRT_RETURN_IF_ERROR(readCap(config, "final_logit_softcapping", spec.logit_softcap));
  spec.windowed_layers = perLayer(spec, [](int64_t i) { return (i + 1) % 6 != 0; });

  bool key_is_value = false;
  LLMRT_RETURN_IF_ERROR(readBool(config, "attention_k_eq_v", key_is_value));
  if (const nlohmann::json* layers = config.find("per_layer_config")) {
    LLMRT_RETURN_IF_ERROR(readPerLayerConfig(*layers, spec));
  } else {
    Heads& heads = spec.full_heads.emplace(Heads{spec.num_kv_heads, 512});
    LLMRT_RETURN_IF_ERROR(readCount(config, "global_head_dim", 1, 1 << 12, heads.dim));
    if (key_is_value)
      LLMRT_RETURN_IF_ERROR(
          readCount(config, "num_global_key_value_heads", 1, kMaxHeads, heads.num_kv_heads));
  }
  spec.full_heads->key_is_value = key_is_value;
  // All layers cannot share: one must make the keys.
  LLMRT_RETURN_IF_ERROR(readCount(config, "num_kv_shared_layers", 0,
                                  std::max<int64_t>(0, spec.num_layers - 1),
                                  spec.num_kv_shared_layers));
  LLMRT_RETURN_IF_ERROR(readBool(config, "use_double_wide_mlp", spec.wide_shared_mlps));
  return {};
}

Status readGemma4Text(const JsonFields& config, ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(readGemma4(config, spec));
  // The configuration class's default is there even for models without the table.
  spec.per_layer_size = 256;
  LLMRT_RETURN_IF_ERROR(
      readCount(config, "hidden_size_per_layer_input", 0, 1 << 16, spec.per_layer_size));
  int64_t vocab_size = 262144;
  LLMRT_RETURN_IF_ERROR(readInt(config, "vocab_size_per_layer_input", vocab_size));
  if (spec.per_layer_size > 0 && vocab_size != spec.vocab_size)
    return unsupported("vocab_size_per_layer_input " + std::to_string(vocab_size) +
                       " is not supported (only vocab_size, " + std::to_string(spec.vocab_size) +
                       ", is)");
  bool routed = false;
  LLMRT_RETURN_IF_ERROR(readBool(config, "enable_moe_block", routed));
  if (!routed) return {};
  Experts& e = spec.experts;
  LLMRT_RETURN_IF_ERROR(needCount(config, "num_experts", 1, kMaxExperts, e.num_experts));
  LLMRT_RETURN_IF_ERROR(needCount(config, "top_k_experts", 1, e.num_experts, e.top_k));
  LLMRT_RETURN_IF_ERROR(
      needCount(config, "moe_intermediate_size", 1, kMaxExpertSize, e.intermediate_size));
  e.normalize = true;
  spec.experts_beside = true;
  return {};
}

/// The layers that per_layer_config speaks of must be those without a window.
Status checkPerLayerConfig(const JsonFields& config, const ModelSpec& spec) {
  const nlohmann::json* layers = config.find("per_layer_config");
  if (!layers) return {};
  for (size_t i = 0; i < spec.windowed_layers.size(); ++i)
    if (layers->contains(std::to_string(i)) == spec.windowed_layers[i])
      return unsupported(
          "per_layer_config must speak of the layers of full_attention and of no other: layer " +
          std::to_string(i) + " is not so");
  for (const auto& [layer, overrides] : layers->items())
    if (layer.empty() || layer.size() > 5 ||
        layer.find_first_not_of("0123456789") != std::string::npos ||
        std::stoul(layer) >= spec.windowed_layers.size())
      return invalidData("per_layer_config holds \"" + layer + "\", which is no layer");
  return {};
}

Status finishGemma4(const JsonFields& config, ModelSpec& spec) {
  if (spec.windowed_layers.empty()) return {};  // checkSpec() says why
  // As the configuration class does, whatever layer_types says.
  spec.windowed_layers.back() = false;
  return checkPerLayerConfig(config, spec);
}

Status readCohere(const JsonFields& config, ModelSpec& spec) {
  spec.logit_scale = 0.0625;
  LLMRT_RETURN_IF_ERROR(readNumber(config, "logit_scale", spec.logit_scale));
  bool qk_norm = false;
  LLMRT_RETURN_IF_ERROR(readBool(config, "use_qk_norm", qk_norm));
  if (qk_norm) spec.form.qk_norm = QkNorm::kHeadLayer;
  bool bias = false;
  LLMRT_RETURN_IF_ERROR(readBool(config, "attention_bias", bias));
  spec.qkv_bias = spec.o_bias = bias;
  return {};
}

Status readOlmo(const JsonFields& config, ModelSpec& spec) {
  if (const nlohmann::json* clip = config.find("clip_qkv"))
    return unsupported("clip_qkv " + briefJson(*clip) + " is not supported (only null is)");
  bool bias = false;
  LLMRT_RETURN_IF_ERROR(readBool(config, "attention_bias", bias));
  spec.qkv_bias = spec.o_bias = bias;
  return {};
}

//===----------------------------------------------------------------------===//
// Families with layer_norm
//===----------------------------------------------------------------------===//

Status readGpt2(const JsonFields& config, ModelSpec& spec) {
  spec.learned_positions = true;
  LLMRT_RETURN_IF_ERROR(refuse(config, "scale_attn_by_inverse_layer_idx"));
  LLMRT_RETURN_IF_ERROR(refuse(config, "add_cross_attention"));
  LLMRT_ASSIGN_OR_RETURN(auto scaled, config.getBool("scale_attn_weights"));
  if (!scaled.value_or(true)) spec.attention_scale = 1.0;
  return {};
}

Status readNeox(const JsonFields& config, ModelSpec& spec) {
  bool bias = true;
  LLMRT_RETURN_IF_ERROR(readBool(config, "attention_bias", bias));
  spec.qkv_bias = spec.o_bias = bias;
  return readBool(config, "use_parallel_residual", spec.form.parallel);
}

Status readPhi(const JsonFields& config, ModelSpec& spec) {
  spec.lm_head_bias = true;
  return refuse(config, "qk_layernorm");
}

Status readStarcoder2(const JsonFields& config, ModelSpec& spec) {
  bool bias = true;
  LLMRT_RETURN_IF_ERROR(readBool(config, "use_bias", bias));
  spec.qkv_bias = spec.o_bias = spec.mlp_bias = bias;
  return {};
}

Status readStableLm(const JsonFields& config, ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(refuse(config, "qk_layernorm"));
  LLMRT_RETURN_IF_ERROR(readBool(config, "use_qkv_bias", spec.qkv_bias));
  LLMRT_RETURN_IF_ERROR(readBool(config, "use_parallel_residual", spec.form.parallel));
  spec.form.shared_norm = spec.form.parallel;
  return {};
}

Status readFalcon(const JsonFields& config, ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(refuse(config, "alibi"));
  bool grouped = false, multi_query = true, parallel = true, bias = false;
  LLMRT_RETURN_IF_ERROR(readBool(config, "new_decoder_architecture", grouped));
  LLMRT_RETURN_IF_ERROR(readBool(config, "multi_query", multi_query));
  LLMRT_RETURN_IF_ERROR(readBool(config, "parallel_attn", parallel));
  LLMRT_RETURN_IF_ERROR(readBool(config, "bias", bias));
  spec.qkv_bias = spec.o_bias = spec.mlp_bias = bias;
  int64_t norms = grouped ? 2 : 1;  // of a layer
  LLMRT_RETURN_IF_ERROR(readInt(config, "num_ln_in_parallel_attn", norms));
  Form& form = spec.form;
  form.parallel = parallel || grouped;
  form.shared_norm = form.parallel && norms == 1;
  if (grouped) {
    form.qkv = QkvLayout::kByGroup;
    if (norms == 2) {
      form.names.input_norm = "ln_attn";
      form.names.mlp_norm = "ln_mlp";
    }
  } else if (multi_query) {
    spec.num_kv_heads = 1;
  } else {
    form.qkv = QkvLayout::kByHead;
    spec.num_kv_heads = spec.num_heads;
  }
  return {};
}

//===----------------------------------------------------------------------===//
// Families with experts
//===----------------------------------------------------------------------===//

Status readMixtral(const JsonFields& config, ModelSpec& spec) {
  Experts& e = spec.experts;
  e.num_experts = 8;
  e.top_k = 2;
  LLMRT_RETURN_IF_ERROR(readCount(config, "num_local_experts", 1, kMaxExperts, e.num_experts));
  LLMRT_RETURN_IF_ERROR(readCount(config, "num_experts_per_tok", 1, e.num_experts, e.top_k));
  e.intermediate_size = spec.intermediate_size;
  e.normalize = true;
  if (!config.has("sliding_window")) spec.sliding_window = 0;
  return {};
}

/// Those of `defaults` that are 0 must be there.
Status readQwenMoe(const JsonFields& config, ModelSpec& spec, const Experts& defaults,
                   bool shared) {
  LLMRT_RETURN_IF_ERROR(readQwen(config, spec));
  Experts& e = spec.experts;
  const char* experts = config.has("num_local_experts") ? "num_local_experts" : "num_experts";
  e = defaults;
  LLMRT_RETURN_IF_ERROR(readExpertSizes(config, experts, e));
  LLMRT_RETURN_IF_ERROR(readBool(config, "norm_topk_prob", e.normalize));
  if (shared) {
    LLMRT_RETURN_IF_ERROR(readOrNeedCount(config, "shared_expert_intermediate_size", 0,
                                          kMaxSharedSize, e.shared_intermediate_size));
    e.shared_gate = true;
  }
  int64_t step = 1;
  LLMRT_RETURN_IF_ERROR(readCount(config, "decoder_sparse_step", 1, kMaxLayers, step));
  spec.expert_layers = perLayer(spec, [&](int64_t i) { return (i + 1) % step == 0; });
  LLMRT_ASSIGN_OR_RETURN(const std::vector<int64_t> dense, readLayers(config, "mlp_only_layers"));
  for (int64_t layer : dense) {
    if (layer < 0 || layer >= static_cast<int64_t>(spec.expert_layers.size()))
      return invalidData("mlp_only_layers holds " + std::to_string(layer) + ", which is no layer");
    spec.expert_layers[static_cast<size_t>(layer)] = false;
  }
  return {};
}
Status readQwen2Moe(const JsonFields& config, ModelSpec& spec) {
  // Older files leave qkv_bias out and have it.
  LLMRT_RETURN_IF_ERROR(readBool(config, "qkv_bias", spec.qkv_bias));
  return readQwenMoe(config, spec, {}, /*shared=*/true);
}
Status readQwen3Moe(const JsonFields& config, ModelSpec& spec) {
  return readQwenMoe(config, spec, {}, /*shared=*/false);
}

// Attention in every fourth layer unless layer_types says otherwise, linear attention in the
// others.
Status readQwenHybrid(const JsonFields& config, ModelSpec& spec) {
  Delta& d = spec.delta;
  d = {
      .num_key_heads = 16, .num_value_heads = 32, .key_dim = 128, .value_dim = 128, .conv_size = 4};
  LLMRT_RETURN_IF_ERROR(readCount(config, "linear_num_key_heads", 1, kMaxHeads, d.num_key_heads));
  LLMRT_RETURN_IF_ERROR(
      readCount(config, "linear_num_value_heads", 1, kMaxHeads, d.num_value_heads));
  LLMRT_RETURN_IF_ERROR(readInt(config, "linear_key_head_dim", d.key_dim));
  LLMRT_RETURN_IF_ERROR(readInt(config, "linear_value_head_dim", d.value_dim));
  LLMRT_RETURN_IF_ERROR(readInt(config, "linear_conv_kernel_dim", d.conv_size));
  int64_t interval = 4;
  LLMRT_RETURN_IF_ERROR(readCount(config, "full_attention_interval", 1, kMaxLayers, interval));
  spec.mixers = perLayer(
      spec, [&](int64_t i) { return (i + 1) % interval == 0 ? Mixer::kAttention : Mixer::kDelta; });
  bool bias = false;
  LLMRT_RETURN_IF_ERROR(readBool(config, "attention_bias", bias));
  spec.qkv_bias = spec.o_bias = bias;
  return {};
}
Status readQwen35Moe(const JsonFields& config, ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(readQwenHybrid(config, spec));
  Experts& e = spec.experts;
  e = {.num_experts = 256, .top_k = 8, .intermediate_size = 512};
  e.normalize = e.shared_gate = true;
  e.shared_intermediate_size = 512;
  LLMRT_RETURN_IF_ERROR(readExpertSizes(config, "num_experts", e));
  return readCount(config, "shared_expert_intermediate_size", 1, kMaxSharedSize,
                   e.shared_intermediate_size);
}
Status readQwen3Next(const JsonFields& config, ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(readQwenHybrid(config, spec));
  Experts defaults{.num_experts = 512, .top_k = 10, .intermediate_size = 512, .normalize = true};
  defaults.shared_intermediate_size = 512;
  return readQwenMoe(config, spec, defaults, /*shared=*/true);
}

// The only quantisation that parseQuantization() lets through here.
void useMxfp4Experts(ModelSpec& spec) {
  const TensorNames& names = spec.form.names;
  spec.form.experts = ExpertLayout::kAlternatingRows;
  for (const std::string_view name : {names.experts_gate_up, names.experts_down})
    for (int64_t i = 0; i < spec.num_layers; ++i)
      spec.stored_formats.emplace(llmrt::tensorName(std::string(names.layer).append(name), i, 0),
                                  llmrt::findWeightFormat("mxfp4"));
}

Status readGptOss(const JsonFields& config, ModelSpec& spec) {
  Experts& e = spec.experts;
  LLMRT_RETURN_IF_ERROR(needCount(config, "num_local_experts", 1, kMaxExperts, e.num_experts));
  e.top_k = 4;
  const char* top_k =
      config.has("num_experts_per_tok") ? "num_experts_per_tok" : "experts_per_token";
  LLMRT_RETURN_IF_ERROR(readCount(config, top_k, 1, e.num_experts, e.top_k));
  e.intermediate_size = spec.intermediate_size;
  setGptOssExperts(e);
  LLMRT_RETURN_IF_ERROR(readPositive(config, "swiglu_limit", e.limit));
  LLMRT_RETURN_IF_ERROR(refuseNumber(config, "swiglu_alpha", 1.702));
  bool bias = true;
  LLMRT_RETURN_IF_ERROR(readBool(config, "attention_bias", bias));
  spec.qkv_bias = spec.o_bias = bias;
  spec.windowed_layers = perLayer(spec, [](int64_t i) { return i % 2 == 0; });
  if (config.has("quantization_config")) useMxfp4Experts(spec);
  return {};
}

/// What the configuration classes of sigmoid routers with a choice bias (arXiv 2412.19437) assume;
/// 0 groups: they must be there.
struct SigmoidDefaults {
  int64_t experts, shared_experts, dense_layers;
  double scale;
  int64_t groups, keep_groups;
};

/// A null means none.
Status readRoutedSizes(const JsonFields& config, ModelSpec& spec, int64_t experts, int64_t shared,
                       int64_t dense_layers) {
  Experts& e = spec.experts;
  e.num_experts = config.isNull("n_routed_experts") ? 0 : experts;
  LLMRT_RETURN_IF_ERROR(readCount(config, "n_routed_experts", 0, kMaxExperts, e.num_experts));
  if (e.num_experts == 0) return {};
  LLMRT_RETURN_IF_ERROR(needCount(config, "num_experts_per_tok", 1, e.num_experts, e.top_k));
  LLMRT_RETURN_IF_ERROR(
      needCount(config, "moe_intermediate_size", 1, kMaxExpertSize, e.intermediate_size));
  LLMRT_RETURN_IF_ERROR(readPositive(config, "routed_scaling_factor", e.scale));
  LLMRT_RETURN_IF_ERROR(readBool(config, "norm_topk_prob", e.normalize));
  if (config.isNull("n_shared_experts")) shared = 0;
  LLMRT_RETURN_IF_ERROR(readCount(config, "n_shared_experts", 0, kMaxExperts, shared));
  LLMRT_RETURN_IF_ERROR(readInt(config, "first_k_dense_replace", dense_layers));
  e.shared_intermediate_size = shared * e.intermediate_size;
  spec.expert_layers = perLayer(spec, [&](int64_t i) { return i >= dense_layers; });
  return {};
}

Status refuseOther(const JsonFields& config, const char* field, std::string_view only) {
  LLMRT_ASSIGN_OR_RETURN(auto value, config.getString(field));
  if (value.value_or(std::string(only)) == only) return {};
  return unsupported(std::string(field) + " " + briefJson(*value) + " is not supported (" +
                     std::string(only) + " is)");
}

Status readSigmoidExperts(const JsonFields& config, ModelSpec& spec, const SigmoidDefaults& d) {
  Experts& e = spec.experts;
  e.normalize = true;
  e.scale = d.scale;
  LLMRT_RETURN_IF_ERROR(readRoutedSizes(config, spec, d.experts, d.shared_experts, d.dense_layers));
  if (e.num_experts == 0) return {};
  LLMRT_RETURN_IF_ERROR(refuseOther(config, "topk_method", "noaux_tc"));
  LLMRT_RETURN_IF_ERROR(refuseOther(config, "scoring_func", "sigmoid"));
  e.scoring = Experts::Scoring::kSigmoid;
  e.choice_bias = true;
  e.num_groups = d.groups;
  e.keep_groups = d.keep_groups;
  e.group_top = 2;
  for (const auto& [field, count] :
       {std::pair{"n_group", &e.num_groups}, {"topk_group", &e.keep_groups}}) {
    if (*count != 0 && !config.has(field)) continue;
    LLMRT_ASSIGN_OR_RETURN(*count, config.needInt(field));
  }
  return {};
}

Status readSoftmaxDeepseek(const JsonFields& config, ModelSpec& spec) {
  Experts& e = spec.experts;
  LLMRT_RETURN_IF_ERROR(readRoutedSizes(config, spec, 64, 2, 0));
  if (e.num_experts == 0) return {};
  LLMRT_ASSIGN_OR_RETURN(auto method, config.getString("topk_method"));
  const std::string used = method.value_or("greedy");
  if (used != "greedy" && used != "group_limited_greedy")
    return unsupported("topk_method " + briefJson(used) +
                       " is not supported (greedy, group_limited_greedy are)");
  LLMRT_RETURN_IF_ERROR(refuseOther(config, "scoring_func", "softmax"));
  if (e.normalize)
    return unsupported("norm_topk_prob true is not supported for model_type deepseek_v2");
  if (used == "greedy") return {};
  LLMRT_ASSIGN_OR_RETURN(e.num_groups, config.needInt("n_group"));
  LLMRT_ASSIGN_OR_RETURN(e.keep_groups, config.needInt("topk_group"));
  e.group_top = 1;
  return {};
}

Status readLatent(const JsonFields& config, ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(refuse(config, "attention_bias"));
  LLMRT_RETURN_IF_ERROR(refuseNumber(config, "moe_layer_freq", 1));
  LLMRT_RETURN_IF_ERROR(readBool(config, "rope_interleave", spec.form.rope_pairs));
  Latent& l = spec.latent;
  constexpr int64_t kMostHead = 1 << 12;
  LLMRT_RETURN_IF_ERROR(readCount(config, "q_lora_rank", 0, 1 << 20, l.q_rank));
  LLMRT_RETURN_IF_ERROR(needCount(config, "kv_lora_rank", 1, kMostHead, l.kv_rank));
  LLMRT_RETURN_IF_ERROR(needCount(config, "qk_nope_head_dim", 1, kMostHead, l.nope_dim));
  LLMRT_RETURN_IF_ERROR(needCount(config, "qk_rope_head_dim", 1, kMostHead, l.rope_dim));
  LLMRT_RETURN_IF_ERROR(needCount(config, "v_head_dim", 1, kMostHead, l.value_dim));
  for (const auto& [field, size] :
       {std::pair{"qk_rope_head_dim", l.rope_dim}, {"kv_lora_rank", l.kv_rank}})
    if (size % 2 != 0)
      return invalidData(std::string(field) + " is " + std::to_string(size) +
                         ", must be even for rotary embeddings");
  // What the cache holds: one head of rotated elements and latents.
  spec.num_kv_heads = 1;
  spec.head_dim = l.kv_rank + l.rope_dim;
  return {};
}

Status readDeepseekV2(const JsonFields& config, ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(readLatent(config, spec));
  return readSoftmaxDeepseek(config, spec);
}
Status readDeepseekV3(const JsonFields& config, ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(readLatent(config, spec));
  return readSigmoidExperts(config, spec,
                            {.experts = 256, .shared_experts = 1, .dense_layers = 3, .scale = 2.5});
}

Status readGlm4Moe(const JsonFields& config, ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(readBool(config, "attention_bias", spec.qkv_bias));
  bool qk_norm = false;
  LLMRT_RETURN_IF_ERROR(readBool(config, "use_qk_norm", qk_norm));
  if (qk_norm) spec.form.qk_norm = QkNorm::kHead;
  return readSigmoidExperts(config, spec,
                            {.experts = 128,
                             .shared_experts = 1,
                             .dense_layers = 1,
                             .scale = 1.0,
                             .groups = 1,
                             .keep_groups = 1});
}

Status readGlm4MoeLite(const JsonFields& config, ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(readLatent(config, spec));
  LLMRT_RETURN_IF_ERROR(readSigmoidExperts(config, spec,
                                           {.experts = 64,
                                            .shared_experts = 1,
                                            .dense_layers = 1,
                                            .scale = 1.8,
                                            .groups = 1,
                                            .keep_groups = 1}));
  const nlohmann::json* types = config.find("mlp_layer_types");
  if (!types) return {};
  if (!types->is_array() || types->size() != spec.expert_layers.size())
    return invalidData("mlp_layer_types is not a list of num_hidden_layers (" +
                       std::to_string(spec.num_layers) + ") kinds");
  for (size_t i = 0; i < types->size(); ++i) {
    const nlohmann::json& type = (*types)[i];
    if (type != "dense" && type != "sparse")
      return unsupported("mlp_layer_types holds " + briefJson(type) +
                         ", which is not supported (dense, sparse are)");
    spec.expert_layers[i] = type == "sparse";
  }
  return {};
}

// yarn stretches the scores too, by the square of its scale (DeepSeek-V2's modelling code).
Status finishDeepseek(const JsonFields& config, ModelSpec& spec) {
  spec.attention_scale =
      1 / std::sqrt(static_cast<double>(spec.latent.nope_dim + spec.latent.rope_dim));
  for (const char* name : {"rope_scaling", "rope_parameters"}) {
    const nlohmann::json* parameters = config.find(name);
    if (!parameters || spec.rope.scaling != RopeScaling::kYarn) continue;
    double all_dim = 0;
    LLMRT_RETURN_IF_ERROR(
        readNumber(JsonFields(*parameters, std::string(name) + "."), "mscale_all_dim", all_dim));
    if (all_dim == 0) continue;
    const double scale = yarnScale(spec.rope.factor, all_dim);
    spec.attention_scale *= scale * scale;
    break;
  }
  return {};
}

// How queries grow with their position stands among the fields of the rotary embeddings.
Status finishMinistral3(const JsonFields& config, ModelSpec& spec) {
  spec.query_growth_every = spec.rope.original_max_position_embeddings;
  if (!config.has("rope_parameters") && !config.has("rope_scaling")) {
    spec.query_growth = 0.1;  // the configuration class's
    return {};
  }
  for (const char* name : {"rope_scaling", "rope_parameters"}) {
    const nlohmann::json* parameters = config.find(name);
    if (!parameters || parameters->empty()) continue;
    const JsonFields rope(*parameters, std::string(name) + ".");
    LLMRT_RETURN_IF_ERROR(
        readInt(rope, "original_max_position_embeddings", spec.query_growth_every));
    return readNumber(rope, "llama_4_scaling_beta", spec.query_growth);
  }
  return {};
}

//===----------------------------------------------------------------------===//

struct Family {
  std::string_view model_type;
  Status (*read)(const JsonFields&, ModelSpec&);
  Status (*finish)(const JsonFields&, ModelSpec&) = nullptr;
  bool own_biases = false;
};

constexpr Family kFamilies[] = {
    {"ministral3", nullptr, finishMinistral3},
    {"mixtral", readMixtral},
    {"qwen2", readQwen},
    {"qwen2_moe", readQwen2Moe},
    {"qwen3", readQwen},
    {"qwen3_moe", readQwen3Moe},
    {"smollm3", readSmolLm3},
    {"internlm2", readInternLm2, nullptr, true},
    {"minicpm", readMiniCpm},
    {"granite", readGranite},
    {"gemma", readGemma},
    {"gemma2", readGemma2},
    {"gemma3_text", readGemma3},
    {"gemma4_text", readGemma4Text, finishGemma4},
    {"gemma4_unified_text", readGemma4, finishGemma4},
    {"glm", readGlm, nullptr, true},
    {"glm4", readGlm, nullptr, true},
    {"olmo", readOlmo, nullptr, true},
    {"olmo2", readOlmo, nullptr, true},
    {"cohere", readCohere, nullptr, true},
    {"gpt2", readGpt2},
    {"gpt_neox", readNeox, nullptr, true},
    {"phi", readPhi},
    {"starcoder2", readStarcoder2, nullptr, true},
    {"falcon", readFalcon, nullptr, true},
    {"stablelm", readStableLm, nullptr, true},
    {"gpt_oss", readGptOss, nullptr, true},
    {"qwen3_next", readQwen3Next, nullptr, true},
    {"qwen3_5_text", readQwenHybrid, nullptr, true},
    {"qwen3_5_moe_text", readQwen35Moe, nullptr, true},
    {"deepseek_v2", readDeepseekV2, finishDeepseek},
    {"deepseek_v3", readDeepseekV3, finishDeepseek},
    {"glm4_moe", readGlm4Moe, nullptr, true},
    {"glm4_moe_lite", readGlm4MoeLite, finishDeepseek},
    {"lfm2", readLfm2},
    {"lfm2_moe", readLfm2Moe},
    {"lfm3", readLfm3, nullptr, true},
    {"mamba2", readMamba2, nullptr, true},
    {"granitemoehybrid", readGraniteHybrid},
    {"nemotron_h", readNemotronH, nullptr, true},
};

const Family* familyOf(const Architecture& architecture) {
  for (const Family& family : kFamilies)
    if (family.model_type == architecture.model_type) return &family;
  return nullptr;
}

}  // namespace

bool readsOwnBiases(const Architecture& architecture) {
  const Family* family = familyOf(architecture);
  return family && family->own_biases;
}

Status readFamily(const Architecture& architecture, const JsonFields& config, ModelSpec& spec) {
  const Family* family = familyOf(architecture);
  return family && family->read ? family->read(config, spec) : Status();
}

Status finishFamily(const Architecture& architecture, const JsonFields& config, ModelSpec& spec) {
  const Family* family = familyOf(architecture);
  return family && family->finish ? family->finish(config, spec) : Status();
}

}  // namespace llmc
