// What is left of a norm that several projections read, once q, k and v and GLUs are fused: a gate
// (norm + projection + activation + mul -> norm_linear) and all others at once (norm + projections
// (+ biases) (+ activations) -> norm_projections)
#include "mlir/Transforms/WalkPatternRewriteDriver.h"
#include "passes/Fusion.h"
#include "passes/Passes.h"

using namespace mlir;

namespace llmc {

#define GEN_PASS_DEF_FUSENORMPROJECTIONS
#include "passes/Passes.h.inc"

namespace {

/// A gate on what attention or a recurrent layer gives. It is made where it is applied, so that
/// nothing but the product is written.
struct FuseGate : OpRewritePattern<llm::MulOp> {
  FuseGate(MLIRContext* context, Pass::Statistic& numGates)
      : OpRewritePattern(context), numGates_(numGates) {}

  LogicalResult matchAndRewrite(llm::MulOp mul, PatternRewriter& rewriter) const override {
    Value gated = mul.getA();
    auto activation = mul.getB().getDefiningOp<llm::ActivationOp>();
    if (!activation) {
      gated = mul.getB();
      activation = mul.getA().getDefiningOp<llm::ActivationOp>();
    }
    if (!activation) return rewriter.notifyMatchFailure(mul, "no activation");
    std::string why;
    Projection p = traceProjection(activation.getX(), why);
    if (!p) return rewriter.notifyMatchFailure(mul, why);
    auto fail = [&](const Twine& reason) {
      return notFused(rewriter, mul, "norm_linear", reason.str());
    };
    if (p.rope || p.qkNorm) return fail("rope or qk_norm before the activation");
    if (!activation.getY().hasOneUse()) return fail("the activation has another use");
    if (!activation.getX().hasOneUse()) return fail(spelled(p.weight()) + " has another use");
    Norm norm = normOf(p.linear.getX());
    if (!norm) return rewriter.notifyMatchFailure(mul, "the gate's input is not a norm");
    // Both sides of a GLU that norm_glu refused are made of the norm at once.
    if (Projection other = traceProjection(gated, why); other && other.linear.getX() == norm.y)
      return rewriter.notifyMatchFailure(mul, "what it gates is another projection of the norm");
    if (norm.op->getBlock() != mul->getBlock()) return fail("the norm is in another region");
    if (!feedsLinearsAlone(norm)) return fail(spelled(norm.weight) + " has another use");

    auto fused = rewriter.replaceOpWithNewOp<llm::NormLinearOp>(
        mul, mul.getType(), norm.x, norm.weight, norm.bias, norm.layer, norm.eps, p.weight(),
        p.biasOrNull(), activation.getKindAttr(), gated);
    rewriter.eraseOp(activation);
    eraseProjection(rewriter, p);
    eraseIfUnused(rewriter, norm);
    emitRemark(fused.getLoc()) << "norm_linear: fused " << fused.getNormAttr() << ", "
                               << fused.getWeightAttr() << (fused.getBiasAttr() ? ", bias" : "")
                               << ", activation, mul";
    ++numGates_;
    return success();
  }

 private:
  Pass::Statistic& numGates_;
};

/// The linear and its bias.
Projection projectionOf(llm::LinearOp linear) {
  Projection p{.linear = linear};
  if (linear.getY().hasOneUse()) p.bias = dyn_cast<llm::BiasOp>(*linear.getY().user_begin());
  return p;
}
/// What alone uses the projection, if it is an activation.
llm::ActivationOp activationOf(const Projection& p) {
  Value y = resultOf(p);
  return y.hasOneUse() ? dyn_cast<llm::ActivationOp>(*y.user_begin()) : llm::ActivationOp();
}

/// Whether a sum, behind a scale or not, alone uses the projection.
bool joinsSum(const Projection& p) {
  Value y = resultOf(p);
  if (auto scale = y.hasOneUse() ? dyn_cast<llm::ScaleOp>(*y.user_begin()) : nullptr)
    y = scale.getY();
  return y.hasOneUse() && isa<llm::AddOp>(*y.user_begin());
}

/// The products that read the norm, in an order in which as many as can be lie side by side.
SmallVector<Projection> projectionsOf(const Norm& norm) {
  SmallVector<llm::LinearOp> linears;
  for (Operation* user : norm.y.getUsers()) linears.push_back(cast<llm::LinearOp>(user));
  llvm::sort(linears, [](llm::LinearOp a, llm::LinearOp b) { return a->isBeforeInBlock(b); });
  llvm::stable_sort(linears, [](llm::LinearOp a, llm::LinearOp b) {
    return llm::widthOf(a.getY()) % 16 == 0 && llm::widthOf(b.getY()) % 16 != 0;
  });
  return llvm::map_to_vector(linears, projectionOf);
}

/// Puts all that products make of the norm in its place; false where that cannot be. It erases what
/// stands behind the norm, which no pattern may.
bool fuseProjections(IRRewriter& rewriter, const Norm& norm) {
  // Experts read the norm itself.
  if (norm.y.use_empty() || !feedsLinearsAlone(norm)) return false;
  SmallVector<Projection> found = projectionsOf(norm);
  // One with an activation is norm_linear's, one that joins the residual stream linear_residual's.
  if (found.size() == 1 && (activationOf(found.front()) || joinsSum(found.front()))) return false;
  auto refuse = [&](const Twine& why) {
    emitRemark(norm.op->getLoc()) << "norm_projections not fused: " << why;
    return false;
  };
  if (found.size() > llm::kMostProjections)
    return refuse(spelled(norm.weight) + " has " + Twine(found.size()) + " projections");
  SmallVector<FlatSymbolRefAttr> weights;
  for (Projection& p : found) weights.push_back(p.weight());
  if (const std::string why = whyNotOfSameLayers(norm.op, weights); !why.empty())
    return refuse(why);

  SmallVector<Type> types;
  SmallVector<Attribute> projections;
  for (Projection& p : found) {
    llm::ActivationOp activation = activationOf(p);
    types.push_back(p.linear.getY().getType());
    projections.push_back(
        llm::ProjectionAttr::get(rewriter.getContext(), p.weight(), p.biasOrNull(),
                                 activation ? activation.getKind() : llm::ActivationKind::none));
  }
  rewriter.setInsertionPoint(norm.op);
  auto fused = llm::NormProjectionsOp::create(rewriter, norm.op->getLoc(), types, norm.x,
                                              norm.weight, norm.bias, norm.layer, norm.eps,
                                              rewriter.getArrayAttr(projections));
  InFlightDiagnostic remark = emitRemark(fused.getLoc());
  remark << "norm_projections: fused " << norm.weight;
  for (auto [p, y] : llvm::zip(found, fused.getYs())) {
    llm::ActivationOp activation = activationOf(p);
    remark << ", " << p.weight() << (p.bias ? ", bias" : "") << (activation ? ", activation" : "");
    rewriter.replaceAllUsesWith(activation ? activation.getY() : resultOf(p), y);
    if (activation) rewriter.eraseOp(activation);
    eraseProjection(rewriter, p);
  }
  rewriter.eraseOp(norm.op);
  return true;
}

struct FuseNormProjections : impl::FuseNormProjectionsBase<FuseNormProjections> {
  void runOnOperation() override {
    RewritePatternSet gates(&getContext());
    gates.add<FuseGate>(&getContext(), numGates);
    walkAndApplyPatterns(getOperation(), std::move(gates));
    // What a norm reads may be another's projection: each is looked at when its turn comes.
    SmallVector<Operation*> norms;
    getOperation().walk([&](Operation* op) {
      if (isa<llm::RmsNormOp, llm::LayerNormOp>(op)) norms.push_back(op);
    });
    IRRewriter rewriter(&getContext());
    for (Operation* op : norms)
      if (const Norm norm = normOf(op->getResult(0))) numFused += fuseProjections(rewriter, norm);
  }
};

}  // namespace
}  // namespace llmc
