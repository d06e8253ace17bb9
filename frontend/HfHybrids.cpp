#include "frontend/HfHybrids.h"

#include <algorithm>
#include <cmath>

#include "frontend/HfReaders.h"
#include "models/CheckSpec.h"

namespace llmc {
namespace {

using llmrt::invalidData;
using llmrt::Result;
using llmrt::Status;
using llmrt::unsupported;

constexpr int64_t kMostHead = 1 << 12;

/// A Mamba layer's fields, which differ in their names alone.
struct MambaNames {
  const char* num_heads;
  const char* head_dim;  // null: it is not read
  const char* state_size;
  const char* num_groups;
  const char* conv_size;
  const char* conv_bias;
  const char* bias;
};

/// Where it is absent, what `s` has stands: the configuration class's default.
Status readMamba(const JsonFields& config, const MambaNames& names, StateSpace& s) {
  LLMRT_RETURN_IF_ERROR(readCount(config, names.num_heads, 1, kMaxHeads, s.num_heads));
  if (names.head_dim)
    LLMRT_RETURN_IF_ERROR(readCount(config, names.head_dim, 1, kMostHead, s.head_dim));
  LLMRT_RETURN_IF_ERROR(readCount(config, names.state_size, 1, kMostHead, s.state_size));
  LLMRT_RETURN_IF_ERROR(readCount(config, names.num_groups, 1, s.num_heads, s.num_groups));
  LLMRT_RETURN_IF_ERROR(readCount(config, names.conv_size, 2, kMaxConvSize, s.conv_size));
  LLMRT_RETURN_IF_ERROR(readBool(config, names.conv_bias, s.conv_bias));
  return readBool(config, names.bias, s.bias);
}

/// [least, most]; a bound of 0 or infinity is none. Transformers writes infinity as an object,
/// {"__float__": "Infinity"}.
Status readStepLimit(const JsonFields& config, StateSpace& s) {
  const nlohmann::json* limit = config.find("time_step_limit");
  if (!limit) return {};
  const auto malformed = [&] {
    return invalidData(config.nameOf("time_step_limit") + " is " + briefJson(*limit) +
                       ", expected two numbers");
  };
  if (!limit->is_array() || limit->size() != 2 || !(*limit)[0].is_number()) return malformed();
  if (const double least = (*limit)[0].get<double>(); least != 0) s.least_step = least;
  const nlohmann::json& most = (*limit)[1];
  if (most == nlohmann::json{{"__float__", "Infinity"}}) return {};
  if (!most.is_number()) return malformed();
  if (!std::isinf(most.get<double>())) s.most_step = most.get<double>();
  return {};
}

/// inner_size = expand * hidden_size holds in the modelling code.
Status checkExpansion(const JsonFields& config, const char* field, int64_t expand,
                      const ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(readCount(config, field, 1, 1 << 10, expand));
  const StateSpace& s = spec.state_space;
  if (expand * spec.hidden_size == s.innerSize()) return {};
  return invalidData(std::to_string(s.num_heads) + " Mamba heads of " + std::to_string(s.head_dim) +
                     " are not " + field + " (" + std::to_string(expand) + ") times hidden_size (" +
                     std::to_string(spec.hidden_size) + ")");
}

/// Where its size is absent, what `spec` has stands: the configuration class's default.
Status readShortConv(const JsonFields& config, ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(readCount(config, "conv_L_cache", 2, kMaxConvSize, spec.short_conv.size));
  return readBool(config, "conv_bias", spec.short_conv.bias);
}

/// The sizes of routed experts, and how their weights are made.
Status readRouted(const JsonFields& config, const char* experts, ModelSpec& spec) {
  Experts& e = spec.experts;
  LLMRT_RETURN_IF_ERROR(readExpertSizes(config, experts, e));
  LLMRT_RETURN_IF_ERROR(readBool(config, "norm_topk_prob", e.normalize));
  return readPositive(config, "routed_scaling_factor", e.scale);
}

}  // namespace

Status readLfm2(const JsonFields& config, ModelSpec& spec) {
  spec.short_conv.size = 3;
  LLMRT_RETURN_IF_ERROR(readShortConv(config, spec));
  if (config.has("full_attn_idxs") && !config.has("layer_types")) {  // older files
    LLMRT_ASSIGN_OR_RETURN(const std::vector<int64_t> attention,
                           readLayers(config, "full_attn_idxs"));
    if (spec.num_layers > 0 && spec.num_layers <= kMaxLayers)
      spec.mixers.assign(static_cast<size_t>(spec.num_layers), Mixer::kConv);
    for (int64_t layer : attention) {
      if (layer < 0 || layer >= static_cast<int64_t>(spec.mixers.size()))
        return invalidData("full_attn_idxs holds " + std::to_string(layer) + ", which is no layer");
      spec.mixers[static_cast<size_t>(layer)] = Mixer::kAttention;
    }
  }
  bool adjust = true;
  LLMRT_RETURN_IF_ERROR(readBool(config, "block_auto_adjust_ff_dim", adjust));
  if (!adjust) return {};
  int64_t multiple = 256;
  LLMRT_RETURN_IF_ERROR(readCount(config, "block_multiple_of", 1, kMaxExpertSize, multiple));
  LLMRT_RETURN_IF_ERROR(checkRange("intermediate_size", spec.intermediate_size, 1, 1 << 22));
  spec.intermediate_size = 2 * spec.intermediate_size / 3;
  if (config.isNull("block_ffn_dim_multiplier")) return {};
  double multiplier = 1;
  LLMRT_RETURN_IF_ERROR(readPositive(config, "block_ffn_dim_multiplier", multiplier));
  const double scaled = multiplier * static_cast<double>(spec.intermediate_size);
  if (scaled > (1 << 22))
    return invalidData("block_ffn_dim_multiplier " + briefJson(multiplier) +
                       " makes an MLP that is too large");
  spec.intermediate_size = (static_cast<int64_t>(scaled) + multiple - 1) / multiple * multiple;
  return {};
}

Status readLfm3(const JsonFields& config, ModelSpec& spec) {
  spec.short_conv.size = 7;
  LLMRT_RETURN_IF_ERROR(readShortConv(config, spec));
  LLMRT_RETURN_IF_ERROR(readBool(config, "use_sandwich_norm", spec.form.post_norm));
  LLMRT_RETURN_IF_ERROR(readBool(config, "use_attention_gate", spec.form.head_gate));
  bool bias = false;
  LLMRT_RETURN_IF_ERROR(readBool(config, "attention_bias", bias));
  spec.qkv_bias = spec.o_bias = bias;
  if (config.has("layer_types")) return {};
  // The configuration class's.
  const auto conv = [](int64_t i) { return i % 4 != 2 && (i % 4 != 0 || i == 0); };
  spec.windowed_layers = perLayer(spec, [](int64_t i) { return i % 4 == 0 && i > 0; });
  for (const bool is_conv : perLayer(spec, conv))
    spec.mixers.push_back(is_conv ? Mixer::kConv : Mixer::kAttention);
  return {};
}

Status readLfm2Moe(const JsonFields& config, ModelSpec& spec) {
  spec.short_conv.size = 3;
  LLMRT_RETURN_IF_ERROR(readShortConv(config, spec));
  Experts& e = spec.experts;
  e.num_experts = 32;
  e.top_k = 4;
  e.intermediate_size = 1792;
  e.normalize = e.choice_bias = true;
  e.scoring = Experts::Scoring::kSigmoid;
  LLMRT_RETURN_IF_ERROR(readRouted(config, "num_experts", spec));
  LLMRT_RETURN_IF_ERROR(readBool(config, "use_expert_bias", e.choice_bias));
  int64_t dense = 2;
  LLMRT_RETURN_IF_ERROR(readCount(config, "num_dense_layers", 0, kMaxLayers, dense));
  spec.expert_layers = perLayer(spec, [&](int64_t i) { return i >= dense; });
  return {};
}

Status readMamba2(const JsonFields& config, ModelSpec& spec) {
  StateSpace& s = spec.state_space;
  s = {.num_heads = 128, .head_dim = 64, .state_size = 128, .num_groups = 8, .conv_size = 4};
  LLMRT_RETURN_IF_ERROR(readMamba(config,
                                  {"num_heads", "head_dim", "state_size", "n_groups", "conv_kernel",
                                   "use_conv_bias", "use_bias"},
                                  s));
  LLMRT_RETURN_IF_ERROR(readStepLimit(config, s));
  LLMRT_RETURN_IF_ERROR(checkExpansion(config, "expand", 2, spec));
  spec.mlp_layers = perLayer(spec, [](int64_t) { return false; });
  spec.mixers.assign(spec.mlp_layers.size(), Mixer::kStateSpace);
  return {};
}

Status readGraniteMamba(const JsonFields& config, ModelSpec& spec) {
  StateSpace& s = spec.state_space;
  s = {.num_heads = 128, .state_size = 256, .num_groups = 1, .conv_size = 4};
  LLMRT_RETURN_IF_ERROR(readCount(config, "mamba_n_heads", 1, kMaxHeads, s.num_heads));
  int64_t expand = 2;
  LLMRT_RETURN_IF_ERROR(readCount(config, "mamba_expand", 1, 1 << 10, expand));
  s.head_dim = std::max<int64_t>(1, expand * spec.hidden_size / s.num_heads);
  const nlohmann::json* head_dim = config.find("mamba_d_head");
  const bool automatic = !head_dim || *head_dim == "auto";
  LLMRT_RETURN_IF_ERROR(
      readMamba(config,
                {"mamba_n_heads", automatic ? nullptr : "mamba_d_head", "mamba_d_state",
                 "mamba_n_groups", "mamba_d_conv", "mamba_conv_bias", "mamba_proj_bias"},
                s));
  LLMRT_RETURN_IF_ERROR(readStepLimit(config, s));
  LLMRT_RETURN_IF_ERROR(checkExpansion(config, "mamba_expand", 2, spec));
  spec.mixers.assign(perLayer(spec, [](int64_t) { return true; }).size(), Mixer::kStateSpace);
  LLMRT_ASSIGN_OR_RETURN(const auto positions, config.getString("position_embedding_type"));
  if (positions != "rope") spec.nope_layers = perLayer(spec, [](int64_t) { return true; });

  spec.mlp_bias = false;  // whatever the config says
  int64_t shared = 1024;
  LLMRT_RETURN_IF_ERROR(readCount(config, "shared_intermediate_size", 1, kMaxSharedSize, shared));
  Experts& e = spec.experts;
  e.num_experts = config.isNull("num_local_experts") ? 0 : 8;
  LLMRT_RETURN_IF_ERROR(readCount(config, "num_local_experts", 0, kMaxExperts, e.num_experts));
  if (e.num_experts == 0) {  // the shared MLP alone
    spec.intermediate_size = shared;
    return {};
  }
  e.top_k = 2;
  LLMRT_RETURN_IF_ERROR(readCount(config, "num_experts_per_tok", 1, e.num_experts, e.top_k));
  e.intermediate_size = spec.intermediate_size;
  e.shared_intermediate_size = shared;
  e.scoring = Experts::Scoring::kSoftmaxChosen;
  return {};
}

Status readNemotronH(const JsonFields& config, ModelSpec& spec) {
  StateSpace& s = spec.state_space;
  s = {.num_heads = 128, .head_dim = 64, .state_size = 128, .num_groups = 8, .conv_size = 4};
  LLMRT_RETURN_IF_ERROR(readMamba(config,
                                  {"mamba_num_heads", "mamba_head_dim", "ssm_state_size",
                                   "n_groups", "conv_kernel", "use_conv_bias", "use_bias"},
                                  s));
  // The modelling code takes this bound and no other.
  double least = 0.001;
  LLMRT_RETURN_IF_ERROR(readNumber(config, "time_step_min", least));
  if (least != 0) s.least_step = least;
  LLMRT_RETURN_IF_ERROR(readBool(config, "mlp_bias", spec.mlp_bias));
  bool bias = false;
  LLMRT_RETURN_IF_ERROR(readBool(config, "attention_bias", bias));
  spec.qkv_bias = spec.o_bias = bias;
  spec.nope_layers = perLayer(spec, [](int64_t) { return true; });

  if (const nlohmann::json* pattern = config.find("hybrid_override_pattern");
      pattern && !config.has("layers_block_type")) {
    if (!pattern->is_string())
      return invalidData("hybrid_override_pattern is " + briefJson(*pattern) +
                         ", expected a string");
    for (char layer : pattern->get_ref<const std::string&>()) {
      if (std::string_view("M*-E").find(layer) == std::string_view::npos)
        return unsupported("hybrid_override_pattern holds \"" + std::string(1, layer) +
                           "\" (M, *, - and E are supported)");
      spec.mixers.push_back(layer == 'M'   ? Mixer::kStateSpace
                            : layer == '*' ? Mixer::kAttention
                                           : Mixer::kNone);
      spec.mlp_layers.push_back(layer == '-' || layer == 'E');
      spec.expert_layers.push_back(layer == 'E');
    }
  } else if (const nlohmann::json* types = config.find("layers_block_type")) {
    if (!types->is_array()) return invalidData("layers_block_type is not a list");
    for (const nlohmann::json& type : *types) {
      const bool mamba = type == "mamba" || type == "linear_attention",
                 attention = type == "attention" || type == "full_attention";
      if (!mamba && !attention && type != "mlp" && type != "moe")
        return unsupported("layers_block_type holds " + briefJson(type) +
                           " (mamba, attention, mlp and moe are supported)");
      spec.mixers.push_back(mamba       ? Mixer::kStateSpace
                            : attention ? Mixer::kAttention
                                        : Mixer::kNone);
      spec.mlp_layers.push_back(!mamba && !attention);
      spec.expert_layers.push_back(type == "moe");
    }
  } else {
    return invalidData(
        "neither layers_block_type nor hybrid_override_pattern says what layers are");
  }
  const bool routed = std::ranges::find(spec.expert_layers, true) != spec.expert_layers.end();
  if (!routed) {
    spec.expert_layers.clear();
    return {};
  }
  Experts& e = spec.experts;
  e.num_experts = 8;
  e.top_k = 2;
  e.intermediate_size = 7688;
  e.shared_intermediate_size = 7688;
  e.normalize = e.choice_bias = true;
  e.scoring = Experts::Scoring::kSigmoid;
  e.num_groups = e.keep_groups = 1;
  e.group_top = 2;
  LLMRT_RETURN_IF_ERROR(readRouted(config, "n_routed_experts", spec));
  LLMRT_RETURN_IF_ERROR(readCount(config, "moe_shared_expert_intermediate_size", 1, kMaxSharedSize,
                                  e.shared_intermediate_size));
  LLMRT_RETURN_IF_ERROR(readInt(config, "moe_latent_size", e.latent_size));
  LLMRT_RETURN_IF_ERROR(readInt(config, "n_group", e.num_groups));
  LLMRT_RETURN_IF_ERROR(readInt(config, "topk_group", e.keep_groups));
  if (e.num_groups == 1) e.num_groups = e.keep_groups = e.group_top = 0;
  return {};
}

}  // namespace llmc
