// Products of rows of int8 (Int8Rows.h) by AMX, with weights whose scales have sub-scales.
//
// A quant times its sub-scale is an integer w of at most 15 bits: 128 * (w >> 7) + (w & 127), two
// bytes with a sign. Tiles of either, made once of the weights for all rows of a block, give the
// sums of a group of 256 values without a stop at its sub-blocks: sum = 128 * high + low, exactly.
// A group then costs two tiles of integers to scale, and where a byte holds all of w, one.
//
// Formats whose blocks have one scale for 32 values have no such groups; README.md says why they
// are multiplied by VNNI.
#pragma once

#include "codegen/cpu/Amx.h"
#include "codegen/cpu/Int8Rows.h"
#include "codegen/cpu/Product.h"

namespace llmc::cpu {

class Int8Tiles {
 public:
  static bool serve(const CpuTarget& target, const llmrt::WeightFormat& format) {
    return target.int8Tiles && format.quant.sub_block;
  }
  Int8Tiles(KernelBuilder& k, const Int8Layout& layout, const llmrt::WeightFormat& format);

  /// outputs += rows * b, of all rows and panels of the tile, and of the rows up to a multiple of
  /// kTileRows, in which lies what belongs to nobody.
  void multiply(const Rows& rows, const Panels& b, const OutputTile& tile);

 private:
  /// Groups [first, end) of the values of k.
  struct Piece {
    Value first, end;
  };
  void fillTiles(const QuantPlanes& w, Piece piece);
  void prefetch(const Panels& b, Piece piece);
  void addSums(Value rowTile, Value group, Value first);
  Values scaleSums(const QuantPlanes& w, Value rowTile, Value group, Values acc);

  int64_t tilesBytes() const { return kPieceGroups * layout_.group * kLanes; }
  Value sumsOf(Value group) const {
    return k_.offset(sums_, k_.mul(k_.rem(group, 2), numTiles_ * kTileBytes));
  }

  /// The bytes of one panel take a third of the first-level cache, the rows of a tile a sixth.
  static constexpr int64_t kPieceGroups = 2;

  KernelBuilder& k_;
  const Int8Layout layout_;
  const int64_t subBlocks_;  // of a group
  const int64_t numTiles_;   // of low bytes, and of high ones where there are any
  const bool hasMins_;
  Rows rows_;
  Value tiles_;  // [numTiles_][K of a piece / 4][16][4] int8
  Value sums_;   // of two groups: [numTiles_] tiles of i32
};

}  // namespace llmc::cpu
