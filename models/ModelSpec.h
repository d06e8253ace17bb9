// What a model is, as plain data: everything the importer needs to know of an architecture and a
// config.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/io/weight_layout.h"

namespace llmc {

/// Of the MLP's gate. kGeluTanh is HF's gelu_pytorch_tanh (also spelled gelu_new).
enum class Activation { kSilu, kGelu, kGeluTanh };
const char* activationName(Activation activation);  // "silu", "gelu", "gelu_tanh"

enum class RopeScaling { kNone, kLinear, kLlama3 };
const char* ropeScalingName(RopeScaling scaling);  // "none", "linear", "llama3"

/// Rotary position embedding over the whole head, HF's order: pairs (i, i + head_dim / 2).
struct Rope {
  double theta = 10000.0;
  RopeScaling scaling = RopeScaling::kNone;
  // Of kLinear and kLlama3:
  double factor = 1.0;
  // Of kLlama3:
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  int64_t original_max_position_embeddings = 0;

  std::vector<double>
      inv_freq;  // [head_dim / 2], scaling applied; values of an f32 (see models/Rope.h)
};

/// Defaults for sampling, from generation_config.json. What is absent there has HF's default.
struct GenerationDefaults {
  bool do_sample = false;
  double temperature = 1.0;
  int64_t top_k = 0;  // 0: off
  double top_p = 1.0;
  double repetition_penalty = 1.0;
};

/// A decoder-only transformer: embed, num_layers x (norm, attention, norm, gated MLP), norm,
/// lm_head. A ModelSpec that a parse function returned is consistent: sizes are positive, num_heads
/// is a multiple of num_kv_heads, head_dim is even.
struct ModelSpec {
  std::string architecture;  // HF model_type
  std::string name;          // for people: the stem of the config's file or directory
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
  int64_t vocab_size = 0;
  int64_t max_position_embeddings = 0;
  double rms_norm_eps = 1e-6;
  Activation activation = Activation::kSilu;
  Rope rope;
  int64_t sliding_window = 0;  // a token attends to this many, itself included; 0: to all
  bool qkv_bias = false;       // q_proj, k_proj, v_proj
  bool o_bias = false;         // o_proj
  bool mlp_bias = false;       // gate_proj, up_proj, down_proj
  bool tie_word_embeddings = false;
  std::optional<llmrt::DType> dtype;  // what the config says the weights are in
  std::optional<int64_t> bos_token_id;
  std::vector<int64_t> eos_token_ids;
  GenerationDefaults generation;

  int64_t qSize() const { return num_heads * head_dim; }
  int64_t kvSize() const { return num_kv_heads * head_dim; }
};

/// A tensor that a checkpoint of this model must hold.
struct TensorNeed {
  std::string name;            // HF name
  std::vector<int64_t> shape;  // outermost first
};

/// In the order of execution. With tied embeddings there is no lm_head.weight.
std::vector<TensorNeed> requiredTensors(const ModelSpec& spec);

/// Elements of all requiredTensors().
int64_t numParameters(const ModelSpec& spec);

}  // namespace llmc
