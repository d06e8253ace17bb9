// norm + gate and up projections (+ biases) + activation + mul -> norm_glu
#include "mlir/Transforms/WalkPatternRewriteDriver.h"
#include "passes/Fusion.h"
#include "passes/Passes.h"

using namespace mlir;

namespace llmc {

#define GEN_PASS_DEF_FUSENORMGLU
#include "passes/Passes.h.inc"

namespace {

struct Glu {
  Norm norm;
  llm::ActivationOp activation;
  Projection gate, up;
};

FailureOr<Glu> match(llm::MulOp mul, llm::ActivationOp activation, Value up, std::string& why) {
  Glu m{.activation = activation};
  auto fail = [&](const Twine& reason) -> FailureOr<Glu> {
    why = reason.str();
    return failure();
  };
  auto spelled = [](Projection& p) { return ("@" + p.weight().getValue()).str(); };
  if (!(m.gate = traceProjection(activation.getX(), why)) || !(m.up = traceProjection(up, why)))
    return failure();
  if (!activation.getY().hasOneUse()) return fail("the activation has another use");
  if (!activation.getX().hasOneUse()) return fail(spelled(m.gate) + " has another use");
  if (!up.hasOneUse()) return fail(spelled(m.up) + " has another use");
  if (m.gate.rope || m.up.rope) return fail("rope on a projection of the MLP");
  if (m.gate.qkNorm || m.up.qkNorm) return fail("qk_norm on a projection of the MLP");
  if (static_cast<bool>(m.gate.bias) != static_cast<bool>(m.up.bias))
    return fail("one of the two projections has a bias and one has not");

  m.norm = normOf(m.gate.linear.getX());
  if (!m.norm) return fail("the input of " + spelled(m.gate) + " is not a norm");
  if (m.up.linear.getX() != m.norm.y)
    return fail(spelled(m.gate) + " and " + spelled(m.up) + " have different inputs");
  if (!m.norm.y.hasNUses(2)) return fail("@" + m.norm.weight.getValue() + " has another use");
  if (m.norm.op->getBlock() != mul->getBlock()) return fail("the norm is in another region");

  if (why = whyNotPackable(mul, {m.gate.weight(), m.up.weight()}); !why.empty()) return failure();
  if (m.gate.bias) {
    why = whyNotPackable(mul, {m.gate.biasOrNull(), m.up.biasOrNull()});
    if (!why.empty()) return failure();
  }
  return m;
}

struct FuseMul : OpRewritePattern<llm::MulOp> {
  FuseMul(MLIRContext* context, Pass::Statistic& numFused)
      : OpRewritePattern(context), numFused_(numFused) {}

  LogicalResult matchAndRewrite(llm::MulOp mul, PatternRewriter& rewriter) const override {
    // The gate is the side with the activation; with one on both, no GLU.
    auto a = mul.getA().getDefiningOp<llm::ActivationOp>();
    auto b = mul.getB().getDefiningOp<llm::ActivationOp>();
    if (!a && !b) return rewriter.notifyMatchFailure(mul, "no activation");
    std::string why;
    FailureOr<Glu> m = a ? match(mul, a, mul.getB(), why) : match(mul, b, mul.getA(), why);
    if (failed(m)) return notFused(rewriter, mul, "norm_glu", why);

    auto fused = rewriter.replaceOpWithNewOp<llm::NormGluOp>(
        mul, mul.getType(), m->norm.x, m->norm.weight, m->norm.bias, m->norm.layer, m->norm.eps,
        m->gate.weight(), m->up.weight(), m->gate.biasOrNull(), m->up.biasOrNull(),
        m->activation.getKindAttr());
    rewriter.eraseOp(m->activation);
    for (Projection p : {m->gate, m->up}) eraseProjection(rewriter, p);
    rewriter.eraseOp(m->norm.op);
    emitRemark(fused.getLoc()) << "norm_glu: fused " << fused.getNormAttr() << ", "
                               << fused.getGateProjAttr() << ", " << fused.getUpProjAttr()
                               << (fused.getGateBiasAttr() ? ", biases" : "")
                               << ", activation, mul";
    ++numFused_;
    return success();
  }

 private:
  Pass::Statistic& numFused_;
};

struct FuseNormGlu : impl::FuseNormGluBase<FuseNormGlu> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<FuseMul>(&getContext(), numFused);
    walkAndApplyPatterns(getOperation(), std::move(patterns));
  }
};

}  // namespace
}  // namespace llmc
