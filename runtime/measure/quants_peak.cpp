#include "runtime/measure/quants_peak.h"

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <vector>

#include "runtime/measure/parallel.h"
#include "runtime/measure/quants_loop.h"

namespace llmrt {

QuantsLoop quantsLoop(std::string_view cpu_target, const WeightFormat& format, int tile) {
#if defined(__x86_64__)
  const auto index = static_cast<int>(&format - std::begin(kWeightFormats));
  if (cpu_target == "sapphirerapids" || cpu_target == "znver4") return quantsLoopVnni(index, tile);
  if (cpu_target == "x86-64-v4") return quantsLoopAvx512(index, tile);
  if (cpu_target == "x86-64-v3") return quantsLoopAvx2(index, tile);
#else
  (void)cpu_target, (void)format, (void)tile;
#endif
  return {};
}

namespace {

/// A tile and the weights it points to.
struct Data {
  QuantsTile tile;
  std::vector<uint8_t> planes[WeightFormat::kMaxPlanes];

  // Zeros might run faster than data. Scales are small: sums that overflow would run slower.
  Data(const WeightFormat& format, const QuantsLoop& loop) {
    uint32_t random = 1;
    const auto next = [&random] {
      random = random * 1664525 + 1013904223;
      return random >> 24;
    };
    for (int p = 0; p < format.num_planes; ++p) {
      const FormatPlane& plane = format.planes[p];
      const int64_t bytes = loop.panels * format.unitBytes(p, true, QuantsTile::kCols);
      for (int64_t i = 0; i < bytes; ++i) {
        // Of a half: 2^-14 or so, of either sign.
        const bool upper = i % 2 == 1;
        planes[p].push_back(static_cast<uint8_t>(
            plane.dtype == DType::kF16 ? (upper ? 0x04 | (next() & 0x80) : next()) : next()));
      }
      tile.planes[p] = planes[p].data();
    }
    for (auto& row : tile.x)
      for (int8_t& x : row) x = static_cast<int8_t>(std::max(static_cast<int>(next()) - 128, -127));
    for (auto& row : tile.x_scales) std::fill(std::begin(row), std::end(row), 0x1p-10f);
    for (auto& row : tile.x_sums) std::fill(std::begin(row), std::end(row), 100);
    for (auto& row : tile.x_scaled) std::fill(std::begin(row), std::end(row), 0x1p-4f);
  }
};

/// FLOP/s of one loop.
Result<double> measureLoop(const QuantsLoop& loop, const WeightFormat& format, int threads) {
  std::vector<Data> data;
  data.reserve(static_cast<size_t>(threads));  // the tiles point into it
  for (int t = 0; t < threads; ++t) data.emplace_back(format, loop);
  constexpr int64_t kCalibration = 1'000;
  constexpr double kSeconds = 0.01;
  loop.run(kCalibration, data[0].tile);  // wide vector units wake up slowly
  LLMRT_ASSIGN_OR_RETURN(const double once,
                         timeOnThreads(1, [&](int) { loop.run(kCalibration, data[0].tile); }));
  const int64_t times = std::max<int64_t>(
      kCalibration, static_cast<int64_t>(static_cast<double>(kCalibration) * kSeconds / once));
  LLMRT_ASSIGN_OR_RETURN(const double seconds, timeOnThreads(threads, [&](int t) {
                           loop.run(times, data[static_cast<size_t>(t)].tile);
                         }));
  return loop.flops() * static_cast<double>(times) * threads / seconds;
}

}  // namespace

Result<double> measureQuantsPeak(std::string_view cpu_target, const WeightFormat& format,
                                 int threads) {
  double best = 0;
  for (int tile = 0; tile < kQuantsTiles; ++tile) {
    const QuantsLoop loop = quantsLoop(cpu_target, format, tile);
    if (!loop) continue;
    LLMRT_ASSIGN_OR_RETURN(const double rate, measureLoop(loop, format, std::max(threads, 1)));
    best = std::max(best, rate);
  }
  return best;
}

}  // namespace llmrt
