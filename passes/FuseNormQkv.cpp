// norm + q, k, v projections (+ biases) (+ qk_norm) (+ rope) + kv_write -> norm_qkv
#include "mlir/Transforms/WalkPatternRewriteDriver.h"
#include "passes/Fusion.h"
#include "passes/Passes.h"

using namespace mlir;

namespace llmc {

#define GEN_PASS_DEF_FUSENORMQKV
#include "passes/Passes.h.inc"

namespace {

struct Qkv {
  Norm norm;
  Projection q, k, v;
};

/// Finds what feeds `write`; a failure says why it cannot be fused.
FailureOr<Qkv> match(llm::KvWriteOp write, std::string& why) {
  Qkv m;
  if (!(m.k = traceProjection(write.getK(), why)) || !(m.v = traceProjection(write.getV(), why)))
    return failure();
  auto fail = [&](const Twine& reason) -> FailureOr<Qkv> {
    why = reason.str();
    return failure();
  };
  auto spelled = [](Projection& p) { return ("@" + p.weight().getValue()).str(); };
  if (!write.getK().hasOneUse()) return fail(spelled(m.k) + " has another use");
  if (!write.getV().hasOneUse()) return fail(spelled(m.v) + " has another use");
  if (m.v.rope) return fail("rope on " + spelled(m.v));
  if (m.v.qkNorm) return fail("qk_norm on " + spelled(m.v));

  m.norm = normOf(m.k.linear.getX());
  if (!m.norm) return fail("the input of " + spelled(m.k) + " is not a norm");
  if (m.v.linear.getX() != m.norm.y)
    return fail(spelled(m.k) + " and " + spelled(m.v) + " have different inputs");

  for (Operation* user : m.norm.y.getUsers()) {
    if (user == m.k.linear || user == m.v.linear) continue;
    auto linear = dyn_cast<llm::LinearOp>(user);
    if (!linear || m.q) return fail("@" + m.norm.weight.getValue() + " has another use");
    m.q = followProjection(linear);
  }
  if (!m.q) return fail("no query projection of @" + m.norm.weight.getValue());

  // Rope turns both or neither, by the same table.
  if (static_cast<bool>(m.q.rope) != static_cast<bool>(m.k.rope))
    return fail(m.q.rope ? "rope on " + spelled(m.q) + " but not on " + spelled(m.k)
                         : "rope on " + spelled(m.k) + " but not on " + spelled(m.q));
  llm::KvCacheType kv = llm::kvTypeOf(write, write.getStateAttr());
  if (kv.getValueDim() != kv.getHeadDim()) return fail("keys and values differ in width");
  if (m.q.rope) {
    if (m.q.rope.getTableAttr() != m.k.rope.getTableAttr())
      return fail("@" + m.q.rope.getTable() + " and @" + m.k.rope.getTable() +
                  " are different rope tables");
    for (llm::RopeOp rope : {m.q.rope, m.k.rope}) {
      if (rope.getRows() != write.getRows()) return fail("rope and kv_write use different rows");
      if (rope.getHeadDim() != static_cast<uint64_t>(kv.getHeadDim()))
        return fail("rope over heads of " + Twine(rope.getHeadDim()) + " in a cache of heads of " +
                    Twine(kv.getHeadDim()));
    }
  }
  if (static_cast<bool>(m.q.qkNorm) != static_cast<bool>(m.k.qkNorm))
    return fail("qk_norm on one of " + spelled(m.q) + " and " + spelled(m.k));
  if (m.q.qkNorm) {
    for (llm::QkNormOp norm : {m.q.qkNorm, m.k.qkNorm}) {
      llm::WeightOp weight = llm::lookupWeight(write, norm.getWeightAttr());
      if (norm.getLayer() || !weight ||
          weight.getLayerShape() != ArrayRef<int64_t>{kv.getHeadDim()})
        return fail("@" + norm.getWeight() + " is no rms_norm that all heads of " +
                    Twine(kv.getHeadDim()) + " share");
      if (norm.getHeadDim() != static_cast<uint64_t>(kv.getHeadDim()))
        return fail("qk_norm over heads of " + Twine(norm.getHeadDim()) +
                    " in a cache of heads of " + Twine(kv.getHeadDim()));
    }
    if (m.q.qkNorm.getEps() != m.k.qkNorm.getEps()) return fail("q and k have different qk_norms");
  }
  const bool biased = static_cast<bool>(m.q.bias);
  if (static_cast<bool>(m.k.bias) != biased || static_cast<bool>(m.v.bias) != biased)
    return fail("some of the three projections have a bias and some have not");
  const int64_t qWidth = m.q.linear.getY().getType().getDimSize(1);
  if (qWidth % kv.getHeadDim() != 0)
    return fail(spelled(m.q) + " gives " + Twine(qWidth) + " columns, not whole heads of " +
                Twine(kv.getHeadDim()));

  why = whyNotPackableApart(write, {m.q.weight(), m.k.weight(), m.v.weight()});
  if (!why.empty()) return failure();
  if (biased) {
    why = whyNotPackable(write, {m.q.biasOrNull(), m.k.biasOrNull(), m.v.biasOrNull()});
    if (!why.empty()) return failure();
  }

  // The fused op stands where kv_write stands.
  if (m.norm.op->getBlock() != write->getBlock()) return fail("the norm is in another region");
  for (Operation* user : resultOf(m.q).getUsers()) {
    Operation* ancestor = write->getBlock()->findAncestorOpInBlock(*user);
    if (!ancestor || ancestor->isBeforeInBlock(write))
      return fail(spelled(m.q) + " is used before kv_write");
  }
  return m;
}

struct FuseKvWrite : OpRewritePattern<llm::KvWriteOp> {
  FuseKvWrite(MLIRContext* context, Pass::Statistic& numFused)
      : OpRewritePattern(context), numFused_(numFused) {}

  LogicalResult matchAndRewrite(llm::KvWriteOp write, PatternRewriter& rewriter) const override {
    std::string why;
    FailureOr<Qkv> m = match(write, why);
    if (failed(m)) return notFused(rewriter, write, "norm_qkv", why);

    auto fused = llm::NormQkvOp::create(
        rewriter, write.getLoc(), m->q.linear.getY().getType(), m->norm.x, write.getRows(),
        write.getStateAttr(), m->norm.weight, m->norm.bias, m->norm.layer, m->norm.eps,
        m->q.weight(), m->k.weight(), m->v.weight(), m->q.biasOrNull(), m->k.biasOrNull(),
        m->v.biasOrNull(), m->q.qkNorm ? m->q.qkNorm.getWeightAttr() : nullptr,
        m->k.qkNorm ? m->k.qkNorm.getWeightAttr() : nullptr,
        m->q.qkNorm ? m->q.qkNorm.getEpsAttr() : nullptr,
        m->q.rope ? m->q.rope.getTableAttr() : nullptr);
    rewriter.replaceAllUsesWith(resultOf(m->q), fused.getQ());
    rewriter.eraseOp(write);
    for (Projection p : {m->q, m->k, m->v}) eraseProjection(rewriter, p);
    rewriter.eraseOp(m->norm.op);
    emitRemark(fused.getLoc()) << "norm_qkv: fused " << fused.getNormAttr() << ", "
                               << fused.getQProjAttr() << ", " << fused.getKProjAttr() << ", "
                               << fused.getVProjAttr() << (fused.getQBiasAttr() ? ", biases" : "")
                               << (fused.getQNormAttr() ? ", qk_norm" : "")
                               << (fused.getRopeAttr() ? ", rope" : "") << ", kv_write";
    ++numFused_;
    return success();
  }

 private:
  Pass::Statistic& numFused_;
};

struct FuseNormQkv : impl::FuseNormQkvBase<FuseNormQkv> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<FuseKvWrite>(&getContext(), numFused);
    walkAndApplyPatterns(getOperation(), std::move(patterns));
  }
};

}  // namespace
}  // namespace llmc
