// linear (+ bias) (+ scale) + add -> linear_residual
#include "mlir/Transforms/WalkPatternRewriteDriver.h"
#include "passes/Fusion.h"
#include "passes/Passes.h"

using namespace mlir;

namespace llmc {

#define GEN_PASS_DEF_FUSERESIDUAL
#include "passes/Passes.h.inc"

namespace {

/// The linear behind one side of the add, when nothing else uses it. `scale`: null without one.
Projection match(llm::AddOp add, Value side, llm::ScaleOp& scale, std::string& why) {
  scale = side.getDefiningOp<llm::ScaleOp>();
  if (scale && !scale.getX().hasOneUse()) {
    why = "the input of scale has another use";
    return {};
  }
  Projection p = traceProjection(scale ? scale.getX() : side, why);
  if (!p) return {};
  if (p.rope || p.qkNorm) {
    why = p.rope ? "rope between the linear and the sum" : "qk_norm between the linear and the sum";
    return {};
  }
  if (p.linear->getBlock() != add->getBlock()) {
    why = spelled(p.weight()) + " is in another region";
    return {};
  }
  if (!side.hasOneUse()) {
    why = spelled(p.weight()) + " has another use";
    return {};
  }
  return p;
}

struct FuseAdd : OpRewritePattern<llm::AddOp> {
  FuseAdd(MLIRContext* context, Pass::Statistic& numFused)
      : OpRewritePattern(context), numFused_(numFused) {}

  LogicalResult matchAndRewrite(llm::AddOp add, PatternRewriter& rewriter) const override {
    std::string whyA, whyB;
    Value residual = add.getA();
    llm::ScaleOp scale;
    Projection p = match(add, add.getB(), scale, whyB);
    if (!p) {
      residual = add.getB();
      p = match(add, add.getA(), scale, whyA);
    }
    if (!p) {
      // A sum of two things that are no linear is not a near miss.
      if (whyA == kNotALinear && whyB == kNotALinear)
        return rewriter.notifyMatchFailure(add, "no linear");
      return notFused(rewriter, add, "linear_residual", whyB == kNotALinear ? whyA : whyB);
    }

    auto fused = rewriter.replaceOpWithNewOp<llm::LinearResidualOp>(
        add, add.getType(), p.linear.getX(), residual, p.weight(), p.biasOrNull(),
        scale ? scale.getFactorAttr() : rewriter.getF64FloatAttr(1.0));
    const bool scaled = static_cast<bool>(scale);
    if (scaled) rewriter.eraseOp(scale);
    eraseProjection(rewriter, p);
    emitRemark(fused.getLoc()) << "linear_residual: fused " << fused.getWeightAttr()
                               << (fused.getBiasAttr() ? ", bias" : "") << (scaled ? ", scale" : "")
                               << ", add";
    ++numFused_;
    return success();
  }

 private:
  Pass::Statistic& numFused_;
};

struct FuseResidual : impl::FuseResidualBase<FuseResidual> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<FuseAdd>(&getContext(), numFused);
    walkAndApplyPatterns(getOperation(), std::move(patterns));
  }
};

}  // namespace
}  // namespace llmc
