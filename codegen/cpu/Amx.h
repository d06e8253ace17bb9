// AMX tiles (Intel 64 Architectures Optimization Reference Manual, chapter 20) as values: LLVM
// gives them registers and writes the tile configuration at the kernel's entry.
#pragma once

#include "codegen/cpu/Multiply.h"

namespace llmc::cpu {

/// Every tile has 16 rows of 64 bytes: 16 x 16 floats, 16 x 32 bf16 or 16 x 64 int8. Other shapes
/// in the same kernel would make LLVM spill.
constexpr int64_t kTileRows = 16;
constexpr int64_t kTileRowBytes = 64;
constexpr int64_t kTileBytes = kTileRows * kTileRowBytes;
/// bf16 values in a row of a tile: k values that one instruction multiplies.
constexpr int64_t kTileCols = 32;

/// Row i of the tile lies at ptr + i * strideBytes.
Value tileLoad(KernelBuilder& k, Value ptr, int64_t strideBytes);
Value tileZero(KernelBuilder& k);
void tileStore(KernelBuilder& k, Value tile, Value ptr, int64_t strideBytes);
/// c + a * b of bf16, of which c is used up: c[m][n] += sum over k of a[m][k] * b[k / 2][2 n + k %
/// 2]. The sum over a tile's 32 k is that of the even k plus that of the odd k, each in ascending
/// order from zero; a row's result does not depend on the other rows.
Value tileDot(KernelBuilder& k, Value c, Value a, Value b);

/// The same of int8, in sums of i32: c[m][n] += sum over k of a[m][k] * b[k / 4][4 n + k % 4].
Value tileDotBytes(KernelBuilder& k, Value c, Value a, Value b);

/// acc + a * b over steps [begin, end) of 32 k, for [rowTiles, panels] accumulators. left(i, step)
/// is tile i of a. `each`, where given, is called with every step before it is multiplied.
Values multiplyTiles(KernelBuilder& k, const std::function<Value(int64_t, Value)>& left,
                     const Panels& b, int64_t rowTiles, int64_t panels, Value begin, Value end,
                     Values acc, const std::function<void(Value)>& each = {});

}  // namespace llmc::cpu
