// The limits of what a ModelSpec may say, whatever file it was read from.
#pragma once

#include <string>
#include <type_traits>
#include <vector>

#include "models/ModelSpec.h"
#include "runtime/io/status.h"

namespace llmc {

constexpr int64_t kMaxHiddenSize = 1 << 20, kMaxLayers = 10000, kMaxHeads = 1 << 14;
constexpr int64_t kMaxConvSize = 32;  // tokens that a short convolution reads
constexpr int64_t kMaxExperts = 1024, kMaxExpertSize = 1 << 20, kMaxSharedSize = 4 * kMaxExpertSize;

/// Most runs of equal layers, one after the other (windowed or not, routed or dense, with or
/// without RoPE): each becomes phases and buffers of its own, up to 32 where nothing is fused, and
/// a plan holds 4096 (runtime/executor/plan_verify.cpp). Of the models known, Gemma 2 27B has the
/// most, 46.
constexpr int64_t kMaxLayerRuns = 128;

/// layers[i] = f(i); nothing where num_layers is out of range, which checkSpec() will say.
template <typename F>
auto perLayer(const ModelSpec& spec, F&& f) {
  std::vector<std::invoke_result_t<F, int64_t>> layers;
  if (spec.num_layers < 1 || spec.num_layers > kMaxLayers) return layers;
  for (int64_t i = 0; i < spec.num_layers; ++i) layers.push_back(f(i));
  return layers;
}

/// As JSON, and Python's NaN, Infinity and -Infinity.
std::string numberText(double value);

/// Ok where `value` lies in the range, or an error that names `field`, with its value and the
/// range.
llmrt::Status checkRange(const std::string& field, int64_t value, int64_t least, int64_t most);
/// Above 0: what divides is not so small, nor a factor so large, that an f32 overflows.
llmrt::Status checkPositive(const std::string& field, double value);
/// Of either sign, and not so large that an f32 overflows.
llmrt::Status checkFinite(const std::string& field, double value);

/// Ok, or an error that names the field by its name in config.json, with its value. Checks sizes
/// and numbers against ranges that keep every product of sizes within 62 bits and a list of all
/// tensors within memory, then numParameters() against what a plan's weights may take.
llmrt::Status checkSpec(const ModelSpec& spec);

}  // namespace llmc
