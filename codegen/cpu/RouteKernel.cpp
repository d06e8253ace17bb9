// Which experts a row goes to. One row is a tile: a few thousand comparisons beside products of
// millions.
#include "codegen/cpu/Kernels.h"
#include "codegen/cpu/Math.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace llmc::cpu {

namespace {

/// Below every score, and its differences stay finite.
constexpr float kLowest = -1e30f;

class RouteFrame {
 public:
  RouteFrame(KernelBuilder& k, llm::RouteOp op)
      : k_(k),
        op_(op),
        experts_(llm::widthOf(op.getX())),
        topK_(op.getTopK()),
        bias_(k.operandIf(op.getBiasAttr(), "bias")),
        expertScale_(k.operandIf(op.getExpertScaleAttr(), "expert_scale")) {
    const int64_t padded = (experts_ + kLanes - 1) / kLanes * kLanes * 4;
    scores_ = k.scratch(padded);
    choice_ = k.scratch(padded);
    chosen_ = k.scratch((topK_ + kLanes - 1) / kLanes * kLanes * 4);
    if (expertScale_) scales_ = k.scratch(topK_ * 4);
    groups_ = k.scratch(std::max<int64_t>(1, op.getNumGroups()) * 4);
  }

  void emit() {
    forRows(k_, [&](Value r) {
      emitScores(k_.rowOf("x", r));
      if (op_.getNumGroups()) dropGroups();
      Value out = k_.rowOf("y", r);
      k_.loop(k_.ci(0), k_.ci(topK_), 1, [&](Value slot) {
        Value best = takeLargest(choice_, k_.ci(0), k_.ci(experts_)).second;
        Value number = arith::SIToFPOp::create(k_.builder(), best.getLoc(), k_.f32(), best);
        k_.store(number, at(out, slot), 4);
        k_.store(k_.loadScalar(at(scores_, best)), at(chosen_, slot), 4);
        if (expertScale_) k_.store(k_.loadScalar(at(expertScale_, best)), at(scales_, slot), 4);
      });
      emitWeights(k_.offset(out, topK_ * 4));
    });
  }

 private:
  Value at(Value base, Value index) { return k_.offset(base, k_.mul(index, 4)); }

  /// f over the vectors of `count` floats at `base`, lanes past the end holding kLowest.
  void forPadded(Value base, int64_t count, const std::function<void(int64_t, Value)>& f) {
    for (int64_t i = 0; i < count; i += kLanes) {
      Value v = k_.loadF32(k_.offset(base, i * 4));
      if (count - i < kLanes) {
        SmallVector<bool> keep(kLanes);
        for (int64_t j = 0; j < count - i; ++j) keep[j] = true;
        Value mask = arith::ConstantOp::create(
            k_.builder(), v.getLoc(),
            DenseElementsAttr::get(k_.vecI(kLanes, 1), ArrayRef<bool>(keep)));
        v = k_.select(mask, v, k_.splat(kLowest));
      }
      f(i, v);
    }
  }

  /// to[0..count) = softmax(from)
  void softmax(Value from, Value to, int64_t count) {
    Value most, sum;
    forPadded(from, count, [&](int64_t, Value v) { most = most ? k_.maxf(most, v) : v; });
    most = k_.broadcast(k_.reduceMax(most));
    forPadded(from, count, [&](int64_t i, Value v) {
      Value e = emitExp(k_, k_.subf(v, most));
      k_.store(e, k_.offset(to, i * 4), 4);
      sum = sum ? k_.addf(sum, e) : e;
    });
    Value inverse = k_.broadcast(k_.divf(k_.cf(1.0f), k_.reduceAdd(sum)));
    for (int64_t i = 0; i < count; i += kLanes) {
      Value p = k_.offset(to, i * 4);
      k_.store(k_.mulf(k_.loadF32(p), inverse), p, 4);
    }
  }

  /// scores_ and choice_ of one row.
  void emitScores(Value x) {
    if (op_.getScoring() == llm::RouteScoring::softmax) softmax(x, scores_, experts_);
    forPadded(op_.getScoring() == llm::RouteScoring::softmax ? scores_ : x, experts_,
              [&](int64_t i, Value v) {
                if (op_.getScoring() == llm::RouteScoring::sigmoid) v = emitSigmoid(k_, v);
                k_.store(v, k_.offset(scores_, i * 4), 4);
                if (bias_) v = k_.addf(v, k_.loadF32(k_.offset(bias_, i * 4)));
                k_.store(v, k_.offset(choice_, i * 4), 4);
              });
  }

  /// The largest of base[begin, end) and its index; of equal ones the first. It is kLowest then.
  std::pair<Value, Value> takeLargest(Value base, Value begin, Value end) {
    Values best =
        k_.loop(begin, end, 1, Values{k_.cf(kLowest * 2), begin}, [&](Value i, ValueRange state) {
          Value v = k_.loadScalar(at(base, i));
          Value larger = arith::CmpFOp::create(k_.builder(), v.getLoc(), arith::CmpFPredicate::OGT,
                                               v, state[0]);
          return Values{k_.select(larger, v, state[0]), k_.select(larger, i, state[1])};
        });
    k_.store(k_.cf(kLowest), at(base, best[1]), 4);
    return {best[0], best[1]};
  }

  /// choice_ becomes kLowest in all but the best groups.
  void dropGroups() {
    const int64_t groups = op_.getNumGroups(), size = experts_ / groups;
    const int64_t top = op_.getGroupTop();
    k_.loop(k_.ci(0), k_.ci(groups), 1, [&](Value g) {
      Value first = k_.mul(g, size), end = k_.add(first, size);
      // The best of a group are taken out, and put back after they have been added up.
      SmallVector<std::pair<Value, Value>> taken;
      Value sum;
      for (int64_t i = 0; i < top; ++i) {
        taken.push_back(takeLargest(choice_, first, end));
        sum = sum ? k_.addf(sum, taken.back().first) : taken.back().first;
      }
      for (auto [value, index] : taken) k_.store(value, at(choice_, index), 4);
      k_.store(sum, at(groups_, g), 4);
    });
    k_.loop(k_.ci(0), k_.ci(op_.getKeepGroups()), 1,
            [&](Value) { takeLargest(groups_, k_.ci(0), k_.ci(groups)); });
    // The groups that were taken hold kLowest.
    k_.loop(k_.ci(0), k_.ci(groups), 1, [&](Value g) {
      Value score = k_.loadScalar(at(groups_, g));
      Value dropped = arith::CmpFOp::create(k_.builder(), score.getLoc(), arith::CmpFPredicate::OGT,
                                            score, k_.cf(kLowest));
      k_.ifThen(dropped, [&] {
        k_.loop(k_.ci(0), k_.ci(size), 1, [&](Value i) {
          k_.store(k_.cf(kLowest), at(choice_, k_.add(k_.mul(g, size), i)), 4);
        });
      });
    });
  }

  void emitWeights(Value out) {
    if (op_.getScoring() == llm::RouteScoring::softmax_chosen) softmax(chosen_, chosen_, topK_);
    Value factor = k_.cf(float(op_.getScale().convertToDouble()));
    if (op_.getNormalize()) {
      Value sum = k_.loop(k_.ci(0), k_.ci(topK_), 1, k_.cf(0.0f), [&](Value i, ValueRange state) {
        return Values{k_.addf(state[0], k_.loadScalar(at(chosen_, i)))};
      })[0];
      factor = k_.divf(factor, sum);
    }
    k_.loop(k_.ci(0), k_.ci(topK_), 1, [&](Value i) {
      Value weight = k_.mulf(k_.loadScalar(at(chosen_, i)), factor);
      if (expertScale_) weight = k_.mulf(weight, k_.loadScalar(at(scales_, i)));
      k_.store(weight, at(out, i), 4);
    });
  }

  KernelBuilder& k_;
  llm::RouteOp op_;
  const int64_t experts_, topK_;
  Value bias_, expertScale_;        // null: none
  Value scores_, choice_;           // [experts]
  Value chosen_, scales_, groups_;  // [top_k], [top_k], [groups]
};

}  // namespace

void emitRoute(KernelBuilder& k, llm::RouteOp op) { RouteFrame(k, op).emit(); }

}  // namespace llmc::cpu
