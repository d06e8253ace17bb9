#include "codegen/cpu/AmxInt8.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace llmc::cpu {

using llmrt::PlaneRole;

/// Values of k in a row of a tile of int8.
static constexpr int64_t kTileValues = kTileRowBytes;

Int8Tiles::Int8Tiles(KernelBuilder& k, const Int8Layout& layout, const llmrt::WeightFormat& format)
    : k_(k),
      layout_(layout),
      subBlocks_(layout.group / layout.period),
      // Pairs have scales of four bits, for quants of two.
      numTiles_(format.plane(PlaneRole::kSubPairs) >= 0 ? 1 : 2),
      hasMins_(layout.sums == Int8Layout::Sums::pairs) {
  tiles_ = k.scratch(numTiles_ * tilesBytes());
  sums_ = k.scratch(2 * numTiles_ * kTileBytes);
}

void Int8Tiles::multiply(const Rows& rows, const Panels& b, const OutputTile& tile) {
  rows_ = rows;
  Value groups = k_.ci(layout_.scalesAt / layout_.group);
  k_.loop(k_.ci(0), groups, kPieceGroups, [&](Value first) {
    const Piece piece{first, k_.min(k_.add(first, kPieceGroups), groups)};
    k_.loop(k_.ci(0), tile.panels, 1, [&](Value p) {
      const QuantPlanes w = b.quants.from(k_, p);
      fillTiles(w, piece);
      prefetch(b.from(k_, k_.add(p, 1)), piece);
      k_.loop(k_.ci(0), k_.ceilDiv(tile.rows, kTileRows), 1, [&](Value rowTile) {
        auto output = [&](int64_t r) {
          return tile.at(k_, k_.add(k_.mul(rowTile, kTileRows), r), p);
        };
        Values acc;
        for (int64_t r = 0; r < kTileRows; ++r) acc.push_back(k_.loadF32(output(r)));
        // The tiles of a group are at work while the sums of the one before are scaled.
        addSums(rowTile, first, first);
        acc = k_.loop(k_.add(first, 1), piece.end, 1, acc, [&](Value group, ValueRange state) {
          addSums(rowTile, group, first);
          return scaleSums(w, rowTile, k_.add(group, -1), Values(state));
        });
        acc = scaleSums(w, rowTile, k_.add(piece.end, -1), acc);
        for (int64_t r = 0; r < kTileRows; ++r) k_.store(acc[r], output(r), 4);
      });
    });
  });
}

/// The weights of a piece as bytes: of quants times their sub-scales.
void Int8Tiles::fillTiles(const QuantPlanes& w, Piece piece) {
  OpBuilder& b = k_.builder();
  Location loc = b.getUnknownLoc();
  const Type halves = k_.vecI(2 * kLanes, 16);
  auto splat = [&](int16_t v) -> Value {
    return arith::ConstantOp::create(b, loc, DenseElementsAttr::get(cast<VectorType>(halves), v));
  };
  auto asHalves = [&](Value words) { return k_.bitcast(halves, words); };
  const bool isSigned = w.bytesAreSigned(k_.target());
  const auto offset = static_cast<int16_t>(QuantPlanes::byteOffset(k_.target(), *w.format));
  Value begin = k_.mul(piece.first, layout_.group);
  k_.loop(begin, k_.mul(piece.end, layout_.group), layout_.period, [&](Value at) {
    Value scale = w.subScaleAndMin(k_, k_.div(at, layout_.period), 0).scale;
    scale = asHalves(k_.orBits(k_.andBits(scale, 0xffff), k_.shiftLeft(scale, 16)));
    /// Bytes as halves, times the scale.
    auto product = [&](Value bytes) -> Value {
      if (offset) bytes = arith::SubIOp::create(b, loc, bytes, splat(offset));
      return arith::MulIOp::create(b, loc, bytes, scale);
    };
    /// The low byte of each half of `even` beside that of `odd`.
    auto join = [&](Value even, Value odd) -> Value {
      even = arith::AndIOp::create(b, loc, even, splat(0xff));
      return arith::OrIOp::create(b, loc, even, arith::ShLIOp::create(b, loc, odd, splat(8)));
    };
    Value to = k_.offset(tiles_, k_.mul(k_.sub(at, begin), kLanes));
    for (int64_t j = 0; j < layout_.period; j += w.perStep()) {
      const Values words = w.bytes(k_, at, j, 0);
      for (int64_t g = 0; g < w.perStep() / 4; ++g) {
        Value bytes = asHalves(words[g]), even, odd;
        if (isSigned) {
          even = arith::ShRSIOp::create(b, loc, arith::ShLIOp::create(b, loc, bytes, splat(8)),
                                        splat(8));
          odd = arith::ShRSIOp::create(b, loc, bytes, splat(8));
        } else {
          even = arith::AndIOp::create(b, loc, bytes, splat(0xff));
          odd = arith::ShRUIOp::create(b, loc, bytes, splat(8));
        }
        even = product(even);
        odd = product(odd);
        const int64_t row = (j + 4 * g) * kLanes;
        if (numTiles_ == 1) {
          k_.store(join(even, odd), k_.offset(to, row), kTileRowBytes);
          continue;
        }
        auto low = [&](Value v) { return arith::AndIOp::create(b, loc, v, splat(127)); };
        auto high = [&](Value v) { return arith::ShRSIOp::create(b, loc, v, splat(7)); };
        k_.store(join(low(even), low(odd)), k_.offset(to, row), kTileRowBytes);
        k_.store(join(high(even), high(odd)), k_.offset(to, row + tilesBytes()), kTileRowBytes);
      }
    }
  });
}

/// Asks for the piece of the panel that comes next.
void Int8Tiles::prefetch(const Panels& b, Piece piece) {
  for (const Panels::Stream& s : b.streams()) {
    Value begin = k_.offset(s.base, k_.mul(piece.first, s.bytes));
    k_.loop(k_.ci(0), k_.ci(kPieceGroups * s.bytes), kTileRowBytes,
            [&](Value at) { k_.prefetch(k_.offset(begin, at), PrefetchTo::secondLevel); });
  }
}

/// The sums of a group of a piece that begins with group `first`.
void Int8Tiles::addSums(Value rowTile, Value group, Value first) {
  Value row = k_.offset(rows_.base, k_.mul(rowTile, kTileRows * rows_.strideBytes));
  Value left = k_.offset(row, k_.mul(group, layout_.group));
  Value right = k_.offset(tiles_, k_.mul(k_.sub(group, first), layout_.group * kLanes));
  Values sums;
  for (int64_t t = 0; t < numTiles_; ++t) sums.push_back(tileZero(k_));
  for (int64_t k0 = 0; k0 < layout_.group; k0 += kTileValues) {
    Value a = tileLoad(k_, k_.offset(left, k0), rows_.strideBytes);
    for (int64_t t = 0; t < numTiles_; ++t) {
      Value b = tileLoad(k_, k_.offset(right, k0 * kLanes + t * tilesBytes()), kTileRowBytes);
      sums[t] = tileDotBytes(k_, sums[t], a, b);
    }
  }
  for (int64_t t = 0; t < numTiles_; ++t)
    tileStore(k_, sums[t], k_.offset(sumsOf(group), t * kTileBytes), kTileRowBytes);
}

/// acc + what a group whose sums are there adds.
Values Int8Tiles::scaleSums(const QuantPlanes& w, Value rowTile, Value group, Values acc) {
  OpBuilder& b = k_.builder();
  Location loc = b.getUnknownLoc();
  auto toFloat = [&](Value v) -> Value { return arith::SIToFPOp::create(b, loc, k_.vec(), v); };
  Value scale = w.load(k_, PlaneRole::kScales, group, 0);
  Value min = w.load(k_, PlaneRole::kMins, group, 0);
  Value firstSub = k_.mul(group, subBlocks_);
  Values mins;
  for (int64_t s = 0; hasMins_ && s < subBlocks_; s += 2)
    mins.push_back(w.subMinPairs(k_, k_.add(firstSub, s), 0));
  Value from = sumsOf(group), firstRow = k_.mul(rowTile, kTileRows);
  for (int64_t r = 0; r < kTileRows; ++r) {
    auto words = [&](int64_t t) {
      return k_.load(k_.vecI(kLanes, 32), k_.offset(from, t * kTileBytes + r * kTileRowBytes),
                     kTileRowBytes);
    };
    Value sum = words(0);
    if (numTiles_ == 2) sum = k_.add(k_.shiftLeft(words(1), 7), sum);
    Value index = k_.add(firstRow, r);
    Value row = k_.offset(rows_.base, k_.mul(index, rows_.strideBytes));
    Value xScale =
        k_.broadcast(k_.loadScalar(k_.offset(row, k_.add(k_.mul(group, 4), layout_.scalesAt))));
    acc[r] = k_.fma(toFloat(sum), k_.mulf(scale, xScale), acc[r]);
    if (!hasMins_) continue;
    Value sums = k_.offset(row, k_.add(k_.mul(firstSub, layout_.sumBytes()), layout_.sumsAt));
    Value minSum = k_.splatWord(0);
    for (int64_t s = 0; s < subBlocks_; s += 2) {
      Value pair = k_.load(b.getI32Type(), k_.offset(sums, s * layout_.sumBytes()), 4);
      minSum = k_.dotPairs(mins[s / 2], k_.broadcast(pair), minSum);
    }
    acc[r] = k_.fma(toFloat(minSum), k_.mulf(min, xScale), acc[r]);
  }
  return acc;
}

}  // namespace llmc::cpu
