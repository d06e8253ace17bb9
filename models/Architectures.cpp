#include "models/Architectures.h"

namespace llmc {
namespace {

// Defaults: transformers v5, configuration_llama.py and configuration_mistral.py.
constexpr Architecture kArchitectures[] = {
    {.model_type = "llama",
     .gguf_architecture = "llama",
     .default_num_kv_heads = 0,
     .default_max_position_embeddings = 2048,
     .default_rms_norm_eps = 1e-6,
     .default_sliding_window = 0,
     .has_sliding_window = false,
     .has_biases = true},
    // GGUF files of Mistral models say "llama" too; "mistral" is accepted for those that do not.
    {.model_type = "mistral",
     .gguf_architecture = "mistral",
     .default_num_kv_heads = 8,
     .default_max_position_embeddings = 131072,
     .default_rms_norm_eps = 1e-6,
     .default_sliding_window = 4096,
     .has_sliding_window = true,
     .has_biases = false},
};

}  // namespace

std::span<const Architecture> architectures() { return kArchitectures; }

const Architecture* findArchitecture(std::string_view model_type) {
  for (const Architecture& entry : kArchitectures) {
    if (entry.model_type == model_type) return &entry;
  }
  return nullptr;
}

const Architecture* findGgufArchitecture(std::string_view gguf_architecture) {
  for (const Architecture& entry : kArchitectures) {
    if (entry.gguf_architecture == gguf_architecture) return &entry;
  }
  return nullptr;
}

std::string knownArchitectures() {
  std::string out;
  for (const Architecture& entry : kArchitectures) {
    if (!out.empty()) out += ", ";
    out += entry.model_type;
  }
  return out;
}

}  // namespace llmc
