// The architectures llmc knows, one table entry each.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace llmc {

/// What distinguishes one HF model_type from another among decoders of norm, attention, norm and
/// gated MLP.
struct Architecture {
  std::string_view model_type;         // config.json's model_type
  std::string_view gguf_architecture;  // general.architecture, also the prefix of its metadata keys

  // What HF's configuration class assumes for a field that config.json lacks. 0: see the field.
  int64_t default_num_kv_heads;  // 0: num_attention_heads
  int64_t default_max_position_embeddings;
  double default_rms_norm_eps;
  int64_t default_sliding_window;  // 0: none

  bool has_sliding_window;  // false: the field is ignored, as HF does
  bool has_biases;          // attention_bias and mlp_bias mean something
};

std::span<const Architecture> architectures();

/// Null when there is none.
const Architecture* findArchitecture(std::string_view model_type);
const Architecture* findGgufArchitecture(std::string_view gguf_architecture);

/// "llama, mistral": for error messages.
std::string knownArchitectures();

}  // namespace llmc
