// The architectures llmc knows, one table entry each.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "models/ModelSpec.h"

namespace llmc {

/// How an architecture's config.json calls what every config has.
struct ConfigNames {
  const char* hidden_size = "hidden_size";
  const char* intermediate_size = "intermediate_size";
  const char* num_layers = "num_hidden_layers";
  const char* num_heads = "num_attention_heads";
  const char* num_kv_heads = "num_key_value_heads";
  const char* max_positions = "max_position_embeddings";
  const char* eps = "rms_norm_eps";
  const char* activation = "hidden_act";
  // Older names, which go before the others; null: none.
  const char* older_intermediate_size = nullptr;
  const char* older_tied = nullptr;
  const char* older_head_dim = nullptr;
  // What says so many layers as it has entries, where there is no num_layers; null: nothing.
  const char* layers = nullptr;
  const char* older_layers = nullptr;
};

/// What distinguishes one architecture from another. What a config must say beyond this table is
/// read in frontend/HfFamilies.cpp.
struct Architecture {
  std::string_view model_type;         // config.json's model_type
  std::string_view class_name;         // config.json's architectures[0]: decides before model_type
  std::string_view gguf_architecture;  // general.architecture; empty: its GGUF files are not read

  // What HF's configuration class assumes for a field that config.json lacks. 0: see the field.
  int64_t default_num_heads = 0;          // 0: it must be there
  int64_t default_vocab_size = 0;         // 0: it must be there
  int64_t default_num_kv_heads = 0;       // 0: num_attention_heads
  int64_t default_intermediate_size = 0;  // 0: it must be there; -1: 4 * hidden_size
  int64_t default_head_dim = 0;           // 0: hidden_size / num_attention_heads
  int64_t default_max_position_embeddings = 2048;
  double default_rms_norm_eps = 1e-6;
  double default_rope_theta = 10000.0;
  double default_partial_rotary_factor = 1.0;
  int64_t default_sliding_window = 0;  // 0: none
  const char* default_activation = "silu";
  bool default_tied = false;
  int64_t default_bos = -1, default_eos = -1;  // -1: none
  double default_local_rope_theta = 0;  // of layers with a window; 0: they have that of the others
  const char* default_rope_parameters = nullptr;  // JSON, where a config says nothing

  bool has_sliding_window = false;  // false: the field is ignored, as HF does
  bool has_biases = false;          // attention_bias and mlp_bias mean something
  bool has_partial_rotary = false;  // partial_rotary_factor does
  bool qkv_bias = false;            // always there
  bool o_bias = false;
  bool mlp_bias = false;

  ConfigNames fields = {};
  Form form = {};
};

/// A model of text and more, whose config.json has the text model's in "text_config".
struct Wrapper {
  std::string_view model_type;       // of the whole
  std::string_view text_model_type;  // where text_config does not say one
};

std::span<const Architecture> architectures();

/// Null when there is none.
const Architecture* findArchitecture(std::string_view model_type);
const Architecture* findArchitectureOfClass(std::string_view class_name);
/// The first of those that share the name.
const Architecture* findGgufArchitecture(std::string_view gguf_architecture);

/// What all experts of gpt-oss are, until a config's swiglu_limit says otherwise.
void setGptOssExperts(Experts& experts);

/// Null when there is none.
const Wrapper* findWrapper(std::string_view model_type);

/// "llama, mistral, ...": for error messages.
std::string knownArchitectures();
std::string knownGgufArchitectures();
std::string knownWrappers();

}  // namespace llmc
