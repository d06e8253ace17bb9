#include "codegen/cpu/Int8Rows.h"

#include "codegen/cpu/Int8Neon.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace llmc::cpu {

using llmrt::PlaneRole;

Int8Layout::Int8Layout(const CpuTarget& target, const llmrt::WeightFormat& format, int64_t cols)
    : group(format.block), offset(QuantPlanes::byteOffset(target, format)) {
  const int64_t groups = format.blocks(cols);
  period = format.subBlock();
  if (format.plane(PlaneRole::kMins) >= 0)
    sums = !format.quant.sub_block ? Sums::scaled : hasSdot(target) ? Sums::plain : Sums::pairs;
  else if (offset)
    sums = Sums::offsets;
  scalesAt = groups * group;
  sumsAt = scalesAt + groups * 4;
  bytes = sumsAt + (sums == Sums::none ? 0 : groups * (group / period) * sumBytes());
}

/// f32's sum with this has an integer below 2^22 in its lowest bits, rounded to nearest, ties to
/// even.
static constexpr float kRounding = 0x1.8p23f;

void Int8Layout::roundGroup(KernelBuilder& k, Value index, int64_t count, Value from,
                            Value to) const {
  OpBuilder& b = k.builder();
  Location loc = from.getLoc();
  Value first = k.mul(index, group);
  Values x;
  // As unsigned numbers the bits of |x| are in the order of the values, NaN above all.
  Value most = k.splatWord(0);
  for (int64_t i = 0; i < group; i += kLanes) {
    const int64_t columns = std::min(kLanes, count - i);
    Value v = k.zero();
    if (columns > 0) {
      v = k.loadF32(k.offset(from, k.mul(k.add(first, i), 4)));
      // Beyond the last column lies what belongs to nobody.
      if (columns < kLanes) v = k.keepLanes(v, columns);
    }
    x.push_back(v);
    Value bits = k.andBits(k.bitcast(k.vecI(kLanes, 32), v), 0x7fffffff);
    most = arith::MaxUIOp::create(b, loc, most, bits);
  }
  most = vector::ReductionOp::create(b, loc, vector::CombiningKind::MAXUI, most);
  Value least =
      arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(llvm::bit_cast<int32_t>(0x1p-110f)));
  Value some = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::uge, most, least);
  most = arith::BitcastOp::create(b, loc, k.f32(), most);
  Value scale = k.select(some, k.divf(most, k.cf(127.0f)), k.cf(0.0f));
  Value inverse = k.broadcast(k.select(some, k.divf(k.cf(127.0f), most), k.cf(0.0f)));
  k.store(scale, k.offset(to, k.add(k.mul(index, 4), scalesAt)), 4);

  Value total;
  for (int64_t i = 0; i < group; i += kLanes) {
    Value shifted = k.addf(k.mulf(x[i / kLanes], inverse), k.splat(kRounding));
    Value q =
        k.addWords(k.bitcast(k.vecI(kLanes, 32), shifted), -llvm::bit_cast<int32_t>(kRounding));
    k.store(arith::TruncIOp::create(b, loc, k.vecI(kLanes, 8), q), k.offset(to, k.add(first, i)),
            kLanes);
    if (sums == Sums::none) continue;
    total = i % period ? k.add(total, q) : q;
    if ((i + kLanes) % period) continue;
    Value sum = vector::ReductionOp::create(b, loc, vector::CombiningKind::ADD, total);
    Value at = k.offset(
        to, k.add(k.mul(k.add(k.mul(index, group / period), i / period), sumBytes()), sumsAt));
    switch (sums) {
      case Sums::none:
      case Sums::plain:
        break;
      case Sums::pairs:
        // Of 32 values at most, and each within +-127: 16 bits have room.
        sum = arith::TruncIOp::create(b, loc, b.getI16Type(), sum);
        break;
      case Sums::offsets: {
        Value factor = arith::ConstantOp::create(b, loc, b.getI32IntegerAttr(-offset));
        sum = k.mul(sum, factor);
        break;
      }
      case Sums::scaled:
        sum = k.mulf(scale, arith::SIToFPOp::create(b, loc, k.f32(), sum));
        break;
    }
    k.store(sum, at, sumBytes());
  }
}

void Int8Layout::roundRow(KernelBuilder& k, Value from, Value to, int64_t cols) const {
  const int64_t whole = cols / group;
  k.loop(k.ci(0), k.ci(whole), 1, [&](Value index) { roundGroup(k, index, group, from, to); });
  if (cols % group) roundGroup(k, k.ci(whole), cols % group, from, to);
}

namespace {

/// The sums of one group, of the rows and panels of a tile.
class Int8Tile {
 public:
  Int8Tile(KernelBuilder& k, const Rows& a, const Int8Layout& layout, const QuantPlanes& w,
           int64_t rows, int64_t panels)
      : k_(k), a_(a), layout_(layout), w_(w), rows_(rows), panels_(panels) {}

  /// acc + what the group from `at` on adds; `each` before each of its sub-blocks.
  Values addGroup(Value at, Values acc, const std::function<void(Value)>& each) {
    Values sums, mins;
    if (w_.period() == layout_.group) {
      each(k_.ci(0));
      sums = dots(at);
    } else {
      sums = sumSubBlocks(at, each);
      mins = sumMins(at);
    }
    Value group = k_.div(at, layout_.group);
    for (int64_t q = 0; q < panels_; ++q) {
      Value scale = w_.load(k_, PlaneRole::kScales, group, q);
      Value min = w_.load(k_, PlaneRole::kMins, group, q);
      for (int64_t i = 0; i < rows_; ++i) {
        Value& c = acc[i * panels_ + q];
        Value xScale = number(k_.f32(), layout_.scalesAt, group, i);
        c = k_.fma(toFloat(sums[i * panels_ + q]), k_.mulf(scale, xScale), c);
        if (!mins.empty())
          c = k_.fma(toFloat(mins[i * panels_ + q]), k_.mulf(min, xScale), c);
        else if (min)
          c = k_.fma(min, number(k_.f32(), layout_.sumsAt, group, i), c);
      }
    }
    return acc;
  }

 private:
  Value toFloat(Value v) { return arith::SIToFPOp::create(k_.builder(), v.getLoc(), k_.vec(), v); }
  /// Number `index` of row `row`, to all lanes.
  Value number(Type type, int64_t at, Value index, int64_t row) {
    Value from = k_.offset(a_.base, row * a_.strideBytes + at);
    return k_.broadcast(k_.load(type, k_.offset(from, k_.mul(index, 4)), 4));
  }
  Type i32() { return k_.builder().getI32Type(); }

  /// Of the (sub-)block from `at` on: sums of the weights' quants times q.
  Values dots(Value at) {
    Values sums;
    for (int64_t i = 0; i < rows_; ++i) {
      Value begin = layout_.sums == Int8Layout::Sums::offsets
                        ? number(i32(), layout_.sumsAt, k_.div(at, layout_.period), i)
                        : k_.splatWord(0);
      sums.append(panels_, begin);
    }
    for (int64_t j = 0; j < layout_.period; j += w_.perStep()) {
      SmallVector<Values> weights;
      for (int64_t q = 0; q < panels_; ++q) weights.push_back(w_.bytes(k_, at, j, q));
      for (int64_t g = 0; g < w_.perStep() / 4; ++g)
        for (int64_t i = 0; i < rows_; ++i) {
          Value from = k_.offset(k_.offset(a_.base, at), i * a_.strideBytes + j + 4 * g);
          Value x = k_.broadcast(k_.load(i32(), from, 4));
          for (int64_t q = 0; q < panels_; ++q) {
            Value& sum = sums[i * panels_ + q];
            sum = k_.dotBytes(weights[q][g], x, sum, w_.bytesAreSigned(k_.target()));
          }
        }
    }
    return sums;
  }

  /// Of a group in sub-blocks: its sums.
  Values sumSubBlocks(Value at, const std::function<void(Value)>& each) {
    const Values zeros(rows_ * panels_, k_.splatWord(0));
    return k_.loop(k_.ci(0), k_.ci(layout_.group), layout_.period, zeros,
                   [&](Value k0, ValueRange carried) {
                     each(k0);
                     Values next(carried);
                     Value from = k_.add(at, k0), sub = k_.div(from, layout_.period);
                     const Values parts = dots(from);
                     for (int64_t q = 0; q < panels_; ++q) {
                       Value scale = w_.subScaleAndMin(k_, sub, q).scale;
                       for (int64_t i = 0; i < rows_; ++i) {
                         Value& sum = next[i * panels_ + q];
                         sum = k_.add(sum, k_.mul(parts[i * panels_ + q], scale));
                       }
                     }
                     return next;
                   });
  }

  /// Of a group in sub-blocks: the sums of its minimums, or nothing where it has none. They are
  /// apart from sumSubBlocks() to leave it their registers, and as a pair takes one instruction.
  Values sumMins(Value at) {
    if (layout_.sums != Int8Layout::Sums::pairs) return {};
    Values sums(rows_ * panels_, k_.splatWord(0));
    Value sub = k_.div(at, layout_.period);
    for (int64_t pair = 0; pair < layout_.group / layout_.period / 2; ++pair) {
      Value first = k_.add(sub, 2 * pair);
      Values mins;
      for (int64_t q = 0; q < panels_; ++q) mins.push_back(w_.subMinPairs(k_, first, q));
      for (int64_t i = 0; i < rows_; ++i) {
        Value from = k_.offset(a_.base, i * a_.strideBytes + layout_.sumsAt);
        Value xs = k_.broadcast(k_.load(i32(), k_.offset(from, k_.mul(first, 2)), 4));
        for (int64_t q = 0; q < panels_; ++q) {
          Value& sum = sums[i * panels_ + q];
          sum = k_.dotPairs(mins[q], xs, sum);
        }
      }
    }
    return sums;
  }

  KernelBuilder& k_;
  const Rows& a_;
  const Int8Layout& layout_;
  const QuantPlanes& w_;
  const int64_t rows_, panels_;
};

}  // namespace

Values multiplyInt8(KernelBuilder& k, const Rows& a, const Int8Layout& layout, const Panels& b,
                    int64_t rows, int64_t panels, int64_t kCount, Values acc,
                    const std::function<void(Value)>& each,
                    const std::function<void(Value)>& eachGroup) {
  if (hasSdot(k.target()))
    return multiplyInt8Neon(k, a, layout, b, rows, panels, kCount, acc, each, eachGroup);
  Int8Tile tile(k, a, layout, b.quants, rows, panels);
  return k.loop(k.ci(0), k.ci(kCount), layout.group, acc, [&](Value k0, ValueRange state) {
    if (eachGroup) eachGroup(k0);
    Value at = b.firstK ? k.add(b.firstK, k0) : k0;
    return tile.addGroup(at, Values(state), [&](Value sub) {
      if (each) each(k.add(k0, sub));
    });
  });
}

}  // namespace llmc::cpu
