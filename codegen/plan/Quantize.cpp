#include "codegen/plan/Quantize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

namespace llmc {
namespace {

using llmrt::QuantRange;
using llmrt::ScaleAndMin;
using llmrt::WeightFormat;

// Quants that a scale is tried for to give the largest value: this many tenths more and fewer than
// there are. More gained nothing on normal and on heavy-tailed values.
constexpr int kTenths = 12;

struct SubBlock {
  std::span<const float> values;
  std::span<const float> importance;
};

/// The quant nearest to `wanted`.
float nearest(const WeightFormat& format, QuantRange range, float wanted) {
  if (!format.quant.codebook) {
    // Adding 1.5 * 2^23 leaves no bits behind the point: rounding without a call.
    constexpr float kRound = 0x1.8p23f;
    const float q =
        std::clamp(wanted, static_cast<float>(range.least), static_cast<float>(range.most));
    return (q + kRound) - kRound;
  }
  const std::span<const int8_t> book(format.quant.codebook, size_t{1} << format.quantBits());
  return *std::ranges::min_element(
      book, {}, [&](int8_t v) { return std::abs(static_cast<float>(v) - wanted); });
}

/// The scale of a sub-block without a minimum. The sum of w * (x - s * q)^2 is least at
/// s = sum(w x q) / sum(w q^2), where it is less than sum(w x^2) by sum(w x q)^2 / sum(w q^2).
float bestScale(const WeightFormat& format, const SubBlock& b) {
  const QuantRange range = format.quantRange();
  float largest = 0;
  for (const float x : b.values) largest = std::max(largest, std::abs(x));
  if (largest == 0) return 0;
  // Both signs, where the quants reach farther on one side.
  const float ends[] = {static_cast<float>(range.most), static_cast<float>(range.least)};
  float best = largest / ends[0], most_gained = 0;
  for (const float end : std::span(ends).first(-range.least == range.most ? 1 : 2)) {
    const float unit = std::abs(end) * 0.1f / 8;
    for (int tenth = -kTenths; tenth <= kTenths; ++tenth) {
      // A negative end with a positive largest value, or the reverse, is a negative scale.
      const float scale = largest / (end + std::copysign(unit, end) * static_cast<float>(tenth));
      if (scale == 0) continue;  // less than the least float
      for (const float sign : {1.0f, -1.0f}) {
        float xq = 0, qq = 0;
        for (size_t i = 0; i < b.values.size(); ++i) {
          const float q = nearest(format, range, b.values[i] / (scale * sign));
          xq += b.importance[i] * b.values[i] * q;
          qq += b.importance[i] * q * q;
        }
        if (qq == 0 || xq * xq <= most_gained * qq) continue;
        most_gained = xq * xq / qq;
        best = xq / qq;
        if (range.least == -range.most) break;
      }
    }
  }
  return best;
}

/// The same of formats whose scales are powers of two.
float bestPower(const WeightFormat& format, const SubBlock& b) {
  const QuantRange range = format.quantRange();
  float largest = 0;
  for (const float x : b.values) largest = std::max(largest, std::abs(x));
  if (largest == 0) return 0;
  // The least that reaches the largest value, and those that cut it off.
  constexpr int kPowers = 3;
  float scale = std::exp2(std::ceil(std::log2(largest / static_cast<float>(range.most))));
  float best = scale;
  double least_error = INFINITY;
  for (int i = 0; i < kPowers && scale > 0; ++i, scale /= 2) {
    double error = 0;
    for (size_t k = 0; k < b.values.size(); ++k) {
      const double d = double{scale} * nearest(format, range, b.values[k] / scale) - b.values[k];
      error += b.importance[k] * d * d;
    }
    if (error >= least_error) continue;
    least_error = error;
    best = scale;
  }
  return best;
}

/// The scale and the minimum of a sub-block, by weighted least squares for the quants of several
/// ranges.
ScaleAndMin bestScaleAndMin(const WeightFormat& format, const SubBlock& b, bool min_is_negative) {
  const QuantRange range = format.quantRange();
  auto [low, high] = std::ranges::minmax(b.values);
  if (min_is_negative) low = std::min(low, 0.0f);
  if (high <= low) return {0, std::min(low, min_is_negative ? 0.0f : low)};
  ScaleAndMin best{(high - low) / static_cast<float>(range.most), low};
  double least_error = INFINITY;
  for (int tenth = -kTenths; tenth <= kTenths; ++tenth) {
    const float scale =
        (high - low) / (static_cast<float>(range.most) + 0.1f * static_cast<float>(tenth));
    if (!(scale > 0)) continue;
    double w = 0, wx = 0, wq = 0, wqq = 0, wxq = 0;
    std::array<float, WeightFormat::kMaxBlock> quants;
    for (size_t i = 0; i < b.values.size(); ++i) {
      const float x = b.values[i], q = nearest(format, range, (x - low) / scale);
      const double importance = b.importance[i];
      quants[i] = q;
      w += importance;
      wx += importance * x;
      wq += importance * q;
      wqq += importance * q * q;
      wxq += importance * x * q;
    }
    const double determinant = w * wqq - wq * wq;
    if (!(determinant > 0)) continue;
    ScaleAndMin fit{static_cast<float>((w * wxq - wx * wq) / determinant),
                    static_cast<float>((wqq * wx - wq * wxq) / determinant)};
    if (min_is_negative && fit.min > 0) fit = {static_cast<float>(wxq / wqq), 0};
    if (!(fit.scale > 0)) continue;
    double error = 0;
    for (size_t i = 0; i < b.values.size(); ++i) {
      const double d = double{fit.scale} * quants[i] + fit.min - b.values[i];
      error += b.importance[i] * d * d;
    }
    if (error >= least_error) continue;
    least_error = error;
    best = fit;
  }
  return best;
}

}  // namespace

void quantizeBlock(const WeightFormat& format, const float* values, uint8_t* const* planes) {
  const auto sub = static_cast<size_t>(format.subBlock());
  const size_t subs = static_cast<size_t>(format.block) / sub;
  const bool has_mins = format.plane(llmrt::PlaneRole::kMins) >= 0;
  const bool powers =
      format.planes[format.plane(llmrt::PlaneRole::kScales)].dtype == llmrt::DType::kHalfE8M0;
  std::array<ScaleAndMin, WeightFormat::kMaxBlock> wanted;
  std::array<float, WeightFormat::kMaxBlock> importance;
  for (size_t s = 0; s < subs; ++s) {
    const SubBlock b{std::span(values + s * sub, sub), std::span(importance).first(sub)};
    double squares = 0;
    for (const float x : b.values) squares += double{x} * x;
    const auto magnitude = static_cast<float>(std::sqrt(squares / static_cast<double>(sub)));
    for (size_t i = 0; i < sub; ++i) importance[i] = magnitude + std::abs(b.values[i]);
    wanted[s] = has_mins ? bestScaleAndMin(format, b, subs > 1)
                         : ScaleAndMin{powers ? bestPower(format, b) : bestScale(format, b), 0};
  }
  llmrt::encodeBlock(format, values, std::span(wanted).first(subs), planes);
}

}  // namespace llmc
