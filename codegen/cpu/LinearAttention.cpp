// Linear attention by the gated delta rule (arXiv 2412.06464) and its short convolution: what reads
// and writes recurrent states.
//
// A tile is some columns of a state and all rows of the step. Rows of one sequence are adjacent, so
// a tile takes the sequences one after another, and the tokens of each in order. Columns do not
// meet in any sum, so how they are cut into tiles and vectors does not show in the bits.
//
// In verify steps the rows are tokens of trees, and the slots are only read. Each row goes the way
// from its sequence's last token through its ancestors, with the operations of decode.
#include <cmath>

#include "codegen/cpu/Kernels.h"
#include "codegen/cpu/Math.h"
#include "codegen/cpu/Multiply.h"
#include "codegen/cpu/Recurrent.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace llmc::cpu {

namespace {

/// Some columns of one sequence at a time: what came before stays in registers.
class ConvFrame {
 public:
  ConvFrame(KernelBuilder& k, llm::CausalConvOp op)
      : k_(k),
        width_(llm::widthOf(op.getX())),
        matrix_(llm::matrixOf(op, op.getWeightAttr())),
        taps_(matrix_.rows),
        lanes_(lanesFor(width_)),
        activation_(op.getActivation()),
        bias_(k.operandIf(op.getBiasAttr(), "bias")),
        gated_(op.getGate() != nullptr) {}

  void emit() {
    Value begin = k_.mul(k_.tileBegin(), llm::kConvColumns);
    Value end = k_.min(k_.mul(k_.tileEnd(), llm::kConvColumns), k_.ci(width_));
    forSequences(k_, (taps_ - 1) * width_, [&](Value first, Value last, Value slot) {
      k_.loop(begin, end, lanes_, [&](Value column) {
        if (verifies(k_))
          emitTree(column, first, last, slot);
        else
          emitTokens(column, first, last, slot);
      });
    });
  }

 private:
  Value at(Value rows, int64_t row, Value column) {
    return k_.offset(k_.offset(rows, row * width_ * 4), k_.mul(column, 4));
  }

  /// Oldest first, as `window` of emitRow.
  Values weightsOf(Value column) {
    Values weights;
    for (int64_t t = 0; t < taps_; ++t) {
      const WeightRow tap = weightRow(k_, k_.operand("weight"), llm::weightFormatOf(matrix_.type),
                                      taps_, width_, /*inPanels=*/false, k_.ci(t));
      weights.push_back(tap.load(k_, column, lanes_));
    }
    return weights;
  }

  /// y of row r, from it and the tokens before it.
  void emitRow(Value r, Value column, const Values& window, const Values& weights) {
    Value sum = k_.mulf(window[0], weights[0]);
    for (int64_t t = 1; t < taps_; ++t) sum = k_.fma(window[t], weights[t], sum);
    if (bias_) sum = k_.addf(sum, k_.loadF32(at(bias_, 0, column), lanes_));
    Value y = emitActivationValue(k_, activation_, sum);
    if (gated_) y = k_.mulf(y, k_.loadF32(at(k_.rowOf("gate", r), 0, column), lanes_));
    k_.store(y, at(k_.rowOf("y", r), 0, column), 4);
  }

  void emitTokens(Value column, Value first, Value end, Value slot) {
    const Values weights = weightsOf(column);
    Values past;
    for (int64_t t = 0; t + 1 < taps_; ++t) past.push_back(k_.loadF32(at(slot, t, column), lanes_));
    past = k_.loop(first, end, 1, past, [&](Value r, ValueRange state) {
      Values window(state);
      window.push_back(k_.loadF32(at(k_.rowOf("x", r), 0, column), lanes_));
      emitRow(r, column, window, weights);
      window.erase(window.begin());
      return window;
    });
    for (int64_t t = 0; t + 1 < taps_; ++t) k_.store(past[t], at(slot, t, column), 4);
  }

  void emitTree(Value column, Value first, Value end, Value slot) {
    const Values weights = weightsOf(column);
    k_.loop(first, end, 1, [&](Value r) {
      Values window(taps_);
      window.back() = k_.loadF32(at(k_.rowOf("x", r), 0, column), lanes_);
      Value token = r,
            kept = k_.ci(taps_ - 1);  // rows of the state that are left, the last one next
      for (int64_t t = taps_ - 2; t >= 0; --t) {
        token = parentOf(k_, token);
        Value before = k_.cmp(arith::CmpIPredicate::slt, token, k_.ci(0));
        kept = k_.select(before, k_.add(kept, -1), kept);
        // An ancestor's x, or what the state has.
        Value row = k_.rowOf("x", k_.max(token, k_.ci(0)));
        Value from = k_.select(before, k_.rowPtr(slot, kept, width_), row);
        window[t] = k_.loadF32(at(from, 0, column), lanes_);
      }
      emitRow(r, column, window, weights);
    });
  }

  KernelBuilder& k_;
  const int64_t width_;
  const llm::Matrix matrix_;
  const int64_t taps_, lanes_;
  const llm::ActivationKind activation_;
  const Value bias_;  // null: none
  const bool gated_;
};

/// Some columns of the state of one head of v. They are copied to scratch, where they lie together:
/// a state's rows are so far apart that its columns would fall on few sets of the cache. Per token
/// they are read there twice and written once:
///     d = sigmoid(beta) (v - decay (k^T S)); S = decay S + k d; y = q^T S
class DeltaFrame {
 public:
  DeltaFrame(KernelBuilder& k, llm::GatedDeltaOp op)
      : k_(k),
        heads_(op.getHeads()),
        tiled_(op.getTiled()),
        eps_(float(op.getEps().convertToDouble())),
        parts_(op.getTiling(k.shape().kind).tiles / heads_.valueHeads),
        columns_(heads_.valueDim / parts_),
        lanes_(lanesFor(columns_)),
        vectors_(std::min<int64_t>(columns_ / lanes_, kMostVectors)) {
    while (columns_ / lanes_ % vectors_) --vectors_;
    state_ = k.scratch(heads_.keyDim * columns_ * 4);
    query_ = k.scratch(heads_.keyDim * 4);
    key_ = k.scratch(heads_.keyDim * 4);
  }

  void emit() {
    const int64_t slotElements = heads_.valueHeads * heads_.keyDim * heads_.valueDim;
    k_.loop(k_.tileBegin(), k_.tileEnd(), 1, [&](Value tile) {
      Value head = k_.div(tile, parts_), column = k_.mul(k_.rem(tile, parts_), columns_);
      Value rate = emitExp(k_, k_.loadF32(k_.offset(k_.operand("a_log"), k_.mul(head, 4)), 1));
      forSequences(k_, slotElements, [&](Value first, Value end, Value slot) {
        Value element = k_.add(k_.mul(head, heads_.keyDim * heads_.valueDim), column);
        Value columns = k_.offset(slot, k_.mul(element, 4));
        auto copy = [&](Value from, int64_t fromStride, Value to, int64_t toStride) {
          copyColumns(k_, heads_.keyDim, columns_, from, fromStride, to, toStride);
        };
        auto begin = [&] { copy(columns, heads_.valueDim, state_, columns_); };
        auto token = [&](Value r) { emitToken(r, head, column, rate); };
        if (verifies(k_)) {
          forTree(k_, first, end, begin, token);
        } else {
          begin();
          k_.loop(first, end, 1, token);
          copy(state_, columns_, columns, heads_.valueDim);
        }
      });
    });
  }

 private:
  /// Vectors of columns that are worked on at once: enough for the latency of their sums, few
  /// enough for 16 registers of half the width.
  static constexpr int64_t kMostVectors = 2;

  /// to[0..keyDim) = x / sqrt(|x|^2 + eps) * factor
  void normalise(Value x, Value to, float factor) {
    const int64_t lanes = lanesFor(heads_.keyDim);  // nothing behind a head is touched
    Value begin = k_.ci(0), end = k_.ci(heads_.keyDim * 4);
    const Values none = {k_.splat(0.0f, lanes)};
    Value sum = k_.loop(begin, end, lanes * 4, none, [&](Value at, ValueRange state) {
      Value v = k_.loadF32(k_.offset(x, at), lanes);
      return Values{k_.fma(v, v, state[0])};
    })[0];
    Value norm = k_.sqrtf(k_.addf(k_.reduceAdd(sum), k_.cf(eps_)));
    Value scale = k_.broadcast(k_.divf(k_.cf(1.0f), norm), lanes);
    k_.loop(begin, end, lanes * 4, [&](Value at) {
      Value v = k_.mulf(k_.loadF32(k_.offset(x, at), lanes), scale);
      if (factor != 1.0f) v = k_.mulf(v, k_.splat(factor, lanes));
      k_.store(v, k_.offset(to, at), 4);
    });
  }

  /// A number that row r has for the head.
  Value ofHead(StringRef operand, Value r, Value head) {
    return k_.loadF32(k_.offset(k_.rowOf(operand, r), k_.mul(head, 4)), 1);
  }

  void emitToken(Value r, Value head, Value column, Value rate) {
    Value row = k_.rowOf("qkv", r);
    Value keyHead =
        tiled_ ? k_.rem(head, heads_.keyHeads) : k_.div(head, heads_.valueHeads / heads_.keyHeads);
    Value q = k_.rowPtr(row, keyHead, heads_.keyDim);
    normalise(q, query_, float(1.0 / std::sqrt(double(heads_.keyDim))));
    normalise(k_.offset(q, heads_.keyHeads * heads_.keyDim * 4), key_, 1.0f);

    Value bias = k_.loadF32(k_.offset(k_.operand("dt_bias"), k_.mul(head, 4)), 1);
    Value time = emitSoftplus(k_, k_.addf(ofHead("gate", r, head), bias));
    Value decay = everyLane(emitExp(k_, k_.negf(k_.mulf(rate, time))));
    Value beta = everyLane(emitSigmoid(k_, ofHead("beta", r, head)));

    Value values = k_.offset(row, 2 * heads_.keyHeads * heads_.keyDim * 4);
    values = k_.offset(k_.rowPtr(values, head, heads_.valueDim), k_.mul(column, 4));
    Value out = k_.rowPtr(k_.rowOf("y", r), head, heads_.valueDim);
    out = k_.offset(out, k_.mul(column, 4));
    k_.loop(k_.ci(0), k_.ci(columns_), vectors_ * lanes_, [&](Value c) {
      Value at = k_.mul(c, 4);
      emitColumns(k_.offset(state_, at), k_.offset(values, at), k_.offset(out, at), decay, beta);
    });
  }

  Value everyLane(Value number) { return k_.broadcast(k_.extract(number, 0), lanes_); }

  /// vectors_ vectors of columns. The pointers are those of the first.
  void emitColumns(Value state, Value values, Value out, Value decay, Value beta) {
    auto vectorAt = [&](Value base, int64_t v) { return k_.offset(base, v * lanes_ * 4); };
    auto element = [&](Value vector, Value i) {
      return k_.broadcast(k_.loadScalar(k_.offset(vector, k_.mul(i, 4))), lanes_);
    };
    const Values none(vectors_, k_.splat(0.0f, lanes_));
    Values known = k_.loop(k_.ci(0), k_.ci(heads_.keyDim), 1, none, [&](Value i, ValueRange sums) {
      Value key = element(key_, i), rowOfState = k_.rowPtr(state, i, columns_);
      Values next;
      for (int64_t v = 0; v < vectors_; ++v)
        next.push_back(k_.fma(k_.loadF32(vectorAt(rowOfState, v), lanes_), key, sums[v]));
      return next;
    });
    Values delta;
    for (int64_t v = 0; v < vectors_; ++v) {
      Value error = k_.subf(k_.loadF32(vectorAt(values, v), lanes_), k_.mulf(decay, known[v]));
      delta.push_back(k_.mulf(beta, error));
    }
    Values y = k_.loop(k_.ci(0), k_.ci(heads_.keyDim), 1, none, [&](Value i, ValueRange sums) {
      Value key = element(key_, i), query = element(query_, i);
      Value rowOfState = k_.rowPtr(state, i, columns_);
      Values next;
      for (int64_t v = 0; v < vectors_; ++v) {
        Value at = vectorAt(rowOfState, v);
        Value s = k_.fma(key, delta[v], k_.mulf(decay, k_.loadF32(at, lanes_)));
        k_.store(s, at, 4);
        next.push_back(k_.fma(s, query, sums[v]));
      }
      return next;
    });
    for (int64_t v = 0; v < vectors_; ++v) k_.store(y[v], vectorAt(out, v), 4);
  }

  KernelBuilder& k_;
  const llm::DeltaHeads heads_;
  const bool tiled_;
  const float eps_;
  const int64_t parts_, columns_, lanes_;  // tiles of a head; columns of a tile
  int64_t vectors_;
  Value state_;        // [keyDim, columns_]
  Value query_, key_;  // [keyDim], normalised
};

}  // namespace

void emitCausalConv(KernelBuilder& k, llm::CausalConvOp op) { ConvFrame(k, op).emit(); }
void emitGatedDelta(KernelBuilder& k, llm::GatedDeltaOp op) { DeltaFrame(k, op).emit(); }

}  // namespace llmc::cpu
