// norm + logits -> norm_logits
#include "mlir/Transforms/WalkPatternRewriteDriver.h"
#include "passes/Fusion.h"
#include "passes/Passes.h"

using namespace mlir;

namespace llmc {

#define GEN_PASS_DEF_FUSENORMLOGITS
#include "passes/Passes.h.inc"

namespace {

struct FuseLogits : OpRewritePattern<llm::LogitsOp> {
  FuseLogits(MLIRContext* context, Pass::Statistic& numFused)
      : OpRewritePattern(context), numFused_(numFused) {}

  LogicalResult matchAndRewrite(llm::LogitsOp logits, PatternRewriter& rewriter) const override {
    Norm norm = normOf(logits.getX());
    if (!norm) return notFused(rewriter, logits, "norm_logits", "its input is not a norm");
    if (norm.op->getBlock() != logits->getBlock())
      return notFused(rewriter, logits, "norm_logits", "the norm is in another region");
    // Hidden rows are asked for: nothing that could be otherwise.
    if (llvm::any_of(norm.y.getUsers(), [](Operation* user) { return isa<llm::ReturnOp>(user); }))
      return rewriter.notifyMatchFailure(logits, "the norm is returned");
    if (!norm.y.hasOneUse())
      return notFused(rewriter, logits, "norm_logits", spelled(norm.weight) + " has another use");

    auto fused = rewriter.replaceOpWithNewOp<llm::NormLogitsOp>(
        logits, logits.getType(), norm.x, logits.getRows(), norm.weight, norm.bias, norm.layer,
        norm.eps, logits.getWeightAttr(), logits.getBiasAttr(), logits.getScaleAttr(),
        logits.getSoftcapAttr());
    rewriter.eraseOp(norm.op);
    emitRemark(fused.getLoc()) << "norm_logits: fused " << fused.getNormAttr() << ", "
                               << fused.getWeightAttr();
    ++numFused_;
    return success();
  }

 private:
  Pass::Statistic& numFused_;
};

struct FuseNormLogits : impl::FuseNormLogitsBase<FuseNormLogits> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<FuseLogits>(&getContext(), numFused);
    walkAndApplyPatterns(getOperation(), std::move(patterns));
  }
};

}  // namespace
}  // namespace llmc
