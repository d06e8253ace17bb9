// rms_norm + add (+ scale_by) -> norm_residual
#include "mlir/Transforms/WalkPatternRewriteDriver.h"
#include "passes/Fusion.h"
#include "passes/Passes.h"

using namespace mlir;

namespace llmc {

#define GEN_PASS_DEF_FUSENORMRESIDUAL
#include "passes/Passes.h.inc"

namespace {

struct FuseNormAdd : OpRewritePattern<llm::AddOp> {
  FuseNormAdd(MLIRContext* context, Pass::Statistic& numFused)
      : OpRewritePattern(context), numFused_(numFused) {}

  LogicalResult matchAndRewrite(llm::AddOp add, PatternRewriter& rewriter) const override {
    Value residual = add.getA();
    auto norm = add.getB().getDefiningOp<llm::RmsNormOp>();
    if (!norm) {
      residual = add.getB();
      norm = add.getA().getDefiningOp<llm::RmsNormOp>();
    }
    if (!norm) return rewriter.notifyMatchFailure(add, "no rms_norm");
    if (!norm.getY().hasOneUse())
      return notFused(rewriter, add, "norm_residual",
                      spelled(norm.getWeightAttr()) + " has another use");
    if (norm->getBlock() != add->getBlock())
      return notFused(rewriter, add, "norm_residual", "the norm is in another region");

    auto fused = rewriter.replaceOpWithNewOp<llm::NormResidualOp>(
        add, add.getType(), norm.getX(), residual, norm.getWeightAttr(), norm.getEpsAttr(),
        FlatSymbolRefAttr());
    rewriter.eraseOp(norm);
    emitRemark(fused.getLoc()) << "norm_residual: fused " << fused.getNormAttr() << ", add";
    ++numFused_;
    return success();
  }

 private:
  Pass::Statistic& numFused_;
};

struct FuseScale : OpRewritePattern<llm::ScaleByOp> {
  FuseScale(MLIRContext* context, Pass::Statistic& numScales)
      : OpRewritePattern(context), numScales_(numScales) {}

  LogicalResult matchAndRewrite(llm::ScaleByOp scale, PatternRewriter& rewriter) const override {
    auto residual = scale.getX().getDefiningOp<llm::NormResidualOp>();
    if (!residual || residual.getScaleAttr())
      return rewriter.notifyMatchFailure(scale, "no norm_residual without a scale");
    if (!residual.getY().hasOneUse())
      return notFused(rewriter, scale, "norm_residual", "what is scaled has another use");
    if (residual->getBlock() != scale->getBlock())
      return notFused(rewriter, scale, "norm_residual", "the sum is in another region");
    auto fused = rewriter.replaceOpWithNewOp<llm::NormResidualOp>(
        scale, scale.getType(), residual.getX(), residual.getResidual(), residual.getNormAttr(),
        residual.getEpsAttr(), scale.getWeightAttr());
    rewriter.eraseOp(residual);
    emitRemark(fused.getLoc()) << "norm_residual: fused " << fused.getNormAttr() << ", add, "
                               << fused.getScaleAttr();
    ++numScales_;
    return success();
  }

 private:
  Pass::Statistic& numScales_;
};

struct FuseNormResidual : impl::FuseNormResidualBase<FuseNormResidual> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<FuseNormAdd>(&getContext(), numFused);
    patterns.add<FuseScale>(&getContext(), numScales);
    walkAndApplyPatterns(getOperation(), std::move(patterns));
  }
};

}  // namespace
}  // namespace llmc
