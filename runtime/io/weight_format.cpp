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
  for (int64_t begin = 0; begin < format.block; begin += format.subBlock()) {
    const auto [scale, min] = scaleAndMin(b, begin / format.subBlock());
    for (int64_t i = begin; i < begin + format.subBlock(); ++i) {
      const float product = scale * static_cast<float>(quantOf(b, i));
      values[i] = has_mins ? product + min : product;
    }
  }
}

/// The bits that stand for the value nearest to `value` under (scale, min).
unsigned nearestQuant(const WeightFormat& format, int64_t bits, ScaleAndMin s, float value) {
  const WeightFormat::Quant& quant = format.quant;
  const float wanted = s.scale != 0 ? (value - s.min) / s.scale : 0.0f;
  if (quant.codebook) {
    const std::span<const int8_t> values(quant.codebook, size_t{1} << bits);
    const auto nearest = std::ranges::min_element(
        values, {}, [&](int8_t v) { return std::abs(static_cast<float>(v) - wanted); });
    return static_cast<unsigned>(nearest - values.begin());
  }
  const QuantRange range = format.quantRange();
  const float q = std::clamp(std::nearbyint(wanted), static_cast<float>(range.least),
                             static_cast<float>(range.most));
  return static_cast<unsigned>(static_cast<int32_t>(q) + (bits == 8 ? 0 : quant.offset));
}

/// What is wanted of a block's sub-blocks, as it is stored and read again: scales and minimums in
/// units of the block's, where there are sub-blocks.
class StoredScales {
 public:
  StoredScales(const QuantBlock<uint8_t>& b, std::span<const ScaleAndMin> wanted) : b_(b) {
    ScaleAndMin most;
    for (const ScaleAndMin& w : wanted) {
      // A format without sub-blocks keeps the sign of its scale, one of sub-scales in those.
      if (std::abs(w.scale) > std::abs(most.scale)) most.scale = w.scale;
      most.min = std::min(most.min, w.min);
    }
    if (b.of(PlaneRole::kSubScales) || b.of(PlaneRole::kSubPairs))
      most = {std::abs(most.scale) / mostSub(), most.min / mostSub()};
    else if (!wanted.empty())
      most.min = wanted[0].min;
    whole_.scale = storeWhole(PlaneRole::kScales, most.scale);
    if (b.format.plane(PlaneRole::kMins) >= 0) whole_.min = storeWhole(PlaneRole::kMins, most.min);
  }

  /// Stores those of sub-block `s`; what they are from now on.
  ScaleAndMin store(int64_t s, const ScaleAndMin& wanted) const {
    uint8_t* const pairs = b_.of(PlaneRole::kSubPairs);
    uint8_t* const scales = b_.of(PlaneRole::kSubScales);
    if (!pairs && !scales) return whole_;
    const auto part = [&](float value, float unit, float least) {
      return unit != 0 ? std::clamp(std::nearbyint(value / unit), least, mostSub()) : 0.0f;
    };
    const float scale = part(wanted.scale, whole_.scale, pairs ? 0.0f : -mostSub());
    const float min = part(wanted.min, whole_.min, 0.0f);
    if (pairs)
      pairs[s] =
          static_cast<uint8_t>(static_cast<unsigned>(scale) | static_cast<unsigned>(min) << 4);
    if (scales) scales[s] = static_cast<uint8_t>(static_cast<int8_t>(scale));
    if (uint8_t* mins = b_.of(PlaneRole::kSubMins)) mins[s] = static_cast<uint8_t>(min);
    return {whole_.scale * scale, whole_.min * min};
  }

 private:
  /// The most that a sub-block has of the block's unit.
  float mostSub() const { return b_.of(PlaneRole::kSubPairs) ? 15.0f : 127.0f; }
  float storeWhole(PlaneRole role, float value) const {
    const int p = b_.format.plane(role);
    const DType type = b_.format.planes[p].dtype;
    constexpr float kMostF16 = 65504;
    if (type == DType::kF16) value = std::clamp(value, -kMostF16, kMostF16);
    storeFromF32(type, b_.planes[p], 0, value);
    return loadAsF32(type, b_.planes[p], 0);
  }

  const QuantBlock<uint8_t>& b_;
  ScaleAndMin whole_;
};

void encodeQuants(const WeightFormat& format, const float* values,
                  std::span<const ScaleAndMin> wanted, uint8_t* const* planes) {
  const QuantBlock<uint8_t> b(format, planes);
  const int64_t low_bits = b.lowBits(), high_bits = b.bitsOf(PlaneRole::kHighBits);
  const StoredScales scales(b, wanted);
  for (int64_t begin = 0; begin < format.block; begin += format.subBlock()) {
    const int64_t s = begin / format.subBlock();
    const ScaleAndMin used = scales.store(s, wanted[static_cast<size_t>(s)]);
    for (int64_t i = begin; i < begin + format.subBlock(); ++i) {
      const unsigned q = nearestQuant(format, low_bits + high_bits, used, values[i]);
      if (low_bits == 8) {
        planes[0][i] = static_cast<uint8_t>(q);
        continue;
      }
      storeBits(planes[0], i, low_bits, q & ((1U << low_bits) - 1));
      if (high_bits > 0) storeBits(b.of(PlaneRole::kHighBits), i, high_bits, q >> low_bits);
    }
  }
}

/// The largest magnitude of a sub-block becomes its largest quant; with minimums, its range becomes
/// theirs.
void encodeByRange(const WeightFormat& format, const float* values, uint8_t* const* planes) {
  const auto sub = static_cast<size_t>(format.subBlock());
  std::array<ScaleAndMin, WeightFormat::kMaxBlock> wanted;
  const size_t subs = static_cast<size_t>(format.block) / sub;
  const bool has_mins = format.plane(PlaneRole::kMins) >= 0;
  const auto most_quant = static_cast<float>(format.quantRange().most);
  for (size_t s = 0; s < subs; ++s) {
    const auto [low, high] = std::ranges::minmax(std::span(values + s * sub, sub));
    const float min = has_mins ? std::min(low, 0.0f) : 0.0f;
    const float span = has_mins ? high - min : std::max(std::abs(low), std::abs(high));
    wanted[s] = {span / most_quant, min};
  }
  encodeQuants(format, values, std::span(wanted).first(subs), planes);
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
      return encodeByRange(format, values, planes);
  }
}

void encodeBlock(const WeightFormat& format, const float* values,
                 std::span<const ScaleAndMin> wanted, uint8_t* const* planes) {
  encodeQuants(format, values, wanted, planes);
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
