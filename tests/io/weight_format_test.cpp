// The table of formats: where elements lie, what they mean, and what planes take.
#include "runtime/io/weight_format.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <set>
#include <vector>

#include "runtime/io/float_convert.h"

namespace llmrt {
namespace {

const WeightFormat& kBlocks = *findWeightFormat("q8_0");

TEST(WeightFormat, IsFoundByItsNameOrItsTypeAndNothingElseIs) {
  EXPECT_EQ(weightFormatNames(),
            "f32, f16, bf16, q8_0, q4_0, q4_1, q5_0, q5_1, q2_k, q3_k, q4_k, q5_k, q6_k, iq4_nl, "
            "iq4_xs, mxfp4");
  for (const WeightFormat& format : kWeightFormats)
    EXPECT_EQ(findWeightFormat(format.name), &format);
  EXPECT_EQ(findWeightFormat("q9"), nullptr);
  EXPECT_EQ(plainFormat(DType::kBF16)->name, "bf16");
  for (DType dtype : {DType::kI32, DType::kI8, DType::kU8}) EXPECT_EQ(plainFormat(dtype), nullptr);
  // As a plan says it: a name for what is no plain value, and the type of its first plane.
  EXPECT_EQ(findWeightFormat(DType::kF16, "")->name, "f16");
  EXPECT_EQ(findWeightFormat(DType::kI8, "q8_0"), &kBlocks);
  EXPECT_EQ(findWeightFormat(DType::kI8, ""), nullptr);
  EXPECT_EQ(findWeightFormat(DType::kF32, "q8_0"), nullptr);
  EXPECT_EQ(findWeightFormat(DType::kF32, "f32"), nullptr);
}

TEST(WeightFormat, ElementsOfEveryPlaneFillAPanelWithoutHoles) {
  for (const WeightFormat& format : kWeightFormats) {
    for (int64_t cols : {1, 5, 32, 33, 70}) {
      for (int p = 0; p < format.num_planes; ++p) {
        std::set<int64_t> offsets;
        const int64_t padded = format.panelElements(p, cols) / kPanelLanes;
        EXPECT_GE(padded, format.rowElements(p, cols));
        EXPECT_LT(padded, format.rowElements(p, cols) + format.planes[p].group);
        for (int64_t lane = 0; lane < kPanelLanes; ++lane)
          for (int64_t i = 0; i < padded; ++i) offsets.insert(format.panelOffset(p, lane, i));
        EXPECT_EQ(static_cast<int64_t>(offsets.size()), format.panelElements(p, cols));
        EXPECT_EQ(*offsets.rbegin(), format.panelElements(p, cols) - 1) << format.name;
      }
    }
  }
  // int8 as VNNI and AMX want it: four of an output, then of the next.
  EXPECT_EQ(kBlocks.panelOffset(0, 3, 6), 64 + 3 * 4 + 2);
  EXPECT_EQ(kBlocks.panelOffset(1, 3, 2), 2 * 16 + 3);
}

TEST(WeightFormat, AnOutputTakesItsWholeBlocks) {
  EXPECT_EQ(findWeightFormat("f32")->rowBytes(33), 132);
  EXPECT_EQ(findWeightFormat("bf16")->rowBytes(33), 66);
  EXPECT_EQ(kBlocks.rowBytes(64), 64 + 2 * 2);
  EXPECT_EQ(kBlocks.rowBytes(65), 96 + 3 * 2);
}

TEST(WeightFormat, AValueIsItsQuantTimesItsBlocksScale) {
  StoredBlock stored;
  const int8_t quants[] = {0, 1, -1, 127, -127, -128, 64};
  std::fill_n(stored.planes[0], 32, uint8_t{0});
  for (size_t i = 0; i < std::size(quants); ++i)
    stored.planes[0][i] = static_cast<uint8_t>(quants[i]);
  storeFromF32(DType::kF16, stored.planes[1], 0, 0.375f);
  float values[32];
  decodeBlock(kBlocks, stored.planes, values);
  for (size_t i = 0; i < std::size(quants); ++i) EXPECT_EQ(values[i], 0.375f * quants[i]);
  EXPECT_EQ(values[31], 0.0f);
}

TEST(WeightFormat, ScalesOfFp4ArePowersOfTwo) {
  // Half of E8M0's, over all bytes: the least is no normal float.
  for (int b = 0; b < 256; ++b)
    EXPECT_EQ(halfE8m0ToF32(static_cast<uint8_t>(b)), std::ldexp(1.0f, b - 128)) << b;
  for (int b = 1; b < 255; ++b)
    EXPECT_EQ(f32ToHalfE8m0(std::ldexp(1.0f, b - 128)), b) << "what is one stays it";
  EXPECT_EQ(f32ToHalfE8m0(1.0001f), 129);
  EXPECT_EQ(f32ToHalfE8m0(0.0f), 0);
  EXPECT_EQ(f32ToHalfE8m0(-1.0f), 0);
  EXPECT_EQ(f32ToHalfE8m0(3.4e38f), 254) << "the last byte is no number";
  const WeightFormat& mxfp4 = *findWeightFormat("mxfp4");
  EXPECT_EQ(mxfp4.bitsPerWeight(), 4.25);
  EXPECT_EQ(mxfp4.quantRange().least, -12);
  EXPECT_EQ(mxfp4.quantRange().most, 12);
  // What it can hold it holds: +-6 with a scale of 1 (byte 127), half of which is 2^-1.
  const float exact[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.5f, -1, -1.5f, -2, -3, -4, -6, 0};
  std::vector<float> values(std::begin(exact), std::end(exact));
  roundToFormat(mxfp4, values, 16);
  EXPECT_EQ(values, std::vector<float>(std::begin(exact), std::end(exact)));
}

TEST(WeightFormat, PlainValuesAreRoundedOnce) {
  std::mt19937 rng(1);
  for (DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    std::vector<float> values(3 * 7);
    for (float& v : values) v = static_cast<float>(static_cast<int32_t>(rng())) * 0x1p-28f;
    const std::vector<float> before = values;
    roundToFormat(*plainFormat(dtype), values, 7);
    for (size_t i = 0; i < values.size(); ++i) {
      uint8_t bytes[4];
      storeFromF32(dtype, bytes, 0, before[i]);
      EXPECT_EQ(values[i], loadAsF32(dtype, bytes, 0));
    }
  }
}

// Half a step of quants, and what the scale lost when it was rounded to f16, 127 times at most:
// half of its last bit, which is 2^-24 where f16 has no smaller one.
TEST(WeightFormat, WhatIsStoredIsNearWhatWasGivenWhateverItsSize) {
  std::mt19937 rng(2);
  for (float size : {1e-3f, 1.0f, 1000.0f}) {
    for (int64_t cols : {1, 32, 70}) {
      std::vector<float> values(static_cast<size_t>(3 * cols));
      for (float& v : values) v = size * static_cast<float>(static_cast<int32_t>(rng())) * 0x1p-31f;
      const std::vector<float> before = values;
      roundToFormat(kBlocks, values, cols);
      for (int64_t row = 0; row < 3; ++row)
        for (int64_t begin = 0; begin < cols; begin += 32) {
          float most = 0;
          const int64_t end = std::min<int64_t>(begin + 32, cols);
          for (int64_t k = begin; k < end; ++k)
            most = std::max(most, std::abs(before[static_cast<size_t>(row * cols + k)]));
          for (int64_t k = begin; k < end; ++k) {
            const auto at = static_cast<size_t>(row * cols + k);
            const float lost = std::max(most / 127 * 0x1p-11f, 0x1p-25f);
            EXPECT_LE(std::abs(values[at] - before[at]), most / 127 * 0.5f + 128 * lost);
          }
        }
      // Storing again changes nothing, but where the scale has few bits.
      const std::vector<float> once = values;
      roundToFormat(kBlocks, values, cols);
      if (size > 1) {
        EXPECT_EQ(values, once);
      }
    }
  }
  std::vector<float> zeros(40);
  roundToFormat(kBlocks, zeros, 40);
  EXPECT_EQ(zeros, std::vector<float>(40));
}

TEST(WeightFormat, PlanesFollowOneAnotherAt64Bytes) {
  PlaneExtent planes[WeightFormat::kMaxPlanes];
  ASSERT_TRUE(layOutPlanes(kBlocks, true, 3, 70, 2, planes));
  EXPECT_EQ(planes[0].offset_bytes, 0u);
  EXPECT_EQ(planes[0].bytes, 2u * 3 * 16 * 96);
  EXPECT_EQ(planes[1].offset_bytes, 2u * 3 * 16 * 96);
  EXPECT_EQ(planes[1].bytes, 2u * 3 * 16 * 3 * 2);
  ASSERT_TRUE(layOutPlanes(kBlocks, false, 3, 33, 1, planes));
  EXPECT_EQ(planes[0].bytes, 3u * 64);
  EXPECT_EQ(planes[1].offset_bytes, 192u);
  EXPECT_EQ(planes[1].bytes, 3u * 2 * 2);
  ASSERT_TRUE(layOutPlanes(*findWeightFormat("bf16"), true, 2, 33, 1, planes));
  EXPECT_EQ(planes[0].bytes, 2u * 16 * 34 * 2);
  EXPECT_FALSE(layOutPlanes(kBlocks, true, ~0ull, 1 << 30, 1, planes));
  EXPECT_FALSE(layOutPlanes(kBlocks, true, 1 << 20, 1 << 30, 1 << 20, planes));
}

}  // namespace
}  // namespace llmrt
