// Verifiers of the scheduled form: packed weights, kernels, and every phase against the kernel it
// runs. That reads come after writes and live buffers do not overlap is proved elsewhere, on the
// plan.
#include "ir/LLM.h"

using namespace mlir;
using namespace llmc::llm;

namespace {

template <typename Op>
Op lookup(ModelOp model, FlatSymbolRefAttr symbol) {
  return dyn_cast_or_null<Op>(SymbolTable::lookupSymbolIn(model, symbol.getAttr()));
}

}  // namespace

//===----------------------------------------------------------------------===//
// packed_weight
//===----------------------------------------------------------------------===//

LogicalResult PackedWeightOp::verifySymbolUses(SymbolTableCollection&) {
  auto sources = getSources().getAsRange<FlatSymbolRefAttr>();
  if (getSources().empty()) return emitOpError() << "has no sources";
  int64_t headRows = getHeadRows();
  if ((headRows > 0) != (getOrder() == PanelOrder::heads))
    return emitOpError() << "has head_rows " << headRows << " in the order "
                         << stringifyPanelOrder(getOrder())
                         << ": the order heads needs it, no other has it";
  if (getLayout() == Layout::rows && getOrder() != PanelOrder::concat)
    return emitOpError() << "lies in rows in the order " << stringifyPanelOrder(getOrder())
                         << ": rows can only follow one another";
  if (getOrder() == PanelOrder::interleave && getSources().size() != 2)
    return emitOpError() << "interleaves " << getSources().size() << " sources: it takes two";

  WeightOp first;
  for (FlatSymbolRefAttr symbol : sources) {
    WeightOp weight = lookup<WeightOp>((*this)->getParentOfType<ModelOp>(), symbol);
    if (!weight) return emitOpError() << "names the weight " << symbol << ", which the model lacks";
    if (getLayout() == Layout::panels && weight.getKind() != WeightKind::matrix)
      return emitOpError() << "lays " << symbol << " in panels, but it is a "
                           << stringifyWeightKind(weight.getKind());
    Type stored = weight.getKind() == WeightKind::matrix ? weight.getTensorType().getElementType()
                                                         : Float32Type::get(getContext());
    if (getElementType() != stored)
      return emitOpError() << "holds " << getElementType() << ", but " << symbol << " is kept in "
                           << stored;
    if (headRows > 0 && weight.getLayerShape()[0] % headRows != 0)
      return emitOpError() << "has heads of " << headRows << " rows, but " << symbol << " has "
                           << weight.getLayerShape()[0] << " rows";
    if (!first) first = weight;
    bool sameLayers = weight.isPerLayer() == first.isPerLayer() &&
                      weight.getFirstLayer() == first.getFirstLayer() &&
                      weight.getNumExperts() == first.getNumExperts() &&
                      (!weight.isPerLayer() ||
                       weight.getTensorType().getDimSize(0) == first.getTensorType().getDimSize(0));
    bool sameShape = weight.getLayerShape().size() == first.getLayerShape().size() &&
                     weight.getLayerShape().drop_front() == first.getLayerShape().drop_front() &&
                     (getOrder() != PanelOrder::interleave ||
                      weight.getLayerShape()[0] == first.getLayerShape()[0]);
    if (weight.getKind() != first.getKind() || !sameLayers || !sameShape)
      return emitOpError() << "packs @" << first.getSymName() << " with " << symbol
                           << ": they differ in kind, layers or columns"
                           << (getOrder() == PanelOrder::interleave ? ", or rows" : "");
  }
  return success();
}

//===----------------------------------------------------------------------===//
// kernel
//===----------------------------------------------------------------------===//

LogicalResult KernelOp::verifyRegions() {
  if (static_cast<int64_t>(getMaxRows()) <= 0)
    return emitOpError() << "max_rows is " << static_cast<int64_t>(getMaxRows())
                         << ": it must be positive";
  if (failed(verifyRowsOfKind(*this, getKind(), getMaxRows()))) return failure();
  Block& block = getBody().front();
  auto compute = dyn_cast<KernelOpInterface>(block.front());
  auto yield = dyn_cast<YieldOp>(block.back());
  if (!compute || !yield || block.getOperations().size() != 2)
    return emitOpError() << "must hold one op that computes, and llm.yield";
  if (!llvm::equal(compute->getOperands(), block.getArguments()))
    return emitOpError() << "must pass its arguments to " << compute->getName()
                         << " one by one and in order";
  if (!llvm::equal(yield.getOperands(), compute->getResults()))
    return emitOpError() << "must yield the results of " << compute->getName();

  SmallVector<int64_t> widths;
  for (Type type : llvm::concat<Type>(compute->getOperandTypes(), compute->getResultTypes()))
    if (auto tensor = dyn_cast<RankedTensorType>(type)) widths.push_back(tensor.getDimSize(1));
  if (getRowStrides().size() != widths.size())
    return emitOpError() << "has " << getRowStrides().size() << " row_strides for " << widths.size()
                         << " tensors";
  for (auto [stride, rowWidth] : llvm::zip(getRowStrides(), widths))
    if (stride < rowWidth)
      return emitOpError() << "has the row_stride " << stride << " for rows of " << rowWidth;
  return success();
}

//===----------------------------------------------------------------------===//
// schedule
//===----------------------------------------------------------------------===//

LogicalResult ScheduleOp::verify() {
  int64_t maxRows = getMaxRows(), maxLogitsRows = getMaxLogitsRows();
  if (maxRows <= 0) return emitOpError() << "max_rows is " << maxRows << ": it must be positive";
  if (!getLogits() != (getKind() == StepKind::commit))
    return emitOpError() << (getLogits() ? "has logits, but a commit step has none"
                                         : "has no logits");
  if (!getLogits() && maxLogitsRows != 0)
    return emitOpError() << "max_logits_rows is " << maxLogitsRows << " of no logits";
  if (getLogits() && (maxLogitsRows <= 0 || maxLogitsRows > maxRows))
    return emitOpError() << "max_logits_rows is " << maxLogitsRows
                         << ": it must be positive and at most max_rows, " << maxRows;
  return success();
}

int64_t BufferOp::getBytes() {
  return static_cast<int64_t>(getRows() * getRowStride()) * elementBytes(getElementType());
}

LogicalResult BufferOp::verify() {
  int64_t offset = getOffsetBytes(), rows = getRows(), rowWidth = getWidth(),
          stride = getRowStride();
  if (offset < 0 || offset % 64 != 0)
    return emitOpError() << "lies at offset " << offset << ": it must be a multiple of 64";
  if (rows <= 0 || rowWidth <= 0)
    return emitOpError() << "has " << rows << " rows of " << rowWidth << ": both must be positive";
  if (stride < rowWidth)
    return emitOpError() << "has the row_stride " << stride << " for rows of " << rowWidth;
  int64_t arena = cast<ScheduleOp>((*this)->getParentOp()).getArenaBytes();
  Type element = getElementType();
  if (!element.isF32() && !element.isF16() && !element.isBF16() && !element.isInteger(32) &&
      !element.isInteger(8))
    return emitOpError() << "has elements of " << element
                         << ": they must be f32, f16, bf16, i32, i8 or ui8";
  if (offset > arena || rows > (arena - offset) / elementBytes(element) / stride)
    return emitOpError() << "ends after the arena of " << arena << " bytes";
  return success();
}

namespace {

/// A phase against its kernel.
class PhaseVerifier {
 public:
  PhaseVerifier(PhaseOp phase, ScheduleOp schedule, SymbolTableCollection& symbolTables)
      : phase_(phase),
        schedule_(schedule),
        symbolTables_(symbolTables),
        model_(cast<ModelOp>(schedule->getParentOp())),
        repeat_(dyn_cast<RepeatOp>(phase->getParentOp())) {}

  LogicalResult run() {
    kernel_ = lookup<KernelOp>(model_, phase_.getKernelAttr());
    if (!kernel_)
      return phase_.emitOpError() << "runs the kernel " << phase_.getKernelAttr()
                                  << ", which the model lacks";
    if (kernel_.getMaxRows() != schedule_.getMaxRows() || kernel_.getKind() != schedule_.getKind())
      return phase_.emitOpError() << "runs a kernel for " << kernel_.getMaxRows() << " rows of "
                                  << stringifyStepKind(kernel_.getKind()) << " in a schedule for "
                                  << schedule_.getMaxRows() << " of "
                                  << stringifyStepKind(schedule_.getKind());
    KernelOpInterface compute = kernel_.getComputeOp();
    // Its tiles and operands are asked for below, and it may stand after the schedule.
    if (failed(cast<SymbolUserOpInterface>(*compute).verifySymbolUses(symbolTables_)))
      return failure();
    Tiling tiling = compute.getTiling(kernel_.getKind());
    if (static_cast<int64_t>(phase_.getTiles()) != tiling.tiles ||
        static_cast<int64_t>(phase_.getRowsPerTile()) != tiling.rowsPerTile)
      return phase_.emitOpError() << "has " << phase_.getTiles() << " tiles of "
                                  << phase_.getRowsPerTile() << " rows, but its kernel has "
                                  << tiling.tiles << " of " << tiling.rowsPerTile;
    SmallVector<KernelOperand> wanted = compute.getKernelOperands();
    if (phase_.getOperands().size() != wanted.size())
      return phase_.emitOpError() << "has " << phase_.getOperands().size()
                                  << " operands, but its kernel takes " << wanted.size();
    size_t nextTensor = 0;
    for (auto [index, attr, operand] :
         llvm::enumerate(phase_.getOperands().getAsRange<OperandAttr>(), wanted)) {
      if (attr.getSpace() != operand.space || attr.getAccess() != operand.access)
        return phase_.emitOpError()
               << "has " << attr << " as operand " << index << ", but its kernel takes "
               << stringifyAccess(operand.access) << " " << stringifySpace(operand.space);
      if (failed(verifyOperand(index, attr, operand, nextTensor))) return failure();
    }
    return success();
  }

 private:
  LogicalResult verifyOperand(size_t index, OperandAttr attr, const KernelOperand& operand,
                              size_t& nextTensor) {
    switch (operand.space) {
      case Space::arena:
        return verifyBuffer(attr, operand, kernel_.getRowStrides()[nextTensor++]);
      case Space::weights:
        return verifyPackedWeight(attr, operand);
      case Space::rope:
        return verifyRopeTable(attr, operand);
      case Space::input:
        if (attr.getSymbol() != operand.symbols.front())
          return phase_.emitOpError() << "has " << attr << ", but its kernel takes the input "
                                      << operand.symbols.front();
        return success();
      case Space::keys:
      case Space::values:
      case Space::block_table:
      case Space::recurrent:
      case Space::slots:
      case Space::kept:
        return verifyState(attr, operand);
    }
    return success();
  }

  LogicalResult verifyBuffer(OperandAttr attr, const KernelOperand& operand, int64_t stride) {
    auto buffer = dyn_cast_or_null<BufferOp>(
        SymbolTable::lookupSymbolIn(schedule_, attr.getSymbol().getAttr()));
    if (!buffer)
      return phase_.emitOpError() << "has " << attr << ", but the schedule has no such buffer";
    auto type = cast<RankedTensorType>(operand.value.getType());
    if (buffer.getElementType() != type.getElementType())
      return phase_.emitOpError() << "has " << attr << " of " << buffer.getElementType()
                                  << ", but its kernel takes " << type.getElementType();
    int64_t rowWidth = type.getDimSize(1);
    if (static_cast<int64_t>(buffer.getWidth()) != rowWidth ||
        static_cast<int64_t>(buffer.getRowStride()) != stride)
      return phase_.emitOpError() << "has " << attr << " of rows of " << buffer.getWidth()
                                  << " with row_stride " << buffer.getRowStride()
                                  << ", but its kernel takes " << rowWidth << " with row_stride "
                                  << stride;
    if (operand.layerColumns != 0 && !repeat_)
      return phase_.emitOpError() << "has the columns of a layer of " << attr
                                  << " outside llm.repeat";
    bool isResult = isa<OpResult>(operand.value);
    int64_t rows = isResult && kernel_.getComputeOp().onLogitsRows() ? schedule_.getMaxLogitsRows()
                                                                     : schedule_.getMaxRows();
    if (static_cast<int64_t>(buffer.getRows()) < rows)
      return phase_.emitOpError() << "has " << attr << " of " << buffer.getRows()
                                  << " rows, but it needs " << rows;
    return success();
  }

  LogicalResult verifyRopeTable(OperandAttr attr, const KernelOperand& operand) {
    auto table = lookup<RopeTableOp>(model_, attr.getSymbol());
    auto kernels = lookup<RopeTableOp>(model_, operand.symbols.front());
    if (!table)
      return phase_.emitOpError() << "has " << attr << ", but the model has no such rope table";
    if (table.getInvFreq().size() != kernels.getInvFreq().size())
      return phase_.emitOpError() << "has " << attr << " of " << table.getInvFreq().size()
                                  << " frequencies, but its kernel takes "
                                  << kernels.getInvFreq().size();
    return success();
  }

  /// A kernel serves every state of its type, and of its window where it reads what the window
  /// leaves; it names that of the first phase that called it.
  LogicalResult verifyState(OperandAttr attr, const KernelOperand& operand) {
    auto state = lookup<StateOp>(model_, attr.getSymbol());
    auto kernels = lookup<StateOp>(model_, operand.symbols.front());
    if (!state)
      return phase_.emitOpError() << "has " << attr << ", but the model has no such state";
    const bool looksBack = operand.space == Space::keys && operand.access == Access::read;
    if (state.getType() != kernels.getType() ||
        (looksBack && state.getWindow() != kernels.getWindow()))
      return phase_.emitOpError() << "has " << attr << ", whose type or window is not that of "
                                  << operand.symbols.front() << ", which its kernel takes";
    if (!repeat_) return phase_.emitOpError() << "has " << attr << " outside llm.repeat";
    int64_t first = repeat_.getFirstLayer(), count = repeat_.getNumLayers();
    const bool reads = operand.access == Access::read &&
                       (operand.space == Space::keys || operand.space == Space::values ||
                        operand.space == Space::block_table);
    if (!state.hasLayers(first, count) && !(reads && state.isBefore(first, count)))
      return phase_.emitOpError() << "runs in layers " << first << " to " << first + count - 1
                                  << ", not all of which have " << attr;
    return success();
  }

  LogicalResult verifyPackedWeight(OperandAttr attr, const KernelOperand& operand) {
    auto packed = lookup<PackedWeightOp>(model_, attr.getSymbol());
    if (!packed)
      return phase_.emitOpError() << "has " << attr << ", but the model has no such packed weight";
    // A kernel serves every weight of its shapes and type; it names those of the first phase that
    // called it.
    auto sources = packed.getSources().getAsRange<FlatSymbolRefAttr>();
    const bool sameSources = packed.getSources().size() == operand.symbols.size() &&
                             llvm::all_of(llvm::zip(sources, operand.symbols), [&](auto pair) {
                               WeightOp mine = lookup<WeightOp>(model_, std::get<0>(pair));
                               WeightOp kernels = lookup<WeightOp>(model_, std::get<1>(pair));
                               return mine && mine.getKind() == kernels.getKind() &&
                                      mine.getNumExperts() == kernels.getNumExperts() &&
                                      mine.getLayerShape() == kernels.getLayerShape() &&
                                      (mine.getKind() != WeightKind::matrix ||
                                       mine.getTensorType().getElementType() ==
                                           kernels.getTensorType().getElementType());
                             });
    if (!sameSources || packed.getLayout() != operand.layout ||
        packed.getOrder() != operand.order ||
        static_cast<int64_t>(packed.getHeadRows()) != operand.headRows)
      return phase_.emitOpError() << "has " << attr
                                  << ", whose sources or layout are not those its kernel takes";
    WeightOp weight = lookup<WeightOp>(model_, *sources.begin());
    if (!weight.isPerLayer()) return success();
    if (!repeat_)
      return phase_.emitOpError() << "has " << attr
                                  << ", which every layer has, outside llm.repeat";
    int64_t first = weight.getFirstLayer(), count = weight.getTensorType().getDimSize(0);
    int64_t run = repeat_.getFirstLayer(), numRun = repeat_.getNumLayers();
    if (run < first || run + numRun > first + count)
      return phase_.emitOpError() << "runs in layers " << run << " to " << run + numRun - 1
                                  << ", but " << attr << " has layers " << first << " to "
                                  << first + count - 1;
    return success();
  }

  PhaseOp phase_;
  ScheduleOp schedule_;
  SymbolTableCollection& symbolTables_;
  ModelOp model_;
  RepeatOp repeat_;
  KernelOp kernel_;
};

}  // namespace

// The schedule, not the phase, is asked by the model: only then is each kernel beside it known to
// hold one op.
LogicalResult ScheduleOp::verifySymbolUses(SymbolTableCollection& symbolTables) {
  auto model = cast<ModelOp>((*this)->getParentOp());
  if (getLogitsAttr()) {
    auto logits = dyn_cast_or_null<BufferOp>(
        mlir::SymbolTable::lookupSymbolIn(*this, getLogitsAttr().getAttr()));
    if (!logits)
      return emitOpError() << "has its logits in " << getLogitsAttr()
                           << ", which is no buffer of it";
    if (logits.getWidth() != model.getVocabSize() || logits.getRows() < getMaxLogitsRows())
      return emitOpError() << "has a logits buffer of " << logits.getRows() << "x"
                           << logits.getWidth() << ": it must hold " << getMaxLogitsRows() << "x"
                           << model.getVocabSize();
  }
  if (getHiddenAttr()) {
    auto hidden = dyn_cast_or_null<BufferOp>(
        mlir::SymbolTable::lookupSymbolIn(*this, getHiddenAttr().getAttr()));
    if (!hidden || hidden.getWidth() != model.getHiddenSize() || hidden.getRows() < getMaxRows())
      return emitOpError() << "has its hidden rows in " << getHiddenAttr()
                           << ", which is no buffer of " << getMaxRows() << "x"
                           << model.getHiddenSize();
  }
  int64_t numLayers = model.getNumLayers();
  for (RepeatOp repeat : getBody().getOps<RepeatOp>()) {
    int64_t first = repeat.getFirstLayer(), count = repeat.getNumLayers();
    if (first < 0 || count <= 0 || first >= numLayers || count > numLayers - first)
      return repeat.emitOpError() << "runs " << count << " layers from layer " << first
                                  << " on, but the model has " << numLayers;
  }
  WalkResult result = getBody().walk(
      [&](PhaseOp phase) { return WalkResult(PhaseVerifier(phase, *this, symbolTables).run()); });
  return failure(result.wasInterrupted());
}
