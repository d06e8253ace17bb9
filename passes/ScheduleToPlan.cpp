#include "passes/ScheduleToPlan.h"

#include "llvm/Support/ErrorHandling.h"
#include "runtime/schema/same_case.h"

using namespace mlir;
namespace schema = llmrt::schema;

namespace llmc {

namespace {

/// Of activations.
schema::DType dtypeOf(Type type) {
  if (type.isF16()) return schema::DType::f16;
  if (type.isBF16()) return schema::DType::bf16;
  if (type.isInteger(32)) return schema::DType::i32;
  if (type.isInteger(8)) return type.isUnsignedInteger() ? schema::DType::u8 : schema::DType::i8;
  if (type.isF32()) return schema::DType::f32;
  llvm_unreachable("a buffer's type got past the verifier");
}

class Converter {
 public:
  Converter(llm::ScheduleOp schedule, const PlanIndex& index) : schedule_(schedule), index_(index) {
    for (auto b : schedule.getBody().getOps<llm::BufferOp>())
      buffers_.try_emplace(b.getSymNameAttr(), static_cast<uint32_t>(buffers_.size()));
  }

  FailureOr<schema::EntryPointT> convert() {
    schema::EntryPointT entry;
    entry.name = schedule_.getSymName().str();
    entry.kind = llmrt::sameCase<schema::StepKind>(schedule_.getKind());
    entry.max_rows = static_cast<uint32_t>(schedule_.getMaxRows());
    entry.max_logits_rows = static_cast<uint32_t>(schedule_.getMaxLogitsRows());
    entry.arena_bytes = schedule_.getArenaBytes();
    for (auto [name, axis, symbol] :
         {std::tuple("logits", schema::Axis::logits_row, schedule_.getLogitsAttr()),
          {"hidden", schema::Axis::row, schedule_.getHiddenAttr()}}) {
      if (!symbol) continue;
      auto buffer = buffers_.find(symbol.getAttr());
      if (buffer == buffers_.end()) return unknown(schedule_, "buffer", symbol);
      auto output = std::make_unique<schema::OutputT>();
      output->name = name;
      output->axis = axis;
      output->buffer = buffer->second;
      entry.outputs.push_back(std::move(output));
    }

    for (Operation& op : schedule_.getBody().front()) {
      if (auto buffer = dyn_cast<llm::BufferOp>(op)) {
        entry.buffers.push_back(convertBuffer(buffer));
      } else if (auto phase = dyn_cast<llm::PhaseOp>(op)) {
        if (entry.sections.empty() || entry.sections.back()->is_layers) {
          auto section = std::make_unique<schema::SectionT>();
          section->num_layers = 1;
          entry.sections.push_back(std::move(section));
        }
        if (failed(addPhase(entry, *entry.sections.back(), phase))) return failure();
      } else if (auto repeat = dyn_cast<llm::RepeatOp>(op)) {
        auto section = std::make_unique<schema::SectionT>();
        section->is_layers = true;
        section->first_layer = static_cast<uint32_t>(repeat.getFirstLayer());
        section->num_layers = static_cast<uint32_t>(repeat.getNumLayers());
        for (auto inner : repeat.getBody().getOps<llm::PhaseOp>())
          if (failed(addPhase(entry, *section, inner))) return failure();
        entry.sections.push_back(std::move(section));
      }
    }
    return entry;
  }

 private:
  static LogicalResult unknown(Operation* op, StringRef what, FlatSymbolRefAttr symbol) {
    return op->emitOpError() << "names no " << what << ": " << symbol;
  }

  static std::unique_ptr<schema::BufferT> convertBuffer(llm::BufferOp op) {
    auto buffer = std::make_unique<schema::BufferT>();
    buffer->name = op.getSymName().str();
    buffer->offset_bytes = op.getOffsetBytes();
    buffer->bytes = op.getBytes();
    buffer->width = static_cast<uint32_t>(op.getWidth());
    buffer->row_stride = static_cast<uint32_t>(op.getRowStride());
    buffer->rows = static_cast<uint32_t>(op.getRows());
    buffer->dtype = dtypeOf(op.getElementType());
    return buffer;
  }

  LogicalResult addPhase(schema::EntryPointT& entry, schema::SectionT& section, llm::PhaseOp op) {
    auto model = schedule_->getParentOfType<llm::ModelOp>();
    auto phase = std::make_unique<schema::PhaseT>();
    auto kernelIndex = index_.kernels.find(op.getKernelAttr().getAttr());
    auto kernel = dyn_cast_or_null<llm::KernelOp>(
        SymbolTable::lookupSymbolIn(model, op.getKernelAttr().getAttr()));
    if (kernelIndex == index_.kernels.end() || !kernel)
      return unknown(op, "kernel", op.getKernelAttr());
    auto ops = kernel.getBody().getOps<llm::KernelOpInterface>();
    if (ops.empty()) return kernel.emitOpError("holds no op");
    llm::KernelOpInterface body = *ops.begin();
    const llm::Cost cost = body.getCost();

    phase->op = body->getName().stripDialect().str();
    phase->kernel = kernelIndex->second;
    phase->tiles = op.getTiles();
    phase->rows_per_tile = static_cast<uint32_t>(op.getRowsPerTile());
    phase->weight_bytes = static_cast<uint64_t>(cost.weightBytes);
    phase->kv_bytes_per_token = static_cast<uint64_t>(cost.kvBytesPerToken);
    phase->flops_per_row = static_cast<uint64_t>(cost.flopsPerRow);
    phase->flops_per_row_per_token = static_cast<uint64_t>(cost.flopsPerRowPerToken);
    phase->axis = body.onLogitsRows() ? schema::Axis::logits_row : schema::Axis::row;
    phase->expert_bytes = static_cast<uint64_t>(cost.expertBytes);
    phase->experts_per_row = static_cast<uint32_t>(cost.expertsPerRow);
    phase->num_experts = static_cast<uint32_t>(cost.numExperts);
    phase->window = static_cast<uint32_t>(cost.window);
    // A verify step writes none.
    const int64_t times = kernel.getKind() == llm::StepKind::verify ? 1 : 2;
    phase->state_bytes_per_sequence = static_cast<uint64_t>(times * cost.stateBytes);
    for (Attribute attr : op.getOperands())
      if (failed(addOperand(entry, *phase, op, cast<llm::OperandAttr>(attr)))) return failure();
    for (auto [operand, of_kernel] : llvm::zip_equal(phase->operands, body.getKernelOperands()))
      operand->layer_columns = static_cast<uint32_t>(of_kernel.layerColumns);
    section.phases.push_back(std::move(phase));
    return success();
  }

  /// The index of the input `name` of the entry point, which gets it with the first phase that
  /// reads it.
  FailureOr<uint32_t> inputIndex(schema::EntryPointT& entry, StringRef name) {
    for (uint32_t i = 0; i < entry.inputs.size(); ++i)
      if (entry.inputs[i]->name == name) return i;
    for (const llm::StepInput& known : llm::kStepInputs) {
      if (known.name != name) continue;
      auto input = std::make_unique<schema::InputT>();
      input->name = name.str();
      const bool hidden = known.width == 0;
      input->dtype = hidden ? schema::DType::f32 : schema::DType::i32;
      input->axis = llmrt::sameCase<schema::Axis>(known.axis);
      input->width = static_cast<uint32_t>(
          hidden ? schedule_->getParentOfType<llm::ModelOp>().getHiddenSize() : known.width);
      entry.inputs.push_back(std::move(input));
      return static_cast<uint32_t>(entry.inputs.size() - 1);
    }
    return failure();
  }

  LogicalResult addOperand(schema::EntryPointT& entry, schema::PhaseT& phase, llm::PhaseOp op,
                           llm::OperandAttr attr) {
    auto operand = std::make_unique<schema::OperandT>();
    operand->space = llmrt::sameCase<schema::Space>(attr.getSpace());
    operand->access = llmrt::sameCase<schema::Access>(attr.getAccess());
    auto resolve = [&](const llvm::DenseMap<StringAttr, uint32_t>& table, StringRef what) {
      auto found = table.find(attr.getSymbol().getAttr());
      if (found == table.end()) return unknown(op, what, attr.getSymbol());
      operand->index = found->second;
      return success();
    };
    LogicalResult resolved = success();
    switch (attr.getSpace()) {
      case llm::Space::arena:
        resolved = resolve(buffers_, "buffer");
        break;
      case llm::Space::weights:
        resolved = resolve(index_.weights, "packed weight");
        break;
      case llm::Space::rope:
        resolved = resolve(index_.ropeTables, "rope table");
        break;
      case llm::Space::keys:
      case llm::Space::values:
      case llm::Space::block_table:
      case llm::Space::recurrent:
      case llm::Space::slots:
      case llm::Space::kept:
        resolved = resolve(index_.states, "state");
        break;
      case llm::Space::input:
        if (FailureOr<uint32_t> input = inputIndex(entry, attr.getSymbol().getValue());
            succeeded(input))
          operand->index = *input;
        else
          resolved = unknown(op, "input of a step", attr.getSymbol());
        break;
    }
    phase.operands.push_back(std::move(operand));
    return resolved;
  }

  llm::ScheduleOp schedule_;
  const PlanIndex& index_;
  llvm::DenseMap<StringAttr, uint32_t> buffers_;
};

}  // namespace

PlanIndex::PlanIndex(llm::ModelOp model) {
  auto number = [](llvm::DenseMap<StringAttr, uint32_t>& table, StringAttr name) {
    table.try_emplace(name, static_cast<uint32_t>(table.size()));
  };
  for (Operation& op : model.getBody().front()) {
    if (auto kernel = dyn_cast<llm::KernelOp>(op)) number(kernels, kernel.getSymNameAttr());
    if (auto weight = dyn_cast<llm::PackedWeightOp>(op)) number(weights, weight.getSymNameAttr());
    if (auto table = dyn_cast<llm::RopeTableOp>(op)) number(ropeTables, table.getSymNameAttr());
    if (auto state = dyn_cast<llm::StateOp>(op)) number(states, state.getSymNameAttr());
  }
}

FailureOr<schema::EntryPointT> toEntryPoint(llm::ScheduleOp schedule, const PlanIndex& index) {
  return Converter(schedule, index).convert();
}

}  // namespace llmc
