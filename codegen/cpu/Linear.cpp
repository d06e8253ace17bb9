// The ops around a matrix product: their operands and their epilogues.
#include "codegen/cpu/Kernels.h"
#include "codegen/cpu/Math.h"
#include "codegen/cpu/Product.h"

using namespace mlir;

namespace llmc::cpu {

namespace {

/// body(row in tile, panel in tile) over a finished tile.
void forTile(KernelBuilder& k, const OutputTile& tile, int64_t panelStep,
             const std::function<void(Value, Value)>& body) {
  k.loop(k.ci(0), tile.rows, 1,
         [&](Value r) { k.loop(k.ci(0), tile.panels, panelStep, [&](Value p) { body(r, p); }); });
}

/// Where output panel `panel` of the tile's row `row` goes in a buffer.
Value outputAt(KernelBuilder& k, Value base, const OutputTile& tile, int64_t stride, Value row,
               Value panel) {
  return k.offset(k.rowPtr(base, k.add(tile.firstRow, row), stride), k.mul(panel, kLanes * 4));
}

void setMatrix(ProductSpec& spec, Operation* op, FlatSymbolRefAttr weight) {
  const MatrixInfo m = matrixInfo(op, weight);
  spec.storage = m.storage;
  spec.cols = m.cols;
  spec.numPanels = (m.rows + kLanes - 1) / kLanes;
}

/// y = the product, as it is.
void copyEpilogue(KernelBuilder& k, ProductSpec& spec, Value y, int64_t yStride) {
  spec.epilogue = [&k, y, yStride](const OutputTile& tile) {
    forTile(k, tile, 1, [&](Value r, Value p) {
      Value v = k.loadF32(tile.at(k, r, p));
      k.store(v, outputAt(k, y, tile, yStride, r, k.add(tile.firstPanel, p)), 4);
    });
  };
}

}  // namespace

// linear: [x, weight, y]
void emitLinear(KernelBuilder& k, llm::LinearOp op, const KernelShape& shape) {
  ProductSpec spec{.x = k.operand(0), .xStride = shape.rowStrides[0], .weight = k.operand(1)};
  setMatrix(spec, op, op.getWeightAttr());
  copyEpilogue(k, spec, k.operand(2), shape.rowStrides[1]);
  emitProduct(k, spec, shape);
}

// logits: [x, weight, y]
void emitLogits(KernelBuilder& k, llm::LogitsOp op, const KernelShape& shape) {
  ProductSpec spec{
      .x = k.operand(0), .xStride = shape.rowStrides[0], .weight = k.operand(1), .gather = true};
  setMatrix(spec, op, op.getWeightAttr());
  copyEpilogue(k, spec, k.operand(2), shape.rowStrides[1]);
  emitProduct(k, spec, shape);
}

// norm_logits: [x, norm, weight, y]
void emitNormLogits(KernelBuilder& k, llm::NormLogitsOp op, const KernelShape& shape) {
  ProductSpec spec{.x = k.operand(0),
                   .xStride = shape.rowStrides[0],
                   .weight = k.operand(2),
                   .norm = k.operand(1),
                   .eps = op.getEps().convertToDouble(),
                   .gather = true};
  setMatrix(spec, op, op.getWeightAttr());
  copyEpilogue(k, spec, k.operand(3), shape.rowStrides[1]);
  emitProduct(k, spec, shape);
}

// linear_residual: [x, residual, weight, (bias), y]
void emitLinearResidual(KernelBuilder& k, llm::LinearResidualOp op, const KernelShape& shape) {
  ProductSpec spec{.x = k.operand(0), .xStride = shape.rowStrides[0], .weight = k.operand(2)};
  setMatrix(spec, op, op.getWeightAttr());
  Value residual = k.operand(1);
  Value bias = op.getBiasAttr() ? k.operand(3) : Value();
  Value y = k.operand(op.getBiasAttr() ? 4 : 3);
  spec.epilogue = [&](const OutputTile& tile) {
    forTile(k, tile, 1, [&](Value r, Value p) {
      Value panel = k.add(tile.firstPanel, p);
      Value v = k.loadF32(tile.at(k, r, p));
      if (bias) v = k.addf(v, k.loadF32(k.offset(bias, k.mul(panel, kLanes * 4))));
      v = k.addf(k.loadF32(outputAt(k, residual, tile, shape.rowStrides[1], r, panel)), v);
      k.store(v, outputAt(k, y, tile, shape.rowStrides[2], r, panel), 4);
    });
  };
  emitProduct(k, spec, shape);
}

// norm_glu: [x, norm, gate|up, (bias), y]
void emitNormGlu(KernelBuilder& k, llm::NormGluOp op, const KernelShape& shape) {
  ProductSpec spec{.x = k.operand(0),
                   .xStride = shape.rowStrides[0],
                   .weight = k.operand(2),
                   .norm = k.operand(1),
                   .eps = op.getEps().convertToDouble()};
  setMatrix(spec, op, op.getGateProjAttr());
  spec.numPanels *= 2;
  const int64_t width = widthOf(op.getY());
  Value bias = op.getGateBiasAttr() ? k.operand(3) : Value();
  Value y = k.operand(op.getGateBiasAttr() ? 4 : 3);
  spec.epilogue = [&](const OutputTile& tile) {
    forTile(k, tile, 2, [&](Value r, Value p) {
      Value panel = k.div(k.add(tile.firstPanel, p), 2);
      Value gate = k.loadF32(tile.at(k, r, p)), up = k.loadF32(tile.at(k, r, k.add(p, 1)));
      if (bias) {
        Value at = k.offset(bias, k.mul(panel, kLanes * 4));
        gate = k.addf(gate, k.loadF32(at));
        up = k.addf(up, k.loadF32(k.offset(at, width * 4)));
      }
      Value v = k.mulf(emitActivationValue(k, op.getActivation(), gate), up);
      k.store(v, outputAt(k, y, tile, shape.rowStrides[1], r, panel), 4);
    });
  };
  emitProduct(k, spec, shape);
}

// norm_qkv: [x, norm, qkv, (bias), (rope), keys, values, q]. A tile is one head of q, k or v.
void emitNormQkv(KernelBuilder& k, llm::NormQkvOp op, const KernelShape& shape) {
  const KvLayout kv(cast<llm::KvCacheType>(op.getKv().getType()));
  const int64_t headDim = kv.headDim, half = headDim / 2;
  const int64_t numHeads = widthOf(op.getQ()) / headDim;
  ProductSpec spec{.x = k.operand(0),
                   .xStride = shape.rowStrides[0],
                   .weight = k.operand(2),
                   .norm = k.operand(1),
                   .eps = op.getEps().convertToDouble()};
  setMatrix(spec, op, op.getQProjAttr());
  spec.tilePanels = kv.headDimPadded / kLanes;
  spec.numPanels = (numHeads + 2 * kv.numKvHeads) * spec.tilePanels;
  int64_t next = 3;
  Value bias = op.getQBiasAttr() ? k.operand(next++) : Value();
  Value rope = op.getRopeAttr() ? k.operand(next++) : Value();
  Value keys = k.operand(next), values = k.operand(next + 1), q = k.operand(next + 2);

  spec.epilogue = [&](const OutputTile& tile) {
    // body(row, where its head's outputs lie)
    auto forHeadRows = [&](const std::function<void(Value, Value)>& body) {
      k.loop(k.ci(0), tile.rows, 1, [&](Value r) {
        body(k.add(tile.firstRow, r), k.rowPtr(tile.outputs, r, tile.stride));
      });
    };
    auto loadHead = [&](Value head, Value i, int64_t lanes) {
      Value v = k.loadF32(k.offset(head, k.mul(i, 4)), lanes);
      if (!bias) return v;
      Value column = k.add(k.mul(tile.index, headDim), i);
      return k.addf(v, k.loadF32(k.offset(bias, k.mul(column, 4)), lanes));
    };
    /// body(element, values) over a head of q or k after RoPE.
    auto forRotated = [&](Value pos, Value head, const std::function<void(Value, Value)>& body) {
      const int64_t lanes = lanesFor(half);
      k.loop(k.ci(0), k.ci(half), lanes, [&](Value i) {
        Value upper = k.add(i, half);
        Value low = loadHead(head, i, lanes), high = loadHead(head, upper, lanes);
        if (rope) std::tie(low, high) = rotate(k, rope, pos, i, half, low, high);
        body(i, low);
        body(upper, high);
      });
    };
    auto less = [&](Value a, int64_t b) { return k.cmp(arith::CmpIPredicate::slt, a, k.ci(b)); };
    auto atLeast = [&](Value a, int64_t b) { return k.cmp(arith::CmpIPredicate::sge, a, k.ci(b)); };

    k.ifThen(less(tile.index, numHeads), [&] {
      forHeadRows([&](Value r, Value head) {
        Value out = k.offset(k.rowPtr(q, r, shape.rowStrides[1]), k.mul(tile.index, headDim * 4));
        forRotated(k.row(r).pos, head,
                   [&](Value i, Value v) { k.store(v, k.offset(out, k.mul(i, 4)), 4); });
      });
    });
    Value kHead = k.add(tile.index, -numHeads);
    k.ifThen(atLeast(kHead, 0), [&] {
      k.ifThen(less(kHead, kv.numKvHeads), [&] {
        forHeadRows([&](Value r, Value head) {
          RowArgs row = k.row(r);
          forRotated(row.pos, head,
                     [&](Value i, Value v) { storeKeys(k, kv, keys, row, kHead, i, v); });
        });
      });
    });
    Value vHead = k.add(kHead, -kv.numKvHeads);
    k.ifThen(atLeast(vHead, 0), [&] {
      const int64_t lanes = lanesFor(headDim);
      forHeadRows([&](Value r, Value head) {
        RowArgs row = k.row(r);
        k.loop(k.ci(0), k.ci(headDim), lanes, [&](Value i) {
          storeValues(k, kv, values, row, vHead, i, loadHead(head, i, lanes));
        });
      });
    });
  };
  emitProduct(k, spec, shape);
}

}  // namespace llmc::cpu
