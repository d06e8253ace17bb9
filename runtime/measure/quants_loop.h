// The inner loop of a product of rows of int8 with quantised weights, written by hand: what the
// generated kernels (codegen/cpu/Int8Rows.h has the arithmetic) can at best do on data that stays
// in the first-level cache. Of each group it counts all that the format asks for: weights brought
// from their planes to bytes, dot products of bytes, sub-scales and sub-minimums, and the floats'
// sequence. It does not count what is done once for many outputs or rows: rounding rows to int8,
// sums of their values, reading and writing the outputs.
#pragma once

#include <cstdint>
#include <string_view>

#include "runtime/io/weight_format.h"

namespace llmrt {

/// A register tile: some panels of 16 outputs times some rows, kCols values of k. Rows and panels
/// are those of the loop.
struct QuantsTile {
  static constexpr int64_t kCols = WeightFormat::kMaxBlock;
  static constexpr int64_t kMostRows = 12, kMostPanels = 2;
  static constexpr int64_t kMostSums = kCols / 16;

  /// The first panel in each plane; others follow as weight_format.h lays them out.
  const uint8_t* planes[WeightFormat::kMaxPlanes] = {};
  alignas(64) int8_t x[kMostRows][kCols] = {};
  float x_scales[kMostRows][kMostSums] = {};  // of each group
  int32_t x_sums[kMostRows][kMostSums] = {};  // of sub-blocks: sums of x, times -offset where the
                                              // loop takes bytes that are so far above the quants
  float x_scaled[kMostRows][kMostSums] = {};  // of groups: x_scale * float(sum of x)
  alignas(64) float outputs[kMostRows][kMostPanels * kPanelLanes] = {};
};

/// Register tiles that are tried: what a format keeps in registers decides which one is best.
constexpr int kQuantsTiles = 4;
struct TileSize {
  int rows = 0, panels = 0;
};

/// How one format is multiplied with one target's instructions.
struct QuantsLoop {
  /// outputs = what `times` passes over the tile add up to.
  void (*run)(int64_t times, QuantsTile& tile) = nullptr;
  int64_t rows = 0, panels = 0;
  int32_t offset = 0;  // of the bytes it takes from the quants

  explicit operator bool() const { return run != nullptr; }
  double flops() const {
    return 2.0 * static_cast<double>(rows * panels * kPanelLanes * QuantsTile::kCols);
  }
};

/// Of a CPU target, with one of its kQuantsTiles register tiles; empty where there is none: of
/// formats that are plain values, and on aarch64.
QuantsLoop quantsLoop(std::string_view cpu_target, const WeightFormat& format, int tile);

// Of kWeightFormats[index], each in a file that is compiled for its instructions.
QuantsLoop quantsLoopAvx2(int index, int tile);
QuantsLoop quantsLoopAvx512(int index, int tile);
QuantsLoop quantsLoopVnni(int index, int tile);

}  // namespace llmrt
