// Kernels whose tile is one row: embedding, and what remains of a model when a fusion is switched
// off.
#include "codegen/cpu/Kernels.h"
#include "codegen/cpu/Math.h"
#include "codegen/cpu/Multiply.h"

using namespace mlir;

namespace llmc::cpu {

namespace {

/// body(row) for every tile.
void forRows(KernelBuilder& k, const std::function<void(Value)>& body) {
  k.loop(k.tileBegin(), k.tileEnd(), 1, body);
}

/// body(byte offset of 16 floats) along a row of `width` floats. Buffers are padded to whole
/// vectors.
void forVectors(KernelBuilder& k, int64_t width, const std::function<void(Value)>& body) {
  k.loop(k.ci(0), k.ci((width + kLanes - 1) / kLanes * kLanes * 4), kLanes * 4, body);
}

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
  return {storageOf(w.getTensorType().getElementType()), shape[0], shape.size() > 1 ? shape[1] : 1};
}

int64_t widthOf(Value tensor) { return cast<RankedTensorType>(tensor.getType()).getDimSize(1); }

// embed: [weight, y]
void emitEmbed(KernelBuilder& k, llm::EmbedOp op, const KernelShape& shape) {
  const MatrixInfo m = matrixInfo(op, op.getWeightAttr());
  const bool panels = op.getKernelOperands()[0].layout == llm::Layout::panels;
  const int64_t bytes = storageBytes(m.storage);
  Value weight = k.operand(0), y = k.operand(1);
  forRows(k, [&](Value r) {
    Value id = k.row(r).tokenId;
    Value out = k.rowPtr(y, r, shape.rowStrides[0]);
    if (!panels) {
      const int64_t lanes = lanesFor(m.cols);
      Value row = k.offset(weight, k.mul(id, m.cols * bytes));
      k.loop(k.ci(0), k.ci(m.cols), lanes, [&](Value i) {
        k.store(k.loadAs(m.storage, k.offset(row, k.mul(i, bytes)), lanes),
                k.offset(out, k.mul(i, 4)), 4);
      });
      return;
    }
    // Tied with the logits' matrix: this token is one lane of a panel.
    const bool pairs = m.storage == Storage::bf16;
    const int64_t panelBytes = weightPanels({}, m.storage, m.cols).panelBytes;
    Value panel = k.offset(weight, k.mul(k.div(id, kLanes), panelBytes));
    Value lane = k.offset(panel, k.mul(k.rem(id, kLanes), pairs ? 2 * bytes : bytes));
    k.loop(k.ci(0), k.ci(m.cols), 1, [&](Value i) {
      Value at = pairs ? k.add(k.mul(k.div(i, 2), 2 * kLanes * bytes), k.mul(k.rem(i, 2), bytes))
                       : k.mul(i, kLanes * bytes);
      k.store(k.loadAs(m.storage, k.offset(lane, at), 1), k.offset(out, k.mul(i, 4)), 4);
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

// rope: [x, table, y]
void emitRope(KernelBuilder& k, llm::RopeOp op, const KernelShape& shape) {
  const int64_t headDim = op.getHeadDim(), half = headDim / 2, lanes = lanesFor(half);
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
    });
  });
}

//===----------------------------------------------------------------------===//
// The KV cache
//===----------------------------------------------------------------------===//

KvLayout::KvLayout(llm::KvCacheType type)
    : storage(storageOf(type.getElementType())),
      numKvHeads(type.getNumKvHeads()),
      headDim(type.getHeadDim()),
      headDimPadded((headDim + kLanes - 1) / kLanes * kLanes) {}

int64_t KvLayout::keyBlockBytes() const { return headDim * kBlock * storageBytes(storage); }
int64_t KvLayout::valueBlockBytes() const { return headDimPadded * kBlock * storageBytes(storage); }

Value KvLayout::blockHead(KernelBuilder& k, Value seq, Value block) const {
  Value entry = k.add(k.mul(seq, k.step().blocksPerSeq), block);
  return k.mul(k.loadI32(k.offset(k.step().blockTables, k.mul(entry, 4))), numKvHeads);
}

void storeKeys(KernelBuilder& k, const KvLayout& kv, Value pool, const RowArgs& row, Value head,
               Value element, Value keys) {
  // Keys lie [head_dim, 64]: one row of a block's panel per element.
  const int64_t lanes = cast<VectorType>(keys.getType()).getDimSize(0),
                bytes = storageBytes(kv.storage);
  Value block = k.add(kv.blockHead(k, row.seq, k.div(row.pos, kBlock)), head);
  Value at = k.add(k.mul(element, kBlock), k.rem(row.pos, kBlock));
  Value p = k.offset(pool, k.add(k.mul(block, kv.keyBlockBytes()), k.mul(at, bytes)));
  Value stored = k.roundTo(kv.storage, keys);
  for (int64_t i = 0; i < lanes; ++i)
    k.store(k.extract(stored, i), k.offset(p, i * kBlock * bytes), bytes);
}

void storeValues(KernelBuilder& k, const KvLayout& kv, Value pool, const RowArgs& row, Value head,
                 Value element, Value values) {
  const int64_t bytes = storageBytes(kv.storage);
  Value block = k.add(kv.blockHead(k, row.seq, k.div(row.pos, kBlock)), head);
  Value at = k.add(k.mul(k.rem(row.pos, kBlock), kv.headDimPadded), element);
  Value p = k.offset(pool, k.add(k.mul(block, kv.valueBlockBytes()), k.mul(at, bytes)));
  k.store(k.roundTo(kv.storage, values), p, bytes);
}

// kv_write: [k, v, keys, values]
void emitKvWrite(KernelBuilder& k, llm::KvWriteOp op, const KernelShape& shape) {
  const KvLayout kv(cast<llm::KvCacheType>(op.getKv().getType()));
  const int64_t lanes = lanesFor(kv.headDim);
  Value kRows = k.operand(0), vRows = k.operand(1), keys = k.operand(2), values = k.operand(3);
  forRows(k, [&](Value r) {
    RowArgs row = k.row(r);
    k.loop(k.ci(0), k.ci(kv.numKvHeads), 1, [&](Value head) {
      k.loop(k.ci(0), k.ci(kv.headDim), lanes, [&](Value i) {
        Value at = k.mul(k.add(k.mul(head, kv.headDim), i), 4);
        storeKeys(k, kv, keys, row, head, i,
                  k.loadF32(k.offset(k.rowPtr(kRows, r, shape.rowStrides[0]), at), lanes));
        storeValues(k, kv, values, row, head, i,
                    k.loadF32(k.offset(k.rowPtr(vRows, r, shape.rowStrides[1]), at), lanes));
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

}  // namespace llmc::cpu
