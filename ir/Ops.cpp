// Syntax and verifiers of the llm ops.
#include "ir/LLM.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/OpImplementation.h"

using namespace mlir;
using namespace llmc::llm;

#include "ir/LLMInterfaces.cpp.inc"

static void nameResults(Operation* op, OpAsmSetValueNameFn setName);

// `[1.0, 0.25]`. DenseF64ArrayAttr's own printer keeps six digits, and a model would change by
// being printed.
static ParseResult parseDoubles(OpAsmParser& parser, DenseF64ArrayAttr& attr) {
  SmallVector<double> values;
  if (parser.parseCommaSeparatedList(OpAsmParser::Delimiter::Square,
                                     [&] { return parser.parseFloat(values.emplace_back()); }))
    return failure();
  attr = parser.getBuilder().getDenseF64ArrayAttr(values);
  return success();
}
static void printDoubles(OpAsmPrinter& printer, Operation*, DenseF64ArrayAttr attr) {
  printer << '[';
  llvm::interleaveComma(attr.asArrayRef(), printer,
                        [&](double value) { printer.printFloat(APFloat(value)); });
  printer << ']';
}

// `0:5, 6:11`: half-open ranges of layers.
static ParseResult parseLayerRanges(OpAsmParser& parser, DenseI64ArrayAttr& attr) {
  SmallVector<int64_t> bounds;
  auto range = [&]() -> ParseResult {
    return failure(parser.parseInteger(bounds.emplace_back()) || parser.parseColon() ||
                   parser.parseInteger(bounds.emplace_back()));
  };
  if (parser.parseCommaSeparatedList(range)) return failure();
  attr = parser.getBuilder().getDenseI64ArrayAttr(bounds);
  return success();
}
static void printLayerRanges(OpAsmPrinter& printer, Operation*, DenseI64ArrayAttr attr) {
  for (int64_t i = 0; i + 1 < attr.size(); i += 2)
    printer << (i ? ", " : "") << attr[i] << ':' << attr[i + 1];
}

#define GET_OP_CLASSES
#include "ir/LLMOps.cpp.inc"

void LLMDialect::registerOps() {
  addOperations<
#define GET_OP_LIST
#include "ir/LLMOps.cpp.inc"
      >();
}

WeightOp llmc::llm::lookupWeight(Operation* from, FlatSymbolRefAttr symbol) {
  auto model = from->getParentOfType<ModelOp>();
  return model ? dyn_cast_or_null<WeightOp>(SymbolTable::lookupSymbolIn(model, symbol.getAttr()))
               : WeightOp();
}

StateOp llmc::llm::lookupState(Operation* from, FlatSymbolRefAttr symbol) {
  auto model = from->getParentOfType<ModelOp>();
  return model ? dyn_cast_or_null<StateOp>(SymbolTable::lookupSymbolIn(model, symbol.getAttr()))
               : StateOp();
}

KvCacheType llmc::llm::kvTypeOf(Operation* from, FlatSymbolRefAttr symbol) {
  return cast<KvCacheType>(lookupState(from, symbol).getType());
}

ArrayRef<int64_t> llmc::llm::recurrentShape(Operation* from, FlatSymbolRefAttr symbol) {
  return cast<RecurrentType>(lookupState(from, symbol).getType()).getShape();
}

DeltaHeads GatedDeltaOp::getHeads() {
  ArrayRef<int64_t> state = recurrentShape(*this, getStateAttr());
  const int64_t heads = state[0], keyDim = state[1], valueDim = state[2];
  return {.keyHeads = (widthOf(getQkv()) - heads * valueDim) / (2 * keyDim),
          .valueHeads = heads,
          .keyDim = keyDim,
          .valueDim = valueDim};
}

SsdHeads SsdOp::getHeads() {
  ArrayRef<int64_t> state = recurrentShape(*this, getStateAttr());
  const int64_t heads = state[0], stateSize = state[1], headDim = state[2];
  return {.heads = heads,
          .groups = (widthOf(getXbc()) - heads * headDim) / (2 * stateSize),
          .headDim = headDim,
          .stateSize = stateSize};
}

int64_t llmc::llm::rotaryDim(Operation* from, FlatSymbolRefAttr symbol) {
  auto model = from->getParentOfType<ModelOp>();
  auto table = cast<RopeTableOp>(SymbolTable::lookupSymbolIn(model, symbol.getAttr()));
  return 2 * static_cast<int64_t>(table.getInvFreq().size());
}

StepKind llmc::llm::stepKindOf(Operation* op) {
  if (auto kernel = op->getParentOfType<KernelOp>()) return kernel.getKind();
  return op->getParentOfType<EntryOp>().getKind();
}

int64_t llmc::llm::maxRowsOf(Operation* op) {
  if (auto kernel = op->getParentOfType<KernelOp>()) return kernel.getMaxRows();
  return op->getParentOfType<EntryOp>().getMaxRows();
}

Matrix llmc::llm::matrixOf(Operation* from, FlatSymbolRefAttr symbol) {
  WeightOp weight = lookupWeight(from, symbol);
  ArrayRef<int64_t> shape = weight.getLayerShape();
  return {weight.getTensorType().getElementType(), shape[0], shape.size() > 1 ? shape[1] : 1};
}

int64_t llmc::llm::widthOf(Value tensor) {
  return cast<RankedTensorType>(tensor.getType()).getDimSize(1);
}

//===----------------------------------------------------------------------===//
// state
//===----------------------------------------------------------------------===//

bool StateOp::hasLayers(int64_t first, int64_t count) {
  ArrayRef<int64_t> bounds = getLayers();
  for (size_t i = 0; i + 1 < bounds.size(); i += 2)
    if (bounds[i] <= first && first + count <= bounds[i + 1]) return true;
  return false;
}

bool StateOp::isBefore(int64_t first, int64_t count) {
  ArrayRef<int64_t> bounds = getLayers();
  for (size_t i = 0; i + 1 < bounds.size(); i += 2)
    if (bounds[i] < first + count && first < bounds[i + 1]) return false;
  return !bounds.empty() && bounds.front() < first;
}

int64_t StateOp::getLayerReadBy(int64_t layer) {
  ArrayRef<int64_t> bounds = getLayers();
  int64_t read = bounds.front();
  for (size_t i = 0; i + 1 < bounds.size(); i += 2)
    if (bounds[i] <= layer) read = std::min(layer, bounds[i + 1] - 1);
  return read;
}

SmallVector<int64_t> StateOp::getLayerNumbers() {
  SmallVector<int64_t> layers;
  ArrayRef<int64_t> bounds = getLayers();
  for (size_t i = 0; i + 1 < bounds.size(); i += 2)
    for (int64_t layer = bounds[i]; layer < bounds[i + 1]; ++layer) layers.push_back(layer);
  return layers;
}

//===----------------------------------------------------------------------===//
// entry
//===----------------------------------------------------------------------===//

// llm.entry @decode(%rows: !llm.rows) decode max_rows 8 { ... }
ParseResult EntryOp::parse(OpAsmParser& parser, OperationState& result) {
  StringAttr name;
  SmallVector<OpAsmParser::Argument> args;
  StringRef kind;
  IntegerAttr maxRows;
  if (parser.parseSymbolName(name, getSymNameAttrName(result.name), result.attributes) ||
      parser.parseArgumentList(args, OpAsmParser::Delimiter::Paren, /*allowType=*/true))
    return failure();
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseKeyword(&kind)) return failure();
  std::optional<StepKind> stepKind = symbolizeStepKind(kind);
  if (!stepKind)
    return parser.emitError(loc, "expected the kind of its steps: prefill, decode, ...");
  result.addAttribute(getKindAttrName(result.name),
                      StepKindAttr::get(parser.getContext(), *stepKind));
  if (parser.parseKeyword("max_rows") ||
      parser.parseAttribute(maxRows, parser.getBuilder().getI64Type(),
                            getMaxRowsAttrName(result.name), result.attributes) ||
      parser.parseOptionalAttrDictWithKeyword(result.attributes))
    return failure();
  return parser.parseRegion(*result.addRegion(), args);
}

void EntryOp::print(OpAsmPrinter& printer) {
  printer << ' ';
  printer.printSymbolName(getSymName());
  printer << '(';
  llvm::interleaveComma(getBody().getArguments(), printer,
                        [&](BlockArgument arg) { printer.printRegionArgument(arg); });
  printer << ") " << stringifyStepKind(getKind()) << " max_rows " << getMaxRows() << ' ';
  printer.printOptionalAttrDictWithKeyword(
      (*this)->getAttrs(), {getSymNameAttrName(), getKindAttrName(), getMaxRowsAttrName()});
  printer.printRegion(getBody(), /*printEntryBlockArgs=*/false);
}

//===----------------------------------------------------------------------===//
// layers
//===----------------------------------------------------------------------===//

// %y = llm.layers %h = %x first 0 count 32 : tensor<?x4096xf32> { ... }
// llm.layers first 0 count 32 { ... }
ParseResult LayersOp::parse(OpAsmParser& parser, OperationState& result) {
  SmallVector<OpAsmParser::Argument, 1> iter(1);
  OpAsmParser::UnresolvedOperand init;
  IntegerAttr first, count;
  Type type, i64 = parser.getBuilder().getI64Type();
  OptionalParseResult hasStream = parser.parseOptionalArgument(iter[0]);
  if (!hasStream.has_value())
    iter.clear();
  else if (failed(*hasStream) || parser.parseEqual() || parser.parseOperand(init))
    return failure();
  if (parser.parseKeyword("first") ||
      parser.parseAttribute(first, i64, getFirstLayerAttrName(result.name), result.attributes) ||
      parser.parseKeyword("count") ||
      parser.parseAttribute(count, i64, getNumLayersAttrName(result.name), result.attributes))
    return failure();
  if (iter.empty()) {
    if (parser.parseOptionalAttrDictWithKeyword(result.attributes)) return failure();
  } else {
    if (parser.parseOptionalAttrDict(result.attributes) || parser.parseColonType(type) ||
        parser.resolveOperand(init, type, result.operands))
      return failure();
    iter[0].type = type;
    result.addTypes(type);
  }
  return parser.parseRegion(*result.addRegion(), iter);
}

void LayersOp::print(OpAsmPrinter& printer) {
  if (getInit()) printer << ' ' << getIterArg() << " = " << getInit();
  printer << " first " << getFirstLayer() << " count " << getNumLayers();
  const StringRef written[] = {getFirstLayerAttrName(), getNumLayersAttrName()};
  if (getInit()) {
    printer.printOptionalAttrDict((*this)->getAttrs(), written);
    printer << " : " << getInit().getType();
  } else {  // else what follows would be taken for the region
    printer.printOptionalAttrDictWithKeyword((*this)->getAttrs(), written);
  }
  printer << ' ';
  printer.printRegion(getBody(), /*printEntryBlockArgs=*/false);
}

//===----------------------------------------------------------------------===//
// Names of values in dumps
//===----------------------------------------------------------------------===//

/// A projection is called for its weight (`%q`, `%gate`), everything else for its op.
static void nameResults(Operation* op, OpAsmSetValueNameFn setName) {
  if (op->getNumResults() == 0) return;
  if (auto norm = dyn_cast<NormProjectionsOp>(op)) {
    for (auto [projection, y] : llvm::zip(norm.projections(), norm.getYs()))
      setName(y, projection.getWeight().getValue());
    return;
  }
  StringRef name = op->getName().stripDialect();
  if (isa<LinearOp, BiasOp, LinearResidualOp, HeadLinearOp, NormLinearOp>(op)) {
    name = op->getAttrOfType<FlatSymbolRefAttr>("weight").getValue();
    name.consume_back("_bias");
    name.consume_back("_proj");
  } else if (isa<EmbedOp>(op)) {
    name = "x";
  } else if (isa<RmsNormOp, LayerNormOp>(op)) {
    name = "norm";
  } else if (isa<NormQkvOp>(op)) {
    name = "q";
  } else if (auto kept = dyn_cast<KeptOp>(op)) {
    name = kept.getState();
  } else if (isa<NormGluOp>(op)) {
    name = "glu";
  } else if (isa<NormLogitsOp>(op)) {
    name = "logits";
  } else if (auto activation = dyn_cast<ActivationOp>(op)) {
    name = stringifyActivationKind(activation.getKind());
  }
  setName(op->getResult(0), name);
}

static void nameArguments(Region& region, StringRef tensorName, OpAsmSetValueNameFn setName) {
  for (BlockArgument arg : region.getArguments())
    setName(arg, isa<RowsType>(arg.getType()) ? StringRef("rows") : tensorName);
}

void EntryOp::getAsmBlockArgumentNames(Region& region, OpAsmSetValueNameFn setName) {
  nameArguments(region, "x", setName);
}
void KernelOp::getAsmBlockArgumentNames(Region& region, OpAsmSetValueNameFn setName) {
  nameArguments(region, "x", setName);
}
void LayersOp::getAsmBlockArgumentNames(Region& region, OpAsmSetValueNameFn setName) {
  nameArguments(region, "h", setName);
}
void LayersOp::getAsmResultNames(OpAsmSetValueNameFn setName) {
  if (getResult()) setName(getResult(), "y");
}
