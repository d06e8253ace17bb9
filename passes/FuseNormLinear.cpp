// norm + projection (+ bias) + activation -> norm_linear
#include "mlir/Transforms/WalkPatternRewriteDriver.h"
#include "passes/Fusion.h"
#include "passes/Passes.h"

using namespace mlir;

namespace llmc {

#define GEN_PASS_DEF_FUSENORMLINEAR
#include "passes/Passes.h.inc"

namespace {

struct FuseActivation : OpRewritePattern<llm::ActivationOp> {
  FuseActivation(MLIRContext* context, Pass::Statistic& numFused)
      : OpRewritePattern(context), numFused_(numFused) {}

  LogicalResult matchAndRewrite(llm::ActivationOp activation,
                                PatternRewriter& rewriter) const override {
    auto fail = [&](const Twine& why) {
      return notFused(rewriter, activation, "norm_linear", why.str());
    };
    std::string why;
    Projection p = traceProjection(activation.getX(), why);
    if (!p) return rewriter.notifyMatchFailure(activation, why);
    if (p.rope || p.qkNorm) return fail("rope or qk_norm before the activation");
    const std::string name = spelled(p.weight());
    if (!activation.getX().hasOneUse()) return fail(name + " has another use");
    Norm norm = normOf(p.linear.getX());
    if (!norm) return fail("the input of " + name + " is not a norm");
    if (!norm.y.hasOneUse()) return fail(spelled(norm.weight) + " has another use");
    if (norm.op->getBlock() != activation->getBlock()) return fail("the norm is in another region");

    auto fused = rewriter.replaceOpWithNewOp<llm::NormLinearOp>(
        activation, activation.getType(), norm.x, norm.weight, norm.bias, norm.layer, norm.eps,
        p.weight(), p.biasOrNull(), activation.getKindAttr(), /*gated=*/Value());
    eraseProjection(rewriter, p);
    rewriter.eraseOp(norm.op);
    emitRemark(fused.getLoc()) << "norm_linear: fused " << fused.getNormAttr() << ", "
                               << fused.getWeightAttr() << (fused.getBiasAttr() ? ", bias" : "")
                               << ", activation";
    ++numFused_;
    return success();
  }

 private:
  Pass::Statistic& numFused_;
};

struct FuseNormLinear : impl::FuseNormLinearBase<FuseNormLinear> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<FuseActivation>(&getContext(), numFused);
    walkAndApplyPatterns(getOperation(), std::move(patterns));
  }
};

}  // namespace
}  // namespace llmc
