// norm + q, k, v projections (+ biases) (+ norms of heads) (+ rope) + kv_write -> norm_qkv; the
// same of q alone where a layer reads another's keys and values
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
  bool keysAreValues = false;  // v is what k's linear gives, with its own norm
};

using llmc::spelled;
std::string spelled(Projection& p) { return spelled(p.weight()); }

/// The op that takes values from the linear of the keys; null where they have their own.
Operation* valuesFromKeys(llm::KvWriteOp write) {
  Value k = write.getK(), v = write.getV();
  if (auto rope = k.getDefiningOp<llm::RopeOp>()) k = rope.getX();
  if (auto norm = k.getDefiningOp<llm::QkNormOp>()) k = norm.getX();
  auto norm = v.getDefiningOp<llm::QkNormOp>();
  if (norm) v = norm.getX();
  if (v != k) return nullptr;
  return norm ? norm.getOperation() : write.getOperation();
}

/// Why norm_qkv has no such norm of heads; empty where it has.
std::string whyNotHeadNorm(llm::QkNormOp norm, int64_t headDim, bool weighted) {
  llm::WeightOp weight =
      norm.getWeightAttr() ? llm::lookupWeight(norm, norm.getWeightAttr()) : llm::WeightOp();
  const std::string name = norm.getWeightAttr() ? spelled(norm.getWeightAttr()) : "qk_norm";
  if (norm.getLayer() || static_cast<bool>(weight) != weighted ||
      (weight && weight.getLayerShape() != ArrayRef<int64_t>{headDim}))
    return weighted
               ? (name + " is no rms_norm that all heads of " + Twine(headDim) + " share").str()
               : name + " on values has a weight, or is no rms_norm";
  if (norm.getHeadDim() != static_cast<uint64_t>(headDim))
    return ("qk_norm over heads of " + Twine(norm.getHeadDim()) + " in a cache of heads of " +
            Twine(headDim))
        .str();
  return {};
}

/// Why rope does not turn heads of this cache, of these rows; empty where it does.
std::string whyNotRope(llm::RopeOp rope, Value rows, int64_t headDim) {
  if (rope.getRows() != rows) return "rope and the cache use different rows";
  if (rope.getHeadDim() == static_cast<uint64_t>(headDim)) return {};
  return ("rope over heads of " + Twine(rope.getHeadDim()) + " in a cache of heads of " +
          Twine(headDim))
      .str();
}

/// The third projection of the norm; where there are more, that whose result attention takes as
/// queries, once `write` has written.
Projection queriesOf(llm::KvWriteOp write, Qkv& m) {
  SmallVector<Projection> others;
  for (Operation* user : m.norm.y.getUsers())
    if (user != m.k.linear && user != m.v.linear)
      others.push_back(followProjection(cast<llm::LinearOp>(user)));
  if (others.size() == 1) return others.front();
  for (const Projection& p : others) {
    Value q = resultOf(p);
    if (auto scale = q.hasOneUse() ? dyn_cast<llm::ScaleByPosOp>(*q.user_begin()) : nullptr)
      q = scale.getY();
    for (Operation* reader : q.getUsers())
      if (auto attention = dyn_cast<llm::AttentionOp>(reader);
          attention && attention.getQ() == q && attention.getStateAttr() == write.getStateAttr())
        return p;
  }
  return {};
}

/// Finds what feeds `write`; a failure says why it cannot be fused.
FailureOr<Qkv> match(llm::KvWriteOp write, std::string& why) {
  Qkv m;
  Operation* const taker = valuesFromKeys(write);
  m.keysAreValues = taker != nullptr;
  m.k = traceProjection(write.getK(), why, taker);
  if (!m.k) return failure();
  if (m.keysAreValues) {
    m.v.linear = m.k.linear;
    m.v.qkNorm = write.getV().getDefiningOp<llm::QkNormOp>();
  } else {
    m.v = traceProjection(write.getV(), why);
  }
  if (!m.v) return failure();
  auto fail = [&](const Twine& reason) -> FailureOr<Qkv> {
    why = reason.str();
    return failure();
  };
  if (!write.getK().hasOneUse()) return fail(spelled(m.k) + " has another use");
  if (taker != write && !write.getV().hasOneUse()) return fail(spelled(m.v) + " has another use");
  if (m.v.rope) return fail("rope on " + spelled(m.v));

  m.norm = normOf(m.k.linear.getX());
  if (!m.norm) return fail("the input of " + spelled(m.k) + " is not a norm");
  if (m.v.linear.getX() != m.norm.y)
    return fail(spelled(m.k) + " and " + spelled(m.v) + " have different inputs");

  if (!feedsLinearsAlone(m.norm)) return fail(spelled(m.norm.weight) + " has another use");
  m.q = queriesOf(write, m);
  if (!m.q) return fail("no query projection of " + spelled(m.norm.weight));

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
    for (llm::RopeOp rope : {m.q.rope, m.k.rope})
      if (why = whyNotRope(rope, write.getRows(), kv.getHeadDim()); !why.empty()) return failure();
  }
  if (static_cast<bool>(m.q.qkNorm) != static_cast<bool>(m.k.qkNorm))
    return fail("qk_norm on one of " + spelled(m.q) + " and " + spelled(m.k));
  llm::QkNormOp first;
  for (llm::QkNormOp norm : {m.q.qkNorm, m.k.qkNorm, m.v.qkNorm}) {
    if (!norm) continue;
    why = whyNotHeadNorm(norm, kv.getHeadDim(), /*weighted=*/norm != m.v.qkNorm);
    if (!why.empty()) return failure();
    if (first && norm.getEps() != first.getEps()) return fail("q, k and v have different qk_norms");
    first = norm;
  }
  const bool biased = static_cast<bool>(m.q.bias);
  if (m.keysAreValues && (biased || m.k.bias)) return fail("biases where values are keys");
  if (!m.keysAreValues &&
      (static_cast<bool>(m.k.bias) != biased || static_cast<bool>(m.v.bias) != biased))
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

FlatSymbolRefAttr weightOf(llm::QkNormOp norm) { return norm ? norm.getWeightAttr() : nullptr; }

struct FuseKvWrite : OpRewritePattern<llm::KvWriteOp> {
  FuseKvWrite(MLIRContext* context, Pass::Statistic& numFused)
      : OpRewritePattern(context), numFused_(numFused) {}

  LogicalResult matchAndRewrite(llm::KvWriteOp write, PatternRewriter& rewriter) const override {
    std::string why;
    FailureOr<Qkv> m = match(write, why);
    if (failed(m)) return notFused(rewriter, write, "norm_qkv", why);

    llm::QkNormOp first = m->q.qkNorm ? m->q.qkNorm : m->v.qkNorm;
    auto fused = llm::NormQkvOp::create(
        rewriter, write.getLoc(), m->q.linear.getY().getType(), m->norm.x, write.getRows(),
        write.getStateAttr(), m->norm.weight, m->norm.bias, m->norm.layer, m->norm.eps,
        m->q.weight(), m->k.weight(), m->keysAreValues ? nullptr : m->v.weight(), m->q.biasOrNull(),
        m->k.biasOrNull(), m->v.biasOrNull(), weightOf(m->q.qkNorm), weightOf(m->k.qkNorm),
        first ? first.getEpsAttr() : nullptr, m->v.qkNorm ? rewriter.getUnitAttr() : nullptr,
        m->q.rope ? m->q.rope.getTableAttr() : nullptr);
    rewriter.replaceAllUsesWith(resultOf(m->q), fused.getQ());
    rewriter.eraseOp(write);
    eraseProjection(rewriter, m->q);
    if (m->keysAreValues) {
      if (m->v.qkNorm) rewriter.eraseOp(m->v.qkNorm);
    } else {
      eraseProjection(rewriter, m->v);
    }
    eraseProjection(rewriter, m->k);
    eraseIfUnused(rewriter, m->norm);
    InFlightDiagnostic remark = emitRemark(fused.getLoc());
    remark << "norm_qkv: fused " << fused.getNormAttr() << ", " << fused.getQProjAttr() << ", "
           << fused.getKProjAttr();
    if (fused.getVProjAttr()) remark << ", " << fused.getVProjAttr();
    remark << (fused.getQBiasAttr() ? ", biases" : "") << (fused.getQNormAttr() ? ", qk_norm" : "")
           << (fused.getVNorm() ? ", v_norm" : "") << (fused.getRopeAttr() ? ", rope" : "")
           << ", kv_write";
    ++numFused_;
    return success();
  }

 private:
  Pass::Statistic& numFused_;
};

/// Queries of a layer that reads keys and values of one before it, and has no others.
struct FuseQueries : OpRewritePattern<llm::AttentionOp> {
  FuseQueries(MLIRContext* context, Pass::Statistic& numFused)
      : OpRewritePattern(context), numFused_(numFused) {}

  LogicalResult matchAndRewrite(llm::AttentionOp attention,
                                PatternRewriter& rewriter) const override {
    std::string why;
    Projection q = traceProjection(attention.getQ(), why);
    if (!q) return rewriter.notifyMatchFailure(attention, why);
    Norm norm = normOf(q.linear.getX());
    for (auto write : attention->getBlock()->getOps<llm::KvWriteOp>())
      if (write.getState() == attention.getState())
        return rewriter.notifyMatchFailure(attention, "the layer has keys of its own");
    if (!norm || !norm.y.hasOneUse() || norm.op->getBlock() != attention->getBlock())
      return rewriter.notifyMatchFailure(attention, "the queries are not all that a norm is for");
    llm::KvCacheType kv = llm::kvTypeOf(attention, attention.getStateAttr());
    auto refuse = [&](StringRef reason) {
      return notFused(rewriter, attention, "norm_qkv", reason);
    };
    if (!attention.getQ().hasOneUse()) return refuse(spelled(q) + " has another use");
    if (q.bias) return refuse("a bias on " + spelled(q) + " alone");
    if (kv.getValueDim() != kv.getHeadDim()) return refuse("keys and values differ in width");
    if (q.rope) why = whyNotRope(q.rope, attention.getRows(), kv.getHeadDim());
    if (why.empty() && q.qkNorm) why = whyNotHeadNorm(q.qkNorm, kv.getHeadDim(), /*weighted=*/true);
    if (!why.empty()) return refuse(why);

    auto fused = llm::NormQkvOp::create(
        rewriter, q.linear.getLoc(), q.linear.getY().getType(), norm.x, attention.getRows(),
        attention.getStateAttr(), norm.weight, norm.bias, norm.layer, norm.eps, q.weight(), nullptr,
        nullptr, nullptr, nullptr, nullptr, weightOf(q.qkNorm), nullptr,
        q.qkNorm ? q.qkNorm.getEpsAttr() : nullptr, nullptr,
        q.rope ? q.rope.getTableAttr() : nullptr);
    rewriter.replaceAllUsesWith(resultOf(q), fused.getQ());
    eraseProjection(rewriter, q);
    rewriter.eraseOp(norm.op);
    emitRemark(fused.getLoc()) << "norm_qkv: fused " << fused.getNormAttr() << ", "
                               << fused.getQProjAttr() << (fused.getQNormAttr() ? ", qk_norm" : "")
                               << (fused.getRopeAttr() ? ", rope" : "");
    ++numFused_;
    return success();
  }

 private:
  Pass::Statistic& numFused_;
};

struct FuseNormQkv : impl::FuseNormQkvBase<FuseNormQkv> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<FuseKvWrite, FuseQueries>(&getContext(), numFused);
    walkAndApplyPatterns(getOperation(), std::move(patterns));
  }
};

}  // namespace
}  // namespace llmc
