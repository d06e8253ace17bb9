// An entry point bound to memory: a flat list of kernel calls that a step walks.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "runtime/abi/kernel_abi.h"
#include "runtime/executor/input_layout.h"
#include "runtime/executor/plan.h"
#include "runtime/executor/weights.h"

namespace llmrt {

template <typename Address>
struct OperandPlaces;

/// One phase of one layer.
struct BoundPhase {
  LlmcKernelFn kernel = nullptr;
  void* const* operands = nullptr;
  int64_t tiles = 0;                // of one row block
  int64_t rows_per_tile = 0;        // 0: one block whatever the rows
  schema::Axis axis{};              // what it works on
  uint32_t section = 0, phase = 0;  // where it stands in the plan
  uint32_t layer = 0;
  int64_t row_tile_bytes = 0;  // of a product: weights of a tile that a row needs; else 0
  bool is_experts = false;

  int64_t numRows(const LlmcStep& step) const { return countOf(axis, step); }
  /// Tiles in a step: none where there is no row to work on.
  int64_t numTiles(const LlmcStep& step) const {
    const int64_t rows = numRows(step);
    if (rows == 0) return 0;
    return rows_per_tile == 0 ? tiles : tiles * ((rows + rows_per_tile - 1) / rows_per_tile);
  }

  /// The fewest tiles worth a kernel call of their own. A call brings the left operand of a
  /// product, all rows of it, to where it multiplies from: 64 KB of weights for each row, up to 64
  /// rows, keep that to a few percent. For experts, each call also sorts the rows by their choices.
  int64_t leastTiles(const LlmcStep& step) const {
    if (row_tile_bytes == 0) return 1;
    const int64_t row_bytes = int64_t{is_experts ? 256 : 64} << 10;
    return std::max<int64_t>(row_bytes * std::min<int64_t>(numRows(step), 64) / row_tile_bytes, 1);
  }
};

class Schedule {
 public:
  Schedule(const Plan& plan, uint32_t entry_point, const OperandPlaces<uint8_t*>& places,
           const Weights& weights);
  Schedule(Schedule&&) = default;  // moving keeps operands where they are

  const std::vector<BoundPhase>& phases() const { return phases_; }

 private:
  std::vector<void*> operands_;  // of all phases
  std::vector<BoundPhase> phases_;
};

}  // namespace llmrt
