#include "models/Rope.h"

#include <algorithm>
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

/// theta^(2 i / dim): pow in double, rounded once, so that it is the correctly rounded f32 whatever
/// the library's powf does.
float wave(double theta, int64_t i, int64_t dim) {
  const float exponent = static_cast<float>(2 * i) / static_cast<float>(dim);
  return static_cast<float>(std::pow(static_cast<double>(static_cast<float>(theta)), exponent));
}

// _compute_yarn_parameters: frequencies that turn often in the old context are left, those that
// turn seldom are divided by factor, on a ramp between.
void computeYarn(Rope& rope) {
  const int64_t dim = rope.dim;
  const auto correction = [&](double rotations) {
    return static_cast<double>(dim) *
           std::log(static_cast<double>(rope.original_max_position_embeddings) /
                    (rotations * 2 * std::numbers::pi)) /
           (2 * std::log(rope.theta));
  };
  double low = correction(rope.beta_fast), high = correction(rope.beta_slow);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, static_cast<double>(dim - 1));
  if (low == high) high += 0.001;
  for (int64_t i = 0; i < dim / 2; ++i) {
    const float power = wave(rope.theta, i, dim);
    const float ramp = std::clamp(
        (static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low), 0.0f,
        1.0f);
    const float keep = 1.0f - ramp;
    const float interpolated = 1.0f / (static_cast<float>(rope.factor) * power);
    rope.inv_freq[static_cast<size_t>(i)] = interpolated * (1.0f - keep) + (1.0f / power) * keep;
  }
}

}  // namespace

void computeInvFreq(Rope& rope, int64_t head_dim) {
  if (rope.dim == 0) rope.dim = head_dim;
  const int64_t dim = rope.dim;
  rope.inv_freq.resize(static_cast<size_t>(dim / 2));
  if (rope.scaling == RopeScaling::kYarn) return computeYarn(rope);
  if (rope.scaling == RopeScaling::kLongrope) rope.long_inv_freq.resize(rope.inv_freq.size());
  const auto turned = static_cast<int64_t>(rope.proportion * static_cast<double>(dim) / 2);
  for (int64_t i = 0; i < dim / 2; ++i) {
    const auto at = static_cast<size_t>(i);
    const float power = wave(rope.theta, i, dim);
    if (rope.scaling == RopeScaling::kLongrope) {
      rope.inv_freq[at] = 1.0f / (static_cast<float>(rope.short_factor[at]) * power);
      rope.long_inv_freq[at] = 1.0f / (static_cast<float>(rope.long_factor[at]) * power);
      continue;
    }
    float inv_freq = 1.0f / power;
    if (rope.scaling == RopeScaling::kProportional)
      inv_freq = i < turned ? inv_freq / static_cast<float>(rope.factor) : 0.0f;
    if (rope.scaling == RopeScaling::kLinear) inv_freq /= static_cast<float>(rope.factor);
    if (rope.scaling == RopeScaling::kLlama3) inv_freq = scaleLlama3(inv_freq, rope);
    rope.inv_freq[at] = inv_freq;
  }
}

std::vector<double> dynamicInvFreq(const Rope& rope, int64_t length) {
  // _compute_dynamic_ntk_parameters
  const auto dim = static_cast<double>(rope.dim);
  const double stretch = rope.factor * static_cast<double>(length) /
                             static_cast<double>(rope.original_max_position_embeddings) -
                         (rope.factor - 1);
  const double theta = rope.theta * std::pow(stretch, dim / (dim - 2));
  std::vector<double> out(rope.inv_freq.size());
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = 1.0f / wave(theta, static_cast<int64_t>(i), rope.dim);
  return out;
}

double yarnScale(double factor, double mscale) {
  return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

}  // namespace llmc
