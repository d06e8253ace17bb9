// What an executor that chooses tokens itself must know of a sampler.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace llmrt {

/// All that a choice depends on but the logits, for a device that goes on where a sampler stands.
struct SamplerState {
  float repetition_penalty = 1, temperature = 0;
  uint32_t top_k = 0;       // 0: off
  uint64_t top_p = 0;       // in units of 2^-64; 0: off
  uint64_t min_weight = 0;  // of LLMC_SAMPLE_ONE
  std::array<unsigned long long, 4> random{};
  std::span<const uint8_t> seen;  // [vocab_size], the sampler's own
};

}  // namespace llmrt
