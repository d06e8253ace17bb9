#include "models/ModelSpec.h"

namespace llmc {

const char* activationName(Activation activation) {
  switch (activation) {
    case Activation::kSilu:
      return "silu";
    case Activation::kGelu:
      return "gelu";
    case Activation::kGeluTanh:
      return "gelu_tanh";
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
  }
  return "unknown scaling";
}

std::vector<TensorNeed> requiredTensors(const ModelSpec& spec) {
  std::vector<TensorNeed> needs;
  auto linear = [&](const std::string& prefix, int64_t n, int64_t k, bool bias) {
    needs.push_back({prefix + ".weight", {n, k}});
    if (bias) needs.push_back({prefix + ".bias", {n}});
  };
  needs.push_back({"model.embed_tokens.weight", {spec.vocab_size, spec.hidden_size}});
  for (int64_t i = 0; i < spec.num_layers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i);
    needs.push_back({layer + ".input_layernorm.weight", {spec.hidden_size}});
    linear(layer + ".self_attn.q_proj", spec.qSize(), spec.hidden_size, spec.qkv_bias);
    linear(layer + ".self_attn.k_proj", spec.kvSize(), spec.hidden_size, spec.qkv_bias);
    linear(layer + ".self_attn.v_proj", spec.kvSize(), spec.hidden_size, spec.qkv_bias);
    linear(layer + ".self_attn.o_proj", spec.hidden_size, spec.qSize(), spec.o_bias);
    needs.push_back({layer + ".post_attention_layernorm.weight", {spec.hidden_size}});
    linear(layer + ".mlp.gate_proj", spec.intermediate_size, spec.hidden_size, spec.mlp_bias);
    linear(layer + ".mlp.up_proj", spec.intermediate_size, spec.hidden_size, spec.mlp_bias);
    linear(layer + ".mlp.down_proj", spec.hidden_size, spec.intermediate_size, spec.mlp_bias);
  }
  needs.push_back({"model.norm.weight", {spec.hidden_size}});
  if (!spec.tie_word_embeddings)
    needs.push_back({"lm_head.weight", {spec.vocab_size, spec.hidden_size}});
  return needs;
}

int64_t numParameters(const ModelSpec& spec) {
  int64_t total = 0;
  for (const TensorNeed& need : requiredTensors(spec)) {
    int64_t elements = 1;
    for (int64_t size : need.shape) elements *= size;
    total += elements;
  }
  return total;
}

}  // namespace llmc
