#include "runtime/io/weight_format.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "runtime/io/float_convert.h"

namespace llmrt {
namespace {

constexpr bool isSound(const WeightFormat& f) {
  if (f.block > WeightFormat::kMaxBlock || f.num_planes > WeightFormat::kMaxPlanes) return false;
  for (int p = 0; p < f.num_planes; ++p)
    if (f.planes[p].per_block > WeightFormat::kMaxBlock) return false;
  if (f.isPlain()) return f.block == 1 && f.num_planes == 1;
  return f.planes[0].role == PlaneRole::kQuants && f.plane(PlaneRole::kScales) >= 0;
}
static_assert(std::ranges::all_of(kWeightFormats, isSound));

/// A format of quants, and one block's planes of it; null: it has no such plane.
template <typename Byte>
struct QuantBlock {
  QuantBlock(const WeightFormat& format, Byte* const* planes) : format(format), planes(planes) {}

  const WeightFormat& format;
  Byte* const* planes;

  Byte* of(PlaneRole role) const {
    const int p = format.plane(role);
    return p < 0 ? nullptr : planes[p];
  }
  int64_t bitsOf(PlaneRole role) const {
    const int p = format.plane(role);
    return p < 0 ? 0 : format.planes[p].bits;
  }
  int64_t lowBits() const { return format.planes[0].bits ? format.planes[0].bits : 8; }
  int64_t subBlock() const {
    return format.quant.sub_block ? format.quant.sub_block : format.block;
  }
};

/// Where the bits of value `i` of a block lie in a plane of quants of `bits`.
struct BitField {
  int64_t byte, shift;
  BitField(int64_t i, int64_t bits) {
    const int64_t values = 32 / bits, v = i % values;
    byte = i / values * 4 + v % 4;
    shift = v / 4 * bits;
  }
};
unsigned loadBits(const uint8_t* plane, int64_t i, int64_t bits) {
  const BitField at(i, bits);
  return plane[at.byte] >> at.shift & ((1U << bits) - 1);
}
void storeBits(uint8_t* plane, int64_t i, int64_t bits, unsigned value) {
  const BitField at(i, bits);
  const unsigned mask = ((1U << bits) - 1) << at.shift;
  plane[at.byte] = static_cast<uint8_t>((plane[at.byte] & ~mask) | (value << at.shift & mask));
}

int32_t quantOf(const QuantBlock<const uint8_t>& b, int64_t i) {
  const WeightFormat::Quant& quant = b.format.quant;
  const uint8_t* low = b.of(PlaneRole::kQuants);
  if (b.lowBits() == 8) return static_cast<int8_t>(low[i]);
  unsigned bits = loadBits(low, i, b.lowBits());
  if (const uint8_t* high = b.of(PlaneRole::kHighBits))
    bits |= loadBits(high, i, b.bitsOf(PlaneRole::kHighBits)) << b.lowBits();
  return quant.codebook ? quant.codebook[bits] : static_cast<int32_t>(bits) - quant.offset;
}

struct ScaleAndMin {
  float scale = 0, min = 0;
};
ScaleAndMin scaleAndMin(const QuantBlock<const uint8_t>& b, int64_t sub) {
  auto whole = [&](PlaneRole role) {
    const int p = b.format.plane(role);
    return p < 0 ? 0.0f : loadAsF32(b.format.planes[p].dtype, b.planes[p], 0);
  };
  ScaleAndMin out{whole(PlaneRole::kScales), whole(PlaneRole::kMins)};
  if (const uint8_t* pairs = b.of(PlaneRole::kSubPairs)) {
    out.scale *= static_cast<float>(pairs[sub] & 15);
    out.min *= static_cast<float>(pairs[sub] >> 4);
  }
  if (const uint8_t* scales = b.of(PlaneRole::kSubScales))
    out.scale *= static_cast<float>(static_cast<int8_t>(scales[sub]));
  if (const uint8_t* mins = b.of(PlaneRole::kSubMins))
    out.min *= static_cast<float>(static_cast<int8_t>(mins[sub]));
  return out;
}

void decodeQuants(const WeightFormat& format, const uint8_t* const* planes, float* values) {
  const QuantBlock<const uint8_t> b(format, planes);
  const bool has_mins = format.plane(PlaneRole::kMins) >= 0;
  for (int64_t begin = 0; begin < format.block; begin += b.subBlock()) {
    const auto [scale, min] = scaleAndMin(b, begin / b.subBlock());
    for (int64_t i = begin; i < begin + b.subBlock(); ++i) {
      const float product = scale * static_cast<float>(quantOf(b, i));
      values[i] = has_mins ? product + min : product;
    }
  }
}

/// The bits that stand for the value nearest to `value` under (scale, min).
unsigned nearestQuant(const WeightFormat::Quant& quant, int64_t bits, ScaleAndMin s, float value) {
  const float wanted = s.scale != 0 ? (value - s.min) / s.scale : 0.0f;
  if (quant.codebook) {
    const std::span<const int8_t> values(quant.codebook, size_t{1} << bits);
    const auto nearest = std::ranges::min_element(
        values, {}, [&](int8_t v) { return std::abs(static_cast<float>(v) - wanted); });
    return static_cast<unsigned>(nearest - values.begin());
  }
  const int32_t least = bits == 8 ? -127 : -quant.offset;
  const int32_t most = bits == 8 ? 127 : (1 << bits) - 1 - quant.offset;
  const float q =
      std::clamp(std::nearbyint(wanted), static_cast<float>(least), static_cast<float>(most));
  return static_cast<unsigned>(static_cast<int32_t>(q) + (bits == 8 ? 0 : quant.offset));
}

/// Scales are chosen first, rounded to what is stored, and quants follow from those. The largest
/// magnitude of a block becomes its largest quant; with minimums, its range becomes theirs.
void encodeQuants(const WeightFormat& format, const float* values, uint8_t* const* planes) {
  const QuantBlock<uint8_t> b(format, planes);
  const bool has_mins = format.plane(PlaneRole::kMins) >= 0;
  const int64_t bits = b.lowBits() + b.bitsOf(PlaneRole::kHighBits);
  const int64_t sub = b.subBlock(), subs = format.block / sub;
  float most_quant = bits == 8 ? 127.0f : static_cast<float>((1 << bits) - 1 - format.quant.offset);
  if (format.quant.codebook) most_quant = format.quant.codebook[(1 << bits) - 1];

  std::array<ScaleAndMin, WeightFormat::kMaxBlock> wanted;
  ScaleAndMin most;  // of scales, and of minimums' magnitudes
  for (int64_t s = 0; s < subs; ++s) {
    const auto [low, high] =
        std::ranges::minmax(std::span(values + s * sub, static_cast<size_t>(sub)));
    ScaleAndMin& w = wanted[static_cast<size_t>(s)];
    w.min = has_mins ? std::min(low, 0.0f) : 0.0f;
    w.scale = (has_mins ? high - w.min : std::max(std::abs(low), std::abs(high))) / most_quant;
    most.scale = std::max(most.scale, w.scale);
    most.min = std::max(most.min, -w.min);
  }
  uint8_t* const pairs = b.of(PlaneRole::kSubPairs);
  uint8_t* const sub_scales = b.of(PlaneRole::kSubScales);
  uint8_t* const sub_mins = b.of(PlaneRole::kSubMins);
  uint8_t* const high_bits = b.of(PlaneRole::kHighBits);
  const float most_sub = pairs ? 15.0f : sub_scales ? 63.0f : 1.0f;
  auto storeWhole = [&](PlaneRole role, float value) {
    const int p = format.plane(role);
    storeFromF32(format.planes[p].dtype, planes[p], 0, value);
    return loadAsF32(format.planes[p].dtype, planes[p], 0);
  };
  ScaleAndMin whole{storeWhole(PlaneRole::kScales, most.scale / most_sub), 0};
  if (has_mins) whole.min = storeWhole(PlaneRole::kMins, -most.min / most_sub);

  for (int64_t s = 0; s < subs; ++s) {
    auto part = [&](float value, float unit) {
      return unit != 0 ? std::clamp(std::nearbyint(value / unit), 0.0f, most_sub) : 0.0f;
    };
    ScaleAndMin used = whole;
    if (pairs || sub_scales) {
      const ScaleAndMin& w = wanted[static_cast<size_t>(s)];
      const float scale = part(w.scale, whole.scale), min = part(w.min, whole.min);
      const auto scale_bits = static_cast<unsigned>(scale), min_bits = static_cast<unsigned>(min);
      if (pairs) pairs[s] = static_cast<uint8_t>(scale_bits | min_bits << 4);
      if (sub_scales) sub_scales[s] = static_cast<uint8_t>(scale_bits);
      if (sub_mins) sub_mins[s] = static_cast<uint8_t>(min_bits);
      used = {whole.scale * scale, whole.min * min};
    }
    for (int64_t i = s * sub; i < (s + 1) * sub; ++i) {
      const unsigned q = nearestQuant(format.quant, bits, used, values[i]);
      if (bits == 8) {
        planes[0][i] = static_cast<uint8_t>(q);
        continue;
      }
      storeBits(planes[0], i, b.lowBits(), q & ((1U << b.lowBits()) - 1));
      if (high_bits) storeBits(high_bits, i, b.bitsOf(PlaneRole::kHighBits), q >> b.lowBits());
    }
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
    case FormatScheme::kQuant:
      return decodeQuants(format, planes, values);
  }
}

void encodeBlock(const WeightFormat& format, const float* values, uint8_t* const* planes) {
  switch (format.scheme) {
    case FormatScheme::kPlain:
      for (int64_t i = 0; i < format.block; ++i)
        storeFromF32(format.planes[0].dtype, planes[0], i, values[i]);
      return;
    case FormatScheme::kQuant:
      return encodeQuants(format, values, planes);
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
