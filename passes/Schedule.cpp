// Turns entry points into schedules: values become buffers, ops become phases that call kernels.
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/MathExtras.h"
#include "mlir/IR/Builders.h"
#include "passes/KernelTable.h"
#include "passes/PackedWeights.h"
#include "passes/Passes.h"

using namespace mlir;

namespace llmc {

#define GEN_PASS_DEF_SCHEDULE
#include "passes/Passes.h.inc"

namespace {

/// Elements from one row to the next. Vectors of 16 floats start aligned. Wide rows are one vector
/// longer than their width asks, because widths are often powers of two, and the rows of a register
/// tile would all fall on the same set of the L1 cache.
int64_t rowStrideOf(int64_t width) {
  constexpr int64_t kVector = 16, kWide = 1024;
  return llvm::alignTo(width, kVector) + (width >= kWide ? kVector : 0);
}

/// Wanted rows that every entry point holds logits for: enough for a product near the arithmetic
/// peak, and 8 to 40 MB of logits at the vocabularies of 32 to 152 thousand.
constexpr int64_t kScoredRows = 64;

struct Buffer {
  std::string name;
  int64_t rows, width, rowStride;
  Type element;
  int64_t bytes() const { return rows * rowStride * llm::elementBytes(element); }
};

/// Schedules one entry point: assign() gives every value a buffer and refuses what cannot be
/// scheduled, before emit() changes anything.
class EntryScheduler {
 public:
  EntryScheduler(llm::EntryOp entry, const PackedWeights& packed, KernelTable& kernels)
      : entry_(entry), packed_(packed), kernels_(kernels) {
    auto model = entry->getParentOfType<llm::ModelOp>();
    maxRows_ = static_cast<int64_t>(entry.getMaxRows());
    // A prefill step wants the logits of the last token of each sequence; scoring a text
    // (perplexity) and checking drafted tokens want those of all their rows.
    // A commit step has none.
    if (entry.getKind() != llm::StepKind::commit)
      maxLogitsRows_ =
          std::min<int64_t>(maxRows_, std::max<int64_t>(kScoredRows, model.getMaxBatch()));
  }

  LogicalResult assign() {
    for (Operation& op : entry_.getBody().front()) {
      if (auto layers = dyn_cast<llm::LayersOp>(op)) {
        if (failed(assignLayers(layers))) return failure();
      } else if (auto ret = dyn_cast<llm::ReturnOp>(op)) {
        if (!ret.getLogits()) continue;
        auto logits = ret.getLogits().getDefiningOp<llm::KernelOpInterface>();
        if (!logits || !logits.onLogitsRows())
          return ret.emitOpError("cannot be scheduled: what it returns are not logits");
        logits_ = bufferOf_.at(ret.getLogits());
        buffers_[logits_].name = "logits";
        if (!ret.getHidden()) continue;
        if (!bufferOf_.contains(ret.getHidden()))
          return ret.emitOpError("cannot be scheduled: no op makes its hidden rows");
        hidden_ = bufferOf_.at(ret.getHidden());
      } else if (failed(assignPhase(&op))) {
        return failure();
      }
    }
    return success();
  }

  /// Puts the schedule in the entry point's place; returns the number of phases.
  int64_t emit() {
    OpBuilder builder(entry_);
    int64_t arenaBytes = 0;
    for (const Buffer& b : buffers_) arenaBytes += llvm::alignTo(b.bytes(), 64);
    auto schedule = llm::ScheduleOp::create(
        builder, entry_.getLoc(), entry_.getSymNameAttr(), entry_.getKindAttr(),
        builder.getI64IntegerAttr(maxRows_), builder.getI64IntegerAttr(maxLogitsRows_),
        builder.getI64IntegerAttr(arenaBytes),
        logits_ < 0 ? FlatSymbolRefAttr() : symbolOf(logits_),
        hidden_ < 0 ? FlatSymbolRefAttr() : symbolOf(hidden_));
    builder.createBlock(&schedule.getBody());
    int64_t offset = 0;
    for (const Buffer& b : buffers_) {
      llm::BufferOp::create(builder, schedule.getLoc(), b.name, offset, b.rows, b.width,
                            b.rowStride, b.element.isF32() ? TypeAttr() : TypeAttr::get(b.element));
      offset += llvm::alignTo(b.bytes(), 64);
    }
    int64_t phases = 0;
    for (Operation& op : entry_.getBody().front()) {
      if (auto layers = dyn_cast<llm::LayersOp>(op)) {
        auto repeat = llm::RepeatOp::create(builder, op.getLoc(), layers.getFirstLayerAttr(),
                                            layers.getNumLayersAttr());
        OpBuilder::InsertionGuard guard(builder);
        builder.createBlock(&repeat.getBody());
        for (auto inner : layers.getBody().getOps<llm::KernelOpInterface>())
          emitPhase(builder, inner), ++phases;
      } else if (auto kernelOp = dyn_cast<llm::KernelOpInterface>(op)) {
        emitPhase(builder, kernelOp);
        ++phases;
      }
    }
    entry_.erase();
    return phases;
  }

 private:
  LogicalResult assignPhase(Operation* op) {
    auto kernelOp = dyn_cast<llm::KernelOpInterface>(op);
    if (!kernelOp) return op->emitOpError("cannot be scheduled: it is not executed by a kernel");
    for (const llm::KernelOperand& operand : kernelOp.getKernelOperands()) {
      if (operand.space == llm::Space::weights && !packed_.lookup(operand))
        return op->emitOpError("cannot be scheduled: its weights are not packed, run ")
               << "llm-pack-weights first";
      if (operand.space != llm::Space::arena) continue;
      if (operand.access == llm::Access::read) {
        auto producer = operand.value.getDefiningOp<llm::KernelOpInterface>();
        if (producer && producer.onLogitsRows())
          return op->emitOpError("cannot be scheduled: it reads logits, which exist for the ")
                 << "wanted rows only";
      } else if (!bufferOf_.contains(operand.value)) {
        bufferOf_[operand.value] = addBuffer(op->getName().stripDialect(), operand.value,
                                             kernelOp.onLogitsRows() ? maxLogitsRows_ : maxRows_);
      }
    }
    return success();
  }

  LogicalResult assignLayers(llm::LayersOp layers) {
    Block& body = layers.getBody().front();
    if (layers.getInit() && failed(assignStream(layers))) return failure();
    for (Operation& op : body.without_terminator())
      if (failed(assignPhase(&op))) return failure();
    return success();
  }

  // The residual stream lives in one buffer before, inside and after the layers, so no layer copies
  // it. That is right as long as nobody reads an old value of it after the new one is written.
  LogicalResult assignStream(llm::LayersOp layers) {
    Block& body = layers.getBody().front();
    auto refuse = [&](const Twine& why) {
      return layers.emitOpError(
                 "cannot be scheduled: the residual stream cannot stay in one "
                 "buffer, ")
             << why;
    };
    Value init = layers.getInit(), iter = layers.getIterArg();
    for (Operation* user : init.getUsers()) {
      if (user == layers) continue;
      Operation* ancestor = layers->getBlock()->findAncestorOpInBlock(*user);
      if (!ancestor || !ancestor->isBeforeInBlock(layers))
        return refuse("its first value is used in or after the layers");
    }
    const int residual = bufferOf_.at(init);
    buffers_[residual].name = "residual";
    bufferOf_[iter] = residual;
    bufferOf_[layers.getResult()] = residual;

    Value yielded = cast<llm::YieldOp>(body.getTerminator()).getValues().front();
    if (yielded != iter) {
      Operation* last = yielded.getDefiningOp();
      if (!last || last->getBlock() != &body) return refuse("a layer yields a value from outside");
      for (Operation* user : iter.getUsers())
        if (!user->isBeforeInBlock(last))
          return refuse("a layer uses its input where or after it makes its result");
      bufferOf_[yielded] = residual;
    }
    return success();
  }

  int addBuffer(StringRef name, Value value, int64_t rows) {
    auto type = cast<RankedTensorType>(value.getType());
    const int64_t width = type.getDimSize(1);
    buffers_.push_back({uniqueName(name), rows, width, rowStrideOf(width), type.getElementType()});
    return static_cast<int>(buffers_.size()) - 1;
  }

  std::string uniqueName(StringRef name) {
    std::string unique = name.str();
    for (int i = 2; !names_.insert(unique).second; ++i) unique = (name + "_" + Twine(i)).str();
    return unique;
  }

  FlatSymbolRefAttr symbolOf(int buffer) {
    return FlatSymbolRefAttr::get(entry_.getContext(), buffers_[buffer].name);
  }

  void emitPhase(OpBuilder& builder, llm::KernelOpInterface op) {
    SmallVector<Attribute> operands;
    SmallVector<int64_t> rowStrides;
    for (const llm::KernelOperand& operand : op.getKernelOperands()) {
      FlatSymbolRefAttr symbol;
      switch (operand.space) {
        case llm::Space::arena: {
          const int buffer = bufferOf_.at(operand.value);
          symbol = symbolOf(buffer);
          rowStrides.push_back(buffers_[buffer].rowStride);
          break;
        }
        case llm::Space::weights:
          symbol = FlatSymbolRefAttr::get(packed_.lookup(operand).getSymNameAttr());
          break;
        case llm::Space::rope:
        case llm::Space::input:
        case llm::Space::keys:
        case llm::Space::values:
        case llm::Space::block_table:
        case llm::Space::recurrent:
        case llm::Space::slots:
        case llm::Space::kept:
          symbol = operand.symbols.front();
          break;
      }
      operands.push_back(
          llm::OperandAttr::get(builder.getContext(), operand.access, operand.space, symbol));
    }
    const llm::Tiling tiling = op.getTiling(entry_.getKind());
    llm::PhaseOp::create(
        builder, op->getLoc(), kernels_.get(op, entry_.getKind(), maxRows_, rowStrides),
        builder.getI64IntegerAttr(tiling.tiles), builder.getI64IntegerAttr(tiling.rowsPerTile),
        builder.getArrayAttr(operands));
  }

  llm::EntryOp entry_;
  const PackedWeights& packed_;
  KernelTable& kernels_;
  int64_t maxRows_ = 0, maxLogitsRows_ = 0;
  SmallVector<Buffer> buffers_;
  llvm::StringSet<> names_{{"residual", "logits"}};
  DenseMap<Value, int> bufferOf_;
  int logits_ = -1, hidden_ = -1;
};

struct Schedule : impl::ScheduleBase<Schedule> {
  void runOnOperation() override {
    llm::ModelOp model = getOperation();
    PackedWeights packed(model);
    KernelTable kernels(model);
    SmallVector<EntryScheduler> schedulers;
    for (auto entry : model.getBody().getOps<llm::EntryOp>())
      schedulers.emplace_back(entry, packed, kernels);
    for (EntryScheduler& s : schedulers)
      if (failed(s.assign())) return signalPassFailure();
    for (EntryScheduler& s : schedulers) numPhases += s.emit();
    numKernels += kernels.size();
  }
};

}  // namespace
}  // namespace llmc
