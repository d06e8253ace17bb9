// Verifiers of the structure: model, weights, tables, entry points, layers.
#include <cmath>

#include "ir/LLM.h"

using namespace mlir;
using namespace llmc::llm;

static bool isFloatWeight(Type type) { return type.isF32() || type.isF16() || type.isBF16(); }

//===----------------------------------------------------------------------===//
// model
//===----------------------------------------------------------------------===//

LogicalResult ModelOp::verify() {
  for (auto [name, value] : {std::pair{"hidden_size", getHiddenSize()},
                             {"intermediate_size", getIntermediateSize()},
                             {"num_heads", getNumHeads()},
                             {"num_kv_heads", getNumKvHeads()},
                             {"head_dim", getHeadDim()},
                             {"num_layers", getNumLayers()},
                             {"vocab_size", getVocabSize()},
                             {"max_seq_len", getMaxSeqLen()},
                             {"max_batch", getMaxBatch()}})
    if (static_cast<int64_t>(value) <= 0)
      return emitOpError() << name << " is " << static_cast<int64_t>(value)
                           << ": it must be positive";
  if (getNumHeads() % getNumKvHeads() != 0)
    return emitOpError() << "num_heads " << getNumHeads() << " is not a multiple of num_kv_heads "
                         << getNumKvHeads();
  return success();
}

//===----------------------------------------------------------------------===//
// weight
//===----------------------------------------------------------------------===//

LogicalResult WeightOp::verify() {
  RankedTensorType type = getTensorType();
  if (!type.hasStaticShape() || llvm::is_contained(type.getShape(), 0))
    return emitOpError() << "has the type " << type
                         << ": every dimension must be known and positive";
  if (!isFloatWeight(type.getElementType()))
    return emitOpError() << "has elements of " << type.getElementType()
                         << ": they must be f32, f16 or bf16";
  int64_t layerRank = getKind() == WeightKind::matrix ? 2 : 1;
  int64_t rank = layerRank + (isPerLayer() ? 1 : 0);
  if (type.getRank() != rank)
    return emitOpError() << "has the type " << type << ": a " << stringifyWeightKind(getKind())
                         << (isPerLayer() ? " per layer" : "") << " has " << rank << " dimensions";
  int64_t first = getFirstLayer();
  if (!isPerLayer()) {
    if (first != 0)
      return emitOpError() << "has first_layer " << first << ", but its source names no {layer}";
    return success();
  }
  int64_t numLayers = (*this)->getParentOfType<ModelOp>().getNumLayers();
  if (first < 0 || first >= numLayers || type.getDimSize(0) > numLayers - first)
    return emitOpError() << "has " << type.getDimSize(0) << " layers from layer " << first
                         << " on, but the model has " << numLayers;
  return success();
}

//===----------------------------------------------------------------------===//
// rope_table
//===----------------------------------------------------------------------===//

LogicalResult RopeTableOp::verify() {
  if (getInvFreq().empty()) return emitOpError() << "has no frequencies";
  for (double f : getInvFreq())
    if (!std::isfinite(f) || f < 0)
      return emitOpError() << "has the frequency " << f << ": it must be finite and not negative";
  double scale = getScale().convertToDouble();
  if (!std::isfinite(scale) || scale <= 0)
    return emitOpError() << "has scale " << scale << ": it must be finite and positive";
  return success();
}

//===----------------------------------------------------------------------===//
// entry
//===----------------------------------------------------------------------===//

LogicalResult EntryOp::verify() {
  if (static_cast<int64_t>(getMaxRows()) <= 0)
    return emitOpError() << "max_rows is " << static_cast<int64_t>(getMaxRows())
                         << ": it must be positive";
  TypeRange args = getBody().getArgumentTypes();
  if (args.size() != 2 || !isa<RowsType>(args[0]) || !isa<KvCacheType>(args[1]))
    return emitOpError() << "takes (" << args << "): it must take (!llm.rows, !llm.kv_cache)";
  auto kv = cast<KvCacheType>(args[1]);
  auto model = (*this)->getParentOfType<ModelOp>();
  if (kv.getNumKvHeads() != static_cast<int64_t>(model.getNumKvHeads()) ||
      kv.getHeadDim() != static_cast<int64_t>(model.getHeadDim()))
    return emitOpError() << "has a KV cache of " << kv.getNumKvHeads() << " heads of "
                         << kv.getHeadDim() << ", but the model has " << model.getNumKvHeads()
                         << " of " << model.getHeadDim();
  return success();
}

LogicalResult EntryOp::verifyRegions() {
  auto result = dyn_cast<ReturnOp>(getBody().front().back());
  if (!result) return emitOpError() << "must end with llm.return";
  auto model = (*this)->getParentOfType<ModelOp>();
  int64_t width = cast<RankedTensorType>(result.getLogits().getType()).getDimSize(1);
  if (width != static_cast<int64_t>(model.getVocabSize()))
    return emitOpError() << "returns " << width << " logits a row, but vocab_size is "
                         << model.getVocabSize();

  int64_t next = 0;
  auto regions = getBody().front().getOps<LayersOp>();
  for (LayersOp layers : regions) {
    int64_t first = layers.getFirstLayer();
    if (first != next)
      return layers.emitOpError() << "begins at layer " << first << ": layer " << next
                                  << " must be next, each runs once and in order";
    next += layers.getNumLayers();
  }
  if (!regions.empty() && next != static_cast<int64_t>(model.getNumLayers()))
    return emitOpError() << "runs " << next << " layers, but the model has "
                         << model.getNumLayers();
  return success();
}

//===----------------------------------------------------------------------===//
// layers
//===----------------------------------------------------------------------===//

LogicalResult LayersOp::verify() {
  int64_t first = getFirstLayer(), count = getNumLayers();
  int64_t numLayers = (*this)->getParentOfType<ModelOp>().getNumLayers();
  if (first < 0 || count <= 0 || first >= numLayers || count > numLayers - first)
    return emitOpError() << "runs " << count << " layers from layer " << first
                         << " on, but the model has " << numLayers;
  if (getBody().getNumArguments() != 1 || getIterArg().getType() != getInit().getType())
    return emitOpError() << "has a body that takes (" << getBody().getArgumentTypes()
                         << "): it must take the residual stream, " << getInit().getType();
  return success();
}

LogicalResult LayersOp::verifyRegions() {
  auto yield = dyn_cast<YieldOp>(getBody().front().back());
  if (!yield) return emitOpError() << "must end with llm.yield";
  if (yield.getNumOperands() != 1 || yield.getOperand(0).getType() != getInit().getType())
    return emitOpError() << "yields (" << yield.getOperandTypes()
                         << "): it must yield the residual stream, " << getInit().getType();
  return success();
}
