// Verifiers of the compute ops: their weights and tables against the types they work on.
#include <cmath>

#include "ir/LLM.h"

using namespace mlir;
using namespace llmc::llm;

namespace {

int64_t width(Value v) { return cast<RankedTensorType>(v.getType()).getDimSize(1); }

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
                           ArrayRef<int64_t> shape) {
  WeightOp weight = lookupWeight(op, symbol);
  if (!weight)
    return op->emitOpError() << "names the weight " << symbol << ", which the model lacks";
  if (weight.getKind() != kind)
    return op->emitOpError() << "needs a " << stringifyWeightKind(kind) << ", but " << symbol
                             << " is a " << stringifyWeightKind(weight.getKind());
  if (weight.getLayerShape() != shape)
    return op->emitOpError() << "needs " << symbol << " to be " << shapeText(shape)
                             << ", but it is " << shapeText(weight.getLayerShape());
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

LogicalResult verifyNorm(Operation* op, FlatSymbolRefAttr symbol, APFloat epsilon, Value x) {
  double eps = epsilon.convertToDouble();
  if (!std::isfinite(eps) || eps < 0)
    return op->emitOpError() << "has eps " << eps << ": it must be finite and not negative";
  return verifyWeight(op, symbol, WeightKind::norm, {width(x)});
}

LogicalResult verifyRope(Operation* op, FlatSymbolRefAttr symbol, int64_t headDim) {
  auto model = op->getParentOfType<ModelOp>();
  auto table = dyn_cast_or_null<RopeTableOp>(SymbolTable::lookupSymbolIn(model, symbol.getAttr()));
  if (!table)
    return op->emitOpError() << "names the rope table " << symbol << ", which the model lacks";
  int64_t length = table.getInvFreq().size();
  if (2 * length != headDim)
    return op->emitOpError() << "rotates heads of " << headDim << ", but " << symbol
                             << " has frequencies for " << 2 * length;
  return success();
}

/// Keys and values differ from layer to layer: only a layer (or a kernel) knows whose they are.
LogicalResult verifyInLayer(Operation* op) {
  if (isa<EntryOp>(op->getParentOp()))
    return op->emitOpError() << "uses the KV cache outside llm.layers";
  return success();
}

LogicalResult verifyQueries(Operation* op, Value q, KvCacheType kv) {
  int64_t group = kv.getNumKvHeads() * kv.getHeadDim();
  if (width(q) % group != 0)
    return op->emitOpError() << "has queries of " << width(q) << ": not a multiple of "
                             << kv.getNumKvHeads() << " KV heads of " << kv.getHeadDim();
  return verifyInLayer(op);
}

}  // namespace

LogicalResult EmbedOp::verifySymbolUses(SymbolTableCollection&) {
  int64_t vocabSize = (*this)->getParentOfType<ModelOp>().getVocabSize();
  return verifyMatrix(*this, getWeightAttr(), vocabSize, width(getY()));
}

LogicalResult RmsNormOp::verifySymbolUses(SymbolTableCollection&) {
  return verifyNorm(*this, getWeightAttr(), getEps(), getX());
}

LogicalResult LinearOp::verifySymbolUses(SymbolTableCollection&) {
  return verifyMatrix(*this, getWeightAttr(), width(getY()), width(getX()));
}

LogicalResult BiasOp::verifySymbolUses(SymbolTableCollection&) {
  return verifyBias(*this, getWeightAttr(), width(getX()));
}

LogicalResult RopeOp::verifySymbolUses(SymbolTableCollection&) {
  int64_t headDim = getHeadDim();
  if (headDim <= 0 || headDim % 2 != 0)
    return emitOpError() << "has head_dim " << headDim << ": it must be positive and even";
  if (width(getX()) % headDim != 0)
    return emitOpError() << "has rows of " << width(getX()) << ": not a multiple of head_dim "
                         << headDim;
  return verifyRope(*this, getTableAttr(), headDim);
}

LogicalResult KvWriteOp::verifySymbolUses(SymbolTableCollection&) {
  auto kv = cast<KvCacheType>(getKv().getType());
  if (width(getK()) != kv.getNumKvHeads() * kv.getHeadDim())
    return emitOpError() << "has keys of " << width(getK()) << ", but the cache has "
                         << kv.getNumKvHeads() << " KV heads of " << kv.getHeadDim();
  return verifyInLayer(*this);
}

LogicalResult AttentionOp::verifySymbolUses(SymbolTableCollection&) {
  double scale = getScale().convertToDouble();
  if (!std::isfinite(scale) || scale <= 0)
    return emitOpError() << "has scale " << scale << ": it must be finite and positive";
  if (static_cast<int64_t>(getWindow()) < 0)
    return emitOpError() << "has window " << static_cast<int64_t>(getWindow())
                         << ": it must not be negative (0: none)";
  return verifyQueries(*this, getQ(), cast<KvCacheType>(getKv().getType()));
}

// These have types and no symbols; what must hold stands in their traits.
LogicalResult ActivationOp::verifySymbolUses(SymbolTableCollection&) { return success(); }
LogicalResult MulOp::verifySymbolUses(SymbolTableCollection&) { return success(); }
LogicalResult AddOp::verifySymbolUses(SymbolTableCollection&) { return success(); }

LogicalResult LogitsOp::verifySymbolUses(SymbolTableCollection&) {
  return verifyMatrix(*this, getWeightAttr(), width(getY()), width(getX()));
}

LogicalResult NormQkvOp::verifySymbolUses(SymbolTableCollection&) {
  auto kv = cast<KvCacheType>(getKv().getType());
  int64_t k = width(getX()), qSize = width(getQ()), kvSize = kv.getNumKvHeads() * kv.getHeadDim();
  if (failed(verifyQueries(*this, getQ(), kv)) ||
      failed(verifyNorm(*this, getNormAttr(), getEps(), getX())) ||
      failed(verifyMatrix(*this, getQProjAttr(), qSize, k)) ||
      failed(verifyMatrix(*this, getKProjAttr(), kvSize, k)) ||
      failed(verifyMatrix(*this, getVProjAttr(), kvSize, k)))
    return failure();
  int64_t biases = !!getQBiasAttr() + !!getKBiasAttr() + !!getVBiasAttr();
  if (biases != 0 && biases != 3)
    return emitOpError() << "has " << biases << " of the biases of q, k and v: all or none";
  if (biases != 0 && (failed(verifyBias(*this, getQBiasAttr(), qSize)) ||
                      failed(verifyBias(*this, getKBiasAttr(), kvSize)) ||
                      failed(verifyBias(*this, getVBiasAttr(), kvSize))))
    return failure();
  return getRopeAttr() ? verifyRope(*this, getRopeAttr(), kv.getHeadDim()) : success();
}

LogicalResult NormGluOp::verifySymbolUses(SymbolTableCollection&) {
  int64_t n = width(getY()), k = width(getX());
  if (failed(verifyNorm(*this, getNormAttr(), getEps(), getX())) ||
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

LogicalResult LinearResidualOp::verifySymbolUses(SymbolTableCollection&) {
  if (failed(verifyMatrix(*this, getWeightAttr(), width(getY()), width(getX())))) return failure();
  return getBiasAttr() ? verifyBias(*this, getBiasAttr(), width(getY())) : success();
}

LogicalResult NormLogitsOp::verifySymbolUses(SymbolTableCollection&) {
  if (failed(verifyNorm(*this, getNormAttr(), getEps(), getX()))) return failure();
  return verifyMatrix(*this, getWeightAttr(), width(getY()), width(getX()));
}
