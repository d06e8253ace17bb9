#include "codegen/cpu/Math.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;

namespace llmc::cpu {

static int64_t lanesOf(Value v) { return cast<VectorType>(v.getType()).getDimSize(0); }

Value emitExp(KernelBuilder& k, Value x) {
  const int64_t lanes = lanesOf(x);
  OpBuilder& b = k.builder();
  Location loc = x.getLoc();
  auto c = [&](float v) { return k.splat(v, lanes); };
  Value tiny = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OLT, x, c(-87.3f));
  Value huge = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGT, x, c(88.0f));
  Value bounded = k.select(tiny, c(0.0f), k.select(huge, c(88.0f), x));
  // n = round(x / ln 2): adding 1.5 * 2^23 leaves the integer in the low bits of the mantissa.
  constexpr float kRound = 12582912.0f;
  Value shifted = k.fma(bounded, c(1.44269504088896341f), c(kRound));
  Value n = k.subf(shifted, c(kRound));
  Value r = k.fma(n, c(-0.693359375f), bounded);
  r = k.fma(n, c(2.12194440e-4f), r);
  Value p = c(1.9875691500e-4f);
  for (float a :
       {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f})
    p = k.fma(p, r, c(a));
  Value y = k.addf(k.fma(p, k.mulf(r, r), r), c(1.0f));
  // Times 2^n: n goes to the exponent. shifted's bits are kRound's plus n.
  VectorType i32 = k.vecI(lanes, 32);
  Value exponent = arith::ShLIOp::create(
      b, loc, k.bitcast(i32, shifted),
      arith::ConstantOp::create(b, loc, DenseElementsAttr::get(i32, int32_t(23))).getResult());
  Value scaled = k.bitcast(k.vec(lanes), k.add(k.bitcast(i32, y), exponent));
  return k.select(tiny, c(0.0f), scaled);
}

Value emitSigmoid(KernelBuilder& k, Value x) {
  Value one = k.splat(1.0f, lanesOf(x));
  return k.divf(one, k.addf(one, emitExp(k, k.negf(x))));
}

Value emitTanh(KernelBuilder& k, Value x) {
  const int64_t lanes = lanesOf(x);
  OpBuilder& b = k.builder();
  Location loc = x.getLoc();
  auto c = [&](float v) { return k.splat(v, lanes); };
  Value magnitude = k.maxf(x, k.negf(x));
  // Near 0 the quotient below would lose what the polynomial keeps.
  Value square = k.mulf(x, x), p = c(-5.70498872745e-3f);
  for (float a : {2.06390887954e-2f, -5.37397155531e-2f, 1.33314422036e-1f, -3.33332819422e-1f})
    p = k.fma(p, square, c(a));
  Value near = k.fma(k.mulf(p, square), x, x);
  // 1 - 2 / (e^2|x| + 1), with the sign of x
  Value e = emitExp(k, k.addf(magnitude, magnitude));
  Value far = k.subf(c(1.0f), k.divf(c(2.0f), k.addf(e, c(1.0f))));
  Value negative = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OLT, x, c(0.0f));
  Value small = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OLT, magnitude, c(0.625f));
  return k.select(small, near, k.select(negative, k.negf(far), far));
}

/// ln(x) of x in [1, 2].
static Value logOfOneToTwo(KernelBuilder& k, Value x) {
  const int64_t lanes = lanesOf(x);
  auto c = [&](float v) { return k.splat(v, lanes); };
  // Above sqrt(2) of its half, whose logarithm is ln 2 less: the polynomial is for [1/sqrt 2, sqrt
  // 2].
  Value high =
      arith::CmpFOp::create(k.builder(), x.getLoc(), arith::CmpFPredicate::OGT, x, c(1.41421356f));
  Value z = k.subf(k.select(high, k.mulf(x, c(0.5f)), x), c(1.0f)), square = k.mulf(z, z);
  Value p = c(7.0376836292e-2f);
  for (float a : {-1.1514610310e-1f, 1.1676998740e-1f, -1.2420140846e-1f, 1.4249322787e-1f,
                  -1.6668057665e-1f, 2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f})
    p = k.fma(p, z, c(a));
  Value y = k.mulf(k.mulf(p, z), square);
  // ln 2 in two parts, the small one first.
  y = k.select(high, k.addf(y, c(-2.12194440e-4f)), y);
  y = k.addf(k.fma(square, c(-0.5f), y), z);
  return k.select(high, k.addf(y, c(0.693359375f)), y);
}

Value emitLog(KernelBuilder& k, Value x) {
  const int64_t lanes = lanesOf(x);
  OpBuilder& b = k.builder();
  Location loc = x.getLoc();
  VectorType i32 = k.vecI(lanes, 32);
  auto c = [&](int32_t v) -> Value {
    return arith::ConstantOp::create(b, loc, DenseElementsAttr::get(i32, v));
  };
  // x = m 2^n, m in [1, 2): the logarithm of m, and n times ln 2 in two parts, the small one first.
  Value bits = k.bitcast(i32, x);
  Value exponent =
      arith::SubIOp::create(b, loc, arith::ShRUIOp::create(b, loc, bits, c(23)), c(127));
  Value n = arith::SIToFPOp::create(b, loc, k.vec(lanes), exponent);
  Value mantissa =
      arith::OrIOp::create(b, loc, arith::AndIOp::create(b, loc, bits, c(0x7fffff)), c(0x3f800000));
  Value y = k.fma(n, k.splat(-2.12194440e-4f, lanes),
                  logOfOneToTwo(k, k.bitcast(k.vec(lanes), mantissa)));
  return k.fma(n, k.splat(0.693359375f, lanes), y);
}

Value emitSoftplus(KernelBuilder& k, Value x) {
  const int64_t lanes = lanesOf(x);
  Value one = k.splat(1.0f, lanes), zero = k.splat(0.0f, lanes);
  // max(x, 0) + ln(1 + y), y = e^-|x|. 1 + y is rounded: what it lost is added, over 1 + y.
  Value y = emitExp(k, k.negf(k.maxf(x, k.negf(x))));
  Value sum = k.addf(one, y);
  Value lost = k.divf(k.subf(y, k.subf(sum, one)), sum);
  return k.addf(k.maxf(x, zero), k.addf(logOfOneToTwo(k, sum), lost));
}

Value emitSoftcap(KernelBuilder& k, Value x, double cap) {
  const int64_t lanes = lanesOf(x);
  Value limit = k.splat(float(cap), lanes);
  return k.mulf(limit, emitTanh(k, k.divf(x, limit)));
}

/// erf within 1.5e-7: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26.
static Value erf(KernelBuilder& k, Value x) {
  const int64_t lanes = lanesOf(x);
  auto c = [&](float v) { return k.splat(v, lanes); };
  Value magnitude = k.maxf(x, k.negf(x));
  Value t = k.divf(c(1.0f), k.fma(c(0.3275911f), magnitude, c(1.0f)));
  Value p = c(1.061405429f);
  for (float a : {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f}) p = k.fma(p, t, c(a));
  Value e = emitExp(k, k.negf(k.mulf(x, x)));
  Value y = k.subf(c(1.0f), k.mulf(k.mulf(p, t), e));
  Value negative =
      arith::CmpFOp::create(k.builder(), x.getLoc(), arith::CmpFPredicate::OLT, x, c(0.0f));
  return k.select(negative, k.negf(y), y);
}

Value emitActivationValue(KernelBuilder& k, llm::ActivationKind kind, Value x) {
  const int64_t lanes = lanesOf(x);
  auto c = [&](float v) { return k.splat(v, lanes); };
  switch (kind) {
    case llm::ActivationKind::silu:
      return k.mulf(x, emitSigmoid(k, x));
    case llm::ActivationKind::relu:
      return k.maxf(x, c(0.0f));
    case llm::ActivationKind::gelu:
      // x/2 (1 + erf(x / sqrt 2)), arXiv 1606.08415
      return k.mulf(k.mulf(x, c(0.5f)), k.addf(c(1.0f), erf(k, k.mulf(x, c(0.70710678f)))));
    case llm::ActivationKind::gelu_tanh: {
      // x/2 (1 + tanh z) = x sigmoid(2 z), z = sqrt(2/pi) (x + 0.044715 x^3)
      Value cube = k.mulf(k.mulf(x, x), x);
      Value z = k.mulf(c(0.79788456f), k.fma(c(0.044715f), cube, x));
      return k.mulf(x, emitSigmoid(k, k.mulf(c(2.0f), z)));
    }
    case llm::ActivationKind::relu2: {
      Value positive = k.maxf(x, c(0.0f));
      return k.mulf(positive, positive);
    }
    case llm::ActivationKind::sigmoid:
      return emitSigmoid(k, x);
    case llm::ActivationKind::quick_gelu:
      return k.mulf(x, emitSigmoid(k, k.mulf(c(1.702f), x)));
    case llm::ActivationKind::none:
      return x;
  }
  return {};
}

}  // namespace llmc::cpu
