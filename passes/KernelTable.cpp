#include "passes/KernelTable.h"

#include "llvm/Support/raw_ostream.h"

using namespace mlir;

namespace llmc {

namespace {

std::string typeName(Type type) {
  std::string name;
  llvm::raw_string_ostream(name) << type;
  return name;
}

/// Everything of a symbol that code depends on: a weight's shape and type, a rope table's width, a
/// state's type.
void describe(llvm::raw_ostream& os, Operation* from, FlatSymbolRefAttr symbol) {
  auto model = from->getParentOfType<llm::ModelOp>();
  Operation* target = SymbolTable::lookupSymbolIn(model, symbol.getAttr());
  if (auto weight = dyn_cast_or_null<llm::WeightOp>(target)) {
    os << stringifyWeightKind(weight.getKind());
    if (weight.getNumExperts()) os << weight.getNumExperts() << "experts";
    for (int64_t d : weight.getLayerShape()) os << 'x' << d;
    // Norms and biases are packed as f32.
    if (weight.getKind() == llm::WeightKind::matrix)
      os << 'x' << weight.getTensorType().getElementType();
  } else if (auto table = dyn_cast_or_null<llm::RopeTableOp>(target)) {
    os << "rope" << table.getInvFreq().size();
  } else if (auto state = dyn_cast_or_null<llm::StateOp>(target)) {
    os << state.getType();
  } else {
    os << symbol;
  }
}

std::string contentOf(llm::KernelOpInterface op, llm::StepKind kind, int64_t maxRows,
                      ArrayRef<int64_t> rowStrides) {
  std::string key;
  llvm::raw_string_ostream os(key);
  os << op->getName() << ' ' << llm::stringifyStepKind(kind) << " rows " << maxRows;
  for (NamedAttribute attr : op->getAttrs()) {
    os << ' ' << attr.getName() << '=';
    if (auto symbol = dyn_cast<FlatSymbolRefAttr>(attr.getValue())) {
      describe(os, op, symbol);
    } else if (auto projections = dyn_cast<llm::NormProjectionsOp>(op.getOperation());
               projections && attr.getName() == projections.getProjectionsAttrName()) {
      for (llm::ProjectionAttr p : projections.projections()) {
        describe(os, op, p.getWeight());
        if (p.getBias()) describe(os, op, p.getBias());
        os << llm::stringifyActivationKind(p.getActivation()) << ',';
      }
    } else {
      os << attr.getValue();
    }
  }
  for (Type type : op->getOperandTypes()) os << ' ' << type;
  os << " ->";
  for (Type type : op->getResultTypes()) os << ' ' << type;
  // The same op may read its weights in two ways: an embedding lies as rows, or in the panels of
  // tied logits.
  for (const llm::KernelOperand& operand : op.getKernelOperands()) {
    // Who writes keys and values does not mind how long they are looked at.
    if (operand.space == llm::Space::keys && operand.access == llm::Access::read)
      os << " window " << llm::lookupState(op, operand.symbols.front()).getWindow();
    if (operand.space != llm::Space::weights) continue;
    os << ' ' << stringifyLayout(operand.layout) << '.' << stringifyPanelOrder(operand.order) << '.'
       << operand.headRows;
  }
  for (int64_t stride : rowStrides) os << " stride " << stride;
  return key;
}

}  // namespace

std::string kernelName(llm::KernelOpInterface op, llm::StepKind kind) {
  std::string name = op->getName().stripDialect().str();
  int64_t outputs = 0, inputs = 0;
  std::string formats;
  Type weightType;
  llm::StateOp state;
  for (const llm::KernelOperand& operand : op.getKernelOperands()) {
    if (operand.space == llm::Space::keys) state = llm::lookupState(op, operand.symbols.front());
    if (operand.space != llm::Space::weights) continue;
    for (FlatSymbolRefAttr symbol : operand.symbols) {
      llm::WeightOp weight = llm::lookupWeight(op, symbol);
      if (!weight || weight.getKind() != llm::WeightKind::matrix) continue;
      outputs += weight.getLayerShape()[0];
      inputs = weight.getLayerShape()[1];
      const Type type = weight.getTensorType().getElementType();
      if (type != weightType) formats.append("_").append(llm::weightFormatOf(type).name);
      weightType = type;
    }
  }

  auto append = [&](const Twine& part) { name += ("_" + part).str(); };
  llm::KvCacheType kv = state ? state.getKvType() : llm::KvCacheType();
  auto attention = dyn_cast<llm::AttentionOp>(op.getOperation());
  if (attention || isa<llm::KvMoveOp>(op)) {
    std::string heads = (Twine(kv.getNumKvHeads()) + "x" + Twine(kv.getHeadDim())).str();
    if (kv.getValueDim() != kv.getHeadDim()) heads += ("x" + Twine(kv.getValueDim())).str();
    if (attention)
      heads = (Twine(llm::widthOf(attention.getQ()) / kv.getHeadDim()) + "x" + heads).str();
    append(heads);
    if (attention && state.getWindow()) append("window" + Twine(state.getWindow()));
  } else if (auto delta = dyn_cast<llm::GatedDeltaOp>(op.getOperation())) {
    const llm::DeltaHeads heads = delta.getHeads();
    append(Twine(heads.keyHeads) + "x" + Twine(heads.valueHeads) + "x" + Twine(heads.keyDim) + "x" +
           Twine(heads.valueDim));
  } else if (auto ssd = dyn_cast<llm::SsdOp>(op.getOperation())) {
    const llm::SsdHeads heads = ssd.getHeads();
    append(Twine(heads.heads) + "x" + Twine(heads.groups) + "x" + Twine(heads.stateSize) + "x" +
           Twine(heads.headDim));
  } else if (weightType) {
    append(Twine(outputs) + "x" + Twine(inputs));
    name += formats;
  } else {
    append(Twine(llm::widthOf(op->getNumResults() ? Value(op->getResult(0)) : op->getOperand(0))));
  }
  if (kv) append("kv" + typeName(kv.getElementType()));
  append(llm::stringifyStepKind(kind));
  return name;
}

KernelTable::KernelTable(llm::ModelOp model) : model_(model) {
  for (Operation& op : model.getBody().front())
    if (auto symbol = dyn_cast<SymbolOpInterface>(op)) names_.insert(symbol.getName());
}

std::string KernelTable::uniqueName(std::string name) {
  std::string unique = name;
  for (int i = 2; !names_.insert(unique).second; ++i) unique = (Twine(name) + "_" + Twine(i)).str();
  return unique;
}

FlatSymbolRefAttr KernelTable::get(llm::KernelOpInterface op, llm::StepKind kind, int64_t maxRows,
                                   ArrayRef<int64_t> rowStrides) {
  auto [found, isNew] = byContent_.try_emplace(contentOf(op, kind, maxRows, rowStrides));
  if (!isNew) return found->second;

  OpBuilder builder = OpBuilder::atBlockEnd(&model_.getBody().front());
  std::string name = uniqueName(kernelName(op, kind));
  auto kernel = llm::KernelOp::create(builder, op->getLoc(), name, kind, maxRows, rowStrides);
  Block* body = builder.createBlock(&kernel.getBody());
  Operation* clone = builder.clone(*op.getOperation());
  for (OpOperand& operand : clone->getOpOperands())
    operand.set(body->addArgument(operand.get().getType(), operand.get().getLoc()));
  llm::YieldOp::create(builder, op->getLoc(), clone->getResults());
  return found->second = FlatSymbolRefAttr::get(builder.getContext(), name);
}

}  // namespace llmc
