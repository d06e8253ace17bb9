// A Llama of a few kilobytes in HF form, with random-looking weights, to compile in tests.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/io/checkpoint_files.h"

namespace llmc_tests {

inline nlohmann::json tinyConfig() {
  return {{"model_type", "llama"},
          {"hidden_size", 32},
          {"intermediate_size", 48},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 4},
          {"num_key_value_heads", 2},
          {"vocab_size", 40},
          {"max_position_embeddings", 64},
          {"rms_norm_eps", 1e-5},
          {"torch_dtype", "float32"},
          {"tie_word_embeddings", false}};
}

/// The tensors of tinyConfig(), in f32; `shapes` may be changed before they are written.
inline std::map<std::string, std::vector<int64_t>> tinyShapes() {
  std::map<std::string, std::vector<int64_t>> shapes = {{"model.embed_tokens.weight", {40, 32}},
                                                        {"model.norm.weight", {32}},
                                                        {"lm_head.weight", {40, 32}}};
  for (int layer = 0; layer < 2; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    shapes[prefix + "input_layernorm.weight"] = {32};
    shapes[prefix + "post_attention_layernorm.weight"] = {32};
    shapes[prefix + "self_attn.q_proj.weight"] = {32, 32};
    shapes[prefix + "self_attn.k_proj.weight"] = {16, 32};
    shapes[prefix + "self_attn.v_proj.weight"] = {16, 32};
    shapes[prefix + "self_attn.o_proj.weight"] = {32, 32};
    shapes[prefix + "mlp.gate_proj.weight"] = {48, 32};
    shapes[prefix + "mlp.up_proj.weight"] = {48, 32};
    shapes[prefix + "mlp.down_proj.weight"] = {32, 48};
  }
  return shapes;
}

inline std::string tinySafetensors(const std::map<std::string, std::vector<int64_t>>& shapes) {
  nlohmann::json header;
  std::string data;
  for (const auto& [name, shape] : shapes) {
    int64_t elements = 1;
    for (int64_t d : shape) elements *= d;
    const size_t begin = data.size();
    for (int64_t i = 0; i < elements; ++i)
      data +=
          rawBytes(static_cast<float>((i * 37 + static_cast<int64_t>(begin)) % 101 - 50) / 256.0f);
    header[name] = {{"dtype", "F32"}, {"shape", shape}, {"data_offsets", {begin, data.size()}}};
  }
  return safetensorsFile(header.dump(), data);
}

}  // namespace llmc_tests
