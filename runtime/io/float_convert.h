// Exact scalar conversions between f32, f16 and bf16: round to nearest even, infinities and NaN
// kept.
#pragma once

#include <bit>
#include <cassert>
#include <cstdint>
#include <cstring>

#include "runtime/io/weight_layout.h"

namespace llmrt {

constexpr float bf16ToF32(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

constexpr uint16_t f32ToBf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  // A NaN must not round up to infinity: keep its top payload bits and make it quiet.
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>((bits >> 16) | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

constexpr float f16ToF32(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1f, mantissa = bits & 0x3ff;
  if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24, exact in f32
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
  }
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000 | mantissa << 13);
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
}

constexpr uint16_t f32ToF16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000);
  const uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000)
    return static_cast<uint16_t>(sign | 0x7e00 | ((magnitude >> 13) & 0x3ff));
  if (magnitude >= 0x47800000) return sign | 0x7c00;  // 2^16 and more
  if (magnitude < 0x38800000) {                       // below 2^-14: subnormal or zero
    // Adding 0.5 leaves the value, rounded to even at 2^-24, in the low bits of the sum's mantissa.
    const float sum = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(sum) - 0x3f000000));
  }
  const uint32_t rounded = magnitude + 0xfff + ((magnitude >> 13) & 1);  // may carry up to infinity
  return static_cast<uint16_t>(sign | ((rounded - (112u << 23)) >> 13));
}

/// Exact: the two least are no normal floats.
constexpr float halfE8m0ToF32(uint8_t bits) {
  return std::bit_cast<float>(bits < 2 ? 0x00200000U << bits : (bits - 1U) << 23);
}

/// The least power of two that is not below `value`: no value of a block is beyond its largest
/// code. What is above the largest becomes that.
constexpr uint8_t f32ToHalfE8m0(float value) {
  if (!(value > 0x1p-128f)) return 0;
  if (value <= 0x1p-127f) return 1;
  // Any bit of the mantissa carries into the exponent.
  const uint32_t exponent = (std::bit_cast<uint32_t>(value) + 0x7fffff) >> 23;
  return static_cast<uint8_t>(exponent < 253 ? exponent + 1 : 254);
}

/// Element `index` of an array of `dtype` at any alignment. i32 is rounded beyond 2^24.
inline float loadAsF32(DType dtype, const uint8_t* data, int64_t index) {
  const auto load = [&]<typename T>(T value) {
    std::memcpy(&value, data + index * static_cast<int64_t>(sizeof value), sizeof value);
    return value;
  };
  switch (dtype) {
    case DType::kF32:
      return load(float());
    case DType::kF16:
      return f16ToF32(load(uint16_t()));
    case DType::kBF16:
      return bf16ToF32(load(uint16_t()));
    case DType::kI32:
      return static_cast<float>(load(int32_t()));
    case DType::kI8:
      return load(int8_t());
    case DType::kU8:
      return load(uint8_t());
    case DType::kHalfE8M0:
      return halfE8m0ToF32(load(uint8_t()));
  }
  __builtin_unreachable();
}

/// Rounds `value` to `dtype`, a float type or scales', and stores it as element `index`.
inline void storeFromF32(DType dtype, uint8_t* data, int64_t index, float value) {
  if (dtype == DType::kF32) {
    std::memcpy(data + index * 4, &value, 4);
    return;
  }
  if (dtype == DType::kHalfE8M0) {
    data[index] = f32ToHalfE8m0(value);
    return;
  }
  assert(dtype == DType::kF16 || dtype == DType::kBF16);
  const uint16_t bits = dtype == DType::kF16 ? f32ToF16(value) : f32ToBf16(value);
  std::memcpy(data + index * 2, &bits, 2);
}

}  // namespace llmrt
