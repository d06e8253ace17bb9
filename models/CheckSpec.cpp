#include "models/CheckSpec.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "models/Architectures.h"

namespace llmc {

using llmrt::invalidData;
using llmrt::Status;

std::string numberText(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return nlohmann::json(value).dump();
}

Status checkRange(const std::string& field, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value <= most) return {};
  return invalidData(field + " is " + std::to_string(value) + ", must be " + std::to_string(least) +
                     " to " + std::to_string(most));
}

Status checkPositive(const std::string& field, double value) {
  if (value >= 1e-30 && value <= 1e30) return {};
  return invalidData(field + " is " + numberText(value) + ", must be above 0 (1e-30 to 1e+30)");
}

Status checkFinite(const std::string& field, double value) {
  if (std::abs(value) <= 1e30) return {};
  return invalidData(field + " is " + numberText(value) + ", must be -1e+30 to 1e+30");
}

namespace {

Status checkRange(const std::string& field, int64_t value, int64_t most) {
  return llmc::checkRange(field, value, 1, most);
}

// The weights of a plan may take 2^50 bytes; panels of 16 rows hold heads of 2 rows eight times as
// large, and an f32 takes 4 bytes.
constexpr int64_t kMaxParameters = int64_t{1} << 44;

Status checkTotal(const ModelSpec& spec) {
  const int64_t parameters = numParameters(spec);
  if (parameters <= kMaxParameters) return {};
  return invalidData("hidden_size " + std::to_string(spec.hidden_size) + ", intermediate_size " +
                     std::to_string(spec.intermediate_size) + ", num_hidden_layers " +
                     std::to_string(spec.num_layers) + ", num_attention_heads " +
                     std::to_string(spec.num_heads) + ", head_dim " +
                     std::to_string(spec.head_dim) + " and vocab_size " +
                     std::to_string(spec.vocab_size) + " make " + std::to_string(parameters) +
                     " parameters, at most " + std::to_string(kMaxParameters) + " are supported");
}

Status checkFactors(const char* field, const std::vector<double>& factors, int64_t count) {
  if (static_cast<int64_t>(factors.size()) != count)
    return invalidData(std::string(field) + " has " + std::to_string(factors.size()) +
                       " factors, rotary embeddings of " + std::to_string(2 * count) +
                       " elements need " + std::to_string(count));
  for (double factor : factors) LLMRT_RETURN_IF_ERROR(checkPositive(field, factor));
  return {};
}

Status checkRope(const Rope& rope, int64_t head_dim) {
  LLMRT_RETURN_IF_ERROR(checkPositive("rope_theta", rope.theta));
  const int64_t dim = rope.dim != 0 ? rope.dim : head_dim;
  if (head_dim % 2 != 0)
    return invalidData("head_dim is " + std::to_string(head_dim) +
                       ", must be even for rotary embeddings");
  if (dim < 0 || dim % 2 != 0 || dim > head_dim)
    return invalidData("partial_rotary_factor gives " + std::to_string(dim) +
                       " rotated elements of a head of " + std::to_string(head_dim) +
                       ", must be even and at most all");
  LLMRT_RETURN_IF_ERROR(checkPositive("rope_scaling.attention_factor", rope.attention_factor));
  if (rope.scaling == RopeScaling::kNone) return {};
  LLMRT_RETURN_IF_ERROR(checkPositive("rope_scaling.factor", rope.factor));
  if (rope.scaling == RopeScaling::kLinear || rope.scaling == RopeScaling::kProportional) return {};
  if (rope.scaling == RopeScaling::kLlama3) {
    LLMRT_RETURN_IF_ERROR(checkPositive("rope_scaling.low_freq_factor", rope.low_freq_factor));
    LLMRT_RETURN_IF_ERROR(checkPositive("rope_scaling.high_freq_factor", rope.high_freq_factor));
    if (rope.high_freq_factor <= rope.low_freq_factor)
      return invalidData("rope_scaling.high_freq_factor (" + numberText(rope.high_freq_factor) +
                         ") is not above low_freq_factor (" + numberText(rope.low_freq_factor) +
                         ")");
  }
  if (rope.scaling == RopeScaling::kYarn) {
    LLMRT_RETURN_IF_ERROR(checkPositive("rope_scaling.beta_fast", rope.beta_fast));
    LLMRT_RETURN_IF_ERROR(checkPositive("rope_scaling.beta_slow", rope.beta_slow));
    if (rope.theta <= 1.0)
      return invalidData("rope_theta is " + numberText(rope.theta) + ", must be above 1 for yarn");
  }
  if (rope.scaling == RopeScaling::kLongrope) {
    LLMRT_RETURN_IF_ERROR(checkFactors("rope_scaling.short_factor", rope.short_factor, dim / 2));
    LLMRT_RETURN_IF_ERROR(checkFactors("rope_scaling.long_factor", rope.long_factor, dim / 2));
  }
  if (rope.scaling == RopeScaling::kDynamic && dim <= 2)
    return invalidData("rope_scaling dynamic needs heads of more than 2 elements");
  return checkRange("rope_scaling.original_max_position_embeddings",
                    rope.original_max_position_embeddings, 1 << 30);
}

Status checkExperts(const Experts& e, int64_t num_layers) {
  if (e.num_experts == 0) return {};
  LLMRT_RETURN_IF_ERROR(checkRange("num_experts", e.num_experts, kMaxExperts));
  // Their tensors are listed by name.
  LLMRT_RETURN_IF_ERROR(
      checkRange("num_hidden_layers times num_experts", e.num_experts * num_layers, 1 << 17));
  LLMRT_RETURN_IF_ERROR(checkRange("num_experts_per_tok", e.top_k, e.num_experts));
  LLMRT_RETURN_IF_ERROR(checkRange("moe_intermediate_size", e.intermediate_size, kMaxExpertSize));
  if (e.latent_size != 0)
    LLMRT_RETURN_IF_ERROR(checkRange("moe_latent_size", e.latent_size, kMaxHiddenSize));
  if (e.shared_intermediate_size < 0 || e.shared_intermediate_size > kMaxSharedSize)
    return invalidData("the shared experts' size is " + std::to_string(e.shared_intermediate_size) +
                       ", must be 0 to " + std::to_string(kMaxSharedSize));
  LLMRT_RETURN_IF_ERROR(checkPositive("routed_scaling_factor", e.scale));
  if (e.num_groups == 0) return {};
  LLMRT_RETURN_IF_ERROR(checkRange("n_group", e.num_groups, e.num_experts));
  LLMRT_RETURN_IF_ERROR(checkRange("topk_group", e.keep_groups, e.num_groups));
  const int64_t size = e.num_experts / e.num_groups;
  if (e.num_experts % e.num_groups != 0 || size < e.group_top || e.top_k > e.keep_groups * size)
    return invalidData("n_group " + std::to_string(e.num_groups) + " and topk_group " +
                       std::to_string(e.keep_groups) + " leave no " + std::to_string(e.top_k) +
                       " of " + std::to_string(e.num_experts) + " experts to choose");
  return {};
}

Status checkLatent(const Latent& l) {
  if (l.kv_rank == 0) return {};
  LLMRT_RETURN_IF_ERROR(checkRange("kv_lora_rank", l.kv_rank, 1 << 12));
  if (l.q_rank != 0) LLMRT_RETURN_IF_ERROR(checkRange("q_lora_rank", l.q_rank, 1 << 20));
  LLMRT_RETURN_IF_ERROR(checkRange("qk_nope_head_dim", l.nope_dim, 1 << 12));
  LLMRT_RETURN_IF_ERROR(checkRange("qk_rope_head_dim", l.rope_dim, 1 << 12));
  return checkRange("v_head_dim", l.value_dim, 1 << 12);
}

Status checkDelta(const Delta& d) {
  if (d.num_value_heads == 0) return {};
  LLMRT_RETURN_IF_ERROR(checkRange("linear_num_key_heads", d.num_key_heads, kMaxHeads));
  LLMRT_RETURN_IF_ERROR(checkRange("linear_num_value_heads", d.num_value_heads, kMaxHeads));
  LLMRT_RETURN_IF_ERROR(checkRange("linear_key_head_dim", d.key_dim, 1 << 12));
  LLMRT_RETURN_IF_ERROR(checkRange("linear_value_head_dim", d.value_dim, 1 << 12));
  LLMRT_RETURN_IF_ERROR(llmc::checkRange("linear_conv_kernel_dim", d.conv_size, 2, kMaxConvSize));
  if (d.num_value_heads % d.num_key_heads != 0)
    return invalidData("linear_num_value_heads (" + std::to_string(d.num_value_heads) +
                       ") is not a multiple of linear_num_key_heads (" +
                       std::to_string(d.num_key_heads) + ")");
  return {};
}

Status checkShortConv(const ShortConv& c) {
  if (c.size == 0) return {};
  return llmc::checkRange("conv_L_cache", c.size, 2, kMaxConvSize);
}

Status checkStateSpace(const StateSpace& s) {
  if (s.num_heads == 0) return {};
  LLMRT_RETURN_IF_ERROR(checkRange("the number of Mamba heads", s.num_heads, kMaxHeads));
  LLMRT_RETURN_IF_ERROR(checkRange("the size of Mamba heads", s.head_dim, 1 << 12));
  LLMRT_RETURN_IF_ERROR(checkRange("the size of Mamba states", s.state_size, 1 << 12));
  LLMRT_RETURN_IF_ERROR(checkRange("the number of Mamba groups", s.num_groups, s.num_heads));
  LLMRT_RETURN_IF_ERROR(
      llmc::checkRange("the size of Mamba's convolution", s.conv_size, 2, kMaxConvSize));
  if (s.num_heads % s.num_groups != 0)
    return invalidData("the number of Mamba heads (" + std::to_string(s.num_heads) +
                       ") is not a multiple of that of groups (" + std::to_string(s.num_groups) +
                       ")");
  const double least = s.least_step.value_or(0), most = s.most_step.value_or(1e30);
  if (!(least >= 0 && least <= most && most <= 1e30))
    return invalidData("Mamba's time steps are from " + numberText(least) + " to " +
                       numberText(most) + ", must be ascending and not negative");
  return {};
}

/// A layer that shares keys and values reads those of one before it, of the same kind.
Status checkSharedKv(const ModelSpec& spec) {
  const std::vector<bool>& windowed = spec.windowed_layers;
  const int64_t shared = spec.num_kv_shared_layers;
  if (shared == 0 || windowed.empty()) return {};
  LLMRT_RETURN_IF_ERROR(llmc::checkRange("num_kv_shared_layers", shared, 0, spec.num_layers - 1));
  const auto first = windowed.end() - shared;
  for (const bool kind : {false, true})
    if (std::find(first, windowed.end(), kind) != windowed.end() &&
        std::find(windowed.begin(), first, kind) == first)
      return invalidData("num_kv_shared_layers is " + std::to_string(shared) +
                         ", but no layer before them is of the type \"" +
                         (kind ? "sliding" : "full") + "_attention\" that some of them have");
  return {};
}

Status checkFullHeads(const ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(checkRange("global_head_dim", spec.full_heads->dim, 1 << 12));
  LLMRT_RETURN_IF_ERROR(
      checkRange("num_global_key_value_heads", spec.full_heads->num_kv_heads, kMaxHeads));
  if (spec.num_heads % spec.full_heads->num_kv_heads == 0) return {};
  return invalidData("num_attention_heads (" + std::to_string(spec.num_heads) +
                     ") is not a multiple of num_global_key_value_heads (" +
                     std::to_string(spec.full_heads->num_kv_heads) + ")");
}

/// A layer without a mixer and without an MLP does nothing.
Status checkMixers(const ModelSpec& spec) {
  for (int64_t layer = 0; layer < spec.num_layers; ++layer) {
    const LayerForm form = spec.layerForm(layer);
    if (form.mixer == Mixer::kNone && form.mlp == Mlp::kNone)
      return invalidData("layer " + std::to_string(layer) + " has neither a mixer nor an MLP");
  }
  return {};
}

// Which layers are alike follows from layer_types and what stands in for it in older configs.
Status checkLayerRuns(const ModelSpec& spec) {
  int64_t runs = 1;
  for (int64_t i = 1; i < spec.num_layers; ++i)
    if (!(spec.layerForm(i) == spec.layerForm(i - 1))) ++runs;
  if (runs <= kMaxLayerRuns) return {};
  return invalidData("num_hidden_layers is " + std::to_string(spec.num_layers) +
                     ", and layers of different kinds (layer_types) alternate " +
                     std::to_string(runs - 1) + " times, at most " +
                     std::to_string(kMaxLayerRuns - 1) + " are supported");
}

}  // namespace

Status checkSpec(const ModelSpec& spec) {
  const Architecture* architecture = findArchitecture(spec.architecture);
  const ConfigNames names = architecture ? architecture->fields : ConfigNames{};
  LLMRT_RETURN_IF_ERROR(checkRange(names.hidden_size, spec.hidden_size, kMaxHiddenSize));
  LLMRT_RETURN_IF_ERROR(checkRange(names.intermediate_size, spec.intermediate_size, 1 << 22));
  LLMRT_RETURN_IF_ERROR(checkRange(names.num_layers, spec.num_layers, kMaxLayers));
  LLMRT_RETURN_IF_ERROR(checkRange(names.num_heads, spec.num_heads, kMaxHeads));
  LLMRT_RETURN_IF_ERROR(checkRange(names.num_kv_heads, spec.num_kv_heads, kMaxHeads));
  LLMRT_RETURN_IF_ERROR(checkRange("head_dim", spec.head_dim, 1 << 12));
  LLMRT_RETURN_IF_ERROR(checkRange("vocab_size", spec.vocab_size, 1 << 27));
  LLMRT_RETURN_IF_ERROR(checkRange(names.max_positions, spec.max_position_embeddings, 1 << 30));
  if (spec.num_heads % spec.num_kv_heads != 0)
    return invalidData(std::string(names.num_heads) + " (" + std::to_string(spec.num_heads) +
                       ") is not a multiple of " + names.num_kv_heads + " (" +
                       std::to_string(spec.num_kv_heads) + ")");
  if (spec.full_heads) LLMRT_RETURN_IF_ERROR(checkFullHeads(spec));
  LLMRT_RETURN_IF_ERROR(checkSharedKv(spec));
  if (spec.per_layer_size < 0 || spec.per_layer_size > (1 << 16) ||
      spec.per_layer_size * spec.num_layers > kMaxHiddenSize)
    return invalidData("hidden_size_per_layer_input is " + std::to_string(spec.per_layer_size) +
                       " in " + std::to_string(spec.num_layers) + " layers, together at most " +
                       std::to_string(kMaxHiddenSize) + " are supported");
  if (spec.sliding_window < 0 || spec.sliding_window > (1 << 30))
    return invalidData("sliding_window is " + std::to_string(spec.sliding_window) +
                       ", must be 1 to 1073741824, or null for none");
  // 0 is what a model may say: nothing is added.
  if (!(spec.rms_norm_eps >= 0 && spec.rms_norm_eps <= 1e30))
    return invalidData(std::string(names.eps) + " is " + numberText(spec.rms_norm_eps) +
                       ", must be 0 to 1e+30");
  const int64_t rotary_dim = spec.latent.kv_rank ? spec.head_dim : spec.ropeHeadDim(false);
  if (!spec.learned_positions) LLMRT_RETURN_IF_ERROR(checkRope(spec.rope, rotary_dim));
  if (spec.local_rope) LLMRT_RETURN_IF_ERROR(checkRope(*spec.local_rope, spec.head_dim));
  LLMRT_RETURN_IF_ERROR(checkExperts(spec.experts, spec.num_layers));
  LLMRT_RETURN_IF_ERROR(checkLatent(spec.latent));
  LLMRT_RETURN_IF_ERROR(checkFinite("the scale of embeddings", spec.embedding_scale));
  LLMRT_RETURN_IF_ERROR(checkFinite("the scale of residuals", spec.residual_scale));
  LLMRT_RETURN_IF_ERROR(checkFinite("the scale of logits", spec.logit_scale));
  if (spec.attention_scale != 0)
    LLMRT_RETURN_IF_ERROR(checkPositive("the scale of attention scores", spec.attention_scale));
  if (spec.attention_softcap != 0)
    LLMRT_RETURN_IF_ERROR(checkPositive("attn_logit_softcapping", spec.attention_softcap));
  if (spec.logit_softcap != 0)
    LLMRT_RETURN_IF_ERROR(checkPositive("final_logit_softcapping", spec.logit_softcap));
  if (spec.query_growth != 0) {
    LLMRT_RETURN_IF_ERROR(checkPositive("llama_4_scaling_beta", spec.query_growth));
    LLMRT_RETURN_IF_ERROR(checkRange("original_max_position_embeddings of llama_4_scaling_beta",
                                     spec.query_growth_every, 1 << 30));
  }
  LLMRT_RETURN_IF_ERROR(checkDelta(spec.delta));
  LLMRT_RETURN_IF_ERROR(checkShortConv(spec.short_conv));
  LLMRT_RETURN_IF_ERROR(checkStateSpace(spec.state_space));
  for (const size_t entries :
       {spec.windowed_layers.size(), spec.nope_layers.size(), spec.expert_layers.size(),
        spec.mlp_layers.size(), spec.mixers.size()})
    if (entries != 0 && static_cast<int64_t>(entries) != spec.num_layers)
      return invalidData("a list of layers has " + std::to_string(entries) +
                         " entries, but num_hidden_layers is " + std::to_string(spec.num_layers));
  LLMRT_RETURN_IF_ERROR(checkMixers(spec));
  LLMRT_RETURN_IF_ERROR(checkLayerRuns(spec));
  return checkTotal(spec);
}

}  // namespace llmc
