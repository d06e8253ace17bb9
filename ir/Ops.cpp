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

static Type rowsOf(Type like, int64_t width) {
  auto tensor = cast<RankedTensorType>(like);
  return RankedTensorType::get({ShapedType::kDynamic, width}, tensor.getElementType());
}

// `tensor<?x1024xf32>, <8x128xbf16>`: of keys and cache. The values' type follows from the two.
static ParseResult parseKvTypes(OpAsmParser& parser, Type& k, Type& kv, Type& v) {
  KvCacheType cache;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseType(k) || parser.parseComma() || parser.parseCustomTypeWithFallback(cache))
    return failure();
  kv = cache;
  v = k;
  if (!isa<RankedTensorType>(k)) return parser.emitError(loc, "expected a tensor");
  if (cache.getValueDim() != cache.getHeadDim())
    v = rowsOf(k, cache.getNumKvHeads() * cache.getValueDim());
  return success();
}
static void printKvTypes(OpAsmPrinter& printer, Operation*, Type k, Type kv, Type) {
  printer << k << ", ";
  printer.printStrippedAttrOrType(cast<KvCacheType>(kv));
}

// `tensor<?x4096xf32>, <8x128xbf16>`: of queries and cache. The result's type follows from the two.
static ParseResult parseAttentionTypes(OpAsmParser& parser, Type& q, Type& kv, Type& y) {
  if (parseKvTypes(parser, q, kv, y)) return failure();
  auto cache = cast<KvCacheType>(kv);
  int64_t width = cast<RankedTensorType>(q).getDimSize(1);
  if (cache.getValueDim() != cache.getHeadDim())
    y = rowsOf(q, width / cache.getHeadDim() * cache.getValueDim());
  return success();
}
static void printAttentionTypes(OpAsmPrinter& printer, Operation* op, Type q, Type kv, Type y) {
  printKvTypes(printer, op, q, kv, y);
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

//===----------------------------------------------------------------------===//
// entry
//===----------------------------------------------------------------------===//

// llm.entry @decode(%rows: !llm.rows, %kv: !llm.kv_cache<..>) max_rows 8 { ... }
ParseResult EntryOp::parse(OpAsmParser& parser, OperationState& result) {
  StringAttr name;
  SmallVector<OpAsmParser::Argument> args;
  IntegerAttr maxRows;
  if (parser.parseSymbolName(name, getSymNameAttrName(result.name), result.attributes) ||
      parser.parseArgumentList(args, OpAsmParser::Delimiter::Paren, /*allowType=*/true) ||
      parser.parseKeyword("max_rows") ||
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
  printer << ") max_rows " << getMaxRows() << ' ';
  printer.printOptionalAttrDictWithKeyword((*this)->getAttrs(),
                                           {getSymNameAttrName(), getMaxRowsAttrName()});
  printer.printRegion(getBody(), /*printEntryBlockArgs=*/false);
}

//===----------------------------------------------------------------------===//
// layers
//===----------------------------------------------------------------------===//

// %y = llm.layers %h = %x first 0 count 32 : tensor<?x4096xf32> { ... }
ParseResult LayersOp::parse(OpAsmParser& parser, OperationState& result) {
  OpAsmParser::Argument iter;
  OpAsmParser::UnresolvedOperand init;
  IntegerAttr first, count;
  Type type, i64 = parser.getBuilder().getI64Type();
  if (parser.parseArgument(iter) || parser.parseEqual() || parser.parseOperand(init) ||
      parser.parseKeyword("first") ||
      parser.parseAttribute(first, i64, getFirstLayerAttrName(result.name), result.attributes) ||
      parser.parseKeyword("count") ||
      parser.parseAttribute(count, i64, getNumLayersAttrName(result.name), result.attributes) ||
      parser.parseOptionalAttrDict(result.attributes) || parser.parseColonType(type) ||
      parser.resolveOperand(init, type, result.operands))
    return failure();
  iter.type = type;
  result.addTypes(type);
  return parser.parseRegion(*result.addRegion(), {iter});
}

void LayersOp::print(OpAsmPrinter& printer) {
  printer << ' ' << getIterArg() << " = " << getInit() << " first " << getFirstLayer() << " count "
          << getNumLayers();
  printer.printOptionalAttrDict((*this)->getAttrs(),
                                {getFirstLayerAttrName(), getNumLayersAttrName()});
  printer << " : " << getInit().getType() << ' ';
  printer.printRegion(getBody(), /*printEntryBlockArgs=*/false);
}

//===----------------------------------------------------------------------===//
// Names of values in dumps
//===----------------------------------------------------------------------===//

/// A projection is called for its weight (`%q`, `%gate`), everything else for its op.
static void nameResults(Operation* op, OpAsmSetValueNameFn setName) {
  if (op->getNumResults() == 0) return;
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
    setName(arg, isa<RowsType>(arg.getType())      ? StringRef("rows")
                 : isa<KvCacheType>(arg.getType()) ? StringRef("kv")
                                                   : tensorName);
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
void LayersOp::getAsmResultNames(OpAsmSetValueNameFn setName) { setName(getResult(), "y"); }
