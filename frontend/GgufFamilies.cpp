#include "frontend/GgufFamilies.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "models/CheckSpec.h"
#include "models/Rope.h"
#include "runtime/io/printable.h"

namespace llmc {

static std::string ofLayer(int64_t layer, const char* tensor) {
  return "blk." + std::to_string(layer) + "." + tensor;
}

bool anyLayerHas(const GgufFields& fields, const ModelSpec& spec, const char* tensor) {
  if (!fields.hasTensors()) return false;
  const std::vector<bool> has =
      perLayer(spec, [&](int64_t i) { return fields.hasTensor(ofLayer(i, tensor)); });
  return std::ranges::find(has, true) != has.end();
}

namespace {

using llmrt::invalidData;
using llmrt::quotedName;
using llmrt::Result;
using llmrt::Status;
using llmrt::unsupported;

/// A number that is 0 or absent for none.
Status readCap(const GgufFields& fields, const char* key, double& cap) {
  LLMRT_ASSIGN_OR_RETURN(auto value, fields.getFloat(key));
  if (!value) return {};
  cap = *value;
  return cap == 0 ? Status() : checkPositive(fields.nameOf(key), cap);
}

Status readScale(const GgufFields& fields, const char* key, double& scale) {
  LLMRT_ASSIGN_OR_RETURN(auto value, fields.getFloat(key));
  if (!value) return {};
  scale = *value;
  return checkPositive(fields.nameOf(key), scale);
}

//===----------------------------------------------------------------------===//
// Experts
//===----------------------------------------------------------------------===//

/// Tensors of all experts must be of as many as the metadata says.
Status checkExpertTensors(const GgufFields& fields, int64_t experts) {
  for (const llmrt::GgufTensor& tensor : fields.file().tensors()) {
    const bool of_experts =
        tensor.name.ends_with("_exps.weight") || tensor.name.ends_with("_exps.bias");
    if (!of_experts || tensor.shape[0] == experts) continue;
    return invalidData("tensor " + quotedName(tensor.name) + " is of " +
                       std::to_string(tensor.shape[0]) + " experts, but " +
                       fields.nameOf("expert_count") + " is " + std::to_string(experts));
  }
  return {};
}

/// What all mixtures of experts have. A layer that has a router is routed.
Status readExperts(const GgufFields& fields, ModelSpec& spec, int64_t intermediate_size) {
  Experts& e = spec.experts;
  LLMRT_ASSIGN_OR_RETURN(e.num_experts, fields.needInt("expert_count"));
  LLMRT_RETURN_IF_ERROR(checkRange(fields.nameOf("expert_count"), e.num_experts, 1, kMaxExperts));
  LLMRT_RETURN_IF_ERROR(checkExpertTensors(fields, e.num_experts));
  LLMRT_ASSIGN_OR_RETURN(e.top_k, fields.needInt("expert_used_count"));
  LLMRT_RETURN_IF_ERROR(checkRange(fields.nameOf("expert_used_count"), e.top_k, 1, e.num_experts));
  LLMRT_ASSIGN_OR_RETURN(auto size, fields.getInt("expert_feed_forward_length"));
  e.intermediate_size = size.value_or(intermediate_size);
  LLMRT_ASSIGN_OR_RETURN(auto normalize, fields.getBool("expert_weights_norm"));
  e.normalize = normalize.value_or(e.normalize);
  if (fields.hasTensors())
    spec.expert_layers = perLayer(
        spec, [&](int64_t i) { return fields.hasTensor(ofLayer(i, "ffn_gate_inp.weight")); });
  return {};
}

/// What the experts' weights are multiplied by; 0 is how some say that there is nothing.
Status readExpertsScale(const GgufFields& fields, Experts& experts) {
  LLMRT_ASSIGN_OR_RETURN(auto scale, fields.getFloat("expert_weights_scale"));
  if (scale.value_or(0) == 0) return {};
  experts.scale = *scale;
  return checkPositive(fields.nameOf("expert_weights_scale"), experts.scale);
}

/// Refuses the ways of choosing experts that these families do not have.
Status readSoftmaxExperts(const GgufFields& fields, ModelSpec& spec, int64_t intermediate_size) {
  LLMRT_RETURN_IF_ERROR(readExperts(fields, spec, intermediate_size));
  LLMRT_ASSIGN_OR_RETURN(auto gating, fields.getInt("expert_gating_func"));
  if (gating.value_or(1) > 1)
    return fields.refuse("expert_gating_func",
                         " as " + std::to_string(*gating) + " (only 1, softmax, is)");
  LLMRT_RETURN_IF_ERROR(readExpertsScale(fields, spec.experts));
  LLMRT_ASSIGN_OR_RETURN(auto groups, fields.getInt("expert_group_count"));
  if (groups.value_or(1) > 1) return fields.refuse("expert_group_count");
  return {};
}

Status readMixtral(const GgufFields& fields, ModelSpec& spec) {
  spec.experts.normalize = true;
  return readSoftmaxExperts(fields, spec, spec.intermediate_size);
}

// Sizes that older files leave out follow from that of the dense layers, as llama.cpp has it.
Status readQwen2Moe(const GgufFields& fields, ModelSpec& spec) {
  LLMRT_ASSIGN_OR_RETURN(auto used, fields.getInt("expert_used_count"));
  LLMRT_RETURN_IF_ERROR(readSoftmaxExperts(
      fields, spec, spec.intermediate_size / std::max<int64_t>(1, used.value_or(1))));
  LLMRT_ASSIGN_OR_RETURN(auto shared, fields.getInt("expert_shared_feed_forward_length"));
  spec.experts.shared_intermediate_size = shared.value_or(spec.intermediate_size);
  spec.experts.shared_gate = true;
  return {};
}

Status readQwen3Moe(const GgufFields& fields, ModelSpec& spec) {
  LLMRT_ASSIGN_OR_RETURN(auto used, fields.getInt("expert_used_count"));
  spec.experts.normalize = true;
  return readSoftmaxExperts(fields, spec,
                            spec.intermediate_size / std::max<int64_t>(1, used.value_or(1)));
}

constexpr int64_t kSoftmaxChosenGating = 3;  // llama.cpp: llama_expert_gating_func_type

// The rest is what gpt-oss is: windows in every second layer, a clamped activation, and yarn whose
// bounds are not rounded to whole pairs (llama.cpp rounds all models').
Status readGptOss(const GgufFields& fields, ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(readExperts(fields, spec, spec.intermediate_size));
  LLMRT_ASSIGN_OR_RETURN(auto gating, fields.getInt("expert_gating_func"));
  if (gating.value_or(kSoftmaxChosenGating) != kSoftmaxChosenGating)
    return fields.refuse("expert_gating_func",
                         " as " + std::to_string(*gating) + " (only 3, softmax of the chosen, is)");
  setGptOssExperts(spec.experts);
  spec.rope.truncate = false;
  LLMRT_ASSIGN_OR_RETURN(spec.sliding_window, fields.needInt("attention.sliding_window"));
  spec.windowed_layers = perLayer(spec, [](int64_t i) { return i % 2 == 0; });
  return {};
}

/// The layers behind the last are those of multi-token prediction, which only --mtp uses.
Status leaveOutPredictionLayers(const GgufFields& fields, ModelSpec& spec) {
  LLMRT_ASSIGN_OR_RETURN(auto layers, fields.getInt("nextn_predict_layers"));
  if (layers.value_or(0) == 0) return {};
  LLMRT_RETURN_IF_ERROR(
      checkRange(fields.nameOf("nextn_predict_layers"), *layers, 0, spec.num_layers - 1));
  spec.num_layers -= *layers;
  spec.mtp.num_blocks = *layers;
  return {};
}

/// Experts that every row takes.
Status readSharedExperts(const GgufFields& fields, ModelSpec& spec) {
  Experts& e = spec.experts;
  LLMRT_ASSIGN_OR_RETURN(auto shared, fields.getInt("expert_shared_count"));
  LLMRT_RETURN_IF_ERROR(
      checkRange(fields.nameOf("expert_shared_count"), shared.value_or(0), 0, kMaxExperts));
  e.shared_intermediate_size = shared.value_or(0) * e.intermediate_size;
  return {};
}

constexpr int64_t kSigmoidGating = 2;  // llama.cpp: llama_expert_gating_func_type

/// Scores by sigmoid, with a bias of the choice, in groups maybe.
Status readSigmoidExperts(const GgufFields& fields, ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(readExperts(fields, spec, spec.intermediate_size));
  Experts& e = spec.experts;
  LLMRT_ASSIGN_OR_RETURN(auto gating, fields.getInt("expert_gating_func"));
  if (gating.value_or(kSigmoidGating) != kSigmoidGating)
    return fields.refuse("expert_gating_func",
                         " as " + std::to_string(*gating) + " (only 2, sigmoid, is)");
  e.scoring = Experts::Scoring::kSigmoid;
  e.choice_bias = true;
  LLMRT_RETURN_IF_ERROR(readExpertsScale(fields, e));
  LLMRT_ASSIGN_OR_RETURN(auto groups, fields.getInt("expert_group_count"));
  if (groups.value_or(1) > 1) {
    e.num_groups = *groups;
    LLMRT_ASSIGN_OR_RETURN(e.keep_groups, fields.needInt("expert_group_used_count"));
    e.group_top = 2;
  }
  return readSharedExperts(fields, spec);
}

Status readGlm4Moe(const GgufFields& fields, ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(leaveOutPredictionLayers(fields, spec));
  if (fields.hasTensor("blk.0.attn_q_norm.weight")) spec.form.qk_norm = QkNorm::kHead;
  return readSigmoidExperts(fields, spec);
}

// Keys and values of the cache are latents, of one head.
Status readLatent(const GgufFields& fields, ModelSpec& spec) {
  constexpr int64_t kMostHead = 1 << 12;
  const auto need = [&](const char* key, int64_t& out) -> Status {
    LLMRT_ASSIGN_OR_RETURN(out, fields.needInt(key));
    return checkRange(fields.nameOf(key), out, 1, kMostHead);
  };
  Latent& l = spec.latent;
  spec.form.latent_parts = fields.hasTensor("blk.0.attn_k_b.weight");
  if (fields.has("attention.q_lora_rank")) {
    LLMRT_ASSIGN_OR_RETURN(l.q_rank, fields.needInt("attention.q_lora_rank"));
    LLMRT_RETURN_IF_ERROR(checkRange(fields.nameOf("attention.q_lora_rank"), l.q_rank, 0, 1 << 20));
  }
  // Older files, of one tensor for both up-projections, say what the heads have without "_mla".
  const bool mla = fields.has("attention.key_length_mla");
  const char* const key_length = mla ? "attention.key_length_mla" : "attention.key_length";
  int64_t q_head = 0;
  LLMRT_RETURN_IF_ERROR(need("attention.kv_lora_rank", l.kv_rank));
  LLMRT_RETURN_IF_ERROR(need("rope.dimension_count", l.rope_dim));
  LLMRT_RETURN_IF_ERROR(need(key_length, q_head));
  LLMRT_RETURN_IF_ERROR(
      need(mla ? "attention.value_length_mla" : "attention.value_length", l.value_dim));
  l.nope_dim = q_head - l.rope_dim;
  LLMRT_RETURN_IF_ERROR(checkRange(fields.nameOf(key_length) + " less rope.dimension_count",
                                   l.nope_dim, 1, kMostHead));
  for (const auto& [key, size] :
       {std::pair{"rope.dimension_count", l.rope_dim}, {"attention.kv_lora_rank", l.kv_rank}})
    if (size % 2 != 0)
      return invalidData(fields.nameOf(key) + " is " + std::to_string(size) +
                         ", must be even for rotary embeddings");
  spec.num_kv_heads = 1;
  spec.head_dim = l.kv_rank + l.rope_dim;
  spec.attention_scale = 1 / std::sqrt(static_cast<double>(q_head));
  if (spec.rope.scaling != RopeScaling::kYarn) return {};
  // yarn stretches the scores by the square of its scale, and leaves cos and sin.
  LLMRT_ASSIGN_OR_RETURN(auto multiplier, fields.getFloat("rope.scaling.yarn_log_multiplier"));
  const double scale = 1 + multiplier.value_or(0) * std::log(spec.rope.factor);
  spec.attention_scale *= scale * scale;
  spec.rope.attention_factor = 1;
  return checkPositive(fields.nameOf("rope.scaling.yarn_log_multiplier") + " of the factor", scale);
}

Status readDeepseekV2(const GgufFields& fields, ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(leaveOutPredictionLayers(fields, spec));
  LLMRT_RETURN_IF_ERROR(readLatent(fields, spec));
  if (!fields.has("expert_count")) return {};
  LLMRT_RETURN_IF_ERROR(readSoftmaxExperts(fields, spec, spec.intermediate_size));
  return readSharedExperts(fields, spec);
}
Status readDeepseekV3(const GgufFields& fields, ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(leaveOutPredictionLayers(fields, spec));
  LLMRT_RETURN_IF_ERROR(readLatent(fields, spec));
  return readSigmoidExperts(fields, spec);
}

// Cos and sin are stretched by the quotient of two scales, of which the file has the one below.
Status readMinistral3(const GgufFields& fields, ModelSpec& spec) {
  LLMRT_ASSIGN_OR_RETURN(auto every, fields.getInt("attention.temperature_length"));
  if (every.value_or(0) == 0) {
    LLMRT_ASSIGN_OR_RETURN(every, fields.getInt("rope.scaling.original_context_length"));
  }
  spec.query_growth_every = every.value_or(0);
  LLMRT_ASSIGN_OR_RETURN(const auto growth, fields.getFloat("attention.temperature_scale"));
  spec.query_growth = growth.value_or(0);
  if (spec.rope.scaling != RopeScaling::kYarn) return {};
  LLMRT_ASSIGN_OR_RETURN(const auto multiplier,
                         fields.getFloat("rope.scaling.yarn_log_multiplier"));
  if (multiplier.value_or(0) != 0)
    spec.rope.attention_factor /= yarnScale(spec.rope.factor, *multiplier);
  return {};
}

//===----------------------------------------------------------------------===//
// Linear attention
//===----------------------------------------------------------------------===//

/// The sizes of recurrent layers, which linear attention calls as Mamba does.
struct RecurrentSizes {
  int64_t conv_size = 0, state_size = 0, num_groups = 0, num_heads = 0, head_dim = 0;
};

Result<RecurrentSizes> readRecurrentSizes(const GgufFields& fields) {
  RecurrentSizes s;
  LLMRT_ASSIGN_OR_RETURN(s.conv_size, fields.needInt("ssm.conv_kernel"));
  LLMRT_ASSIGN_OR_RETURN(s.state_size, fields.needInt("ssm.state_size"));
  LLMRT_ASSIGN_OR_RETURN(s.num_groups, fields.needInt("ssm.group_count"));
  LLMRT_ASSIGN_OR_RETURN(s.num_heads, fields.needInt("ssm.time_step_rank"));
  LLMRT_ASSIGN_OR_RETURN(const int64_t inner, fields.needInt("ssm.inner_size"));
  LLMRT_RETURN_IF_ERROR(checkRange(fields.nameOf("ssm.group_count"), s.num_groups, 1, kMaxHeads));
  LLMRT_RETURN_IF_ERROR(checkRange(fields.nameOf("ssm.time_step_rank"), s.num_heads, 1, kMaxHeads));
  if (inner <= 0 || inner % s.num_heads != 0)
    return invalidData(fields.nameOf("ssm.inner_size") + " is " + std::to_string(inner) +
                       ", which is not a multiple of ssm.time_step_rank " +
                       std::to_string(s.num_heads));
  s.head_dim = inner / s.num_heads;
  return s;
}

// A layer that has none of linear attention's tensors attends.
Status readQwenHybrid(const GgufFields& fields, ModelSpec& spec) {
  LLMRT_ASSIGN_OR_RETURN(const RecurrentSizes sizes, readRecurrentSizes(fields));
  spec.delta = {.num_key_heads = sizes.num_groups,
                .num_value_heads = sizes.num_heads,
                .key_dim = sizes.state_size,
                .value_dim = sizes.head_dim,
                .conv_size = sizes.conv_size};
  LLMRT_RETURN_IF_ERROR(leaveOutPredictionLayers(fields, spec));
  LLMRT_ASSIGN_OR_RETURN(const auto interval, fields.getInt("full_attention_interval"));
  const int64_t every = std::max<int64_t>(1, interval.value_or(4));
  spec.mixers = perLayer(spec, [&](int64_t i) {
    const bool attends =
        fields.hasTensors() ? fields.hasTensor(ofLayer(i, "attn_q.weight")) : (i + 1) % every == 0;
    return attends ? Mixer::kAttention : Mixer::kDelta;
  });
  return {};
}

// Converters put the heads of v in another order than Qwen3-Next's have.
Status readQwen35(const GgufFields& fields, ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(readQwenHybrid(fields, spec));
  spec.form.delta_tiled = spec.delta.num_value_heads != spec.delta.num_key_heads;
  return {};
}
Status readQwen35Moe(const GgufFields& fields, ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(readQwen35(fields, spec));
  spec.experts.normalize = true;
  return readQwen2Moe(fields, spec);
}
Status readQwen3Next(const GgufFields& fields, ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(readQwenHybrid(fields, spec));
  spec.form.delta_gates_by_group = true;
  spec.experts.normalize = true;
  return readQwen2Moe(fields, spec);
}

//===----------------------------------------------------------------------===//
// State spaces and short convolutions
//===----------------------------------------------------------------------===//

/// An error where an array that is read layer by layer is of fewer.
Status checkLayersOf(const GgufFields& fields, const char* key, const std::vector<int64_t>& array,
                     const ModelSpec& spec) {
  if (static_cast<int64_t>(array.size()) >= spec.num_layers) return {};
  return invalidData(fields.nameOf(key) + " is of " + std::to_string(array.size()) +
                     " layers, but there are " + std::to_string(spec.num_layers));
}

/// The layers whose number of KV heads is 0 have `other` in place of attention.
Status readMixers(const GgufFields& fields, Mixer other, ModelSpec& spec) {
  LLMRT_ASSIGN_OR_RETURN(const std::vector<int64_t> heads,
                         fields.ofLayers("attention.head_count_kv"));
  if (heads.empty()) return {};
  LLMRT_RETURN_IF_ERROR(checkLayersOf(fields, "attention.head_count_kv", heads, spec));
  spec.mixers = perLayer(spec, [&](int64_t i) {
    return heads[static_cast<size_t>(i)] > 0 ? Mixer::kAttention : other;
  });
  return {};
}

Status readLfm2(const GgufFields& fields, ModelSpec& spec) {
  LLMRT_ASSIGN_OR_RETURN(spec.short_conv.size, fields.needInt("shortconv.l_cache"));
  spec.short_conv.bias = anyLayerHas(fields, spec, "shortconv.in_proj.bias");
  return readMixers(fields, Mixer::kConv, spec);
}
Status readLfm2Moe(const GgufFields& fields, ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(readLfm2(fields, spec));
  spec.experts.normalize = true;
  LLMRT_RETURN_IF_ERROR(readSigmoidExperts(fields, spec));
  spec.experts.choice_bias = !fields.hasTensors() || anyLayerHas(fields, spec, "exp_probs_b.bias");
  return {};
}

Status readStateSpace(const GgufFields& fields, ModelSpec& spec) {
  LLMRT_ASSIGN_OR_RETURN(const RecurrentSizes sizes, readRecurrentSizes(fields));
  StateSpace& s = spec.state_space;
  s.num_heads = sizes.num_heads;
  s.head_dim = sizes.head_dim;
  s.state_size = sizes.state_size;
  s.num_groups = sizes.num_groups;
  s.conv_size = sizes.conv_size;
  s.stores_rates = true;
  s.bias = anyLayerHas(fields, spec, "ssm_in.bias");
  s.conv_bias = !fields.hasTensors() || anyLayerHas(fields, spec, "ssm_conv1d.bias");
  spec.mixers = perLayer(spec, [](int64_t) { return Mixer::kStateSpace; });
  return {};
}

Status readMamba2(const GgufFields& fields, ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(readStateSpace(fields, spec));
  spec.mlp_layers = perLayer(spec, [](int64_t) { return false; });
  return {};
}

Status readGranite(const GgufFields& fields, ModelSpec& spec) {
  double logits = 1;
  LLMRT_RETURN_IF_ERROR(readScale(fields, "embedding_scale", spec.embedding_scale));
  LLMRT_RETURN_IF_ERROR(readScale(fields, "residual_scale", spec.residual_scale));
  LLMRT_RETURN_IF_ERROR(readScale(fields, "attention.scale", spec.attention_scale));
  LLMRT_RETURN_IF_ERROR(readScale(fields, "logit_scale", logits));
  spec.logit_scale = 1 / logits;
  return {};
}

Status readGraniteHybrid(const GgufFields& fields, ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(readGranite(fields, spec));
  LLMRT_RETURN_IF_ERROR(readStateSpace(fields, spec));
  LLMRT_RETURN_IF_ERROR(readMixers(fields, Mixer::kStateSpace, spec));
  // Converters say by this whether positions are encoded; they are where nothing is said.
  LLMRT_ASSIGN_OR_RETURN(auto turns, fields.getBool("rope.scaling.finetuned"));
  if (turns.value_or(true))
    return fields.refuse("rope.scaling.finetuned", " unless it is there and false");
  spec.nope_layers = perLayer(spec, [](int64_t) { return true; });
  LLMRT_ASSIGN_OR_RETURN(auto experts, fields.getInt("expert_count"));
  if (experts.value_or(0) == 0) return {};
  LLMRT_RETURN_IF_ERROR(readSoftmaxExperts(fields, spec, spec.intermediate_size));
  spec.experts.scoring = Experts::Scoring::kSoftmaxChosen;
  LLMRT_ASSIGN_OR_RETURN(auto shared, fields.getInt("expert_shared_feed_forward_length"));
  spec.experts.shared_intermediate_size = shared.value_or(0);
  return {};
}

// A layer has one block: attention, an MLP where there is a size for one, or a state space.
Status readNemotronH(const GgufFields& fields, ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(readStateSpace(fields, spec));
  LLMRT_RETURN_IF_ERROR(readMixers(fields, Mixer::kStateSpace, spec));
  spec.nope_layers = perLayer(spec, [](int64_t) { return true; });
  LLMRT_ASSIGN_OR_RETURN(const std::vector<int64_t> sizes, fields.ofLayers("feed_forward_length"));
  LLMRT_RETURN_IF_ERROR(checkLayersOf(fields, "feed_forward_length", sizes, spec));
  for (size_t i = 0; i < spec.mixers.size(); ++i) {
    const bool has_mlp = sizes[i] > 0;
    spec.mlp_layers.push_back(has_mlp);
    if (has_mlp) spec.mixers[i] = Mixer::kNone;
  }
  LLMRT_ASSIGN_OR_RETURN(auto experts, fields.getInt("expert_count"));
  if (experts.value_or(0) == 0) return {};
  LLMRT_RETURN_IF_ERROR(readSigmoidExperts(fields, spec));
  LLMRT_ASSIGN_OR_RETURN(auto shared, fields.getInt("expert_shared_feed_forward_length"));
  spec.experts.shared_intermediate_size = shared.value_or(0);
  LLMRT_ASSIGN_OR_RETURN(auto latent, fields.getInt("moe_latent_size"));
  spec.experts.latent_size = latent.value_or(0);
  return {};
}

//===----------------------------------------------------------------------===//
// Dense families
//===----------------------------------------------------------------------===//

// Files without scales are older than their keys: llama.cpp knows them for MiniCPM 2B's.
Status readMiniCpm(const GgufFields& fields, ModelSpec& spec) {
  double logits = static_cast<double>(spec.hidden_size) / 256;
  spec.embedding_scale = 12;
  spec.residual_scale = 1.4 / std::sqrt(static_cast<double>(std::max<int64_t>(1, spec.num_layers)));
  LLMRT_RETURN_IF_ERROR(readScale(fields, "embedding_scale", spec.embedding_scale));
  LLMRT_RETURN_IF_ERROR(readScale(fields, "residual_scale", spec.residual_scale));
  LLMRT_RETURN_IF_ERROR(readScale(fields, "logit_scale", logits));
  spec.logit_scale = 1 / logits;
  return {};
}

// The scale of scores, which is another in the model of 27B.
double gemmaAttentionScale(const ModelSpec& spec, int64_t layers_of_27b) {
  const bool wide = spec.num_layers == layers_of_27b && spec.num_heads > 0;
  return 1 /
         std::sqrt(static_cast<double>(wide ? spec.hidden_size / spec.num_heads : spec.head_dim));
}

Status readGemma(const GgufFields&, ModelSpec& spec) {
  spec.embedding_scale = std::sqrt(static_cast<double>(std::max<int64_t>(0, spec.hidden_size)));
  spec.rounds_embedding_scale = true;
  return {};
}

// Files leave to their reader which layers have the window, and what they may leave out.
Status readGemma2(const GgufFields& fields, ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(readGemma(fields, spec));
  spec.attention_softcap = 50;
  spec.logit_softcap = 30;
  LLMRT_RETURN_IF_ERROR(readCap(fields, "attn_logit_softcapping", spec.attention_softcap));
  LLMRT_RETURN_IF_ERROR(readCap(fields, "final_logit_softcapping", spec.logit_softcap));
  spec.attention_scale = gemmaAttentionScale(spec, /*layers_of_27b=*/46);
  if (!fields.has("attention.sliding_window")) spec.sliding_window = 4096;
  spec.windowed_layers = perLayer(spec, [](int64_t i) { return i % 2 == 0; });
  return {};
}

// And what rotates in those layers.
Status readGemma3(const GgufFields& fields, ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(readGemma(fields, spec));
  LLMRT_RETURN_IF_ERROR(readCap(fields, "final_logit_softcapping", spec.logit_softcap));
  spec.attention_scale = gemmaAttentionScale(spec, /*layers_of_27b=*/62);
  if (spec.sliding_window == 0) return {};
  LLMRT_ASSIGN_OR_RETURN(auto theta, fields.getFloat("rope.freq_base_swa"));
  spec.local_rope.emplace().theta = theta.value_or(10000.0);
  spec.local_rope->dim = spec.head_dim;
  spec.windowed_layers = perLayer(spec, [](int64_t i) { return (i + 1) % 6 != 0; });
  return {};
}

Status readGemma4(const GgufFields& fields, ModelSpec& spec) {
  LLMRT_RETURN_IF_ERROR(readGemma(fields, spec));
  LLMRT_RETURN_IF_ERROR(readCap(fields, "final_logit_softcapping", spec.logit_softcap));
  spec.attention_scale = 1;
  const auto layers = [&](const char* key) { return fields.needLayerInts(key, spec.num_layers); };
  LLMRT_ASSIGN_OR_RETURN(const auto windowed, layers("attention.sliding_window_pattern"));
  LLMRT_ASSIGN_OR_RETURN(const auto kv_heads, layers("attention.head_count_kv"));
  LLMRT_ASSIGN_OR_RETURN(const auto sizes, layers("feed_forward_length"));
  spec.intermediate_size = sizes.front();
  if (static_cast<int64_t>(windowed.size()) != spec.num_layers) return {};  // checkSpec() says why
  spec.windowed_layers = perLayer(spec, [&](int64_t i) { return windowed[size_t(i)] != 0; });

  // The metadata's heads are those of layers without a window.
  Heads& full = spec.full_heads.emplace(Heads{.dim = spec.head_dim});
  LLMRT_ASSIGN_OR_RETURN(spec.head_dim, fields.needInt("attention.key_length_swa"));
  for (int64_t i = spec.num_layers - 1; i >= 0; --i)
    (windowed[size_t(i)] ? spec.num_kv_heads : full.num_kv_heads) = kv_heads[size_t(i)];
  for (int64_t i = 0; i < spec.num_layers; ++i)
    if (kv_heads[size_t(i)] != (windowed[size_t(i)] ? spec.num_kv_heads : full.num_kv_heads))
      return fields.refuse("attention.head_count_kv", ": layers of one kind that differ in it");
  LLMRT_ASSIGN_OR_RETURN(auto theta, fields.getFloat("rope.freq_base_swa"));
  LLMRT_ASSIGN_OR_RETURN(auto dimensions, fields.getInt("rope.dimension_count_swa"));
  spec.local_rope.emplace().theta = theta.value_or(10000.0);
  spec.local_rope->dim = dimensions.value_or(spec.head_dim);

  LLMRT_ASSIGN_OR_RETURN(auto shared, fields.getInt("attention.shared_kv_layers"));
  spec.num_kv_shared_layers = shared.value_or(0);
  LLMRT_RETURN_IF_ERROR(checkRange(fields.nameOf("attention.shared_kv_layers"),
                                   spec.num_kv_shared_layers, 0,
                                   std::max<int64_t>(0, spec.num_layers - 1)));
  spec.wide_shared_mlps = spec.num_kv_shared_layers > 0 && sizes.back() != sizes.front();
  for (int64_t i = 0; i < spec.num_layers; ++i) {
    const bool wide = spec.wide_shared_mlps && i >= spec.num_layers - spec.num_kv_shared_layers;
    if (sizes[size_t(i)] != sizes[0] * (wide ? 2 : 1))
      return fields.refuse("feed_forward_length", " as " + std::to_string(sizes[size_t(i)]) +
                                                      " in layer " + std::to_string(i));
    if (fields.hasTensors() && !windowed[size_t(i)] &&
        i < spec.num_layers - spec.num_kv_shared_layers)
      full.key_is_value = !fields.hasTensor(ofLayer(i, "attn_v.weight"));
  }
  LLMRT_ASSIGN_OR_RETURN(auto size, fields.getInt("embedding_length_per_layer_input"));
  spec.per_layer_size = size.value_or(0);
  LLMRT_ASSIGN_OR_RETURN(auto experts, fields.getInt("expert_count"));
  if (experts.value_or(0) == 0) return {};
  spec.experts_beside = true;
  spec.experts.normalize = true;
  LLMRT_ASSIGN_OR_RETURN(auto expert_size, fields.needInt("expert_feed_forward_length"));
  return readSoftmaxExperts(fields, spec, expert_size);
}

// Every fourth layer, whatever the config that was converted said.
Status readSmolLm3(const GgufFields&, ModelSpec& spec) {
  spec.nope_layers = perLayer(spec, [](int64_t i) { return (i + 1) % 4 == 0; });
  return {};
}

Status readCohere(const GgufFields& fields, ModelSpec& spec) {
  LLMRT_ASSIGN_OR_RETURN(spec.logit_scale, fields.needFloat("logit_scale"));
  if (fields.hasTensor("blk.0.attn_q_norm.weight")) spec.form.qk_norm = QkNorm::kHeadLayer;
  return checkFinite(fields.nameOf("logit_scale"), spec.logit_scale);
}

Status readNeox(const GgufFields& fields, ModelSpec& spec) {
  LLMRT_ASSIGN_OR_RETURN(auto parallel, fields.getBool("use_parallel_residual"));
  spec.form.parallel = parallel.value_or(true);
  return {};
}

// Whether attention and MLP are parallel is what the tensors say: converters write
// use_parallel_residual where the config does not say so.
Status readStableLm(const GgufFields& fields, ModelSpec& spec) {
  if (fields.hasTensor("blk.0.attn_q_norm.weight"))
    return unsupported("tensor 'blk.0.attn_q_norm.weight' is not supported: norms of q and k");
  spec.form.parallel = fields.hasTensors() && !fields.hasTensor("blk.0.ffn_norm.weight");
  spec.form.shared_norm = spec.form.parallel;
  return {};
}

// With two norms, the second is attention's.
Status readFalcon(const GgufFields& fields, ModelSpec& spec) {
  spec.form.parallel = true;
  spec.form.shared_norm = !fields.hasTensor("blk.0.attn_norm_2.weight");
  if (spec.form.shared_norm) return {};
  spec.form.names.input_norm = "attention_layernorm";
  spec.form.names.mlp_norm = "input_layernorm";
  return {};
}

//===----------------------------------------------------------------------===//

/// Keys that change what is computed, each of some families alone.
constexpr const char* kOwnKeys[] = {"expert_count",
                                    "nextn_predict_layers",
                                    "attention.kv_lora_rank",
                                    "embedding_scale",
                                    "residual_scale",
                                    "attention.scale",
                                    "logit_scale",
                                    "attn_logit_softcapping",
                                    "final_logit_softcapping",
                                    "attention.clamp_kqv",
                                    "attention.max_alibi_bias",
                                    "attention.sliding_window_pattern",
                                    "attention.temperature_scale"};

struct GgufFamily {
  std::string_view model_type;
  Status (*read)(const GgufFields&, ModelSpec&) = nullptr;
  // Of kOwnKeys, those that mean something.
  std::vector<std::string_view> keys;
  bool layer_ints = false;  // readsLayerInts()
};

const std::vector<GgufFamily>& families() {
  static const std::vector<GgufFamily> table = {
      {"ministral3", readMinistral3, {"attention.temperature_scale"}},
      {"mixtral", readMixtral, {"expert_count"}},
      {"qwen2_moe", readQwen2Moe, {"expert_count"}},
      {"qwen3_moe", readQwen3Moe, {"expert_count"}},
      {"glm4_moe", readGlm4Moe, {"expert_count", "nextn_predict_layers"}},
      {"deepseek_v2",
       readDeepseekV2,
       {"expert_count", "nextn_predict_layers", "attention.kv_lora_rank"}},
      {"deepseek_v3",
       readDeepseekV3,
       {"expert_count", "nextn_predict_layers", "attention.kv_lora_rank"}},
      {"qwen3_next", readQwen3Next, {"expert_count", "nextn_predict_layers"}},
      {"qwen3_5_text", readQwen35, {"nextn_predict_layers"}},
      {"qwen3_5_moe_text", readQwen35Moe, {"expert_count", "nextn_predict_layers"}},
      {"gpt_oss", readGptOss, {"expert_count"}},
      {"granite",
       readGranite,
       {"embedding_scale", "residual_scale", "attention.scale", "logit_scale"}},
      {"lfm2", readLfm2, {}, /*layer_ints=*/true},
      {"lfm2_moe", readLfm2Moe, {"expert_count"}, /*layer_ints=*/true},
      {"mamba2", readMamba2, {}, /*layer_ints=*/true},
      {"granitemoehybrid",
       readGraniteHybrid,
       {"expert_count", "embedding_scale", "residual_scale", "attention.scale", "logit_scale"},
       /*layer_ints=*/true},
      {"nemotron_h", readNemotronH, {"expert_count"}, /*layer_ints=*/true},
      {"minicpm", readMiniCpm, {"embedding_scale", "residual_scale", "logit_scale"}},
      {"gemma", readGemma},
      {"gemma2", readGemma2, {"attn_logit_softcapping", "final_logit_softcapping"}},
      {"gemma3_text", readGemma3, {"final_logit_softcapping"}},
      {"gemma4_text",
       readGemma4,
       {"expert_count", "final_logit_softcapping", "attention.sliding_window_pattern"},
       /*layer_ints=*/true},
      {"smollm3", readSmolLm3},
      {"cohere", readCohere, {"logit_scale"}},
      {"gpt_neox", readNeox},
      {"stablelm", readStableLm},
      {"falcon", readFalcon},
  };
  return table;
}

const GgufFamily* familyOf(const Architecture& architecture) {
  for (const GgufFamily& family : families())
    if (family.model_type == architecture.model_type) return &family;
  return nullptr;
}

/// 0 and an empty text are how some files say that there is none.
Result<bool> saysSomething(const GgufFields& fields, const char* key) {
  if (!fields.has(key)) return false;
  if (std::string_view(key) == "attention.sliding_window_pattern") return true;  // often an array
  LLMRT_ASSIGN_OR_RETURN(auto value, fields.getFloat(key));
  return *value != 0 || std::string_view(key).ends_with("scale");
}

}  // namespace

Result<const Architecture*> architectureOfGguf(const GgufFields& fields) {
  if (fields.architecture() == "llama") {
    LLMRT_ASSIGN_OR_RETURN(auto experts, fields.getInt("expert_count"));
    if (experts.value_or(0) > 0) return findArchitecture("mixtral");
  }
  if (fields.architecture() == "deepseek2") {
    LLMRT_ASSIGN_OR_RETURN(auto gating, fields.getInt("expert_gating_func"));
    return findArchitecture(gating == kSigmoidGating ? "deepseek_v3" : "deepseek_v2");
  }
  if (fields.architecture() == "nemotron_h_moe") return findArchitecture("nemotron_h");
  return findGgufArchitecture(fields.architecture());
}

bool hasLatentsInGguf(const Architecture& architecture) {
  const GgufFamily* family = familyOf(architecture);
  return family && std::ranges::find(family->keys, "attention.kv_lora_rank") != family->keys.end();
}

bool readsLayerInts(const Architecture& architecture) {
  const GgufFamily* family = familyOf(architecture);
  return family && family->layer_ints;
}

Form formOfGguf(const Architecture& architecture, const GgufFields& fields) {
  Form form = architecture.form;
  form.norm_plus = 0;  // convert_hf_to_gguf.py adds it
  form.transposed = false;
  form.experts = ExpertLayout::kEach;
  form.delta_by_group = form.delta_gates_by_group = false;
  TensorNames names;
  names.attention_out_norm = form.names.attention_out_norm;
  names.mlp_out_norm = form.names.mlp_out_norm;
  if (form.post_norm) names.mlp_norm = form.names.mlp_norm;
  if (form.names.mlp_norm == form.names.input_norm) names.mlp_norm = names.input_norm;
  names.latent_down = "mlp.latent_down";
  names.latent_up = "mlp.latent_up";
  if (!form.names.shared_gate_up.empty()) form.fused_gate_up = false;
  names.router_norm = form.names.router_norm;
  names.expert_scale = form.names.expert_scale;
  names.dense_out_norm = form.names.dense_out_norm;
  names.expert_norm = form.names.expert_norm;
  names.expert_out_norm = form.names.expert_out_norm;
  if (!form.names.positions.empty()) names.positions = "model.embed_positions";
  if (!form.names.mtp_layer.empty()) {
    names.mtp_layer = names.layer;
    names.mtp_embedding_norm = "model.layers.{layer}.enorm";
    names.mtp_hidden_norm = "model.layers.{layer}.hnorm";
    names.mtp_proj = "model.layers.{layer}.eh_proj";
    names.mtp_norm = "model.layers.{layer}.shared_head.norm";
    names.mtp_embed = "model.layers.{layer}.embed_tokens";
    names.mtp_lm_head = "model.layers.{layer}.shared_head.head";
  }
  form.names = names;
  // Of gated attention q and k are apart; in layers of linear attention the name is another's.
  const bool merged = form.output_gate ? false
                      : fields.hasTensors()
                          ? fields.hasTensor("blk.0.attn_qkv.weight")
                          : form.qkv == QkvLayout::kConcat || form.qkv == QkvLayout::kByHead;
  form.qkv = merged ? QkvLayout::kConcat : QkvLayout::kSeparate;
  return form;
}

Status refuseForeignGgufFields(const Architecture& architecture, const GgufFields& fields) {
  const GgufFamily* family = familyOf(architecture);
  for (const char* key : kOwnKeys) {
    if (family && std::ranges::find(family->keys, key) != family->keys.end()) continue;
    LLMRT_ASSIGN_OR_RETURN(const bool says, saysSomething(fields, key));
    if (says) return fields.refuse(key);
  }
  return {};
}

Status readGgufFamily(const Architecture& architecture, const GgufFields& fields, ModelSpec& spec) {
  const GgufFamily* family = familyOf(architecture);
  return family && family->read ? family->read(fields, spec) : Status();
}

}  // namespace llmc
