// The frame of all matrix products: rows in blocks, tiles of outputs, an epilogue on each.
#pragma once

#include "codegen/cpu/Kernels.h"

namespace llmc::cpu {

/// A finished tile of outputs, in floats, for the epilogue.
struct Tile {
  Value index;               // tile number
  Value firstPanel, panels;  // panels it covers
  Value firstRow, rows;      // rows of the step it covers
  Value outputs;             // [rows, stride] floats
  int64_t stride = 0;
  Value expert;  // null: none

  Value at(KernelBuilder& k, Value row, Value panel) const {
    return k.offset(k.rowPtr(outputs, row, stride), k.mul(panel, kLanes * 4));
  }
};

struct LinearSpec {
  Value x;
  int64_t xStride = 0;  // floats
  int64_t cols = 0;     // K
  Value weight;
  Storage storage = Storage::f32;
  int64_t numPanels = 0;
  int64_t tilePanels = llm::kTilePanels;
  NormArgs norm;         // of the rows of x, before the product
  bool gather = false;   // the rows whose logits are wanted
  int64_t tileCols = 0;  // floats by which a tile's x lies after the last's
  std::function<Value(Value index)>
      sourceRow;                            // where row `index` lies; null: in x, one after another
  int64_t numExperts = 0, expertBytes = 0;  // each has a weight of its own,
  Value expertRows;                         // and rows [expertRows[e], expertRows[e + 1]), i64
  std::function<void(const Tile&)> epilogue;
};

/// Emits the whole kernel: every tile of [tileBegin, tileEnd) over all rows (of all experts).
void emitLinearFrame(KernelBuilder& k, const LinearSpec& spec, const KernelShape& shape);

/// Storage, K and panels of the matrix `weight` names.
void setMatrix(LinearSpec& spec, mlir::Operation* op, mlir::FlatSymbolRefAttr weight);

/// body(row in tile, panel in tile) over a finished tile.
void forTile(KernelBuilder& k, const Tile& tile, int64_t panelStep,
             const std::function<void(Value, Value)>& body);

}  // namespace llmc::cpu
