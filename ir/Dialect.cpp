// Registration of the llm dialect, its types and attributes.
#include "ir/LLM.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/ErrorHandling.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"

using namespace mlir;
using namespace llmc::llm;

#include "ir/LLMDialect.cpp.inc"
#include "ir/LLMEnums.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "ir/LLMTypes.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "ir/LLMAttributes.cpp.inc"

void LLMDialect::initialize() {
  addTypes<
#define GET_TYPEDEF_LIST
#include "ir/LLMTypes.cpp.inc"
      >();
  addAttributes<
#define GET_ATTRDEF_LIST
#include "ir/LLMAttributes.cpp.inc"
      >();
  registerOps();
}

// `<8x128xbf16>`
static ParseResult parseShape(AsmParser& parser, SmallVectorImpl<int64_t>& shape, Type& element) {
  return failure(parser.parseLess() || parser.parseDimensionList(shape, /*allowDynamic=*/false) ||
                 parser.parseType(element) || parser.parseGreater());
}

/// Whether states may hold such elements.
static bool isStored(Type type) { return type.isF32() || type.isF16() || type.isBF16(); }

// `<64x8192xf32>`
Type KeptType::parse(AsmParser& parser) {
  SmallVector<int64_t> shape;
  Type element;
  SMLoc loc = parser.getCurrentLocation();
  if (parseShape(parser, shape, element)) return {};
  if (shape.size() != 2 || !element.isF32()) {
    parser.emitError(loc, "expected rows x width x f32");
    return {};
  }
  return getChecked([&] { return parser.emitError(loc); }, parser.getContext(), shape[0], shape[1]);
}

void KeptType::print(AsmPrinter& printer) const {
  printer << "<" << getRows() << "x" << getWidth() << "xf32>";
}

LogicalResult KeptType::verify(function_ref<InFlightDiagnostic()> emitError, int64_t rows,
                               int64_t width) {
  if (rows > 0 && width > 0) return success();
  return emitError() << "kept rows: " << rows << " of " << width << ": both must be positive";
}

// `<q8_0>`
Type QuantizedType::parse(AsmParser& parser) {
  StringRef name;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseLess() || parser.parseKeyword(&name) || parser.parseGreater()) return {};
  return getChecked([&] { return parser.emitError(loc); }, parser.getContext(), name);
}

void QuantizedType::print(AsmPrinter& printer) const { printer << "<" << getFormat() << ">"; }

LogicalResult QuantizedType::verify(function_ref<InFlightDiagnostic()> emitError,
                                    StringRef format) {
  const llmrt::WeightFormat* found = llmrt::findWeightFormat(format);
  if (!found)
    return emitError() << "no format of weights is called " << format << ": there are "
                       << llmrt::weightFormatNames();
  if (found->isPlain())
    return emitError() << format << " is a type of its own: write " << format << ", not !llm.q<"
                       << format << ">";
  return success();
}

const llmrt::WeightFormat* llmc::llm::findWeightFormat(Type type) {
  if (auto quantized = dyn_cast<QuantizedType>(type))
    return llmrt::findWeightFormat(quantized.getFormat());
  if (type.isF32()) return llmrt::plainFormat(llmrt::DType::kF32);
  if (type.isF16()) return llmrt::plainFormat(llmrt::DType::kF16);
  if (type.isBF16()) return llmrt::plainFormat(llmrt::DType::kBF16);
  return nullptr;
}

bool llmc::llm::hasInt8Activations(ModelOp model) {
  return model->getAttr(kActivationsAttr) == StringAttr::get(model.getContext(), "int8");
}
const llmrt::WeightFormat& llmc::llm::weightFormatOf(Type type) {
  const llmrt::WeightFormat* format = findWeightFormat(type);
  if (format) return *format;
  std::string name;
  llvm::raw_string_ostream(name) << type;
  llvm::report_fatal_error(llvm::Twine("weights of type ") + name + " got past the verifier");
}

int64_t llmc::llm::elementBytes(Type type) { return (type.getIntOrFloatBitWidth() + 7) / 8; }

// `<8x128xbf16>`, `<1x576x512xbf16>`
Type KvCacheType::parse(AsmParser& parser) {
  SmallVector<int64_t> shape;
  Type element;
  SMLoc loc = parser.getCurrentLocation();
  if (parseShape(parser, shape, element)) return {};
  if (shape.size() != 2 && shape.size() != 3) {
    parser.emitError(loc, "expected num_kv_heads x head_dim x type");
    return {};
  }
  return getChecked([&] { return parser.emitError(loc); }, parser.getContext(), shape[0], shape[1],
                    shape.back(), element);
}

void KvCacheType::print(AsmPrinter& printer) const {
  printer << "<" << getNumKvHeads() << "x" << getHeadDim() << "x";
  if (getValueDim() != getHeadDim()) printer << getValueDim() << "x";
  printer << getElementType() << ">";
}

LogicalResult KvCacheType::verify(function_ref<InFlightDiagnostic()> emitError, int64_t numKvHeads,
                                  int64_t headDim, int64_t valueDim, Type elementType) {
  if (numKvHeads <= 0 || headDim <= 0)
    return emitError() << "KV cache of " << numKvHeads << " heads of " << headDim
                       << ": both must be positive";
  if (valueDim <= 0 || valueDim > headDim)
    return emitError() << "KV cache of values of " << valueDim
                       << ": they must be positive and no wider than its keys of " << headDim;
  if (!isStored(elementType))
    return emitError() << "KV cache of " << elementType << ": must be f32, f16 or bf16";
  return success();
}

// `<48x128x128xf32>`
Type RecurrentType::parse(AsmParser& parser) {
  SmallVector<int64_t> shape;
  Type element;
  SMLoc loc = parser.getCurrentLocation();
  if (parseShape(parser, shape, element)) return {};
  return getChecked([&] { return parser.emitError(loc); }, parser.getContext(), shape, element);
}

void RecurrentType::print(AsmPrinter& printer) const {
  printer << "<";
  for (int64_t size : getShape()) printer << size << "x";
  printer << getElementType() << ">";
}

LogicalResult RecurrentType::verify(function_ref<InFlightDiagnostic()> emitError,
                                    ArrayRef<int64_t> shape, Type elementType) {
  if (shape.empty()) return emitError() << "recurrent state of no dimensions";
  for (int64_t size : shape)
    if (size <= 0)
      return emitError() << "recurrent state with a dimension of " << size << ": must be positive";
  if (!isStored(elementType))
    return emitError() << "recurrent state of " << elementType << ": must be f32, f16 or bf16";
  return success();
}
