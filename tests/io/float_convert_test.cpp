#include "runtime/io/float_convert.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace llmrt {
namespace {

TEST(FloatConvert, EveryF16SurvivesTheWayThroughF32) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = f16ToF32(static_cast<uint16_t>(bits));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(f16ToF32(f32ToF16(value))));
      continue;
    }
    ASSERT_EQ(f32ToF16(value), bits) << value;
  }
}

TEST(FloatConvert, EveryBf16SurvivesTheWayThroughF32) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = bf16ToF32(static_cast<uint16_t>(bits));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(bf16ToF32(f32ToBf16(value))));
      continue;
    }
    ASSERT_EQ(f32ToBf16(value), bits) << value;
  }
}

TEST(FloatConvert, RoundsToTheNearestF16AndTiesToEven) {
  // Midpoints between neighbours, which f32 holds exactly, and the next f32 on each side.
  for (uint32_t bits = 0; bits < 0x7bff; ++bits) {
    const float low = f16ToF32(static_cast<uint16_t>(bits)),
                high = f16ToF32(static_cast<uint16_t>(bits + 1));
    const float middle = low + (high - low) / 2;
    ASSERT_EQ(f32ToF16(middle), bits % 2 == 0 ? bits : bits + 1) << middle;
    ASSERT_EQ(f32ToF16(std::nextafter(middle, 0.0f)), bits) << middle;
    ASSERT_EQ(f32ToF16(std::nextafter(middle, 1e30f)), bits + 1) << middle;
    ASSERT_EQ(f32ToF16(-middle), 0x8000u | (bits % 2 == 0 ? bits : bits + 1)) << -middle;
  }
}

TEST(FloatConvert, RoundsToTheNearestBf16AndTiesToEven) {
  for (uint32_t bits = 1; bits < 0x7f7f; ++bits) {
    const float middle = std::bit_cast<float>(bits << 16 | 0x8000);
    ASSERT_EQ(f32ToBf16(middle), bits % 2 == 0 ? bits : bits + 1) << middle;
    ASSERT_EQ(f32ToBf16(std::nextafter(middle, 0.0f)), bits) << middle;
    ASSERT_EQ(f32ToBf16(std::nextafter(middle, std::numeric_limits<float>::infinity())), bits + 1)
        << middle;
  }
}

TEST(FloatConvert, LargeValuesBecomeInfinityAndNanStaysNan) {
  EXPECT_EQ(f32ToF16(65519.0f), 0x7bff);
  EXPECT_EQ(f32ToF16(65520.0f), 0x7c00);
  EXPECT_EQ(f32ToF16(-1e9f), 0xfc00);
  EXPECT_EQ(f32ToBf16(std::numeric_limits<float>::max()), 0x7f80);
  // A NaN whose payload is in the bits that rounding drops.
  const float nan = std::bit_cast<float>(0x7f800001u);
  EXPECT_TRUE(std::isnan(f16ToF32(f32ToF16(nan))));
  EXPECT_TRUE(std::isnan(bf16ToF32(f32ToBf16(nan))));
}

TEST(FloatConvert, LoadsAndStoresUnaligned) {
  uint8_t bytes[13] = {};
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    storeFromF32(dtype, bytes + 1, 2, -1.5f);
    EXPECT_EQ(loadAsF32(dtype, bytes + 1, 2), -1.5f) << dtypeName(dtype);
  }
}

}  // namespace
}  // namespace llmrt
