// Mamba-2's state space layer (arXiv 2405.21060), in its recurrent form whatever the step.
//
// A tile is some columns of one head's state and all rows of the step: LinearAttention.cpp. A state
// of H heads of N x P has 5 H N P FLOPs per token; the projections around it have about 20 times as
// many, so prefill gains little by products of chunks, and would have other bits than decode.
#include "codegen/cpu/Kernels.h"
#include "codegen/cpu/Math.h"
#include "codegen/cpu/Recurrent.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace llmc::cpu {

namespace {

/// Per token of a head, with t its time step and a decay of exp(A t):
///     S = decay S + B (t x)^T; y = S^T C + d x
/// A single token works on its slot in place: each element is read and written once. More tokens
/// work on a copy, whose columns lie together: a state's rows are so far apart that its columns
/// would fall on few sets of the cache.
class SsdFrame {
 public:
  SsdFrame(KernelBuilder& k, llm::SsdOp op)
      : k_(k),
        heads_(op.getHeads()),
        isRate_(op.getRate()),
        gated_(op.getGate() != nullptr),
        parts_(op.getTiling(k.shape().kind).tiles / heads_.heads),
        columns_(heads_.headDim / parts_),
        lanes_(lanesFor(columns_)),
        vectors_(std::min<int64_t>(columns_ / lanes_, kMostVectors)) {
    while (columns_ / lanes_ % vectors_) --vectors_;
    if (op.getFrom()) from_ = float(op.getFrom()->convertToDouble());
    if (op.getTo()) to_ = float(op.getTo()->convertToDouble());
    copy_ = k.scratch(heads_.stateSize * columns_ * 4);
  }

  void emit() {
    const int64_t headElements = heads_.stateSize * heads_.headDim;
    k_.loop(k_.tileBegin(), k_.tileEnd(), 1, [&](Value tile) {
      Value head = k_.div(tile, parts_), column = k_.mul(k_.rem(tile, parts_), columns_);
      // A, which is negative.
      Value a = ofHeads("a", head);
      if (!isRate_) a = k_.negf(emitExp(k_, a));
      forSequences(k_, heads_.heads * headElements, [&](Value first, Value end, Value slot) {
        Value columns = k_.offset(slot, k_.mul(k_.add(k_.mul(head, headElements), column), 4));
        auto fetch = [&] {
          copyColumns(k_, heads_.stateSize, columns_, columns, heads_.headDim, copy_, columns_);
        };
        State state{copy_, k_.ci(columns_ * 4)};
        auto token = [&](Value r) { emitToken(r, head, column, a, state); };
        if (verifies(k_)) {
          forTree(k_, first, end, fetch, token);
          return;
        }
        Value many = k_.cmp(arith::CmpIPredicate::sgt, end, k_.add(first, 1));
        state = {k_.select(many, copy_, columns),
                 k_.select(many, state.rowBytes, k_.ci(heads_.headDim * 4))};
        k_.ifThen(many, fetch);
        k_.loop(first, end, 1, token);
        k_.ifThen(many, [&] {
          copyColumns(k_, heads_.stateSize, columns_, copy_, columns_, columns, heads_.headDim);
        });
      });
    });
  }

 private:
  /// Vectors of columns that are worked on at once: DeltaFrame.
  static constexpr int64_t kMostVectors = 2;

  /// The tile's columns.
  struct State {
    Value base, rowBytes;
  };

  /// The head's of numbers that the model has.
  Value ofHeads(StringRef operand, Value head) {
    return k_.loadF32(k_.offset(k_.operand(operand), k_.mul(head, 4)), 1);
  }

  void emitToken(Value r, Value head, Value column, Value a, const State& state) {
    Value dt = k_.loadF32(k_.offset(k_.rowOf("dt", r), k_.mul(head, 4)), 1);
    Value time = emitSoftplus(k_, k_.addf(dt, ofHeads("dt_bias", head)));
    if (from_) time = k_.maxf(time, k_.splat(*from_, 1));
    if (to_) time = k_.negf(k_.maxf(k_.negf(time), k_.splat(-*to_, 1)));
    const Token token{everyLane(time), everyLane(emitExp(k_, k_.mulf(a, time))),
                      everyLane(ofHeads("d", head))};

    Value row = k_.rowOf("xbc", r);
    Value group = k_.div(head, heads_.heads / heads_.groups);
    Value b = k_.rowPtr(k_.offset(row, heads_.heads * heads_.headDim * 4), group, heads_.stateSize);
    Value c = k_.offset(b, heads_.groups * heads_.stateSize * 4);
    auto columnsOf = [&](Value base) {
      return k_.offset(k_.rowPtr(base, head, heads_.headDim), k_.mul(column, 4));
    };
    Value x = columnsOf(row), y = columnsOf(k_.rowOf("y", r));
    Value gate = gated_ ? columnsOf(k_.rowOf("gate", r)) : Value();
    k_.loop(k_.ci(0), k_.ci(columns_ * 4), vectors_ * lanes_ * 4, [&](Value at) {
      emitColumns({k_.offset(state.base, at), state.rowBytes}, b, c, k_.offset(x, at),
                  gate ? k_.offset(gate, at) : gate, k_.offset(y, at), token);
    });
  }

  /// In every lane.
  struct Token {
    Value time, decay, d;
  };
  Value everyLane(Value number) { return k_.broadcast(k_.extract(number, 0), lanes_); }

  /// vectors_ vectors of columns. The pointers are those of the first.
  void emitColumns(const State& state, Value b, Value c, Value x, Value gate, Value y,
                   const Token& token) {
    auto load = [&](Value base, int64_t v) {
      return k_.loadF32(k_.offset(base, v * lanes_ * 4), lanes_);
    };
    auto element = [&](Value vector, Value i) {
      return k_.broadcast(k_.loadScalar(k_.offset(vector, k_.mul(i, 4))), lanes_);
    };
    Values input;
    for (int64_t v = 0; v < vectors_; ++v) input.push_back(k_.mulf(token.time, load(x, v)));
    const Values none(vectors_, k_.splat(0.0f, lanes_));
    Values sums =
        k_.loop(k_.ci(0), k_.ci(heads_.stateSize), 1, none, [&](Value i, ValueRange before) {
          Value bi = element(b, i), ci = element(c, i);
          Value row = k_.offset(state.base, k_.mul(i, state.rowBytes));
          Values next;
          for (int64_t v = 0; v < vectors_; ++v) {
            Value s = k_.fma(bi, input[v], k_.mulf(token.decay, load(row, v)));
            k_.store(s, k_.offset(row, v * lanes_ * 4), 4);
            next.push_back(k_.fma(s, ci, before[v]));
          }
          return next;
        });
    for (int64_t v = 0; v < vectors_; ++v) {
      Value out = k_.fma(token.d, load(x, v), sums[v]);
      if (gate) out = k_.mulf(out, load(gate, v));
      k_.store(out, k_.offset(y, v * lanes_ * 4), 4);
    }
  }

  KernelBuilder& k_;
  const llm::SsdHeads heads_;
  const bool isRate_, gated_;
  const int64_t parts_, columns_, lanes_;  // tiles of a head; columns of a tile
  int64_t vectors_;
  std::optional<float> from_, to_;  // bounds of time steps
  Value copy_;                      // [stateSize, columns_]
};

}  // namespace

void emitSsd(KernelBuilder& k, llm::SsdOp op) { SsdFrame(k, op).emit(); }

}  // namespace llmc::cpu
