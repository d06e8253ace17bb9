// Verifiers of the structure: model, weights, tables, entry points, layers.
#include <cmath>

#include "ir/LLM.h"

using namespace mlir;
using namespace llmc::llm;

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
  if (Attribute activations = (*this)->getAttr(kActivationsAttr)) {
    auto name = dyn_cast<StringAttr>(activations);
    if (!name || (name != "int8" && name != "float"))
      return emitOpError() << kActivationsAttr << " is " << activations
                           << ": it must be \"int8\" or \"float\"";
  }
  return success();
}

//===----------------------------------------------------------------------===//
// weight
//===----------------------------------------------------------------------===//

/// Every element of the weight is one of the stored tensor.
LogicalResult WeightOp::verifyView() {
  ViewAttr view = *getView();
  int64_t stored = 1;
  for (int64_t size : view.getStored()) {
    if (size <= 0 || size > (int64_t{1} << 40) / stored)
      return emitOpError() << "has a view of a tensor with a dimension of " << size;
    stored *= size;
  }
  ArrayRef<int64_t> shape = getLayerShape();
  int64_t rows = shape[0], cols = shape.size() > 1 ? shape[1] : 1, run = view.getRun();
  for (int64_t step : {view.getBegin(), view.getOuter(), view.getInner(), view.getCol(),
                       view.getExpert(), view.getPairBegin(), view.getPairSize()})
    if (step < 0 || step > stored)
      return emitOpError() << "has a view that steps " << step << " in " << stored << " elements";
  if (run <= 0 || rows % run != 0)
    return emitOpError() << "has " << rows << " rows in a view of runs of " << run;
  if (view.getPairSize() % 2 != 0 || view.getPairBegin() + view.getPairSize() > run)
    return emitOpError() << "has a view with pairs in " << view.getPairSize() << " rows at "
                         << view.getPairBegin() << " of " << run;
  int64_t sliced = getSource().contains("{expert}") ? 1 : std::max<int64_t>(1, getNumExperts());
  int64_t last = view.getBegin() + (sliced - 1) * view.getExpert() +
                 (rows / run - 1) * view.getOuter() + (run - 1) * view.getInner() +
                 (cols - 1) * view.getCol();
  if (last >= stored)
    return emitOpError() << "has a view that ends at element " << last << " of " << stored;
  return success();
}

LogicalResult WeightOp::verify() {
  RankedTensorType type = getTensorType();
  if (!type.hasStaticShape() || llvm::is_contained(type.getShape(), 0))
    return emitOpError() << "has the type " << type
                         << ": every dimension must be known and positive";
  const llmrt::WeightFormat* format = findWeightFormat(type.getElementType());
  if (!format || (getKind() != WeightKind::matrix && !format->isPlain()))
    return emitOpError() << "has elements of " << type.getElementType()
                         << ": they must be f32, f16 or bf16"
                         << (getKind() == WeightKind::matrix ? ", or a format of !llm.q" : "");
  int64_t layerRank = getKind() == WeightKind::matrix ? 2 : 1;
  int64_t experts = getNumExperts();
  int64_t rank = layerRank + (isPerLayer() ? 1 : 0) + (experts ? 1 : 0);
  if (type.getRank() != rank)
    return emitOpError() << "has the type " << type << ": a " << stringifyWeightKind(getKind())
                         << (isPerLayer() ? " per layer" : "") << (experts ? " and expert" : "")
                         << " has " << rank << " dimensions";
  if (experts && type.getDimSize(isPerLayer() ? 1 : 0) != experts)
    return emitOpError() << "has the type " << type << " and " << experts << " experts";
  if (getSource().contains("{expert}") && !experts)
    return emitOpError() << "has a source that names an {expert}, but no experts";
  if (getView() && failed(verifyView())) return failure();
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
  int64_t above = getLongAbove();
  ArrayRef<double> longer = getLongInvFreq().value_or(ArrayRef<double>());
  if (above < 0 || (above > 0) == longer.empty() ||
      (!longer.empty() && longer.size() != getInvFreq().size()))
    return emitOpError() << "has " << longer.size() << " frequencies above position " << above
                         << ": as many as the others above a position, or none";
  for (double f : longer)
    if (!std::isfinite(f) || f < 0)
      return emitOpError() << "has the frequency " << f << ": it must be finite and not negative";
  return success();
}

//===----------------------------------------------------------------------===//
// state
//===----------------------------------------------------------------------===//

LogicalResult StateOp::verify() {
  if (!isa<KvCacheType, RecurrentType, KeptType>(getType()))
    return emitOpError() << "has the type " << getType()
                         << ": it must be !llm.kv, !llm.recurrent or !llm.kept";
  int64_t window = getWindow();
  if (window < 0)
    return emitOpError() << "has window " << window << ": it must not be negative (0: none)";
  if (window > 0 && !getKvType()) return emitOpError() << "has a window, but keeps no tokens";
  if (getMtp() && !getKvType()) return emitOpError() << "is the MTP block's, but keeps no tokens";
  int64_t numLayers = (*this)->getParentOfType<ModelOp>().getNumLayers(), last = -1;
  ArrayRef<int64_t> bounds = getLayers();
  if (bounds.empty() || bounds.size() % 2 != 0) return emitOpError() << "has no ranges of layers";
  for (size_t i = 0; i + 1 < bounds.size(); i += 2) {
    if (bounds[i] <= last || bounds[i] >= bounds[i + 1] || bounds[i + 1] > numLayers)
      return emitOpError() << "has layers " << bounds[i] << ":" << bounds[i + 1]
                           << ": ranges must be ascending, apart, and in the model's " << numLayers;
    last = bounds[i + 1];
  }
  return success();
}

//===----------------------------------------------------------------------===//
// entry
//===----------------------------------------------------------------------===//

LogicalResult llmc::llm::verifyRowsOfKind(Operation* op, StepKind kind, int64_t maxRows) {
  if ((kind == StepKind::decode || kind == StepKind::mtp) && maxRows > kDecodeMaxRows)
    return op->emitOpError() << "decodes " << maxRows << " rows: at most " << kDecodeMaxRows;
  if ((kind == StepKind::verify || kind == StepKind::commit) && maxRows > kTreeMaxRows)
    return op->emitOpError() << "has trees of " << maxRows << " rows: at most " << kTreeMaxRows;
  return success();
}

LogicalResult EntryOp::verify() {
  if (static_cast<int64_t>(getMaxRows()) <= 0)
    return emitOpError() << "max_rows is " << static_cast<int64_t>(getMaxRows())
                         << ": it must be positive";
  TypeRange args = getBody().getArgumentTypes();
  if (args.size() != 1 || !isa<RowsType>(args[0]))
    return emitOpError() << "takes (" << args << "): it must take (!llm.rows)";
  return verifyRowsOfKind(*this, getKind(), getMaxRows());
}

LogicalResult ReturnOp::verify() {
  if (getValues().size() > 2)
    return emitOpError() << "returns " << getValues().size() << " values: logits and hidden rows";
  return success();
}

LogicalResult EntryOp::verifyRegions() {
  auto result = dyn_cast<ReturnOp>(getBody().front().back());
  if (!result) return emitOpError() << "must end with llm.return";
  auto model = (*this)->getParentOfType<ModelOp>();
  const bool commits = getKind() == StepKind::commit;
  if (!result.getLogits() != commits)
    return emitOpError() << (commits ? "returns logits, but a commit step has none"
                                     : "returns nothing: it must return logits");
  if (commits) {
    WalkResult computes = getBody().walk([](KernelOpInterface op) {
      if (isa<KvMoveOp, KeptOp, CausalConvOp, GatedDeltaOp, SsdOp>(op.getOperation()))
        return WalkResult::advance();
      op.emitOpError() << "computes in a commit step, which brings states up to date and does "
                          "nothing else";
      return WalkResult::interrupt();
    });
    if (computes.wasInterrupted()) return failure();
  } else if (int64_t width = widthOf(result.getLogits());
             width != static_cast<int64_t>(model.getVocabSize())) {
    return emitOpError() << "returns " << width << " logits a row, but vocab_size is "
                         << model.getVocabSize();
  }
  if (result.getHidden() &&
      widthOf(result.getHidden()) != static_cast<int64_t>(model.getHiddenSize()))
    return emitOpError() << "returns hidden rows of " << widthOf(result.getHidden())
                         << ", but hidden_size is " << model.getHiddenSize();

  int64_t next = 0;
  auto regions = getBody().front().getOps<LayersOp>();
  for (LayersOp layers : regions) {
    int64_t first = layers.getFirstLayer();
    if (first != next)
      return layers.emitOpError() << "begins at layer " << first << ": layer " << next
                                  << " must be next, each runs once and in order";
    next += layers.getNumLayers();
  }
  const bool guesses = getKind() == StepKind::mtp;
  if (!regions.empty() && next != (guesses ? 1 : static_cast<int64_t>(model.getNumLayers())))
    return emitOpError() << "runs " << next << " layers, but the "
                         << (guesses ? "MTP block has " : "model has ")
                         << (guesses ? 1 : static_cast<int64_t>(model.getNumLayers()));
  return success();
}

//===----------------------------------------------------------------------===//
// layers
//===----------------------------------------------------------------------===//

/// "the residual stream, 'tensor<?x8xf32>'"
static std::string streamText(TypeRange stream) {
  if (stream.empty()) return "nothing, as the layers have no residual stream";
  std::string text;
  llvm::raw_string_ostream(text) << "the residual stream, '" << stream.front() << "'";
  return text;
}

LogicalResult LayersOp::verify() {
  int64_t first = getFirstLayer(), count = getNumLayers();
  int64_t numLayers = (*this)->getParentOfType<ModelOp>().getNumLayers();
  if (first < 0 || count <= 0 || first >= numLayers || count > numLayers - first)
    return emitOpError() << "runs " << count << " layers from layer " << first
                         << " on, but the model has " << numLayers;
  const TypeRange stream(getOperandTypes()), result(getResultTypes());
  if (stream != result)
    return emitOpError() << "takes (" << stream << ") and gives (" << result
                         << "): both must be the residual stream, or nothing";
  if (TypeRange args(getBody().getArgumentTypes()); args != stream)
    return emitOpError() << "has a body that takes (" << args << "): it must take "
                         << streamText(stream);
  return success();
}

LogicalResult LayersOp::verifyRegions() {
  auto yield = dyn_cast<YieldOp>(getBody().front().back());
  if (!yield) return emitOpError() << "must end with llm.yield";
  const TypeRange stream(getOperandTypes()), yielded(yield.getOperandTypes());
  if (yielded != stream)
    return emitOpError() << "yields (" << yielded << "): it must yield " << streamText(stream);
  return success();
}
