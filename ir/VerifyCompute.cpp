// Verifiers of the compute ops: their weights and tables against the types they work on.
#include <cmath>

#include "ir/LLM.h"

using namespace mlir;
using namespace llmc::llm;

namespace {

/// The shape of one layer, as in `4096x1024`.
std::string shapeText(ArrayRef<int64_t> shape) {
  std::string text;
  llvm::raw_string_ostream os(text);
  llvm::interleave(shape, os, "x");
  return text;
}

/// The weight exists, is of `kind` and `shape` (of one layer), and has a slice for every layer that
/// runs `op`.
LogicalResult verifyWeight(Operation* op, FlatSymbolRefAttr symbol, WeightKind kind,
                           ArrayRef<int64_t> shape, bool perExpert = false) {
  WeightOp weight = lookupWeight(op, symbol);
  if (!weight)
    return op->emitOpError() << "names the weight " << symbol << ", which the model lacks";
  if (weight.getKind() != kind)
    return op->emitOpError() << "needs a " << stringifyWeightKind(kind) << ", but " << symbol
                             << " is a " << stringifyWeightKind(weight.getKind());
  if (weight.getLayerShape() != shape)
    return op->emitOpError() << "needs " << symbol << " to be " << shapeText(shape)
                             << ", but it is " << shapeText(weight.getLayerShape());
  if ((weight.getNumExperts() > 0) != perExpert)
    return op->emitOpError() << "needs " << symbol << (perExpert ? " of experts" : " of no expert")
                             << ", but it has " << weight.getNumExperts();
  // In a kernel the schedule says which layers run.
  if (!weight.isPerLayer() || isa<KernelOp>(op->getParentOp())) return success();
  auto layers = dyn_cast<LayersOp>(op->getParentOp());
  if (!layers)
    return op->emitOpError() << "uses " << symbol << ", which every layer has, outside llm.layers";
  int64_t first = weight.getFirstLayer(), count = weight.getTensorType().getDimSize(0);
  int64_t run = layers.getFirstLayer(), numRun = layers.getNumLayers();
  if (run < first || run + numRun > first + count)
    return op->emitOpError() << "runs in layers " << run << " to " << run + numRun - 1 << ", but "
                             << symbol << " has layers " << first << " to " << first + count - 1;
  return success();
}

LogicalResult verifyMatrix(Operation* op, FlatSymbolRefAttr symbol, int64_t n, int64_t k) {
  return verifyWeight(op, symbol, WeightKind::matrix, {n, k});
}
LogicalResult verifyBias(Operation* op, FlatSymbolRefAttr symbol, int64_t n) {
  return verifyWeight(op, symbol, WeightKind::bias, {n});
}

LogicalResult verifyEps(Operation* op, APFloat epsilon) {
  double eps = epsilon.convertToDouble();
  if (std::isfinite(eps) && eps >= 0) return success();
  return op->emitOpError() << "has eps " << eps << ": it must be finite and not negative";
}

LogicalResult verifyNorm(Operation* op, FlatSymbolRefAttr symbol, APFloat epsilon, Value x) {
  if (failed(verifyEps(op, epsilon))) return failure();
  return verifyWeight(op, symbol, WeightKind::norm, {widthOf(x)});
}
/// The norm of a fused op: rms_norm has no bias.
LogicalResult verifyNorm(Operation* op, FlatSymbolRefAttr symbol, FlatSymbolRefAttr bias,
                         bool layer, APFloat epsilon, Value x) {
  if (bias && !layer) return op->emitOpError() << "has the bias " << bias << " on an rms_norm";
  if (failed(verifyNorm(op, symbol, epsilon, x))) return failure();
  return bias ? verifyBias(op, bias, widthOf(x)) : success();
}

LogicalResult verifyFinite(Operation* op, StringRef name, APFloat number) {
  double value = number.convertToDouble();
  if (std::isfinite(value)) return success();
  return op->emitOpError() << "has " << name << " " << value << ": it must be finite";
}
LogicalResult verifyNotNegative(Operation* op, StringRef name, APFloat number) {
  double value = number.convertToDouble();
  if (std::isfinite(value) && value >= 0) return success();
  return op->emitOpError() << "has " << name << " " << value
                           << ": it must be finite and not negative";
}

/// `x` is a whole number of heads.
LogicalResult verifyHeads(Operation* op, Value x, int64_t heads) {
  if (heads > 0 && widthOf(x) % heads == 0) return success();
  return op->emitOpError() << "has rows of " << widthOf(x) << " for " << heads << " heads";
}

/// `route` is as wide as an llm.route's result; gives top_k.
FailureOr<int64_t> topKOf(Operation* op, Value route) {
  if (widthOf(route) % 2 == 0) return widthOf(route) / 2;
  return op->emitOpError() << "has a route of " << widthOf(route)
                           << " columns: experts and weights must be as many";
}

LogicalResult verifyRope(Operation* op, FlatSymbolRefAttr symbol, int64_t headDim) {
  auto model = op->getParentOfType<ModelOp>();
  auto table = dyn_cast_or_null<RopeTableOp>(SymbolTable::lookupSymbolIn(model, symbol.getAttr()));
  if (!table)
    return op->emitOpError() << "names the rope table " << symbol << ", which the model lacks";
  int64_t length = table.getInvFreq().size();
  if (2 * length > headDim)
    return op->emitOpError() << "rotates heads of " << headDim << ", but " << symbol
                             << " has frequencies for " << 2 * length;
  return success();
}

/// The state that `op` names, which each layer that runs `op` has; if it only `reads`, one before
/// them may have it instead.
FailureOr<StateOp> verifyState(Operation* op, FlatSymbolRefAttr symbol, bool reads = false) {
  StateOp state = lookupState(op, symbol);
  if (!state) return op->emitOpError() << "names the state " << symbol << ", which the model lacks";
  // In a kernel the schedule says which layers run.
  if (isa<KernelOp>(op->getParentOp())) return state;
  auto layers = dyn_cast<LayersOp>(op->getParentOp());
  if (!layers) return op->emitOpError() << "uses the state " << symbol << " outside llm.layers";
  int64_t first = layers.getFirstLayer(), count = layers.getNumLayers();
  if (!state.hasLayers(first, count) && !(reads && state.isBefore(first, count)))
    return op->emitOpError() << "runs in layers " << first << " to " << first + count - 1
                             << ", not all of which have the state " << symbol;
  return state;
}
/// A paged one.
FailureOr<KvCacheType> verifyKv(Operation* op, FlatSymbolRefAttr symbol, bool reads = false) {
  StateOp named = lookupState(op, symbol);
  if (named && !named.getKvType())
    return op->emitOpError() << "needs keys and values, but " << symbol << " is a "
                             << named.getType();
  FailureOr<StateOp> state = verifyState(op, symbol, reads);
  if (failed(state)) return failure();
  return state->getKvType();
}
/// A recurrent one of f32, of `rank` dimensions.
FailureOr<ArrayRef<int64_t>> verifyRecurrent(Operation* op, FlatSymbolRefAttr symbol, size_t rank) {
  FailureOr<StateOp> state = verifyState(op, symbol);
  if (failed(state)) return failure();
  RecurrentType type = state->getRecurrentType();
  if (!type || type.getShape().size() != rank || !type.getElementType().isF32())
    return op->emitOpError() << "needs a recurrent state of " << rank << " dimensions in f32, but "
                             << symbol << " is a " << state->getType();
  return type.getShape();
}

/// Rows kept from a verify step to its commit; `op` is of a step of kind `kind`, on rows of
/// `width`.
LogicalResult verifyKept(Operation* op, FlatSymbolRefAttr symbol, StepKind kind, int64_t width) {
  if (StepKind mine = stepKindOf(op); mine != kind)
    return op->emitOpError() << "stands in a step of kind " << stringifyStepKind(mine) << ": "
                             << stringifyStepKind(kind) << " alone has it";
  FailureOr<StateOp> state = verifyState(op, symbol);
  if (failed(state)) return failure();
  KeptType type = state->getKeptType();
  if (!type)
    return op->emitOpError() << "needs kept rows, but " << symbol << " is a " << state->getType();
  if (type.getWidth() != width)
    return op->emitOpError() << "has rows of " << width << ", but " << symbol << " keeps rows of "
                             << type.getWidth();
  if (int64_t rows = maxRowsOf(op); rows > type.getRows())
    return op->emitOpError() << "has up to " << rows << " rows, but " << symbol << " keeps "
                             << type.getRows();
  return success();
}

/// A gate that multiplies y, where there is one, is as wide.
LogicalResult verifyGate(Operation* op, Value gate, Value y) {
  if (!gate || widthOf(gate) == widthOf(y)) return success();
  return op->emitOpError() << "multiplies rows of " << widthOf(y) << " by gates of "
                           << widthOf(gate);
}

LogicalResult verifyQueries(Operation* op, Value q, KvCacheType kv) {
  int64_t group = kv.getNumKvHeads() * kv.getHeadDim();
  if (widthOf(q) % group != 0)
    return op->emitOpError() << "has queries of " << widthOf(q) << ": not a multiple of "
                             << kv.getNumKvHeads() << " KV heads of " << kv.getHeadDim();
  return success();
}

}  // namespace

LogicalResult EmbedOp::verifySymbolUses(SymbolTableCollection&) {
  auto model = (*this)->getParentOfType<ModelOp>();
  if (failed(verifyFinite(*this, "scale", getScale())) ||
      failed(verifyMatrix(*this, getWeightAttr(), model.getVocabSize(), widthOf(getY()))))
    return failure();
  if (!getPositionsAttr()) return success();
  WeightOp positions = lookupWeight(*this, getPositionsAttr());
  int64_t count =
      positions && positions.getLayerShape().size() == 2 ? positions.getLayerShape()[0] : 0;
  if (positions && count < static_cast<int64_t>(model.getMaxSeqLen()))
    return emitOpError() << "has " << count << " positions in " << getPositionsAttr()
                         << ", but max_seq_len is " << model.getMaxSeqLen();
  return verifyMatrix(*this, getPositionsAttr(), count, widthOf(getY()));
}

LogicalResult RmsNormOp::verifySymbolUses(SymbolTableCollection&) {
  return verifyNorm(*this, getWeightAttr(), getEps(), getX());
}

LogicalResult LayerNormOp::verifySymbolUses(SymbolTableCollection&) {
  if (failed(verifyEps(*this, getEps())) ||
      (getWeightAttr() && failed(verifyNorm(*this, getWeightAttr(), getEps(), getX()))))
    return failure();
  return getBiasAttr() ? verifyBias(*this, getBiasAttr(), widthOf(getX())) : success();
}

LogicalResult QkNormOp::verifySymbolUses(SymbolTableCollection&) {
  int64_t headDim = getHeadDim();
  if (headDim <= 0 || widthOf(getX()) % headDim != 0)
    return emitOpError() << "has rows of " << widthOf(getX()) << ": not a multiple of head_dim "
                         << headDim;
  if (failed(verifyEps(*this, getEps()))) return failure();
  if (!getWeightAttr()) return success();
  WeightOp weight = lookupWeight(*this, getWeightAttr());
  bool ofHeads = weight && weight.getLayerShape() == ArrayRef<int64_t>{widthOf(getX())};
  return verifyWeight(*this, getWeightAttr(), WeightKind::norm,
                      {ofHeads ? widthOf(getX()) : headDim});
}

LogicalResult ScaleOp::verifySymbolUses(SymbolTableCollection&) {
  return verifyFinite(*this, "factor", getFactor());
}

LogicalResult ScaleRowsOp::verifySymbolUses(SymbolTableCollection&) {
  if (widthOf(getBy()) > 0 && widthOf(getX()) % widthOf(getBy()) == 0) return success();
  return emitOpError() << "scales rows of " << widthOf(getX()) << " by rows of " << widthOf(getBy())
                       << ", which does not divide them";
}

LogicalResult ScaleByOp::verifySymbolUses(SymbolTableCollection&) {
  return verifyWeight(*this, getWeightAttr(), WeightKind::norm, {1});
}

LogicalResult ScaleByPosOp::verifySymbolUses(SymbolTableCollection&) {
  if (static_cast<int64_t>(getEvery()) <= 0)
    return emitOpError() << "grows every " << static_cast<int64_t>(getEvery())
                         << " positions: it must be positive";
  return verifyNotNegative(*this, "growth", getGrowth());
}

LogicalResult LayerSliceOp::verifySymbolUses(SymbolTableCollection&) {
  int64_t numLayers = (*this)->getParentOfType<ModelOp>().getNumLayers();
  if (widthOf(getX()) != numLayers * widthOf(getY()))
    return emitOpError() << "takes rows of " << widthOf(getY()) << " from rows of "
                         << widthOf(getX()) << ": they must hold one for each of " << numLayers
                         << " layers";
  if (isa<EntryOp>((*this)->getParentOp()))
    return emitOpError() << "stands outside llm.layers, where there is no layer";
  return success();
}

LogicalResult ConcatOp::verifySymbolUses(SymbolTableCollection&) {
  int64_t heads = getHeads();
  if (failed(verifyHeads(*this, getA(), heads)) || failed(verifyHeads(*this, getB(), heads)))
    return failure();
  if (widthOf(getY()) == widthOf(getA()) + widthOf(getB())) return success();
  return emitOpError() << "gives rows of " << widthOf(getY()) << " from " << widthOf(getA())
                       << " and " << widthOf(getB());
}

LogicalResult HeadLinearOp::verifySymbolUses(SymbolTableCollection&) {
  int64_t heads = getHeads();
  if (failed(verifyHeads(*this, getX(), heads)) || failed(verifyHeads(*this, getY(), heads)))
    return failure();
  return verifyMatrix(*this, getWeightAttr(), widthOf(getY()), widthOf(getX()) / heads);
}

LogicalResult LinearOp::verifySymbolUses(SymbolTableCollection&) {
  return verifyMatrix(*this, getWeightAttr(), widthOf(getY()), widthOf(getX()));
}

LogicalResult BiasOp::verifySymbolUses(SymbolTableCollection&) {
  return verifyBias(*this, getWeightAttr(), widthOf(getX()));
}

LogicalResult RopeOp::verifySymbolUses(SymbolTableCollection&) {
  int64_t headDim = getHeadDim();
  if (headDim <= 0 || headDim % 2 != 0)
    return emitOpError() << "has head_dim " << headDim << ": it must be positive and even";
  if (widthOf(getX()) % headDim != 0)
    return emitOpError() << "has rows of " << widthOf(getX()) << ": not a multiple of head_dim "
                         << headDim;
  return verifyRope(*this, getTableAttr(), headDim);
}

LogicalResult KvWriteOp::verifySymbolUses(SymbolTableCollection&) {
  FailureOr<KvCacheType> kv = verifyKv(*this, getStateAttr());
  if (failed(kv)) return failure();
  if (widthOf(getK()) != kv->getNumKvHeads() * kv->getHeadDim())
    return emitOpError() << "has keys of " << widthOf(getK()) << ", but " << getStateAttr()
                         << " has " << kv->getNumKvHeads() << " KV heads of " << kv->getHeadDim();
  if (widthOf(getV()) != kv->getNumKvHeads() * kv->getValueDim())
    return emitOpError() << "has values of " << widthOf(getV()) << ", but " << getStateAttr()
                         << " has " << kv->getNumKvHeads() << " KV heads of " << kv->getValueDim();
  return success();
}

LogicalResult KvMoveOp::verifySymbolUses(SymbolTableCollection&) {
  if (StepKind kind = stepKindOf(*this); kind != StepKind::commit)
    return emitOpError() << "moves keys and values in a step of kind " << stringifyStepKind(kind)
                         << ": commit alone does";
  return LogicalResult(verifyKv(*this, getStateAttr()));
}

LogicalResult KeepOp::verifySymbolUses(SymbolTableCollection&) {
  return verifyKept(*this, getStateAttr(), StepKind::verify, widthOf(getX()));
}

LogicalResult HiddenOp::verifySymbolUses(SymbolTableCollection&) {
  if (StepKind kind = stepKindOf(*this); kind != StepKind::mtp)
    return emitOpError() << "is of steps of kind mtp, not " << stringifyStepKind(kind);
  const int64_t hidden = (*this)->getParentOfType<ModelOp>().getHiddenSize();
  if (widthOf(getY()) != hidden)
    return emitOpError() << "gives rows of " << widthOf(getY()) << ", but hidden_size is "
                         << hidden;
  return success();
}
LogicalResult KeptOp::verifySymbolUses(SymbolTableCollection&) {
  return verifyKept(*this, getStateAttr(), StepKind::commit, widthOf(getY()));
}

LogicalResult AttentionOp::verifySymbolUses(SymbolTableCollection&) {
  double scale = getScale().convertToDouble();
  if (!std::isfinite(scale) || scale <= 0)
    return emitOpError() << "has scale " << scale << ": it must be finite and positive";
  if (failed(verifyNotNegative(*this, "softcap", getSoftcap()))) return failure();
  FailureOr<KvCacheType> kv = verifyKv(*this, getStateAttr(), /*reads=*/true);
  if (failed(kv) || failed(verifyQueries(*this, getQ(), *kv))) return failure();
  int64_t heads = widthOf(getQ()) / kv->getHeadDim();
  if (widthOf(getY()) != heads * kv->getValueDim())
    return emitOpError() << "gives rows of " << widthOf(getY()) << ", but " << heads
                         << " heads have values of " << kv->getValueDim();
  return getSinksAttr() ? verifyBias(*this, getSinksAttr(), heads) : success();
}

LogicalResult CausalConvOp::verifySymbolUses(SymbolTableCollection&) {
  FailureOr<ArrayRef<int64_t>> state = verifyRecurrent(*this, getStateAttr(), 2);
  if (failed(state)) return failure();
  if ((*state)[1] != widthOf(getX()))
    return emitOpError() << "has rows of " << widthOf(getX()) << ", but " << getStateAttr()
                         << " keeps rows of " << (*state)[1];
  if (failed(verifyMatrix(*this, getWeightAttr(), (*state)[0] + 1, widthOf(getX()))) ||
      failed(verifyGate(*this, getGate(), getY())))
    return failure();
  return getBiasAttr() ? verifyBias(*this, getBiasAttr(), widthOf(getX())) : success();
}

LogicalResult GatedDeltaOp::verifySymbolUses(SymbolTableCollection&) {
  FailureOr<ArrayRef<int64_t>> state = verifyRecurrent(*this, getStateAttr(), 3);
  if (failed(state) || failed(verifyEps(*this, getEps()))) return failure();
  const DeltaHeads heads = getHeads();
  // Recomputed from the number of key heads, which a width that does not fit rounds.
  const int64_t width = 2 * heads.keyHeads * heads.keyDim + heads.valueHeads * heads.valueDim;
  if (heads.keyHeads <= 0 || width != widthOf(getQkv()) || heads.valueHeads % heads.keyHeads != 0)
    return emitOpError() << "has rows of " << widthOf(getQkv()) << " for q, k and v: with "
                         << heads.valueHeads << " heads of v of " << heads.valueDim
                         << ", what is left must be two times a divisor of them times "
                         << heads.keyDim;
  if (widthOf(getGate()) != heads.valueHeads)
    return emitOpError() << "has gates of " << widthOf(getGate()) << ", but " << getStateAttr()
                         << " has " << heads.valueHeads << " heads";
  if (widthOf(getY()) != heads.valueHeads * heads.valueDim)
    return emitOpError() << "gives rows of " << widthOf(getY()) << ", but " << heads.valueHeads
                         << " heads have values of " << heads.valueDim;
  if (failed(verifyBias(*this, getALogAttr(), heads.valueHeads))) return failure();
  return verifyBias(*this, getDtBiasAttr(), heads.valueHeads);
}

LogicalResult SsdOp::verifySymbolUses(SymbolTableCollection&) {
  FailureOr<ArrayRef<int64_t>> state = verifyRecurrent(*this, getStateAttr(), 3);
  if (failed(state)) return failure();
  const SsdHeads heads = getHeads();
  // Recomputed from the number of groups, which a width that does not fit rounds.
  const int64_t width = heads.heads * heads.headDim + 2 * heads.groups * heads.stateSize;
  if (heads.groups <= 0 || width != widthOf(getXbc()) || heads.heads % heads.groups != 0)
    return emitOpError() << "has rows of " << widthOf(getXbc()) << " for x, B and C: with "
                         << heads.heads << " heads of " << heads.headDim
                         << ", what is left must be two times a divisor of them times "
                         << heads.stateSize;
  if (widthOf(getDt()) != heads.heads)
    return emitOpError() << "has time steps of " << widthOf(getDt()) << ", but " << getStateAttr()
                         << " has " << heads.heads << " heads";
  if (widthOf(getY()) != heads.heads * heads.headDim)
    return emitOpError() << "gives rows of " << widthOf(getY()) << ", but there are " << heads.heads
                         << " heads of " << heads.headDim;
  const double from = getFrom() ? getFrom()->convertToDouble() : 0;
  const double to = getTo() ? getTo()->convertToDouble() : std::max(from, 0.0);
  if (!std::isfinite(from) || !std::isfinite(to) || from < 0 || to < from)
    return emitOpError() << "has time steps from " << from << " to " << to
                         << ": they must be finite, not negative and ascending";
  if (failed(verifyGate(*this, getGate(), getY()))) return failure();
  for (FlatSymbolRefAttr weight : {getAAttr(), getDtBiasAttr(), getDAttr()})
    if (failed(verifyBias(*this, weight, heads.heads))) return failure();
  return success();
}

// These have types and no symbols; what must hold stands in their traits.
LogicalResult ActivationOp::verifySymbolUses(SymbolTableCollection&) { return success(); }
LogicalResult MulOp::verifySymbolUses(SymbolTableCollection&) { return success(); }
LogicalResult AddOp::verifySymbolUses(SymbolTableCollection&) { return success(); }

LogicalResult RouteOp::verifySymbolUses(SymbolTableCollection&) {
  int64_t experts = widthOf(getX()), topK = getTopK(), groups = getNumGroups();
  int64_t keep = getKeepGroups(), top = getGroupTop();
  if (topK <= 0 || topK > experts)
    return emitOpError() << "chooses " << topK << " of " << experts << " experts";
  if (widthOf(getY()) != 2 * topK)
    return emitOpError() << "gives rows of " << widthOf(getY()) << ": " << topK
                         << " experts and their weights are " << 2 * topK;
  if (groups != 0 && (groups < 0 || experts % groups != 0 || keep <= 0 || keep > groups ||
                      top <= 0 || top > experts / groups || topK > keep * (experts / groups)))
    return emitOpError() << "chooses " << topK << " of the best " << keep << " of " << groups
                         << " groups by their best " << top << ", of " << experts << " experts";
  if (failed(verifyFinite(*this, "scale", getScale()))) return failure();
  if (getExpertScaleAttr() &&
      failed(verifyWeight(*this, getExpertScaleAttr(), WeightKind::norm, {experts})))
    return failure();
  return getBiasAttr() ? verifyBias(*this, getBiasAttr(), experts) : success();
}

LogicalResult ExpertGluOp::verifySymbolUses(SymbolTableCollection&) {
  FailureOr<int64_t> topK = topKOf(*this, getRoute());
  if (failed(topK) || failed(verifyHeads(*this, getY(), *topK)) ||
      failed(verifyNotNegative(*this, "limit", getLimit())))
    return failure();
  int64_t n = widthOf(getY()) / *topK, k = widthOf(getX());
  for (FlatSymbolRefAttr weight : {getGateProjAttr(), getUpProjAttr()})
    if (weight &&
        failed(verifyWeight(*this, weight, WeightKind::matrix, {n, k}, /*perExpert=*/true)))
      return failure();
  if (!getUpProjAttr() && (getUpBiasAttr() || !getLimit().isZero()))
    return emitOpError() << "has a " << (getUpBiasAttr() ? "bias of up" : "limit")
                         << " without a second matrix";
  if (getUpProjAttr() && !getGateBiasAttr() != !getUpBiasAttr())
    return emitOpError() << "has a bias of " << (getGateBiasAttr() ? "gate" : "up")
                         << " alone: both or none";
  for (FlatSymbolRefAttr bias : {getGateBiasAttr(), getUpBiasAttr()})
    if (bias && failed(verifyWeight(*this, bias, WeightKind::bias, {n}, /*perExpert=*/true)))
      return failure();
  return success();
}

LogicalResult ExpertDownOp::verifySymbolUses(SymbolTableCollection&) {
  FailureOr<int64_t> topK = topKOf(*this, getRoute());
  if (failed(topK) || failed(verifyHeads(*this, getX(), *topK))) return failure();
  int64_t n = widthOf(getY());
  if (failed(verifyWeight(*this, getWeightAttr(), WeightKind::matrix, {n, widthOf(getX()) / *topK},
                          /*perExpert=*/true)))
    return failure();
  return getBiasAttr() ? verifyWeight(*this, getBiasAttr(), WeightKind::bias, {n},
                                      /*perExpert=*/true)
                       : success();
}

/// The product, bias, scale and softcap of logits and norm_logits.
template <typename Op>
static LogicalResult verifyLogits(Op op) {
  if (failed(verifyFinite(op, "scale", op.getScale())) ||
      failed(verifyNotNegative(op, "softcap", op.getSoftcap())) ||
      failed(verifyMatrix(op, op.getWeightAttr(), widthOf(op.getY()), widthOf(op.getX()))))
    return failure();
  return op.getBiasAttr() ? verifyBias(op, op.getBiasAttr(), widthOf(op.getY())) : success();
}

LogicalResult LogitsOp::verifySymbolUses(SymbolTableCollection&) { return verifyLogits(*this); }

LogicalResult NormQkvOp::verifySymbolUses(SymbolTableCollection&) {
  FailureOr<KvCacheType> state = verifyKv(*this, getStateAttr(), /*reads=*/!getKProjAttr());
  if (failed(state)) return failure();
  KvCacheType kv = *state;
  int64_t k = widthOf(getX()), qSize = widthOf(getQ()),
          kvSize = kv.getNumKvHeads() * kv.getHeadDim();
  if (kv.getValueDim() != kv.getHeadDim())
    return emitOpError() << "writes values of " << kv.getHeadDim() << " to a cache of values of "
                         << kv.getValueDim();
  if (failed(verifyQueries(*this, getQ(), kv)) ||
      failed(verifyNorm(*this, getNormAttr(), getNormBiasAttr(), getLayer(), getEps(), getX())) ||
      failed(verifyMatrix(*this, getQProjAttr(), qSize, k)))
    return failure();
  for (FlatSymbolRefAttr symbol : {getKProjAttr(), getVProjAttr()})
    if (symbol && failed(verifyMatrix(*this, symbol, kvSize, k))) return failure();
  if (getVProjAttr() && !getKProjAttr())
    return emitOpError() << "has " << getVProjAttr() << " and no projection of keys";
  int64_t biases = !!getQBiasAttr() + !!getKBiasAttr() + !!getVBiasAttr();
  if (biases != 0 && !getVProjAttr())
    return emitOpError() << "has biases without a projection of values";
  if (biases != 0 && biases != 3)
    return emitOpError() << "has " << biases << " of the biases of q, k and v: all or none";
  if (biases != 0 && (failed(verifyBias(*this, getQBiasAttr(), qSize)) ||
                      failed(verifyBias(*this, getKBiasAttr(), kvSize)) ||
                      failed(verifyBias(*this, getVBiasAttr(), kvSize))))
    return failure();
  if (getKNormAttr() && !getKProjAttr()) return emitOpError() << "has a norm of keys and no keys";
  if (getKProjAttr() && !getQNormAttr() != !getKNormAttr())
    return emitOpError() << "has a qk_norm of " << (getQNormAttr() ? "q" : "k") << " alone";
  if ((getQNormAttr() || getVNorm()) != !!getQkEpsAttr())
    return emitOpError() << "has norms of heads without eps, or eps without norms of heads";
  if (getVNorm() && !getKProjAttr()) return emitOpError() << "has a v_norm and no values";
  if (getQkEpsAttr() && failed(verifyEps(*this, *getQkEps()))) return failure();
  for (FlatSymbolRefAttr norm : {getQNormAttr(), getKNormAttr()})
    if (norm && failed(verifyWeight(*this, norm, WeightKind::norm, {kv.getHeadDim()})))
      return failure();
  return getRopeAttr() ? verifyRope(*this, getRopeAttr(), kv.getHeadDim()) : success();
}

LogicalResult NormGluOp::verifySymbolUses(SymbolTableCollection&) {
  int64_t n = widthOf(getY()), k = widthOf(getX());
  if (failed(verifyNorm(*this, getNormAttr(), getNormBiasAttr(), getLayer(), getEps(), getX())) ||
      failed(verifyMatrix(*this, getGateProjAttr(), n, k)) ||
      failed(verifyMatrix(*this, getUpProjAttr(), n, k)))
    return failure();
  if (!getGateBiasAttr() != !getUpBiasAttr())
    return emitOpError() << "has a bias of " << (getGateBiasAttr() ? "gate" : "up")
                         << " alone: both or none";
  if (getGateBiasAttr() && (failed(verifyBias(*this, getGateBiasAttr(), n)) ||
                            failed(verifyBias(*this, getUpBiasAttr(), n))))
    return failure();
  return success();
}

LogicalResult NormLinearOp::verifySymbolUses(SymbolTableCollection&) {
  if (failed(verifyNorm(*this, getNormAttr(), getNormBiasAttr(), getLayer(), getEps(), getX())) ||
      failed(verifyMatrix(*this, getWeightAttr(), widthOf(getY()), widthOf(getX()))))
    return failure();
  if (getGated() && getGated().getType() != getY().getType())
    return emitOpError() << "gates rows of " << widthOf(getGated()) << " by rows of "
                         << widthOf(getY());
  return getBiasAttr() ? verifyBias(*this, getBiasAttr(), widthOf(getY())) : success();
}

LogicalResult NormProjectionsOp::verifySymbolUses(SymbolTableCollection&) {
  if (failed(verifyNorm(*this, getNormAttr(), getNormBiasAttr(), getLayer(), getEps(), getX())))
    return failure();
  const auto projections = this->projections();
  if (projections.empty() || projections.size() > kMostProjections)
    return emitOpError() << "has " << projections.size() << " projections: there must be 1 to "
                         << kMostProjections;
  if (projections.size() != getYs().size())
    return emitOpError() << "gives " << getYs().size() << " results of " << projections.size()
                         << " projections";
  for (auto [projection, y] : llvm::zip(projections, getYs())) {
    if (failed(verifyMatrix(*this, projection.getWeight(), widthOf(y), widthOf(getX()))))
      return failure();
    if (projection.getBias() && failed(verifyBias(*this, projection.getBias(), widthOf(y))))
      return failure();
  }
  return success();
}

LogicalResult NormResidualOp::verifySymbolUses(SymbolTableCollection&) {
  if (getScaleAttr() && failed(verifyWeight(*this, getScaleAttr(), WeightKind::norm, {1})))
    return failure();
  return verifyNorm(*this, getNormAttr(), getEps(), getX());
}

LogicalResult LinearResidualOp::verifySymbolUses(SymbolTableCollection&) {
  if (failed(verifyFinite(*this, "scale", getScale()))) return failure();
  if (failed(verifyMatrix(*this, getWeightAttr(), widthOf(getY()), widthOf(getX()))))
    return failure();
  return getBiasAttr() ? verifyBias(*this, getBiasAttr(), widthOf(getY())) : success();
}

LogicalResult NormLogitsOp::verifySymbolUses(SymbolTableCollection&) {
  if (failed(verifyNorm(*this, getNormAttr(), getNormBiasAttr(), getLayer(), getEps(), getX())))
    return failure();
  return verifyLogits(*this);
}
