// The hand-written loops that llmbench holds products of quantised weights against: each multiplies
// what its format means, so that it leaves nothing out.
#include "runtime/measure/quants_loop.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "runtime/executor/cpu_features.h"
#include "runtime/io/float_convert.h"
#include "runtime/measure/quants_peak.h"

namespace llmrt {
namespace {

/// Scales are powers of two and sub-scales small: no float of a loop is rounded.
void fillBlock(const WeightFormat& format, std::mt19937& random, StoredBlock& block) {
  for (int p = 0; p < format.num_planes; ++p) {
    const FormatPlane& plane = format.planes[p];
    for (int64_t i = 0; i < plane.per_block; ++i) {
      if (plane.dtype == DType::kF16) {
        const uint16_t bits = f32ToF16(random() % 2 ? 0x1p-3f : -0x1p-4f);
        std::copy_n(reinterpret_cast<const uint8_t*>(&bits), 2, block.planes[p] + 2 * i);
      } else if (plane.dtype == DType::kHalfE8M0) {
        block.planes[p][i] = static_cast<uint8_t>(random() % 2 ? 125 : 124);
      } else {
        const bool small = plane.role == PlaneRole::kSubScales || plane.role == PlaneRole::kSubMins;
        block.planes[p][i] = static_cast<uint8_t>(random() % (small ? 8 : 256));
      }
    }
  }
}

class Tile {
 public:
  Tile(const WeightFormat& format, const QuantsLoop& loop) : format_(format), loop_(loop) {
    for (int p = 0; p < format.num_planes; ++p) {
      planes_[p].resize(
          static_cast<size_t>(loop.panels * format.unitBytes(p, true, QuantsTile::kCols)));
      tile.planes[p] = planes_[p].data();
    }
    for (int64_t n = 0; n < loop.panels * kPanelLanes; ++n)
      for (int64_t b = 0; b < QuantsTile::kCols / format.block; ++b) setBlock(n, b);
    for (int64_t m = 0; m < loop.rows; ++m) setRow(m);
  }

  double expected(int64_t m, int64_t n) const {
    double sum = 0;
    for (int64_t k = 0; k < QuantsTile::kCols; ++k)
      sum += double{values_[static_cast<size_t>(n)][static_cast<size_t>(k)]} * tile.x[m][k] *
             tile.x_scales[m][k / format_.block];
    return sum;
  }

  QuantsTile tile;

 private:
  void setBlock(int64_t n, int64_t b) {
    StoredBlock block;
    fillBlock(format_, random_, block);
    for (int p = 0; p < format_.num_planes; ++p) {
      const FormatPlane& plane = format_.planes[p];
      const int64_t bytes = dtypeBytes(plane.dtype);
      uint8_t* panel =
          planes_[p].data() + n / kPanelLanes * format_.unitBytes(p, true, QuantsTile::kCols);
      for (int64_t i = 0; i < plane.per_block; ++i)
        std::copy_n(
            block.planes[p] + i * bytes, bytes,
            panel + format_.panelOffset(p, n % kPanelLanes, b * plane.per_block + i) * bytes);
    }
    float values[WeightFormat::kMaxBlock];
    decodeBlock(format_, block.planes, values);
    values_.resize(static_cast<size_t>(loop_.panels * kPanelLanes));
    values_[static_cast<size_t>(n)].insert(values_[static_cast<size_t>(n)].end(), values,
                                           values + format_.block);
  }

  void setRow(int64_t m) {
    for (int64_t k = 0; k < QuantsTile::kCols; ++k)
      tile.x[m][k] = static_cast<int8_t>(static_cast<int>(random_() % 255) - 127);
    const auto sum = [&](int64_t first, int64_t count) {
      int32_t total = 0;
      for (int64_t k = first; k < first + count; ++k) total += tile.x[m][k];
      return total;
    };
    const int64_t period = format_.subBlock();
    for (int64_t s = 0; s < QuantsTile::kCols / period; ++s)
      tile.x_sums[m][s] = sum(s * period, period) * (loop_.offset ? -loop_.offset : 1);
    for (int64_t g = 0; g < QuantsTile::kCols / format_.block; ++g) {
      tile.x_scales[m][g] = random_() % 2 ? 0x1p-1f : 0x1p-2f;
      tile.x_scaled[m][g] =
          tile.x_scales[m][g] * static_cast<float>(sum(g * format_.block, format_.block));
    }
  }

  const WeightFormat& format_;
  const QuantsLoop& loop_;
  std::mt19937 random_{1};
  std::vector<uint8_t> planes_[WeightFormat::kMaxPlanes];
  std::vector<std::vector<float>> values_;  // of each output
};

TEST(QuantsLoop, MultipliesWhatItsFormatMeans) {
  int loops = 0;
  for (const std::string& target : supportedCpuTargets()) {
    for (int i = 0; i < static_cast<int>(std::size(kWeightFormats)) * kQuantsTiles; ++i) {
      const WeightFormat& format = kWeightFormats[i / kQuantsTiles];
      SCOPED_TRACE(target + " " + std::string(format.name) + ", tile " +
                   std::to_string(i % kQuantsTiles));
      const QuantsLoop loop = quantsLoop(target, format, i % kQuantsTiles);
      if (!loop) continue;
      ++loops;
      EXPECT_FALSE(format.isPlain());
      ASSERT_LE(loop.rows, QuantsTile::kMostRows);
      ASSERT_LE(loop.panels, QuantsTile::kMostPanels);
      Tile t(format, loop);
      for (const int64_t times : {1, 2}) {
        loop.run(times, t.tile);
        for (int64_t m = 0; m < loop.rows; ++m)
          for (int64_t n = 0; n < loop.panels * kPanelLanes; ++n)
            ASSERT_EQ(t.tile.outputs[m][n], static_cast<double>(times) * t.expected(m, n))
                << "row " << m << ", output " << n << ", " << times << " times";
      }
    }
  }
  if (loops == 0) GTEST_SKIP() << "no loops for this machine's instructions";
}

TEST(QuantsPeak, IsMeasuredOfQuantsAlone) {
  const std::string target = supportedCpuTargets().front();
  const Result<double> plain = measureQuantsPeak(target, *findWeightFormat("f16"), 1);
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(*plain, 0);
  const WeightFormat& q8 = *findWeightFormat("q8_0");
  const Result<double> peak = measureQuantsPeak(target, q8, 1);
  ASSERT_TRUE(peak.ok());
  EXPECT_EQ(*peak > 0, static_cast<bool>(quantsLoop(target, q8, 0)));
}

}  // namespace
}  // namespace llmrt
