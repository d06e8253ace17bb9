#include "codegen/cpu/Amx.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace llmc::cpu {

static Value i16(KernelBuilder& k, int64_t v) {
  OpBuilder& b = k.builder();
  return arith::ConstantOp::create(b, b.getUnknownLoc(), b.getI16IntegerAttr(int16_t(v)));
}

static Value intrinsic(KernelBuilder& k, const char* name, Type result, ValueRange arguments) {
  return k.intrinsic(Twine("llvm.x86.") + name + ".internal", result, arguments);
}

/// A call that gives a tile.
static Value tile(KernelBuilder& k, const char* name, ValueRange arguments) {
  return intrinsic(k, name, k.amxTile(), arguments);
}

//===----------------------------------------------------------------------===//
// Emulation: a tile is 1 KB of scratch, and a product is summed where its accumulator lies
//===----------------------------------------------------------------------===//

static void copyTile(KernelBuilder& k, Value from, int64_t fromStride, Value to, int64_t toStride) {
  k.loop(k.ci(0), k.ci(kTileRows), 1, [&](Value r) {
    Value row = k.load(k.vecI(kLanes, 32), k.offset(from, k.mul(r, fromStride)), 1);
    k.store(row, k.offset(to, k.mul(r, toStride)), 1);
  });
}

static Value emulatedDot(KernelBuilder& k, Value c, Value a, Value b) {
  k.loop(k.ci(0), k.ci(kTileRows), 1, [&](Value m) {
    Value row = k.offset(a, k.mul(m, kTileRowBytes));
    Values sums = k.loop(
        k.ci(0), k.ci(kTileCols / 2), 1, {k.zero(), k.zero()}, [&](Value pair, ValueRange state) {
          Value left = k.load(k.builder().getI32Type(), k.offset(row, k.mul(pair, 4)), 4);
          auto [x0, x1] = k.bf16Pairs(k.broadcast(left));
          Value at = k.offset(b, k.mul(pair, kTileRowBytes));
          auto [w0, w1] = k.bf16Pairs(k.load(k.vecI(kLanes, 32), at, 4));
          return Values{k.fma(x0, w0, state[0]), k.fma(x1, w1, state[1])};
        });
    Value out = k.offset(c, k.mul(m, kTileRowBytes));
    k.store(k.addf(k.loadF32(out), k.addf(sums[0], sums[1])), out, 4);
  });
  return c;
}

static Value emulatedDotBytes(KernelBuilder& k, Value c, Value a, Value b) {
  k.loop(k.ci(0), k.ci(kTileRows), 1, [&](Value m) {
    Value row = k.offset(a, k.mul(m, kTileRowBytes)), out = k.offset(c, k.mul(m, kTileRowBytes));
    Value sums = k.load(k.vecI(kLanes, 32), out, 4);
    for (int64_t at = 0; at < kTileRowBytes; at += 4) {
      Value left = k.broadcast(k.load(k.builder().getI32Type(), k.offset(row, at), 4));
      Value right = k.load(k.vecI(kLanes, 32), k.offset(b, at / 4 * kTileRowBytes), 4);
      sums = k.dotBytes(right, left, sums, /*isSigned=*/true);
    }
    k.store(sums, out, 4);
  });
  return c;
}

//===----------------------------------------------------------------------===//
// Tiles
//===----------------------------------------------------------------------===//

Value tileLoad(KernelBuilder& k, Value ptr, int64_t strideBytes) {
  if (k.target().emulateBf16Product) {
    Value tile = k.scratch(kTileBytes);
    copyTile(k, ptr, strideBytes, tile, kTileRowBytes);
    return tile;
  }
  return tile(k, "tileloadd64", {i16(k, kTileRows), i16(k, kTileRowBytes), ptr, k.ci(strideBytes)});
}

Value tileZero(KernelBuilder& k) {
  if (!k.target().emulateBf16Product)
    return tile(k, "tilezero", {i16(k, kTileRows), i16(k, kTileRowBytes)});
  Value tile = k.scratch(kTileBytes);
  for (int64_t r = 0; r < kTileRows; ++r) k.store(k.zero(), k.offset(tile, r * kTileRowBytes), 4);
  return tile;
}

void tileStore(KernelBuilder& k, Value tile, Value ptr, int64_t strideBytes) {
  if (k.target().emulateBf16Product) return copyTile(k, tile, kTileRowBytes, ptr, strideBytes);
  intrinsic(k, "tilestored64", {},
            {i16(k, kTileRows), i16(k, kTileRowBytes), ptr, k.ci(strideBytes), tile});
}

Value tileDot(KernelBuilder& k, Value c, Value a, Value b) {
  if (k.target().emulateBf16Product) return emulatedDot(k, c, a, b);
  return tile(k, "tdpbf16ps",
              {i16(k, kTileRows), i16(k, kTileRowBytes), i16(k, kTileRowBytes), c, a, b});
}

Value tileDotBytes(KernelBuilder& k, Value c, Value a, Value b) {
  if (k.target().emulateBf16Product) return emulatedDotBytes(k, c, a, b);
  return tile(k, "tdpbssd",
              {i16(k, kTileRows), i16(k, kTileRowBytes), i16(k, kTileRowBytes), c, a, b});
}

Values multiplyTiles(KernelBuilder& k, const std::function<Value(int64_t, Value)>& left,
                     const Panels& b, int64_t rowTiles, int64_t panels, Value begin, Value end,
                     Values acc, const std::function<void(Value)>& each) {
  return k.loop(begin, end, 1, acc, [&](Value step, ValueRange state) {
    Values c(state.begin(), state.end());
    if (each) each(step);
    Values rows;
    for (int64_t i = 0; i < rowTiles; ++i) rows.push_back(left(i, step));
    Value at = k.offset(b.base, k.mul(step, kTileRows * b.stepBytes));
    for (int64_t q = 0; q < panels; ++q) {
      Value right = tileLoad(k, k.offset(at, q * b.panelBytes), b.stepBytes);
      for (int64_t i = 0; i < rowTiles; ++i) {
        Value& sum = c[i * panels + q];
        sum = tileDot(k, sum, rows[i], right);
      }
    }
    return c;
  });
}

}  // namespace llmc::cpu
