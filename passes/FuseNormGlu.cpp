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
  llm::ActivationOp activation;  // null: none
  Projection gate, up;
};

FailureOr<Glu> match(llm::MulOp mul, Value gate, Value up, std::string& why) {
  Glu m{.activation = gate.getDefiningOp<llm::ActivationOp>()};
  Value product = m.activation ? m.activation.getX() : gate;
  auto fail = [&](const Twine& reason) -> FailureOr<Glu> {
    why = reason.str();
    return failure();
  };
  if (!(m.gate = traceProjection(product, why)) || !(m.up = traceProjection(up, why)))
    return failure();
  if (!gate.hasOneUse())
    return fail(m.activation ? "the activation has another use"
                             : spelled(m.gate.weight()) + " has another use");
  if (!product.hasOneUse()) return fail(spelled(m.gate.weight()) + " has another use");
  if (!up.hasOneUse()) return fail(spelled(m.up.weight()) + " has another use");
  if (m.gate.rope || m.up.rope) return fail("rope on a projection of the MLP");
  if (m.gate.qkNorm || m.up.qkNorm) return fail("qk_norm on a projection of the MLP");
  if (static_cast<bool>(m.gate.bias) != static_cast<bool>(m.up.bias))
    return fail("one of the two projections has a bias and one has not");

  m.norm = normOf(m.gate.linear.getX());
  if (!m.norm) return fail("the input of " + spelled(m.gate.weight()) + " is not a norm");
  if (m.up.linear.getX() != m.norm.y)
    return fail(spelled(m.gate.weight()) + " and " + spelled(m.up.weight()) +
                " have different inputs");
  if (!feedsLinearsAlone(m.norm)) return fail(spelled(m.norm.weight) + " has another use");
  if (m.norm.op->getBlock() != mul->getBlock()) return fail("the norm is in another region");

  if (why = whyNotPackable(mul, {m.gate.weight(), m.up.weight()}); !why.empty()) return failure();
  if (m.gate.bias) {
    why = whyNotPackable(mul, {m.gate.biasOrNull(), m.up.biasOrNull()});
    if (!why.empty()) return failure();
  }
  return m;
}

bool traced(Value value) {
  std::string why;
  return static_cast<bool>(traceProjection(value, why));
}

struct FuseMul : OpRewritePattern<llm::MulOp> {
  FuseMul(MLIRContext* context, Pass::Statistic& numFused)
      : OpRewritePattern(context), numFused_(numFused) {}

  LogicalResult matchAndRewrite(llm::MulOp mul, PatternRewriter& rewriter) const override {
    // The gate is the side with the activation; with one on both, no GLU. Without one, the product
    // of two projections is the same.
    auto a = mul.getA().getDefiningOp<llm::ActivationOp>();
    auto b = mul.getB().getDefiningOp<llm::ActivationOp>();
    if (!a && !b && (!traced(mul.getA()) || !traced(mul.getB())))
      return rewriter.notifyMatchFailure(mul, "no activation");
    std::string why;
    FailureOr<Glu> m =
        a || !b ? match(mul, mul.getA(), mul.getB(), why) : match(mul, mul.getB(), mul.getA(), why);
    if (failed(m)) return notFused(rewriter, mul, "norm_glu", why);

    auto fused = rewriter.replaceOpWithNewOp<llm::NormGluOp>(
        mul, mul.getType(), m->norm.x, m->norm.weight, m->norm.bias, m->norm.layer, m->norm.eps,
        m->gate.weight(), m->up.weight(), m->gate.biasOrNull(), m->up.biasOrNull(),
        m->activation ? m->activation.getKindAttr()
                      : llm::ActivationKindAttr::get(getContext(), llm::ActivationKind::none));
    if (m->activation) rewriter.eraseOp(m->activation);
    for (Projection p : {m->gate, m->up}) eraseProjection(rewriter, p);
    eraseIfUnused(rewriter, m->norm);
    emitRemark(fused.getLoc()) << "norm_glu: fused " << fused.getNormAttr() << ", "
                               << fused.getGateProjAttr() << ", " << fused.getUpProjAttr()
                               << (fused.getGateBiasAttr() ? ", biases" : "")
                               << (m->activation ? ", activation, mul" : ", mul");
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
