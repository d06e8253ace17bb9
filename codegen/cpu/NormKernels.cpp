// Norms beyond the plain rms_norm of a row: layer_norm, norms of heads, a norm that joins the
// residual stream.
#include "codegen/cpu/Kernels.h"

using namespace mlir;

namespace llmc::cpu {

namespace {

/// Sums f(values, lanes) over x[0..width) in vectors of 16, the tail's missing lanes being zero.
Value sumOver(KernelBuilder& k, Value x, int64_t width,
              const std::function<Value(Value v, Value sum)>& f) {
  const int64_t whole = width / kLanes * kLanes, tail = width - whole;
  Value sum =
      k.loop(k.ci(0), k.ci(whole * 4), kLanes * 4, k.zero(), [&](Value at, ValueRange state) {
        return Values{f(k.loadF32(k.offset(x, at)), state[0])};
      })[0];
  if (!tail) return k.reduceAdd(sum);
  Value last = f(k.loadF32(k.offset(x, whole * 4)), k.zero());
  return k.reduceAdd(k.addf(sum, k.keepLanes(last, tail)));
}

/// 1 / sqrt(sum / width + eps)
Value inverseRoot(KernelBuilder& k, Value sum, int64_t width, double eps) {
  Value mean = k.divf(sum, k.cf(float(width)));
  return k.divf(k.cf(1.0f), k.sqrtf(k.addf(mean, k.cf(float(eps)))));
}

/// (x - mean) * scale * weight + bias, as far as there are a mean, a weight and a bias.
Value apply(KernelBuilder& k, const NormArgs& norm, Value x, Value mean, Value scale, Value at) {
  const int64_t lanes = cast<VectorType>(x.getType()).getDimSize(0);
  if (mean) x = k.subf(x, mean);
  x = k.mulf(x, scale);
  if (norm.weight) x = k.mulf(x, k.loadF32(k.offset(norm.weight, at), lanes));
  if (norm.bias) x = k.addf(x, k.loadF32(k.offset(norm.bias, at), lanes));
  return x;
}

}  // namespace

void normRow(KernelBuilder& k, const NormArgs& norm, Value x, Value dst, int64_t width) {
  if (!norm.layer) return normRow(k, x, norm.weight, dst, width, norm.eps);
  Value sum = sumOver(k, x, width, [&](Value v, Value s) { return k.addf(s, v); });
  Value mean = k.broadcast(k.divf(sum, k.cf(float(width))));
  Value squares = sumOver(k, x, width, [&](Value v, Value s) {
    Value d = k.subf(v, mean);
    return k.fma(d, d, s);
  });
  Value scale = k.broadcast(inverseRoot(k, squares, width, norm.eps));
  forVectors(k, width, [&](Value at) {
    k.store(apply(k, norm, k.loadF32(k.offset(x, at)), mean, scale, at), k.offset(dst, at), 4);
  });
}

void normHead(KernelBuilder& k, const NormArgs& norm, Value x, Value dst, int64_t headDim) {
  const int64_t lanes = lanesFor(headDim);
  auto sum = [&](const std::function<Value(Value, Value)>& f) {
    return k.reduceAdd(k.loop(k.ci(0), k.ci(headDim * 4), lanes * 4, k.splat(0.0f, lanes),
                              [&](Value at, ValueRange state) {
                                return Values{f(k.loadF32(k.offset(x, at), lanes), state[0])};
                              })[0]);
  };
  Value mean;
  if (norm.layer) {
    Value total = sum([&](Value v, Value s) { return k.addf(s, v); });
    mean = k.broadcast(k.divf(total, k.cf(float(headDim))), lanes);
  }
  Value squares = sum([&](Value v, Value s) {
    if (mean) v = k.subf(v, mean);
    return k.fma(v, v, s);
  });
  Value scale = k.broadcast(inverseRoot(k, squares, headDim, norm.eps), lanes);
  k.loop(k.ci(0), k.ci(headDim * 4), lanes * 4, [&](Value at) {
    Value v = k.loadF32(k.offset(x, at), lanes);
    k.store(apply(k, norm, v, mean, scale, at), k.offset(dst, at), 4);
  });
}

void emitLayerNorm(KernelBuilder& k, llm::LayerNormOp op) {
  const NormArgs norm{.weight = k.operandIf(op.getWeightAttr(), "weight"),
                      .bias = k.operandIf(op.getBiasAttr(), "bias"),
                      .layer = true,
                      .eps = op.getEps().convertToDouble()};
  forRows(k, [&](Value r) {
    normRow(k, norm, k.rowOf("x", r), k.rowOf("y", r), llm::widthOf(op.getX()));
  });
}

void emitQkNorm(KernelBuilder& k, llm::QkNormOp op) {
  const int64_t headDim = op.getHeadDim(), width = llm::widthOf(op.getX());
  Value weight = k.operandIf(op.getWeightAttr(), "weight");
  const bool ofHeads =
      weight && llm::matrixOf(op, op.getWeightAttr()).rows == width && width != headDim;
  forRows(k, [&](Value r) {
    k.loop(k.ci(0), k.ci(width * 4), headDim * 4, [&](Value at) {
      const NormArgs norm{.weight = ofHeads ? k.offset(weight, at) : weight,
                          .layer = op.getLayer(),
                          .eps = op.getEps().convertToDouble()};
      normHead(k, norm, k.offset(k.rowOf("x", r), at), k.offset(k.rowOf("y", r), at), headDim);
    });
  });
}

void emitNormResidual(KernelBuilder& k, llm::NormResidualOp op) {
  const int64_t width = llm::widthOf(op.getX());
  forRows(k, [&](Value r) {
    Value out = k.rowOf("y", r);
    normRow(k, k.rowOf("x", r), k.operand("norm"), out, width, op.getEps().convertToDouble());
    Value from = k.rowOf("residual", r), scale = k.operandIf(op.getScaleAttr(), "scale");
    if (scale) scale = k.broadcast(k.loadScalar(scale));
    forVectors(k, width, [&](Value at) {
      Value v = k.addf(k.loadF32(k.offset(from, at)), k.loadF32(k.offset(out, at)));
      if (scale) v = k.mulf(v, scale);
      k.store(v, k.offset(out, at), 4);
    });
  });
}

}  // namespace llmc::cpu
