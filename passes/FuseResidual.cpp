// linear (+ bias) + add -> linear_residual
#include "mlir/Transforms/WalkPatternRewriteDriver.h"
#include "passes/Fusion.h"
#include "passes/Passes.h"

using namespace mlir;

namespace llmc {

#define GEN_PASS_DEF_FUSERESIDUAL
#include "passes/Passes.h.inc"

namespace {

/// The linear behind one side of the add, when nothing else uses it.
Projection match(llm::AddOp add, Value side, std::string& why) {
  Projection p = traceProjection(side, why);
  if (!p) return {};
  if (p.rope) {
    why = "rope between the linear and the sum";
    return {};
  }
  if (p.linear->getBlock() != add->getBlock()) {
    why = ("@" + p.weight().getValue() + " is in another region").str();
    return {};
  }
  if (!side.hasOneUse()) {
    why = ("@" + p.weight().getValue() + " has another use").str();
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
    Projection p = match(add, add.getB(), whyB);
    if (!p) {
      residual = add.getB();
      p = match(add, add.getA(), whyA);
    }
    if (!p) {
      // A sum of two things that are no linear is not a near miss.
      if (whyA == kNotALinear && whyB == kNotALinear)
        return rewriter.notifyMatchFailure(add, "no linear");
      return notFused(rewriter, add, "linear_residual", whyB == kNotALinear ? whyA : whyB);
    }

    auto fused = rewriter.replaceOpWithNewOp<llm::LinearResidualOp>(
        add, add.getType(), p.linear.getX(), residual, p.weight(), p.biasOrNull());
    eraseProjection(rewriter, p);
    emitRemark(fused.getLoc()) << "linear_residual: fused " << fused.getWeightAttr()
                               << (fused.getBiasAttr() ? ", bias" : "") << ", add";
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
