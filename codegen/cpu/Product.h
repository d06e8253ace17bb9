// A matrix product with what is fused into it: a norm or a gather before, an epilogue after.
//
// One frame serves all: rows are walked in blocks that fit the cache, each thread brings its own
// copy of a block of the left operand into scratch where something is fused in or its type differs,
// and every tile of outputs is finished by an epilogue while it is still in the first-level cache.
// How a tile is multiplied is the target's matter: chains of FMAs or of dot products of bf16 pairs
// (FmaProduct.cpp), or AMX tiles for weights in bf16 (AmxProduct.cpp).
#pragma once

#include <functional>

#include "codegen/cpu/Kernels.h"
#include "codegen/cpu/Multiply.h"

namespace llmc::cpu {

/// A finished tile of outputs, in floats, for the epilogue.
struct OutputTile {
  Value index;               // tile number
  Value firstPanel, panels;  // panels it covers, of the weight's
  Value firstRow, rows;      // rows of the step it covers
  Value outputs;             // [rows, stride] floats
  int64_t stride = 0;
  Value expert;  // null: none

  Value at(KernelBuilder& k, Value row, Value panel) const {
    return k.offset(k.rowPtr(outputs, row, stride), k.mul(panel, kLanes * 4));
  }
};

/// What the rows of a left operand are rounded to, once for all tiles.
enum class LeftKind { f32, bf16, i8 };

/// productOf() makes one, and the op that has more to say adds it.
struct ProductSpec {
  Value x;
  int64_t xStride = 0;  // floats
  int64_t cols = 0;     // K
  Value weight;
  const llmrt::WeightFormat* format = nullptr;
  int64_t numPanels = 0;
  int64_t tilePanels = llm::kTilePanels;
  // Of the kernel's tiles, those that are of this weight; 0 of them: all.
  int64_t firstTile = 0, numTiles = 0;
  NormArgs norm;         // of the rows of x, before the product
  bool gather = false;   // the rows whose logits are wanted
  int64_t tileCols = 0;  // floats by which the x of a tile lies after that of the tile before
  // Where row `index` lies; null: in x, one row after another.
  std::function<Value(Value index)> sourceRow;
  // Each expert has a weight of its own and rows [expertRows[e], expertRows[e + 1]), i64.
  int64_t numExperts = 0;
  Value expertRows;
  std::function<void(const OutputTile&)> epilogue;

  /// bf16: multiplied in the order of the target's bf16Product; i8: as Int8Rows.h says.
  LeftKind leftKind(const KernelBuilder& k) const;
};

/// The product of the operands "x" and `weight`; `matrix` is what the weight is, or its first part.
ProductSpec productOf(KernelBuilder& k, mlir::Operation* op, mlir::FlatSymbolRefAttr matrix,
                      llvm::StringRef weight = "weight");

/// The same after the norm of a fused op.
template <typename Op>
ProductSpec normProductOf(KernelBuilder& k, Op op, mlir::FlatSymbolRefAttr matrix,
                          llvm::StringRef weight = "weight") {
  ProductSpec spec = productOf(k, op, matrix, weight);
  spec.norm = {.weight = k.operand("norm"),
               .bias = k.operandIf(op.getNormBiasAttr(), "norm_bias"),
               .layer = op.getLayer(),
               .eps = op.getEps().convertToDouble()};
  return spec;
}

/// Emits the product's loops over blocks of rows and over the tiles of the call.
void emitProduct(KernelBuilder& k, const ProductSpec& spec);

//===----------------------------------------------------------------------===//
// For the two ways to multiply
//===----------------------------------------------------------------------===//

/// The loops that both ways share.
class ProductFrame {
 public:
  void emit();
  virtual ~ProductFrame() = default;

 protected:
  /// `maxBlockRows`: rows of a block; its rows are a multiple of `rowUnit` where there are enough.
  ProductFrame(KernelBuilder& k, const ProductSpec& spec, int64_t maxBlockRows, int64_t rowUnit);

  /// Asks for the weights that a call begins with, of which `weights` is the first panel.
  virtual void prefetchFirst(const Panels& weights) {}
  /// Brings rows [first, first + rows) of the left operand to where multiply() reads them.
  virtual void prepareBlock(Value first, Value rows) = 0;
  /// Writes the products of the block and the tile's panels, of which `weights` is the first, to
  /// tile.outputs.
  virtual void multiply(const Panels& weights, const OutputTile& tile) = 0;

  /// The row of x that row `row` of the product reads.
  Value sourceRow(Value row);
  /// body(panel in tile, panels) over the tile's panels, `atOnce` at a time as far as they go.
  void forPanels(const OutputTile& tile, int64_t atOnce,
                 const std::function<void(Value, int64_t)>& body);
  void zeroOutputs(const OutputTile& tile);

  KernelBuilder& k_;
  const ProductSpec& spec_;
  const int64_t maxBlockRows_, rowUnit_;
  const int64_t joinTiles_;  // tiles that are multiplied as one, where a call has so many
  const int64_t tileStride_;
  Value outputs_;

 private:
  Value begin_, end_;  // tiles of the call
  /// Rows [begin, end) of the step, or of `expert`.
  void emitRows(Value begin, Value end, Value expert);
  /// Panels of `tiles` tiles from panel `first` on.
  Value panelsFrom(Value first, Value tiles);
  /// The epilogue of each of the `tiles` tiles of which `joined` has the outputs.
  void finishTiles(const OutputTile& joined, Value tiles);
};

void emitFmaProduct(KernelBuilder& k, const ProductSpec& spec);
void emitAmxProduct(KernelBuilder& k, const ProductSpec& spec);

}  // namespace llmc::cpu
