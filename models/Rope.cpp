#include "models/Rope.h"

#include <cmath>
#include <numbers>

namespace llmc {
namespace {

// _compute_llama3_parameters: long waves are stretched by factor, short ones left, those between
// interpolated.
float scaleLlama3(float inv_freq, const Rope& rope) {
  const auto factor = static_cast<float>(rope.factor);
  const auto low = static_cast<float>(rope.low_freq_factor);
  const auto old_context = static_cast<float>(rope.original_max_position_embeddings);
  const auto low_freq_wavelen =
      static_cast<float>(rope.original_max_position_embeddings / rope.low_freq_factor);
  const auto high_freq_wavelen =
      static_cast<float>(rope.original_max_position_embeddings / rope.high_freq_factor);
  const float wavelen = static_cast<float>(2 * std::numbers::pi) / inv_freq;
  if (wavelen < high_freq_wavelen) return inv_freq;
  if (wavelen > low_freq_wavelen) return inv_freq / factor;
  const float smooth = (old_context / wavelen - low) /
                       static_cast<float>(rope.high_freq_factor - rope.low_freq_factor);
  return (1 - smooth) * inv_freq / factor + smooth * inv_freq;
}

}  // namespace

void computeInvFreq(Rope& rope, int64_t head_dim) {
  rope.inv_freq.resize(static_cast<size_t>(head_dim / 2));
  for (int64_t i = 0; i < head_dim / 2; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim);
    // pow in double, rounded once: the correctly rounded f32 whatever the library's powf does.
    const auto power =
        static_cast<float>(std::pow(static_cast<double>(static_cast<float>(rope.theta)), exponent));
    float inv_freq = 1.0f / power;
    if (rope.scaling == RopeScaling::kLinear) inv_freq /= static_cast<float>(rope.factor);
    if (rope.scaling == RopeScaling::kLlama3) inv_freq = scaleLlama3(inv_freq, rope);
    rope.inv_freq[static_cast<size_t>(i)] = inv_freq;
  }
}

}  // namespace llmc
