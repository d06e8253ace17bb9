// Who chooses the tokens that follow a step's rows: a sampler, as an executor sees it.
#pragma once

#include <cstdint>
#include <span>

namespace llmrt {

/// All that a choice depends on but the logits, for a device that goes on where a sampler stands.
struct SamplerState {
  float repetition_penalty = 1, temperature = 0;
  uint32_t top_k = 0;               // 0: off
  uint64_t top_p = 0;               // in units of 2^-64; 0: off
  uint64_t min_weight = 0;          // of LLMC_SAMPLE_ONE
  uint64_t seed = 0, position = 0;  // of llmcRandomAt(): of the token that is chosen next
  std::span<const uint8_t> seen;    // [vocab_size], the sampler's own
};

class TokenChooser {
 public:
  virtual ~TokenChooser() = default;
  /// The next token. `logits`: [vocab_size].
  virtual int32_t sample(std::span<const float> logits) = 0;
  /// Whether a device may choose the next token and those behind it.
  virtual bool choosableElsewhere() const = 0;
  /// What it chooses from. Until the next call of another function.
  virtual SamplerState state() const = 0;
  /// As sample() leaves the chooser, after a device chose from state().
  virtual void sampledElsewhere() = 0;
};

}  // namespace llmrt
