// Kernels whose tile is one row: embedding, and what remains of a model when a fusion is switched
// off.
#include "codegen/cpu/Kernels.h"
#include "codegen/cpu/Math.h"
#include "codegen/cpu/Multiply.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace llmc::cpu {

void forRows(KernelBuilder& k, const std::function<void(Value)>& body) {
  k.loop(k.tileBegin(), k.tileEnd(), 1, body);
}

void forVectors(KernelBuilder& k, int64_t width, const std::function<void(Value)>& body) {
  k.loop(k.ci(0), k.ci((width + kLanes - 1) / kLanes * kLanes * 4), kLanes * 4, body);
}

namespace {

/// y = f(inputs...), element by element; `inputs` are the operands' names.
void emitElementwise(KernelBuilder& k, ArrayRef<StringRef> inputs,
                     const std::function<Value(Values)>& f) {
  const int64_t width = llm::widthOf(k.described("y").value);
  forRows(k, [&](Value r) {
    forVectors(k, width, [&](Value at) {
      Values values;
      for (StringRef input : inputs) values.push_back(k.loadF32(k.offset(k.rowOf(input, r), at)));
      k.store(f(values), k.offset(k.rowOf("y", r), at), 4);
    });
  });
}

/// The embedding of a token: one lane of a panel where it is tied with the logits' matrix,
/// otherwise a row.
class Embedding {
 public:
  Embedding(KernelBuilder& k, llm::EmbedOp op)
      : k_(k),
        table_(llm::matrixOf(op, op.getWeightAttr())),
        scale_(float(op.getScale().convertToDouble())),
        weight_(k.operand("weight")),
        positions_(k.operandIf(op.getPositionsAttr(), "positions")) {
    if (positions_) positionTable_ = llm::matrixOf(op, op.getPositionsAttr());
  }

  void emit() {
    const bool panels = k_.described("weight").layout == llm::Layout::panels;
    const int64_t lanes = panels ? 1 : lanesFor(table_.cols);
    forRows(k_, [&](Value r) {
      Value id = k_.inputOf("token_id", r), out = k_.rowOf("y", r);
      const WeightRow token = rowOf(weight_, table_, panels, id);
      WeightRow position;
      if (positions_) position = rowOf(positions_, positionTable_, false, k_.inputOf("pos", r));
      k_.loop(k_.ci(0), k_.ci(table_.cols), lanes, [&](Value i) {
        Value v = token.load(k_, i, lanes);
        if (scale_ != 1.0f) v = k_.mulf(v, k_.splat(scale_, lanes));
        if (positions_) v = k_.addf(v, position.load(k_, i, lanes));
        k_.store(v, k_.offset(out, k_.mul(i, 4)), 4);
      });
    });
  }

 private:
  WeightRow rowOf(Value base, const llm::Matrix& m, bool panels, Value row) {
    return weightRow(k_, base, llm::weightFormatOf(m.type), m.rows, m.cols, panels, row);
  }

  KernelBuilder& k_;
  const llm::Matrix table_;
  llm::Matrix positionTable_;
  const float scale_;
  Value weight_, positions_;
};

}  // namespace

void emitEmbed(KernelBuilder& k, llm::EmbedOp op) { Embedding(k, op).emit(); }

void normRow(KernelBuilder& k, Value x, Value weight, Value dst, int64_t width, double eps) {
  const int64_t whole = width / kLanes * kLanes, tail = width - whole;
  Value sum =
      k.loop(k.ci(0), k.ci(whole * 4), kLanes * 4, k.zero(), [&](Value at, ValueRange state) {
        Value v = k.loadF32(k.offset(x, at));
        return Values{k.fma(v, v, state[0])};
      })[0];
  if (tail) {
    Value v = k.keepLanes(k.loadF32(k.offset(x, whole * 4)), tail);
    sum = k.fma(v, v, sum);
  }
  Value mean = k.divf(k.reduceAdd(sum), k.cf(float(width)));
  Value scale = k.broadcast(k.divf(k.cf(1.0f), k.sqrtf(k.addf(mean, k.cf(float(eps))))));
  forVectors(k, width, [&](Value at) {
    Value v = k.mulf(k.mulf(k.loadF32(k.offset(x, at)), scale), k.loadF32(k.offset(weight, at)));
    k.store(v, k.offset(dst, at), 4);
  });
}

void emitRmsNorm(KernelBuilder& k, llm::RmsNormOp op) {
  forRows(k, [&](Value r) {
    normRow(k, k.rowOf("x", r), k.operand("weight"), k.rowOf("y", r), llm::widthOf(op.getX()),
            op.getEps().convertToDouble());
  });
}

void emitBias(KernelBuilder& k, llm::BiasOp op) {
  forRows(k, [&](Value r) {
    forVectors(k, llm::widthOf(op.getX()), [&](Value at) {
      Value v = k.addf(k.loadF32(k.offset(k.rowOf("x", r), at)),
                       k.loadF32(k.offset(k.operand("weight"), at)));
      k.store(v, k.offset(k.rowOf("y", r), at), 4);
    });
  });
}

std::pair<Value, Value> rotate(KernelBuilder& k, Value table, Value pos, Value element,
                               int64_t half, Value low, Value high) {
  const int64_t lanes = cast<VectorType>(low.getType()).getDimSize(0);
  Value cosAt = k.offset(table, k.mul(k.add(k.mul(pos, 2 * half), element), 4));
  Value c = k.loadF32(cosAt, lanes), s = k.loadF32(k.offset(cosAt, half * 4), lanes);
  return {k.fma(low, c, k.negf(k.mulf(high, s))), k.fma(high, c, k.mulf(low, s))};
}

void emitRope(KernelBuilder& k, llm::RopeOp op) {
  const int64_t headDim = op.getHeadDim(), rotary = llm::rotaryDim(op, op.getTableAttr());
  const int64_t half = rotary / 2, lanes = lanesFor(half);
  forRows(k, [&](Value r) {
    Value pos = k.inputOf("pos", r), from = k.rowOf("x", r), to = k.rowOf("y", r);
    k.loop(k.ci(0), k.ci(llm::widthOf(op.getX())), headDim, [&](Value head) {
      k.loop(k.ci(0), k.ci(half), lanes, [&](Value i) {
        Value at = k.mul(k.add(head, i), 4);
        Value low = k.loadF32(k.offset(from, at), lanes);
        Value high = k.loadF32(k.offset(from, k.add(at, half * 4)), lanes);
        auto [newLow, newHigh] = rotate(k, k.operand("table"), pos, i, half, low, high);
        k.store(newLow, k.offset(to, at), 4);
        k.store(newHigh, k.offset(to, k.add(at, half * 4)), 4);
      });
      if (rotary == headDim) return;
      const int64_t rest = lanesFor(headDim - rotary);
      k.loop(k.ci(rotary), k.ci(headDim), rest, [&](Value i) {
        Value at = k.mul(k.add(head, i), 4);
        k.store(k.loadF32(k.offset(from, at), rest), k.offset(to, at), 4);
      });
    });
  });
}

//===----------------------------------------------------------------------===//
// Elementwise
//===----------------------------------------------------------------------===//

void emitActivation(KernelBuilder& k, llm::ActivationOp op) {
  emitElementwise(k, {"x"}, [&](Values v) { return emitActivationValue(k, op.getKind(), v[0]); });
}
void emitMul(KernelBuilder& k, llm::MulOp) {
  emitElementwise(k, {"a", "b"}, [&](Values v) { return k.mulf(v[0], v[1]); });
}
void emitAdd(KernelBuilder& k, llm::AddOp) {
  emitElementwise(k, {"a", "b"}, [&](Values v) { return k.addf(v[0], v[1]); });
}

void emitScale(KernelBuilder& k, llm::ScaleOp op) {
  Value factor = k.splat(float(op.getFactor().convertToDouble()));
  emitElementwise(k, {"x"}, [&](Values v) { return k.mulf(v[0], factor); });
}

void emitScaleRows(KernelBuilder& k, llm::ScaleRowsOp op) {
  const int64_t parts = llm::widthOf(op.getBy()), width = llm::widthOf(op.getX()) / parts;
  const int64_t lanes = parts == 1 ? kLanes : lanesFor(width);  // nothing behind a part is touched
  forRows(k, [&](Value r) {
    k.loop(k.ci(0), k.ci(parts), 1, [&](Value part) {
      Value by = k.loadScalar(k.offset(k.rowOf("by", r), k.mul(part, 4)));
      Value factor = k.broadcast(by, lanes);
      Value from = k.rowPtr(k.rowOf("x", r), part, width),
            to = k.rowPtr(k.rowOf("y", r), part, width);
      k.loop(k.ci(0), k.ci(width * 4), lanes * 4, [&](Value at) {
        k.store(k.mulf(k.loadF32(k.offset(from, at), lanes), factor), k.offset(to, at), 4);
      });
    });
  });
}

void emitScaleBy(KernelBuilder& k, llm::ScaleByOp) {
  Value factor = k.broadcast(k.loadScalar(k.operand("weight")));
  emitElementwise(k, {"x"}, [&](Values v) { return k.mulf(v[0], factor); });
}

void emitScaleByPos(KernelBuilder& k, llm::ScaleByPosOp op) {
  const int64_t width = llm::widthOf(op.getX());
  forRows(k, [&](Value r) {
    Value times = k.add(k.div(k.inputOf("pos", r), static_cast<int64_t>(op.getEvery())), 1);
    Value number = arith::SIToFPOp::create(k.builder(), r.getLoc(), k.f32(), times);
    Value factor = k.fma(emitLog(k, k.broadcast(number)),
                         k.splat(float(op.getGrowth().convertToDouble())), k.splat(1.0f));
    forVectors(k, width, [&](Value at) {
      k.store(k.mulf(k.loadF32(k.offset(k.rowOf("x", r), at)), factor),
              k.offset(k.rowOf("y", r), at), 4);
    });
  });
}

/// Copies `width` floats, no more.
static void copyFloats(KernelBuilder& k, Value from, Value to, int64_t width) {
  const int64_t lanes = lanesFor(width);
  k.loop(k.ci(0), k.ci(width * 4), lanes * 4,
         [&](Value at) { k.store(k.loadF32(k.offset(from, at), lanes), k.offset(to, at), 4); });
}

void emitConcat(KernelBuilder& k, llm::ConcatOp op) {
  const int64_t heads = op.getHeads(), aWidth = llm::widthOf(op.getA()) / heads,
                bWidth = llm::widthOf(op.getB()) / heads;
  forRows(k, [&](Value r) {
    k.loop(k.ci(0), k.ci(heads), 1, [&](Value head) {
      Value out = k.rowPtr(k.rowOf("y", r), head, aWidth + bWidth);
      copyFloats(k, k.rowPtr(k.rowOf("a", r), head, aWidth), out, aWidth);
      copyFloats(k, k.rowPtr(k.rowOf("b", r), head, bWidth), k.offset(out, aWidth * 4), bWidth);
    });
  });
}

// The operand begins with the layer's columns.
void emitLayerSlice(KernelBuilder& k, llm::LayerSliceOp op) {
  forRows(k, [&](Value r) {
    copyFloats(k, k.rowOf("x", r), k.rowOf("y", r), llm::widthOf(op.getY()));
  });
}

void emitKeep(KernelBuilder& k, llm::KeepOp op) {
  const int64_t width = llm::widthOf(op.getX());
  forRows(k, [&](Value r) {
    copyFloats(k, k.rowOf("x", r), k.rowPtr(k.operand("kept"), r, width), width);
  });
}

void emitHidden(KernelBuilder& k, llm::HiddenOp op) {
  const int64_t width = llm::widthOf(op.getY());
  forRows(k, [&](Value r) {
    copyFloats(k, k.rowPtr(k.operand("hidden"), r, width), k.rowOf("y", r), width);
  });
}

void emitKept(KernelBuilder& k, llm::KeptOp op) {
  const int64_t width = llm::widthOf(op.getY());
  forRows(k, [&](Value r) {
    Value kept = k.rowPtr(k.operand("kept"), k.inputOf("kept_row", r), width);
    copyFloats(k, kept, k.rowOf("y", r), width);
  });
}

}  // namespace llmc::cpu
