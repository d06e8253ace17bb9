// The ops around a matrix product: their operands and their epilogues.
#include "codegen/cpu/KvCache.h"
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

/// y = the product, as it is.
void copyEpilogue(KernelBuilder& k, ProductSpec& spec, Value y, int64_t yStride) {
  spec.epilogue = [&k, y, yStride](const OutputTile& tile) {
    forTile(k, tile, 1, [&](Value r, Value p) {
      Value v = k.loadF32(tile.at(k, r, p));
      k.store(v, outputAt(k, y, tile, yStride, r, k.add(tile.firstPanel, p)), 4);
    });
  };
}

/// The norm of a fused op, whose weight is operand `next`; moves `next` past it.
template <typename Op>
NormArgs normOf(KernelBuilder& k, Op op, int64_t& next) {
  NormArgs norm{.layer = op.getLayer(), .eps = op.getEps().convertToDouble()};
  norm.weight = k.operand(next++);
  if (op.getNormBiasAttr()) norm.bias = k.operand(next++);
  return norm;
}

/// y = softcap(scale * (the product + bias)), of logits and norm_logits from operand `next` on.
template <typename Op>
void logitsEpilogue(KernelBuilder& k, ProductSpec& spec, Op op, int64_t next, int64_t yStride) {
  Value bias = op.getBiasAttr() ? k.operand(next++) : Value();
  Value y = k.operand(next);
  const double scale = op.getScale().convertToDouble(), cap = op.getSoftcap().convertToDouble();
  spec.epilogue = [&k, bias, y, yStride, scale, cap](const OutputTile& tile) {
    forTile(k, tile, 1, [&](Value r, Value p) {
      Value panel = k.add(tile.firstPanel, p);
      Value v = k.loadF32(tile.at(k, r, p));
      if (bias) v = k.addf(v, k.loadF32(k.offset(bias, k.mul(panel, kLanes * 4))));
      if (scale != 1.0) v = k.mulf(v, k.splat(float(scale)));
      if (cap != 0.0) v = emitSoftcap(k, v, cap);
      k.store(v, outputAt(k, y, tile, yStride, r, panel), 4);
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

// logits: [x, weight, (bias), y]
void emitLogits(KernelBuilder& k, llm::LogitsOp op, const KernelShape& shape) {
  ProductSpec spec{
      .x = k.operand(0), .xStride = shape.rowStrides[0], .weight = k.operand(1), .gather = true};
  setMatrix(spec, op, op.getWeightAttr());
  logitsEpilogue(k, spec, op, 2, shape.rowStrides[1]);
  emitProduct(k, spec, shape);
}

// norm_logits: [x, norm, (norm_bias), weight, (bias), y]
void emitNormLogits(KernelBuilder& k, llm::NormLogitsOp op, const KernelShape& shape) {
  int64_t next = 1;
  ProductSpec spec{.x = k.operand(0), .xStride = shape.rowStrides[0], .gather = true};
  spec.norm = normOf(k, op, next);
  spec.weight = k.operand(next++);
  setMatrix(spec, op, op.getWeightAttr());
  logitsEpilogue(k, spec, op, next, shape.rowStrides[1]);
  emitProduct(k, spec, shape);
}

// norm_linear: [x, norm, (norm_bias), weight, (bias), y]
void emitNormLinear(KernelBuilder& k, llm::NormLinearOp op, const KernelShape& shape) {
  int64_t next = 1;
  ProductSpec spec{.x = k.operand(0), .xStride = shape.rowStrides[0]};
  spec.norm = normOf(k, op, next);
  spec.weight = k.operand(next++);
  setMatrix(spec, op, op.getWeightAttr());
  Value bias = op.getBiasAttr() ? k.operand(next++) : Value();
  Value y = k.operand(next);
  spec.epilogue = [&](const OutputTile& tile) {
    forTile(k, tile, 1, [&](Value r, Value p) {
      Value panel = k.add(tile.firstPanel, p);
      Value v = k.loadF32(tile.at(k, r, p));
      if (bias) v = k.addf(v, k.loadF32(k.offset(bias, k.mul(panel, kLanes * 4))));
      v = emitActivationValue(k, op.getActivation(), v);
      k.store(v, outputAt(k, y, tile, shape.rowStrides[1], r, panel), 4);
    });
  };
  emitProduct(k, spec, shape);
}

// head_linear: [x, weight, y]. A tile is one head.
void emitHeadLinear(KernelBuilder& k, llm::HeadLinearOp op, const KernelShape& shape) {
  const int64_t heads = op.getHeads(), width = widthOf(op.getY()) / heads;
  ProductSpec spec{.x = k.operand(0), .xStride = shape.rowStrides[0], .weight = k.operand(1)};
  setMatrix(spec, op, op.getWeightAttr());
  spec.tilePanels = (width + kLanes - 1) / kLanes;
  spec.numPanels = heads * spec.tilePanels;
  spec.tileCols = spec.cols;
  Value y = k.operand(2);
  spec.epilogue = [&](const OutputTile& tile) {
    const int64_t lanes = lanesFor(width);
    k.loop(k.ci(0), tile.rows, 1, [&](Value r) {
      Value from = k.rowPtr(tile.outputs, r, tile.stride);
      Value to = k.offset(k.rowPtr(y, k.add(tile.firstRow, r), shape.rowStrides[1]),
                          k.mul(tile.index, width * 4));
      k.loop(k.ci(0), k.ci(width * 4), lanes * 4,
             [&](Value at) { k.store(k.loadF32(k.offset(from, at), lanes), k.offset(to, at), 4); });
    });
  };
  emitProduct(k, spec, shape);
}

// linear_residual: [x, residual, weight, (bias), y]
void emitLinearResidual(KernelBuilder& k, llm::LinearResidualOp op, const KernelShape& shape) {
  ProductSpec spec{.x = k.operand(0), .xStride = shape.rowStrides[0], .weight = k.operand(2)};
  setMatrix(spec, op, op.getWeightAttr());
  Value residual = k.operand(1);
  Value bias = op.getBiasAttr() ? k.operand(3) : Value();
  Value y = k.operand(op.getBiasAttr() ? 4 : 3);
  const float scale = float(op.getScale().convertToDouble());
  spec.epilogue = [&](const OutputTile& tile) {
    forTile(k, tile, 1, [&](Value r, Value p) {
      Value panel = k.add(tile.firstPanel, p);
      Value v = k.loadF32(tile.at(k, r, p));
      if (bias) v = k.addf(v, k.loadF32(k.offset(bias, k.mul(panel, kLanes * 4))));
      if (scale != 1.0f) v = k.mulf(v, k.splat(scale));
      v = k.addf(k.loadF32(outputAt(k, residual, tile, shape.rowStrides[1], r, panel)), v);
      k.store(v, outputAt(k, y, tile, shape.rowStrides[2], r, panel), 4);
    });
  };
  emitProduct(k, spec, shape);
}

// norm_glu: [x, norm, (norm_bias), gate|up, (bias), y]
void emitNormGlu(KernelBuilder& k, llm::NormGluOp op, const KernelShape& shape) {
  int64_t next = 1;
  ProductSpec spec{.x = k.operand(0), .xStride = shape.rowStrides[0]};
  spec.norm = normOf(k, op, next);
  spec.weight = k.operand(next++);
  setMatrix(spec, op, op.getGateProjAttr());
  spec.numPanels *= 2;
  const int64_t width = widthOf(op.getY());
  Value bias = op.getGateBiasAttr() ? k.operand(next++) : Value();
  Value y = k.operand(next);
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

// norm_qkv: [x, norm, (norm_bias), qkv, (bias), (q_norm, k_norm), (rope), keys, values, q]. A tile
// is one head of q, k or v.
void emitNormQkv(KernelBuilder& k, llm::NormQkvOp op, const KernelShape& shape) {
  const KvLayout kv(cast<llm::KvCacheType>(op.getKv().getType()));
  const int64_t headDim = kv.headDim;
  const int64_t half = op.getRopeAttr() ? rotaryDim(op, op.getRopeAttr()) / 2 : headDim / 2;
  const int64_t numHeads = widthOf(op.getQ()) / headDim;
  int64_t next = 1;
  ProductSpec spec{.x = k.operand(0), .xStride = shape.rowStrides[0]};
  spec.norm = normOf(k, op, next);
  spec.weight = k.operand(next++);
  setMatrix(spec, op, op.getQProjAttr());
  spec.tilePanels = kv.headDimPadded / kLanes;
  spec.numPanels = (numHeads + 2 * kv.numKvHeads) * spec.tilePanels;
  Value bias = op.getQBiasAttr() ? k.operand(next++) : Value();
  Value headNorms[2];  // of q and k
  if (op.getQNormAttr())
    for (Value& norm : headNorms) norm = k.operand(next++);
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
    /// body(element, values) over a head of q or k after its norm and RoPE.
    auto forRotated = [&](Value pos, Value head, Value headNorm,
                          const std::function<void(Value, Value)>& body) {
      const int64_t lanes = lanesFor(half);
      auto element = [&](Value i, int64_t count) {
        return headNorm ? k.loadF32(k.offset(head, k.mul(i, 4)), count) : loadHead(head, i, count);
      };
      if (headNorm) {
        const int64_t all = lanesFor(headDim);
        if (bias)
          k.loop(k.ci(0), k.ci(headDim), all,
                 [&](Value i) { k.store(loadHead(head, i, all), k.offset(head, k.mul(i, 4)), 4); });
        normHead(k, {.weight = headNorm, .eps = op.getQkEps()->convertToDouble()}, head, head,
                 headDim);
      }
      k.loop(k.ci(0), k.ci(half), lanes, [&](Value i) {
        Value upper = k.add(i, half);
        Value low = element(i, lanes), high = element(upper, lanes);
        if (rope) std::tie(low, high) = rotate(k, rope, pos, i, half, low, high);
        body(i, low);
        body(upper, high);
      });
      if (2 * half == headDim) return;
      const int64_t rest = lanesFor(headDim - 2 * half);
      k.loop(k.ci(2 * half), k.ci(headDim), rest, [&](Value i) { body(i, element(i, rest)); });
    };
    auto less = [&](Value a, int64_t b) { return k.cmp(arith::CmpIPredicate::slt, a, k.ci(b)); };
    auto atLeast = [&](Value a, int64_t b) { return k.cmp(arith::CmpIPredicate::sge, a, k.ci(b)); };

    k.ifThen(less(tile.index, numHeads), [&] {
      forHeadRows([&](Value r, Value head) {
        Value out = k.offset(k.rowPtr(q, r, shape.rowStrides[1]), k.mul(tile.index, headDim * 4));
        forRotated(k.row(r).pos, head, headNorms[0],
                   [&](Value i, Value v) { k.store(v, k.offset(out, k.mul(i, 4)), 4); });
      });
    });
    Value kHead = k.add(tile.index, -numHeads);
    k.ifThen(atLeast(kHead, 0), [&] {
      k.ifThen(less(kHead, kv.numKvHeads), [&] {
        forHeadRows([&](Value r, Value head) {
          RowArgs row = k.row(r);
          forRotated(row.pos, head, headNorms[1],
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
