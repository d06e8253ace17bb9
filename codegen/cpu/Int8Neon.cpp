#include "codegen/cpu/Int8Neon.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;

namespace llmc::cpu {

using llmrt::PlaneRole;

namespace {

// A register has four words: of weights four outputs' four values of k, of a row 16 values of k.
constexpr int64_t kWords = 4, kRowValues = 16;

/// Rows from which on smmla takes fewer instructions than sdot. It does the work of two, but takes
/// the values of k in eights, which a zip for each register of weights makes of our fours: of 32
/// values of k and 16 outputs, two rows of q8_0 are 32 smmla and 32 zips, or 64 sdot.
constexpr int64_t kPairedRows = 4;

/// Sums of integers that stay in registers beside weights, rows and scales.
constexpr int64_t kSums = 16;

/// Some rows and outputs of a tile, in vectors of four numbers: four outputs of one row for sdot,
/// or two outputs of each of two rows for smmla.
class NeonTile {
 public:
  /// Outputs [4 * first, 4 * (first + count)) of the panels.
  NeonTile(KernelBuilder& k, const Rows& a, const Int8Layout& layout, const QuantPlanes& w,
           int64_t rows, int64_t first, int64_t count)
      : k_(k),
        a_(a),
        layout_(layout),
        w_(w),
        rows_(rows),
        first_(first),
        count_(count),
        paired_(k.target().bytes == ByteInstructions::neonMatrix && rows >= kPairedRows),
        units_(paired_ ? (rows + 1) / 2 : rows),
        columns_(paired_ ? 2 * count : count) {}

  /// The tile's accumulators of those of all panels, and back.
  Values take(const Values& acc, int64_t panels) {
    Values out;
    for (int64_t u = 0; u < units_; ++u)
      for (int64_t c = 0; c < columns_; ++c) {
        const int64_t output = outputOf(c), lane = output % kLanes;
        auto of = [&](int64_t row) { return acc[row * panels + output / kLanes]; };
        out.push_back(paired_ ? shuffle(of(rowOf(u, 0)), of(rowOf(u, 1)),
                                        {lane, lane + 1, kLanes + lane, kLanes + lane + 1})
                              : shuffle(of(u), of(u), {lane, lane + 1, lane + 2, lane + 3}));
      }
    return out;
  }
  void give(const Values& sums, Values& acc, int64_t panels) {
    for (int64_t row = 0; row < rows_; ++row)
      for (int64_t r = 0; r < count_; ++r) {
        Value words = paired_ ? Value() : sums[row * columns_ + r];
        if (paired_) {
          const int64_t at = row / 2 * columns_ + 2 * r, half = row % 2 * 2;
          words = shuffle(sums[at], sums[at + 1], {half, half + 1, 4 + half, 5 + half});
        }
        const int64_t output = (first_ + r) * kWords;
        Value& to = acc[row * panels + output / kLanes];
        to = vector::InsertStridedSliceOp::create(k_.builder(), words.getLoc(), words, to,
                                                  ArrayRef<int64_t>{output % kLanes},
                                                  ArrayRef<int64_t>{1});
      }
  }

  /// acc + what the group from `at` on adds; `each` before each of its sub-blocks.
  Values addGroup(Value at, Values acc, const std::function<void(Value)>& each) {
    Values sums, mins;
    if (layout_.period == layout_.group) {
      each(k_.ci(0));
      sums = dots(at);
    } else {
      std::tie(sums, mins) = sumSubBlocks(at, each);
    }
    Value group = k_.div(at, layout_.group);
    const Values scale =
        spread([&](int64_t q) { return w_.load(k_, PlaneRole::kScales, group, q); });
    const Values min = spread([&](int64_t q) { return w_.load(k_, PlaneRole::kMins, group, q); });
    for (int64_t u = 0; u < units_; ++u) {
      Value xScale = numbers(k_.f32(), layout_.scalesAt, group, u), xSum;
      if (!min.empty() && mins.empty()) xSum = numbers(k_.f32(), layout_.sumsAt, group, u);
      for (int64_t c = 0; c < columns_; ++c) {
        const int64_t at = u * columns_ + c;
        acc[at] = k_.fma(toFloat(sums[at]), k_.mulf(scale[c], xScale), acc[at]);
        if (xSum)
          acc[at] = k_.fma(min[c], xSum, acc[at]);
        else if (!mins.empty())
          acc[at] = k_.fma(toFloat(mins[at]), k_.mulf(min[c], xScale), acc[at]);
      }
    }
    return acc;
  }

 private:
  /// Of a pair the rows; of an odd number of them the last pairs with itself.
  int64_t rowOf(int64_t unit, int64_t i) const {
    return paired_ ? std::min(2 * unit + i, rows_ - 1) : unit;
  }
  /// The first output of a column.
  int64_t outputOf(int64_t column) const {
    return first_ * kWords + column * (paired_ ? 2 : kWords);
  }

  Type words() { return k_.vecI(kWords, 32); }
  Type i32() { return k_.builder().getI32Type(); }
  Value toFloat(Value v) {
    return arith::SIToFPOp::create(k_.builder(), v.getLoc(), k_.vec(kWords), v);
  }
  Value shuffle(Value a, Value b, ArrayRef<int64_t> lanes) {
    return vector::ShuffleOp::create(k_.builder(), a.getLoc(), a, b, lanes);
  }
  Value multiplyBytes(const char* instruction, Value sum, Value a, Value b) {
    auto bytes = [&](Value v) { return k_.bitcast(k_.vecI(kWords * 4, 8), v); };
    return k_.intrinsic(Twine("llvm.aarch64.neon.") + instruction + ".v4i32.v16i8", words(),
                        {sum, bytes(a), bytes(b)});
  }

  Value rowAt(int64_t row, int64_t bytes) {
    return k_.offset(a_.base, row * a_.strideBytes + bytes);
  }
  /// Number `index` of the rows of a unit, in each column.
  Value numbers(Type type, int64_t at, Value index, int64_t unit) {
    auto of = [&](int64_t row) {
      return k_.broadcast(k_.load(type, k_.offset(rowAt(row, at), k_.mul(index, 4)), 4), kWords);
    };
    return paired_ ? shuffle(of(rowOf(unit, 0)), of(rowOf(unit, 1)), {0, 1, 4, 5}) : of(unit);
  }
  /// What each output has, in the columns; empty where `of` a panel is null.
  Values spread(const std::function<Value(int64_t panel)>& of) {
    Values out, panels;
    for (int64_t c = 0; c < columns_; ++c) {
      const int64_t panel = outputOf(c) / kLanes, lane = outputOf(c) % kLanes;
      if (c == 0 || lane == 0) panels.push_back(of(panel));
      Value v = panels.back();
      if (!v) return {};
      out.push_back(paired_ ? shuffle(v, v, {lane, lane + 1, lane, lane + 1})
                            : shuffle(v, v, {lane, lane + 1, lane + 2, lane + 3}));
    }
    return out;
  }

  /// Of the kRowValues quants from `at` + j on: [word][register of four outputs].
  SmallVector<Values> weights(Value at, int64_t j) {
    SmallVector<Values> out(kRowValues / 4);
    for (int64_t first = 0; first < kRowValues; first += w_.perStep()) {
      SmallVector<Values> panels;
      for (int64_t r = first_; r < first_ + count_; ++r) {
        if (r == first_ || r % 4 == 0) panels.push_back(w_.bytes(k_, at, j + first, r / 4));
        const int64_t lane = r % 4 * kWords;
        for (int64_t g = 0; g < w_.perStep() / 4; ++g) {
          Value v = panels.back()[g];
          out[first / 4 + g].push_back(shuffle(v, v, {lane, lane + 1, lane + 2, lane + 3}));
        }
      }
    }
    return out;
  }

  /// Of the (sub-)block from `at` on: sums of the weights' quants times q.
  Values dots(Value at) {
    Values sums;
    for (int64_t u = 0; u < units_; ++u) {
      Value zero = arith::ConstantOp::create(
          k_.builder(), at.getLoc(), DenseElementsAttr::get(cast<VectorType>(words()), int32_t{0}));
      sums.append(columns_, layout_.sums == Int8Layout::Sums::offsets
                                ? numbers(i32(), layout_.sumsAt, k_.div(at, layout_.period), u)
                                : zero);
    }
    for (int64_t j = 0; j < layout_.period; j += kRowValues) {
      const SmallVector<Values> right = weights(at, j);
      paired_ ? addPairs(at, j, right, sums) : addRows(at, j, right, sums);
    }
    return sums;
  }

  /// A lane of 16 values of a row is broadcast by sdot itself.
  void addRows(Value at, int64_t j, const SmallVector<Values>& right, Values& sums) {
    for (int64_t row = 0; row < rows_; ++row) {
      Value x = k_.load(words(), k_.offset(rowAt(row, j), at), 4);
      for (int64_t g = 0; g < kRowValues / 4; ++g)
        for (int64_t c = 0; c < columns_; ++c) {
          Value& sum = sums[row * columns_ + c];
          sum = multiplyBytes("sdot", sum, right[g][c], shuffle(x, x, {g, g, g, g}));
        }
    }
  }

  /// smmla: eight values of k of two rows times those of two outputs.
  void addPairs(Value at, int64_t j, const SmallVector<Values>& right, Values& sums) {
    SmallVector<Values> outputs(2);  // [eight values of k][column]
    for (int64_t h = 0; h < 2; ++h)
      for (int64_t r = 0; r < count_; ++r) {
        Value low = right[2 * h][r], high = right[2 * h + 1][r];
        outputs[h].push_back(shuffle(low, high, {0, 4, 1, 5}));
        outputs[h].push_back(shuffle(low, high, {2, 6, 3, 7}));
      }
    for (int64_t u = 0; u < units_; ++u) {
      Value x[2];
      for (int64_t i = 0; i < 2; ++i)
        x[i] = k_.load(words(), k_.offset(rowAt(rowOf(u, i), j), at), 4);
      for (int64_t h = 0; h < 2; ++h) {
        Value pair = shuffle(x[0], x[1], {2 * h, 2 * h + 1, 4 + 2 * h, 5 + 2 * h});
        for (int64_t c = 0; c < columns_; ++c) {
          Value& sum = sums[u * columns_ + c];
          sum = multiplyBytes("smmla", sum, pair, outputs[h][c]);
        }
      }
    }
  }

  /// Of a group in sub-blocks: its sums, and those of its minimums where it has any.
  std::pair<Values, Values> sumSubBlocks(Value at, const std::function<void(Value)>& each) {
    const int64_t outputs = units_ * columns_;
    const bool hasMins = layout_.sums == Int8Layout::Sums::plain;
    Value zero = arith::ConstantOp::create(
        k_.builder(), at.getLoc(), DenseElementsAttr::get(cast<VectorType>(words()), int32_t{0}));
    Values state(hasMins ? 2 * outputs : outputs, zero);
    state = k_.loop(
        k_.ci(0), k_.ci(layout_.group), layout_.period, state, [&](Value k0, ValueRange carried) {
          each(k0);
          Values next(carried);
          Value from = k_.add(at, k0), sub = k_.div(from, layout_.period);
          const Values parts = dots(from);
          const Values scale =
              spread([&](int64_t q) { return w_.subScaleAndMin(k_, sub, q).scale; });
          const Values min = spread([&](int64_t q) { return w_.subScaleAndMin(k_, sub, q).min; });
          for (int64_t u = 0; u < units_; ++u) {
            Value qs = hasMins ? numbers(i32(), layout_.sumsAt, sub, u) : Value();
            for (int64_t c = 0; c < columns_; ++c) {
              Value& sum = next[u * columns_ + c];
              sum = k_.add(sum, k_.mul(parts[u * columns_ + c], scale[c]));
              if (!hasMins) continue;
              Value& minSum = next[outputs + u * columns_ + c];
              minSum = k_.add(minSum, k_.mul(qs, min[c]));
            }
          }
          return next;
        });
    return {Values(state.begin(), state.begin() + outputs),
            Values(state.begin() + outputs, state.end())};
  }

  KernelBuilder& k_;
  const Rows& a_;
  const Int8Layout& layout_;
  const QuantPlanes& w_;
  const int64_t rows_, first_, count_;
  const bool paired_;
  const int64_t units_, columns_;
};

}  // namespace

Values multiplyInt8Neon(KernelBuilder& k, const Rows& a, const Int8Layout& layout, const Panels& b,
                        int64_t rows, int64_t panels, int64_t kCount, Values acc,
                        const std::function<void(Value)>& each,
                        const std::function<void(Value)>& eachGroup) {
  // Of more rows a part of the outputs at a time: the weights' second pass finds them in the cache.
  const int64_t all = panels * kLanes / kWords;
  int64_t atOnce = all;
  while (atOnce > 1 && rows * atOnce > kSums) atOnce /= 2;
  for (int64_t first = 0; first < all; first += atOnce) {
    NeonTile tile(k, a, layout, b.quants, rows, first, std::min(atOnce, all - first));
    auto body = [&](Value k0, ValueRange state) {
      if (eachGroup && first == 0) eachGroup(k0);
      Value at = b.firstK ? k.add(b.firstK, k0) : k0;
      return tile.addGroup(at, Values(state), [&](Value sub) {
        if (each && first == 0) each(k.add(k0, sub));
      });
    };
    tile.give(k.loop(k.ci(0), k.ci(kCount), layout.group, tile.take(acc, panels), body), acc,
              panels);
  }
  return acc;
}

}  // namespace llmc::cpu
