// rms_norm + add -> norm_residual
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
                      ("@" + norm.getWeight() + " has another use").str());
    if (norm->getBlock() != add->getBlock())
      return notFused(rewriter, add, "norm_residual", "the norm is in another region");

    auto fused = rewriter.replaceOpWithNewOp<llm::NormResidualOp>(
        add, add.getType(), norm.getX(), residual, norm.getWeightAttr(), norm.getEpsAttr());
    rewriter.eraseOp(norm);
    emitRemark(fused.getLoc()) << "norm_residual: fused " << fused.getNormAttr() << ", add";
    ++numFused_;
    return success();
  }

 private:
  Pass::Statistic& numFused_;
};

struct FuseNormResidual : impl::FuseNormResidualBase<FuseNormResidual> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<FuseNormAdd>(&getContext(), numFused);
    walkAndApplyPatterns(getOperation(), std::move(patterns));
  }
};

}  // namespace
}  // namespace llmc
