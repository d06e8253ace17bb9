#include "models/ModelSpec.h"

#include <algorithm>

#include "runtime/io/float_convert.h"

namespace llmc {

const char* activationName(Activation activation) {
  switch (activation) {
    case Activation::kSilu:
      return "silu";
    case Activation::kGelu:
      return "gelu";
    case Activation::kGeluTanh:
      return "gelu_tanh";
    case Activation::kRelu:
      return "relu";
    case Activation::kRelu2:
      return "relu2";
    case Activation::kQuickGelu:
      return "quick_gelu";
  }
  return "unknown activation";
}

const char* ropeScalingName(RopeScaling scaling) {
  switch (scaling) {
    case RopeScaling::kNone:
      return "none";
    case RopeScaling::kLinear:
      return "linear";
    case RopeScaling::kLlama3:
      return "llama3";
    case RopeScaling::kYarn:
      return "yarn";
    case RopeScaling::kLongrope:
      return "longrope";
    case RopeScaling::kDynamic:
      return "dynamic";
    case RopeScaling::kProportional:
      return "proportional";
  }
  return "unknown scaling";
}

bool ModelSpec::isQuantized() const {
  return std::ranges::any_of(stored_formats,
                             [](const auto& stored) { return !stored.second->isPlain(); });
}

double ModelSpec::trainedScale(double scale) const {
  if (!rounds_embedding_scale) return scale;
  const auto f32 = static_cast<float>(scale);
  switch (dtype ? *dtype : stored_dtype.value_or(defaultDtype())) {
    case llmrt::DType::kBF16:
      return llmrt::bf16ToF32(llmrt::f32ToBf16(f32));
    case llmrt::DType::kF16:
      return llmrt::f16ToF32(llmrt::f32ToF16(f32));
    default:
      return f32;
  }
}

Mixer ModelSpec::mixerOfType(std::string_view layer_type) const {
  if (layer_type == "conv") return short_conv.size > 0 ? Mixer::kConv : Mixer::kNone;
  if (layer_type != "linear_attention" && layer_type != "mamba") return Mixer::kNone;
  if (delta.num_value_heads > 0) return Mixer::kDelta;
  return state_space.num_heads > 0 ? Mixer::kStateSpace : Mixer::kNone;
}

int64_t ModelSpec::ropeHeadDim(bool local) const {
  if (latent.kv_rank > 0) return latent.rope_dim;
  return full_heads && !local ? full_heads->dim : head_dim;
}

LayerForm ModelSpec::layerForm(int64_t layer) const {
  const auto at = [&](const std::vector<bool>& flags, bool otherwise) {
    return flags.empty() ? otherwise : flags[static_cast<size_t>(layer)];
  };
  LayerForm layer_form;
  if (!mixers.empty()) layer_form.mixer = mixers[static_cast<size_t>(layer)];
  if (!at(mlp_layers, true))
    layer_form.mlp = Mlp::kNone;
  else if (experts.num_experts > 0 && at(expert_layers, true))
    layer_form.mlp = experts_beside ? Mlp::kBoth : Mlp::kExperts;
  if (layer_form.mlp == Mlp::kDense || layer_form.mlp == Mlp::kBoth)
    layer_form.intermediate_size = intermediate_size;
  if (layer_form.mixer != Mixer::kAttention) {
    layer_form.rope = -1;
    return layer_form;
  }
  if (at(windowed_layers, true)) layer_form.window = sliding_window;
  if (local_rope && layer_form.window > 0) layer_form.rope = 1;
  if (learned_positions || at(nope_layers, false)) layer_form.rope = -1;
  layer_form.heads = full_heads && layer_form.window == 0
                         ? *full_heads
                         : Heads{.num_kv_heads = num_kv_heads, .dim = head_dim};
  if (layer >= num_layers - num_kv_shared_layers) {
    layer_form.heads.shares_kv = true;
    if (wide_shared_mlps) layer_form.intermediate_size *= 2;
  }
  return layer_form;
}

LayerForm ModelSpec::mtpForm() const {
  int64_t attends = num_layers - 1;
  while (attends > 0 && layerForm(attends).mixer != Mixer::kAttention) --attends;
  LayerForm form = layerForm(attends);
  const LayerForm last = layerForm(num_layers - 1);
  form.mlp = last.mlp;
  form.intermediate_size = last.intermediate_size;
  form.window = 0;
  return form;
}

}  // namespace llmc
