// Kernels whose tile is one row: embedding, and what remains of a model when a fusion is switched
// off.
#include "codegen/cpu/Kernels.h"
#include "codegen/cpu/Math.h"
#include "codegen/cpu/Multiply.h"

using namespace mlir;

namespace llmc::cpu {

void forRows(KernelBuilder& k, const std::function<void(Value)>& body) {
  k.loop(k.tileBegin(), k.tileEnd(), 1, body);
}

void forVectors(KernelBuilder& k, int64_t width, const std::function<void(Value)>& body) {
  k.loop(k.ci(0), k.ci((width + kLanes - 1) / kLanes * kLanes * 4), kLanes * 4, body);
}

namespace {

/// y = f(a, b, ...) on the rows of the first operands.
void emitElementwise(KernelBuilder& k, const KernelShape& shape, int64_t inputs, int64_t width,
                     const std::function<Value(Values)>& f) {
  Values bases;
  for (int64_t i = 0; i <= inputs; ++i) bases.push_back(k.operand(i));
  forRows(k, [&](Value r) {
    forVectors(k, width, [&](Value at) {
      Values values;
      for (int64_t i = 0; i < inputs; ++i)
        values.push_back(k.loadF32(k.offset(k.rowPtr(bases[i], r, shape.rowStrides[i]), at)));
      k.store(f(values), k.offset(k.rowPtr(bases[inputs], r, shape.rowStrides[inputs]), at), 4);
    });
  });
}

}  // namespace

MatrixInfo matrixInfo(Operation* op, FlatSymbolRefAttr symbol) {
  llm::WeightOp w = llm::lookupWeight(op, symbol);
  ArrayRef<int64_t> shape = w.getLayerShape();
  return {&llm::weightFormatOf(w.getTensorType().getElementType()), shape[0],
          shape.size() > 1 ? shape[1] : 1};
}

int64_t widthOf(Value tensor) { return cast<RankedTensorType>(tensor.getType()).getDimSize(1); }

// embed: [weight, (positions), y]
void emitEmbed(KernelBuilder& k, llm::EmbedOp op, const KernelShape& shape) {
  const MatrixInfo m = matrixInfo(op, op.getWeightAttr());
  const bool panels = op.getKernelOperands()[0].layout == llm::Layout::panels;
  const float scale = float(op.getScale().convertToDouble());
  const bool learned = static_cast<bool>(op.getPositionsAttr());
  Value weight = k.operand(0), y = k.operand(learned ? 2 : 1);
  Value positions = learned ? k.operand(1) : Value();
  /// Element i of the embedding becomes that of the residual stream.
  auto finish = [&](Value v, const WeightRow& position, Value i) {
    const int64_t lanes = cast<VectorType>(v.getType()).getDimSize(0);
    if (scale != 1.0f) v = k.mulf(v, k.splat(scale, lanes));
    return learned ? k.addf(v, position.load(k, i, lanes)) : v;
  };
  const MatrixInfo p = learned ? matrixInfo(op, op.getPositionsAttr()) : m;
  // Tied with the logits' matrix: a token is one lane of a panel.
  const int64_t lanes = panels ? 1 : lanesFor(m.cols);
  forRows(k, [&](Value r) {
    RowArgs row = k.row(r);
    Value id = row.tokenId;
    Value out = k.rowPtr(y, r, shape.rowStrides[0]);
    const WeightRow from = weightRow(k, weight, *m.format, m.rows, m.cols, panels, id);
    WeightRow position;
    if (learned) position = weightRow(k, positions, *p.format, p.rows, p.cols, false, row.pos);
    k.loop(k.ci(0), k.ci(m.cols), lanes, [&](Value i) {
      k.store(finish(from.load(k, i, lanes), position, i), k.offset(out, k.mul(i, 4)), 4);
    });
  });
}

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

// rms_norm: [x, weight, y]
void emitRmsNorm(KernelBuilder& k, llm::RmsNormOp op, const KernelShape& shape) {
  Value x = k.operand(0), weight = k.operand(1), y = k.operand(2);
  forRows(k, [&](Value r) {
    normRow(k, k.rowPtr(x, r, shape.rowStrides[0]), weight, k.rowPtr(y, r, shape.rowStrides[1]),
            widthOf(op.getX()), op.getEps().convertToDouble());
  });
}

// bias: [x, bias, y]
void emitBias(KernelBuilder& k, llm::BiasOp op, const KernelShape& shape) {
  Value x = k.operand(0), bias = k.operand(1), y = k.operand(2);
  forRows(k, [&](Value r) {
    forVectors(k, widthOf(op.getX()), [&](Value at) {
      Value v = k.addf(k.loadF32(k.offset(k.rowPtr(x, r, shape.rowStrides[0]), at)),
                       k.loadF32(k.offset(bias, at)));
      k.store(v, k.offset(k.rowPtr(y, r, shape.rowStrides[1]), at), 4);
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

int64_t rotaryDim(Operation* op, FlatSymbolRefAttr symbol) {
  auto model = op->getParentOfType<llm::ModelOp>();
  auto table = cast<llm::RopeTableOp>(SymbolTable::lookupSymbolIn(model, symbol.getAttr()));
  return 2 * int64_t(table.getInvFreq().size());
}

// rope: [x, table, y]
void emitRope(KernelBuilder& k, llm::RopeOp op, const KernelShape& shape) {
  const int64_t headDim = op.getHeadDim(), rotary = rotaryDim(op, op.getTableAttr());
  const int64_t half = rotary / 2, lanes = lanesFor(half);
  Value x = k.operand(0), table = k.operand(1), y = k.operand(2);
  forRows(k, [&](Value r) {
    Value pos = k.row(r).pos;
    Value from = k.rowPtr(x, r, shape.rowStrides[0]), to = k.rowPtr(y, r, shape.rowStrides[1]);
    k.loop(k.ci(0), k.ci(widthOf(op.getX())), headDim, [&](Value head) {
      k.loop(k.ci(0), k.ci(half), lanes, [&](Value i) {
        Value at = k.mul(k.add(head, i), 4);
        Value low = k.loadF32(k.offset(from, at), lanes);
        Value high = k.loadF32(k.offset(from, k.add(at, half * 4)), lanes);
        auto [newLow, newHigh] = rotate(k, table, pos, i, half, low, high);
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

void emitActivation(KernelBuilder& k, llm::ActivationOp op, const KernelShape& shape) {
  emitElementwise(k, shape, 1, widthOf(op.getX()),
                  [&](Values v) { return emitActivationValue(k, op.getKind(), v[0]); });
}
void emitMul(KernelBuilder& k, llm::MulOp op, const KernelShape& shape) {
  emitElementwise(k, shape, 2, widthOf(op.getA()), [&](Values v) { return k.mulf(v[0], v[1]); });
}
void emitAdd(KernelBuilder& k, llm::AddOp op, const KernelShape& shape) {
  emitElementwise(k, shape, 2, widthOf(op.getA()), [&](Values v) { return k.addf(v[0], v[1]); });
}

void emitScale(KernelBuilder& k, llm::ScaleOp op, const KernelShape& shape) {
  Value factor = k.splat(float(op.getFactor().convertToDouble()));
  emitElementwise(k, shape, 1, widthOf(op.getX()), [&](Values v) { return k.mulf(v[0], factor); });
}

// scale_rows: [x, by, y]
void emitScaleRows(KernelBuilder& k, llm::ScaleRowsOp op, const KernelShape& shape) {
  Value x = k.operand(0), by = k.operand(1), y = k.operand(2);
  forRows(k, [&](Value r) {
    Value factor = k.broadcast(k.loadScalar(k.rowPtr(by, r, shape.rowStrides[1])));
    forVectors(k, widthOf(op.getX()), [&](Value at) {
      Value v = k.loadF32(k.offset(k.rowPtr(x, r, shape.rowStrides[0]), at));
      k.store(k.mulf(v, factor), k.offset(k.rowPtr(y, r, shape.rowStrides[2]), at), 4);
    });
  });
}

// concat: [a, b, y]
void emitConcat(KernelBuilder& k, llm::ConcatOp op, const KernelShape& shape) {
  const int64_t heads = op.getHeads();
  const int64_t widths[] = {widthOf(op.getA()) / heads, widthOf(op.getB()) / heads};
  Value inputs[] = {k.operand(0), k.operand(1)}, y = k.operand(2);
  forRows(k, [&](Value r) {
    Value to = k.rowPtr(y, r, shape.rowStrides[2]);
    k.loop(k.ci(0), k.ci(heads), 1, [&](Value head) {
      Value out = k.offset(to, k.mul(head, (widths[0] + widths[1]) * 4));
      for (int64_t i = 0; i < 2; ++i) {
        const int64_t lanes = lanesFor(widths[i]);
        Value from =
            k.offset(k.rowPtr(inputs[i], r, shape.rowStrides[i]), k.mul(head, widths[i] * 4));
        k.loop(k.ci(0), k.ci(widths[i] * 4), lanes * 4, [&](Value at) {
          k.store(k.loadF32(k.offset(from, at), lanes), k.offset(out, at), 4);
        });
        out = k.offset(out, widths[0] * 4);
      }
    });
  });
}

}  // namespace llmc::cpu
