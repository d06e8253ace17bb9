#include "runtime/io/weight_format.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "runtime/io/float_convert.h"

namespace llmrt {
namespace {

static_assert(std::ranges::all_of(kWeightFormats, [](const WeightFormat& f) {
  for (int p = 0; p < f.num_planes; ++p)
    if (f.planes[p].per_block > WeightFormat::kMaxBlock) return false;
  return f.block <= WeightFormat::kMaxBlock && f.num_planes <= WeightFormat::kMaxPlanes &&
         (!f.isPlain() || (f.block == 1 && f.num_planes == 1));
}));

// The largest magnitude becomes 127; the scale is rounded first, so that the quants fit what is
// stored.
void encodeScaled(const WeightFormat& format, const float* values, uint8_t* const* planes) {
  float most = 0;
  for (int64_t i = 0; i < format.block; ++i) most = std::max(most, std::abs(values[i]));
  const DType scale_type = format.planes[1].dtype;
  storeFromF32(scale_type, planes[1], 0, most / 127);
  const float scale = loadAsF32(scale_type, planes[1], 0);
  for (int64_t i = 0; i < format.block; ++i) {
    const float quant = scale > 0 ? std::nearbyint(values[i] / scale) : 0.0f;
    planes[0][i] = static_cast<uint8_t>(static_cast<int8_t>(std::clamp(quant, -127.0f, 127.0f)));
  }
}

}  // namespace

const WeightFormat* findWeightFormat(std::string_view name) {
  for (const WeightFormat& format : kWeightFormats)
    if (format.name == name) return &format;
  return nullptr;
}

const WeightFormat* findWeightFormat(DType dtype, std::string_view name) {
  if (name.empty()) return plainFormat(dtype);
  const WeightFormat* format = findWeightFormat(name);
  return format && !format->isPlain() && format->planes[0].dtype == dtype ? format : nullptr;
}

std::string weightFormatNames() {
  std::string names;
  for (const WeightFormat& format : kWeightFormats)
    names += (names.empty() ? "" : ", ") + std::string(format.name);
  return names;
}

void decodeBlock(const WeightFormat& format, const uint8_t* const* planes, float* values) {
  const DType type = format.planes[0].dtype;
  switch (format.scheme) {
    case FormatScheme::kPlain:
      for (int64_t i = 0; i < format.block; ++i) values[i] = loadAsF32(type, planes[0], i);
      return;
    case FormatScheme::kScaled: {
      const float scale = loadAsF32(format.planes[1].dtype, planes[1], 0);
      for (int64_t i = 0; i < format.block; ++i) values[i] = loadAsF32(type, planes[0], i) * scale;
      return;
    }
  }
}

void encodeBlock(const WeightFormat& format, const float* values, uint8_t* const* planes) {
  switch (format.scheme) {
    case FormatScheme::kPlain:
      for (int64_t i = 0; i < format.block; ++i)
        storeFromF32(format.planes[0].dtype, planes[0], i, values[i]);
      return;
    case FormatScheme::kScaled:
      return encodeScaled(format, values, planes);
  }
}

void roundToFormat(const WeightFormat& format, std::span<float> values, int64_t cols) {
  StoredBlock stored;
  std::array<float, WeightFormat::kMaxBlock> block;
  const auto width = static_cast<size_t>(cols), step = static_cast<size_t>(format.block);
  for (size_t row = 0; row + width <= values.size(); row += width) {
    for (size_t k = 0; k < width; k += step) {
      const std::span<float> part = values.subspan(row + k, std::min(step, width - k));
      block.fill(0);
      std::ranges::copy(part, block.begin());
      encodeBlock(format, block.data(), stored.planes);
      decodeBlock(format, stored.planes, block.data());
      std::copy_n(block.begin(), part.size(), part.begin());
    }
  }
}

bool layOutPlanes(const WeightFormat& format, bool in_panels, uint64_t units, int64_t cols,
                  uint64_t experts, PlaneExtent (&planes)[WeightFormat::kMaxPlanes]) {
  constexpr uint64_t kAlignment = 64, kMost = uint64_t{1} << 50;
  uint64_t end = 0;
  for (int p = 0; p < format.num_planes; ++p) {
    // Columns of 2^31 take 2^37 bytes of a panel of floats.
    if (cols > int64_t{1} << 31) return false;
    const auto unit = static_cast<uint64_t>(format.unitBytes(p, in_panels, cols));
    uint64_t bytes = 0;
    if (__builtin_mul_overflow(unit, units, &bytes) ||
        __builtin_mul_overflow(bytes, experts, &bytes) || bytes > kMost)
      return false;
    planes[p] = {(end + kAlignment - 1) / kAlignment * kAlignment, bytes};
    end = planes[p].offset_bytes + bytes;
  }
  return end <= kMost;
}

}  // namespace llmrt
