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

/// Everything of a symbol that code depends on: a weight's shape and type, or a rope table's width.
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
  } else {
    os << symbol;
  }
}

std::string contentOf(llm::KernelOpInterface op, int64_t maxRows, ArrayRef<int64_t> rowStrides) {
  std::string key;
  llvm::raw_string_ostream os(key);
  os << op->getName() << " rows " << maxRows;
  for (NamedAttribute attr : op->getAttrs()) {
    os << ' ' << attr.getName() << '=';
    if (auto symbol = dyn_cast<FlatSymbolRefAttr>(attr.getValue()))
      describe(os, op, symbol);
    else
      os << attr.getValue();
  }
  for (Type type : op->getOperandTypes()) os << ' ' << type;
  os << " ->";
  for (Type type : op->getResultTypes()) os << ' ' << type;
  // The same op may read its weights in two ways: an embedding lies as rows, or in the panels of
  // tied logits.
  for (const llm::KernelOperand& operand : op.getKernelOperands()) {
    if (operand.space != llm::Space::weights) continue;
    os << ' ' << stringifyLayout(operand.layout) << '.' << stringifyPanelOrder(operand.order) << '.'
       << operand.headRows;
  }
  for (int64_t stride : rowStrides) os << " stride " << stride;
  return key;
}

}  // namespace

std::string kernelName(llm::KernelOpInterface op, int64_t maxRows) {
  std::string name = op->getName().stripDialect().str();
  int64_t outputs = 0, inputs = 0;
  Type weightType, kvType;
  for (const llm::KernelOperand& operand : op.getKernelOperands()) {
    for (FlatSymbolRefAttr symbol : operand.symbols) {
      llm::WeightOp weight = llm::lookupWeight(op, symbol);
      if (!weight || weight.getKind() != llm::WeightKind::matrix) continue;
      outputs += weight.getLayerShape()[0];
      inputs = weight.getLayerShape()[1];
      weightType = weight.getTensorType().getElementType();
    }
  }
  for (Type type : op->getOperandTypes())
    if (auto kv = dyn_cast<llm::KvCacheType>(type)) kvType = kv;

  auto append = [&](const Twine& part) { name += ("_" + part).str(); };
  auto widthOf = [](Value v) { return cast<RankedTensorType>(v.getType()).getDimSize(1); };
  if (auto attention = dyn_cast<llm::AttentionOp>(op.getOperation())) {
    auto kv = cast<llm::KvCacheType>(kvType);
    append(Twine(widthOf(attention.getQ()) / kv.getHeadDim()) + "x" + Twine(kv.getNumKvHeads()) +
           "x" + Twine(kv.getHeadDim()));
    if (kv.getValueDim() != kv.getHeadDim()) name += ("x" + Twine(kv.getValueDim())).str();
    if (attention.getWindow()) append("window" + Twine(attention.getWindow()));
  } else if (weightType) {
    append(Twine(outputs) + "x" + Twine(inputs));
    append(llm::weightFormatOf(weightType).name.data());
  } else {
    append(Twine(widthOf(op->getNumResults() ? Value(op->getResult(0)) : op->getOperand(0))));
  }
  if (kvType) append("kv" + typeName(cast<llm::KvCacheType>(kvType).getElementType()));
  append(maxRows <= llm::kDecodeMaxRows ? "decode" : "prefill");
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

FlatSymbolRefAttr KernelTable::get(llm::KernelOpInterface op, int64_t maxRows,
                                   ArrayRef<int64_t> rowStrides) {
  auto [found, isNew] = byContent_.try_emplace(contentOf(op, maxRows, rowStrides));
  if (!isNew) return found->second;

  OpBuilder builder = OpBuilder::atBlockEnd(&model_.getBody().front());
  std::string name = uniqueName(kernelName(op, maxRows));
  auto kernel = llm::KernelOp::create(builder, op->getLoc(), builder.getStringAttr(name),
                                      builder.getI64IntegerAttr(maxRows),
                                      builder.getDenseI64ArrayAttr(rowStrides));
  Block* body = builder.createBlock(&kernel.getBody());
  Operation* clone = builder.clone(*op.getOperation());
  for (OpOperand& operand : clone->getOpOperands())
    operand.set(body->addArgument(operand.get().getType(), operand.get().getLoc()));
  llm::YieldOp::create(builder, op->getLoc(), clone->getResults());
  return found->second = FlatSymbolRefAttr::get(builder.getContext(), name);
}

}  // namespace llmc
