#include "codegen/cpu/KernelBuilder.h"

#include <cstddef>

#include "llvm/ADT/DenseMap.h"
#include "llvm/Support/ErrorHandling.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "runtime/abi/kernel_abi.h"

using namespace mlir;

namespace llmc::cpu {

Storage storageOf(llmrt::DType dtype) {
  switch (dtype) {
    case llmrt::DType::kF32:
      return Storage::f32;
    case llmrt::DType::kF16:
      return Storage::f16;
    case llmrt::DType::kBF16:
      return Storage::bf16;
    case llmrt::DType::kI8:
      return Storage::i8;
    case llmrt::DType::kHalfE8M0:
      return Storage::halfE8m0;
    case llmrt::DType::kI32:
    case llmrt::DType::kU8:
      break;
  }
  llvm::report_fatal_error(llvm::Twine("kernels load no ") + llmrt::dtypeName(dtype));
}
Storage storageOf(Type t) {
  const llmrt::WeightFormat& format = llm::weightFormatOf(t);
  assert(format.isPlain() && "caches are of plain values");
  return storageOf(format.planes[0].dtype);
}

/// Row strides of the tensors of a kernel, by value: its inputs, then its results.
static llvm::DenseMap<Value, int64_t> stridesOf(llm::KernelOp kernel) {
  llvm::DenseMap<Value, int64_t> strides;
  llm::KernelOpInterface op = kernel.getComputeOp();
  ArrayRef<int64_t> left = kernel.getRowStrides();
  for (Value v : llvm::concat<Value>(op->getOperands(), op->getResults())) {
    if (!isa<RankedTensorType>(v.getType())) continue;
    strides[v] = left.front();
    left = left.drop_front();
  }
  return strides;
}

KernelBuilder::KernelBuilder(ModuleOp module, llm::KernelOp kernel, const CpuTarget& target,
                             const ProductTuning& tuning)
    : b_(module.getContext()),
      loc_(UnknownLoc::get(module.getContext())),
      target_(target),
      shape_{kernel.getKind(), static_cast<int64_t>(kernel.getMaxRows())},
      tuning_(tuning),
      op_(kernel.getComputeOp()),
      int8Activations_(llm::hasInt8Activations(kernel->getParentOfType<llm::ModelOp>())) {
  b_.setInsertionPointToEnd(module.getBody());
  auto type = b_.getFunctionType({ptr(), ptr(), i64(), i64(), ptr()}, {b_.getI32Type()});
  auto fn = func::FuncOp::create(b_, loc_, kernel.getSymName(), type);
  Block* entry = fn.addEntryBlock();
  b_.setInsertionPointToStart(entry);
  Value step = entry->getArgument(0), operands = entry->getArgument(1);
  tileBegin_ = entry->getArgument(2);
  tileEnd_ = entry->getArgument(3);
  scratch_ = entry->getArgument(4);
  auto field = [&](Type t, size_t at) { return load(t, offset(step, int64_t(at)), 8); };
  step_.numRows = field(i64(), offsetof(LlmcStep, num_rows));
  step_.numLogitsRows = field(i64(), offsetof(LlmcStep, num_logits_rows));
  step_.blocksPerSeq = field(i64(), offsetof(LlmcStep, blocks_per_seq));
  // Here, so that they are loaded once wherever they are used; what nobody uses is dropped.
  const llvm::DenseMap<Value, int64_t> strides = stridesOf(kernel);
  for (llm::KernelOperand& operand : op_.getKernelOperands()) {
    Value pointer = load(ptr(), offset(operands, int64_t(arguments_.size()) * 8), 8);
    const int64_t stride = operand.space == llm::Space::arena ? strides.lookup(operand.value) : 0;
    arguments_.push_back({std::move(operand), pointer, stride});
  }
}

void KernelBuilder::finish() {
  Value ok = arith::ConstantOp::create(b_, loc_, b_.getI32IntegerAttr(0));
  func::ReturnOp::create(b_, loc_, ok);
}

Value KernelBuilder::scratch(int64_t bytes) {
  Value p = offset(scratch_, scratchBytes_);
  scratchBytes_ += (bytes + 63) / 64 * 64;
  return p;
}

//===----------------------------------------------------------------------===//
// Operands
//===----------------------------------------------------------------------===//

const KernelBuilder::Argument& KernelBuilder::get(StringRef name) const {
  for (const Argument& argument : arguments_)
    if (argument.description.name == name) return argument;
  llvm::reportFatalInternalError(op_->getName().getStringRef() + " has no operand '" + name + "'");
}

const llm::KernelOperand& KernelBuilder::described(StringRef name) const {
  return get(name).description;
}
Value KernelBuilder::operand(StringRef name) const { return get(name).pointer; }
Value KernelBuilder::operandIf(Attribute given, StringRef name) const {
  return given ? operand(name) : Value();
}

int64_t KernelBuilder::rowStride(StringRef name) const {
  const Argument& argument = get(name);
  if (argument.description.space != llm::Space::arena)
    llvm::reportFatalInternalError("operand '" + name + "' of " + op_->getName().getStringRef() +
                                   " has no rows");
  return argument.rowStride;
}

Value KernelBuilder::inputOf(StringRef name, Value index) {
  return loadI32(offset(operand(name), mul(index, sizeof(int32_t))));
}

//===----------------------------------------------------------------------===//
// Integers
//===----------------------------------------------------------------------===//

Value KernelBuilder::ci(int64_t v) {
  return arith::ConstantOp::create(b_, loc_, b_.getI64IntegerAttr(v));
}
Value KernelBuilder::add(Value a, Value b) { return arith::AddIOp::create(b_, loc_, a, b); }
Value KernelBuilder::add(Value a, int64_t b) { return b ? add(a, ci(b)) : a; }
Value KernelBuilder::sub(Value a, Value b) { return arith::SubIOp::create(b_, loc_, a, b); }
Value KernelBuilder::mul(Value a, Value b) { return arith::MulIOp::create(b_, loc_, a, b); }
Value KernelBuilder::mul(Value a, int64_t b) { return b == 1 ? a : mul(a, ci(b)); }
Value KernelBuilder::div(Value a, Value b) { return arith::DivUIOp::create(b_, loc_, a, b); }
Value KernelBuilder::rem(Value a, Value b) { return arith::RemUIOp::create(b_, loc_, a, b); }
Value KernelBuilder::div(Value a, int64_t b) { return b == 1 ? a : div(a, ci(b)); }
Value KernelBuilder::rem(Value a, int64_t b) { return rem(a, ci(b)); }
Value KernelBuilder::min(Value a, Value b) { return arith::MinSIOp::create(b_, loc_, a, b); }
Value KernelBuilder::max(Value a, Value b) { return arith::MaxSIOp::create(b_, loc_, a, b); }
Value KernelBuilder::cmp(arith::CmpIPredicate p, Value a, Value b) {
  return arith::CmpIOp::create(b_, loc_, p, a, b);
}
Value KernelBuilder::select(Value c, Value a, Value b) {
  return arith::SelectOp::create(b_, loc_, c, a, b);
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

Value KernelBuilder::offset(Value p, Value bytes) {
  return LLVM::GEPOp::create(b_, loc_, ptr(), b_.getI8Type(), p, ArrayRef<LLVM::GEPArg>{bytes});
}
Value KernelBuilder::offset(Value p, int64_t bytes) { return bytes ? offset(p, ci(bytes)) : p; }
Value KernelBuilder::load(Type type, Value p, int64_t align) {
  return LLVM::LoadOp::create(b_, loc_, type, p, unsigned(align));
}
void KernelBuilder::store(Value v, Value p, int64_t align) {
  LLVM::StoreOp::create(b_, loc_, v, p, unsigned(align));
}
Value KernelBuilder::loadI32(Value p) {
  return arith::ExtSIOp::create(b_, loc_, i64(), load(b_.getI32Type(), p, 4));
}
void KernelBuilder::prefetch(Value p, PrefetchTo to) {
  constexpr uint32_t kRead = 0, kData = 1;
  LLVM::Prefetch::create(b_, loc_, p, kRead, static_cast<uint32_t>(to), kData);
}

Type KernelBuilder::ptr() { return LLVM::LLVMPointerType::get(b_.getContext()); }
Type KernelBuilder::amxTile() { return LLVM::LLVMX86AMXType::get(b_.getContext()); }

//===----------------------------------------------------------------------===//
// Floats
//===----------------------------------------------------------------------===//

VectorType KernelBuilder::vec(int64_t lanes) { return VectorType::get({lanes}, f32()); }
VectorType KernelBuilder::vecI(int64_t lanes, int64_t bits) {
  return VectorType::get({lanes}, b_.getIntegerType(unsigned(bits)));
}
Value KernelBuilder::cf(float v) {
  return arith::ConstantOp::create(b_, loc_, b_.getF32FloatAttr(v));
}
Value KernelBuilder::splat(float v, int64_t lanes) {
  return arith::ConstantOp::create(b_, loc_, DenseElementsAttr::get(vec(lanes), v));
}
Value KernelBuilder::broadcast(Value scalar, int64_t lanes) {
  return vector::BroadcastOp::create(b_, loc_, VectorType::get({lanes}, scalar.getType()), scalar);
}
Value KernelBuilder::fma(Value a, Value b, Value c) {
  // Not vector.fma: it lowers to llvm.fmuladd, which may round twice.
  return LLVM::FMAOp::create(b_, loc_, a, b, c);
}
Value KernelBuilder::addf(Value a, Value b) { return arith::AddFOp::create(b_, loc_, a, b); }
Value KernelBuilder::subf(Value a, Value b) { return arith::SubFOp::create(b_, loc_, a, b); }
Value KernelBuilder::mulf(Value a, Value b) { return arith::MulFOp::create(b_, loc_, a, b); }
Value KernelBuilder::divf(Value a, Value b) { return arith::DivFOp::create(b_, loc_, a, b); }
Value KernelBuilder::maxf(Value a, Value b) {
  // A compare and a select is one instruction on x86, where IEEE maximum is several.
  Value greater = arith::CmpFOp::create(b_, loc_, arith::CmpFPredicate::OGT, a, b);
  return select(greater, a, b);
}
Value KernelBuilder::negf(Value a) { return arith::NegFOp::create(b_, loc_, a); }
Value KernelBuilder::sqrtf(Value a) { return LLVM::SqrtOp::create(b_, loc_, a); }
Value KernelBuilder::bitcast(Type t, Value v) {
  if (isa<VectorType>(t)) return vector::BitCastOp::create(b_, loc_, cast<VectorType>(t), v);
  return arith::BitcastOp::create(b_, loc_, t, v);
}
Value KernelBuilder::extract(Value v, int64_t lane) {
  return vector::ExtractOp::create(b_, loc_, v, lane);
}

static Value reduce(KernelBuilder& k, Location loc, Value v,
                    llvm::function_ref<Value(Value, Value)> combine) {
  for (int64_t half = cast<VectorType>(v.getType()).getDimSize(0) / 2; half >= 1; half /= 2) {
    SmallVector<int64_t> low, high;
    for (int64_t i = 0; i < half; ++i) {
      low.push_back(i);
      high.push_back(half + i);
    }
    Value a = vector::ShuffleOp::create(k.builder(), loc, v, v, low);
    Value b = vector::ShuffleOp::create(k.builder(), loc, v, v, high);
    v = combine(a, b);
  }
  return k.extract(v, 0);
}
Value KernelBuilder::reduceAdd(Value v) {
  return reduce(*this, loc_, v, [&](Value a, Value b) { return addf(a, b); });
}
Value KernelBuilder::reduceMax(Value v) {
  return reduce(*this, loc_, v, [&](Value a, Value b) { return maxf(a, b); });
}
Value KernelBuilder::keepLanes(Value v, int64_t count) {
  SmallVector<bool> keep(kLanes);
  for (int64_t i = 0; i < count; ++i) keep[i] = true;
  Value mask = arith::ConstantOp::create(
      b_, loc_, DenseElementsAttr::get(vecI(kLanes, 1), ArrayRef<bool>(keep)));
  return select(mask, v, zero());
}

Value KernelBuilder::loadAs(Storage s, Value p, int64_t lanes) {
  switch (s) {
    case Storage::f32:
      return load(vec(lanes), p, 4);
    case Storage::f16:
      return arith::ExtFOp::create(b_, loc_, vec(lanes),
                                   load(VectorType::get({lanes}, b_.getF16Type()), p, 2));
    case Storage::bf16: {
      // bf16 is the upper half of a float.
      Value bits = arith::ExtUIOp::create(b_, loc_, vecI(lanes, 32), load(vecI(lanes, 16), p, 2));
      Value shift =
          arith::ConstantOp::create(b_, loc_, DenseElementsAttr::get(vecI(lanes, 32), int32_t(16)));
      return bitcast(vec(lanes), arith::ShLIOp::create(b_, loc_, bits, shift));
    }
    case Storage::i8:
      return arith::SIToFPOp::create(b_, loc_, vec(lanes), load(vecI(lanes, 8), p, 1));
    case Storage::halfE8m0: {
      // 2^(byte - 128). From byte 2 on the exponent field is byte - 1; bytes 0 and 1 are subnormal
      // floats, (byte + 1) << 21. The larger of the two integers is the right one.
      auto c = [&](int32_t x) -> Value {
        return arith::ConstantOp::create(b_, loc_, DenseElementsAttr::get(vecI(lanes, 32), x));
      };
      Value byte = arith::ExtUIOp::create(b_, loc_, vecI(lanes, 32), load(vecI(lanes, 8), p, 1));
      Value normal = arith::ShLIOp::create(b_, loc_, add(byte, c(-1)), c(23));
      Value small = arith::ShLIOp::create(b_, loc_, add(byte, c(1)), c(21));
      return bitcast(vec(lanes), max(normal, small));
    }
  }
  return {};
}
std::pair<Value, Value> KernelBuilder::bf16Pairs(Value words) {
  auto c = [&](uint32_t v) -> Value {
    return arith::ConstantOp::create(b_, loc_,
                                     DenseElementsAttr::get(vecI(kLanes, 32), int32_t(v)));
  };
  return {bitcast(vec(), arith::ShLIOp::create(b_, loc_, words, c(16))),
          bitcast(vec(), arith::AndIOp::create(b_, loc_, words, c(0xffff0000)))};
}

Value KernelBuilder::roundTo(Storage s, Value v) {
  int64_t lanes = cast<VectorType>(v.getType()).getDimSize(0);
  switch (s) {
    case Storage::f32:
      return v;
    case Storage::f16: {
      // Beyond the largest half comes infinity, and a masked key's 0 * infinity would be NaN.
      v = negf(maxf(negf(maxf(v, splat(-65504.0f, lanes))), splat(-65504.0f, lanes)));
      return arith::TruncFOp::create(b_, loc_, VectorType::get({lanes}, b_.getF16Type()), v);
    }
    case Storage::bf16: {
      // Nearest, ties to even: add 0x7fff plus the lowest kept bit. NaNs do not reach a cache.
      auto c = [&](int32_t x) -> Value {
        return arith::ConstantOp::create(b_, loc_, DenseElementsAttr::get(vecI(lanes, 32), x));
      };
      Value bits = bitcast(vecI(lanes, 32), v);
      Value odd =
          arith::AndIOp::create(b_, loc_, arith::ShRUIOp::create(b_, loc_, bits, c(16)), c(1));
      Value sum = add(add(bits, c(0x7fff)), odd);
      return arith::TruncIOp::create(b_, loc_, vecI(lanes, 16),
                                     arith::ShRUIOp::create(b_, loc_, sum, c(16)));
    }
    case Storage::i8:
      llvm_unreachable("rounding to i8 takes a scale");
    case Storage::halfE8m0:
      llvm_unreachable("only weights' scales are powers of two");
  }
  return {};
}

Value KernelBuilder::roundToBf16(Value v) {
  if (target_.emulateBf16Product) return roundTo(Storage::bf16, v);
  // Whoever multiplies bf16 has an instruction for this.
  auto type = VectorType::get(cast<VectorType>(v.getType()).getShape(), b_.getBF16Type());
  return arith::TruncFOp::create(b_, loc_, type, v);
}

Value KernelBuilder::dotBf16(Value a, Value b, Value c) {
  if (target_.emulateBf16Product) {
    auto [aLow, aHigh] = bf16Pairs(a);
    auto [bLow, bHigh] = bf16Pairs(b);
    return fma(aLow, bLow, fma(aHigh, bHigh, c));
  }
  auto pairs = VectorType::get({2 * kLanes}, b_.getBF16Type());
  return intrinsic("llvm.x86.avx512bf16.dpbf16ps.512", vec(),
                   {c, bitcast(pairs, a), bitcast(pairs, b)});
}

//===----------------------------------------------------------------------===//
// Words and bytes
//===----------------------------------------------------------------------===//

Value KernelBuilder::intrinsic(const Twine& name, Type result, ValueRange arguments) {
  StringAttr attr = b_.getStringAttr(name);
  if (result) return LLVM::CallIntrinsicOp::create(b_, loc_, result, attr, arguments).getResult(0);
  LLVM::CallIntrinsicOp::create(b_, loc_, attr, arguments);
  return {};
}
/// A constant of the shape and element type of `like`.
static Value splatLike(OpBuilder& b, Value like, int64_t v) {
  auto type = cast<VectorType>(like.getType());
  auto element = b.getIntegerAttr(type.getElementType(), v);
  return arith::ConstantOp::create(b, like.getLoc(), DenseElementsAttr::get(type, element));
}
/// Elements [first, first + count) of a vector.
static Value slice(OpBuilder& b, Value v, int64_t first, int64_t count) {
  return vector::ShuffleOp::create(b, v.getLoc(), v, v,
                                   llvm::to_vector(llvm::seq(first, first + count)));
}
/// f of each `step` bytes of vectors of bytes, which f maps to as many.
static Value forParts(KernelBuilder& k, Value bytes, int64_t step,
                      llvm::function_ref<Value(Value)> f) {
  const int64_t count = cast<VectorType>(bytes.getType()).getDimSize(0);
  if (count <= step) return f(bytes);
  Value low = forParts(k, slice(k.builder(), bytes, 0, count / 2), step, f);
  Value high = forParts(k, slice(k.builder(), bytes, count / 2, count / 2), step, f);
  return vector::ShuffleOp::create(k.builder(), bytes.getLoc(), low, high,
                                   llvm::to_vector(llvm::seq<int64_t>(0, count)));
}

Value KernelBuilder::constant(ArrayRef<float> values) {
  auto type = vec(static_cast<int64_t>(values.size()));
  return arith::ConstantOp::create(b_, loc_, DenseElementsAttr::get(type, values));
}
Value KernelBuilder::constant(ArrayRef<int32_t> values) {
  auto type = vecI(static_cast<int64_t>(values.size()), 32);
  return arith::ConstantOp::create(b_, loc_, DenseElementsAttr::get(type, values));
}
Value KernelBuilder::andBits(Value words, int32_t mask) {
  return arith::AndIOp::create(b_, loc_, words, splatLike(b_, words, mask));
}
Value KernelBuilder::orBits(Value a, Value b) { return arith::OrIOp::create(b_, loc_, a, b); }
Value KernelBuilder::addWords(Value words, int32_t v) {
  return add(words, splatLike(b_, words, v));
}
Value KernelBuilder::shiftLeft(Value words, int64_t bits) {
  return bits ? arith::ShLIOp::create(b_, loc_, words, splatLike(b_, words, bits)) : words;
}
Value KernelBuilder::shiftRight(Value words, int64_t bits) {
  return bits ? arith::ShRUIOp::create(b_, loc_, words, splatLike(b_, words, bits)) : words;
}
Value KernelBuilder::shiftRight(Value words, Value bits) {
  Value word = arith::TruncIOp::create(b_, loc_, b_.getI32Type(), bits);
  const int64_t lanes = cast<VectorType>(words.getType()).getDimSize(0);
  return arith::ShRUIOp::create(b_, loc_, words, broadcast(word, lanes));
}
Value KernelBuilder::shiftRight(Value words, ArrayRef<int32_t> bits) {
  return arith::ShRUIOp::create(b_, loc_, words, constant(bits));
}
Value KernelBuilder::signOfByte(Value words) {
  return arith::ShRSIOp::create(b_, loc_, shiftLeft(words, 24), splatLike(b_, words, 24));
}
Value KernelBuilder::byteAsFloat(Value words, int64_t i, bool isSigned) {
  Value byte;
  if (isSigned)
    byte = arith::ShRSIOp::create(b_, loc_, shiftLeft(words, 24 - 8 * i), splatLike(b_, words, 24));
  else
    byte = i == 3 ? shiftRight(words, 24) : andBits(shiftRight(words, 8 * i), 255);
  return arith::SIToFPOp::create(b_, loc_, vec(), byte);
}
/// The bytes of words, and back.
static Value bytesOf(KernelBuilder& k, Value words) {
  return k.bitcast(k.vecI(kLanes * 4, 8), words);
}
static Value wordsOf(KernelBuilder& k, Value bytes) { return k.bitcast(k.vecI(kLanes, 32), bytes); }

Value KernelBuilder::addBytes(Value words, int32_t v) {
  Value bytes = bytesOf(*this, words);
  return wordsOf(*this, add(bytes, splatLike(b_, bytes, static_cast<int8_t>(v))));
}

Value KernelBuilder::lookUpBytes(ArrayRef<int8_t> table, Value words) {
  return wordsOf(*this, lookUp(table, bytesOf(*this, words)));
}

Value KernelBuilder::lookUp(ArrayRef<int8_t> table, Value bytes) {
  assert(table.size() == 16);
  struct Shuffle {
    const char* name;
    int64_t bytes;
  };
  auto shuffleOf = [&]() -> Shuffle {
    const bool one = cast<VectorType>(bytes.getType()).getDimSize(0) == 16;
    switch (target_.bytes) {
      case ByteInstructions::neon:
      case ByteInstructions::neonDot:
      case ByteInstructions::neonMatrix:
        return {"llvm.aarch64.neon.tbl1.v16i8", 16};
      case ByteInstructions::avx2:
        if (!one) return {"llvm.x86.avx2.pshuf.b", 32};
        break;
      case ByteInstructions::avx512:
      case ByteInstructions::avx512Vnni:
        if (!one) return {"llvm.x86.avx512.pshuf.b.512", 64};
        break;
    }
    return {"llvm.x86.ssse3.pshuf.b.128", 16};
  };
  const Shuffle shuffle = shuffleOf();
  // A shuffle of x86 looks up in each 16 bytes apart.
  SmallVector<int8_t> repeated;
  while (static_cast<int64_t>(repeated.size()) < shuffle.bytes)
    repeated.append(table.begin(), table.end());
  auto type = vecI(shuffle.bytes, 8);
  Value from =
      arith::ConstantOp::create(b_, loc_, DenseElementsAttr::get(type, ArrayRef<int8_t>(repeated)));
  return forParts(*this, bytes, shuffle.bytes, [&](Value part) {
    return intrinsic(shuffle.name, type, {from, part});
  });
}

Value KernelBuilder::lookUpWords(ArrayRef<int8_t> table, Value words) {
  const int64_t lanes = cast<VectorType>(words.getType()).getDimSize(0);
  Value bytes = arith::TruncIOp::create(b_, loc_, vecI(lanes, 8), words);
  SmallVector<int64_t> padded;
  for (int64_t i = 0; i < 16; ++i) padded.push_back(i % lanes);
  bytes = lookUp(table, vector::ShuffleOp::create(b_, loc_, bytes, bytes, padded));
  return arith::ExtSIOp::create(b_, loc_, vecI(lanes, 32), slice(b_, bytes, 0, lanes));
}

/// vpmaddubsw and vpmaddwd: a[i] and b[i] are `bytes` bytes. Gives the sums of fours.
static Value dotByPairs(KernelBuilder& k, Value a, Value b, int64_t bytes, bool isSigned) {
  OpBuilder& builder = k.builder();
  const bool wide = bytes == 64;
  if (isSigned) {
    // |a| and b with the sign of a: neither saturates, as b is no -128.
    if (wide) {
      Value zero = splatLike(builder, a, 0);
      Value below = k.cmp(arith::CmpIPredicate::slt, a, zero);
      b = k.select(below, k.sub(zero, b), b);
    } else {
      b = k.intrinsic("llvm.x86.avx2.psign.b", b.getType(), {b, a});
    }
    a = LLVM::AbsOp::create(builder, a.getLoc(), a.getType(), a, /*is_int_min_poison=*/false);
  }
  Type i16 = k.vecI(bytes / 2, 16), i32 = k.vecI(bytes / 4, 32);
  Value pairs = k.intrinsic(wide ? "llvm.x86.avx512.pmaddubs.w.512" : "llvm.x86.avx2.pmadd.ub.sw",
                            i16, {a, b});
  return k.intrinsic(wide ? "llvm.x86.avx512.pmaddw.d.512" : "llvm.x86.avx2.pmadd.wd", i32,
                     {pairs, splatLike(builder, pairs, 1)});
}

/// The kLanes words that `dot` makes of two vectors, in instructions that take half of them.
static Value byHalves(KernelBuilder& k, Value a, Value b,
                      llvm::function_ref<Value(Value, Value)> dot) {
  OpBuilder& builder = k.builder();
  const int64_t half = cast<VectorType>(a.getType()).getDimSize(0) / 2;
  Values words;
  for (int64_t i : {int64_t{0}, half})
    words.push_back(dot(slice(builder, a, i, half), slice(builder, b, i, half)));
  return vector::ShuffleOp::create(builder, a.getLoc(), words[0], words[1],
                                   llvm::to_vector(llvm::seq<int64_t>(0, kLanes)));
}

Value KernelBuilder::dotBytes(Value a, Value b, Value sums, bool isSigned) {
  switch (target_.bytes) {
    case ByteInstructions::avx512Vnni:
      assert(!isSigned);
      return intrinsic("llvm.x86.avx512.vpdpbusd.512", sums.getType(),
                       {sums, bytesOf(*this, a), bytesOf(*this, b)});
    case ByteInstructions::avx512:
      return add(sums, dotByPairs(*this, bytesOf(*this, a), bytesOf(*this, b), 64, isSigned));
    case ByteInstructions::avx2:
      return add(sums, byHalves(*this, bytesOf(*this, a), bytesOf(*this, b), [&](Value x, Value y) {
                   return dotByPairs(*this, x, y, 32, isSigned);
                 }));
    case ByteInstructions::neon:
    case ByteInstructions::neonDot:
    case ByteInstructions::neonMatrix:
      break;
  }
  for (int64_t i = 0; i < 4; ++i) {
    auto byteOf = [&](Value words) { return signOfByte(shiftRight(words, 8 * i)); };
    Value left = isSigned ? byteOf(a) : andBits(shiftRight(a, 8 * i), 255);
    sums = add(sums, mul(left, byteOf(b)));
  }
  return sums;
}

Value KernelBuilder::dotPairs(Value a, Value b, Value sums) {
  auto pairs = [&](Value words) {
    return bitcast(vecI(2 * cast<VectorType>(words.getType()).getDimSize(0), 16), words);
  };
  switch (target_.bytes) {
    case ByteInstructions::avx512Vnni:
      return intrinsic("llvm.x86.avx512.vpdpwssd.512", sums.getType(), {sums, pairs(a), pairs(b)});
    case ByteInstructions::avx512:
      return add(sums,
                 intrinsic("llvm.x86.avx512.pmaddw.d.512", sums.getType(), {pairs(a), pairs(b)}));
    case ByteInstructions::avx2:
      return add(sums, byHalves(*this, pairs(a), pairs(b), [&](Value x, Value y) {
                   return intrinsic("llvm.x86.avx2.pmadd.wd", vecI(8, 32), {x, y});
                 }));
    case ByteInstructions::neon:
    case ByteInstructions::neonDot:
    case ByteInstructions::neonMatrix:
      break;
  }
  Value sixteen = splatWord(16);
  auto low = [&](Value words) {
    return arith::ShRSIOp::create(b_, loc_, shiftLeft(words, 16), sixteen);
  };
  auto high = [&](Value words) { return arith::ShRSIOp::create(b_, loc_, words, sixteen); };
  return add(add(sums, mul(low(a), low(b))), mul(high(a), high(b)));
}

bool KernelBuilder::hasFloatTable() const {
  return target_.bytes == ByteInstructions::avx512 || target_.bytes == ByteInstructions::avx512Vnni;
}
Value KernelBuilder::lookUpFloats(Value table, Value words) {
  return intrinsic("llvm.x86.avx512.permvar.sf.512", vec(), {table, words});
}

//===----------------------------------------------------------------------===//
// Control flow
//===----------------------------------------------------------------------===//

Values KernelBuilder::loop(Value lo, Value hi, int64_t step, ValueRange init, const Body& body) {
  auto build = [&](OpBuilder& nested, Location, Value iv, ValueRange state) {
    OpBuilder::InsertionGuard guard(b_);
    b_.setInsertionPoint(nested.getInsertionBlock(), nested.getInsertionPoint());
    scf::YieldOp::create(b_, loc_, body(iv, state));
  };
  return Values(scf::ForOp::create(b_, loc_, lo, hi, ci(step), init, build).getResults());
}

void KernelBuilder::loop(Value lo, Value hi, int64_t step, const std::function<void(Value)>& body) {
  loop(lo, hi, step, {}, [&](Value iv, ValueRange) {
    body(iv);
    return Values{};
  });
}

void KernelBuilder::ifThen(Value condition, const std::function<void()>& body) {
  scf::IfOp::create(b_, loc_, condition, [&](OpBuilder& nested, Location) {
    OpBuilder::InsertionGuard guard(b_);
    b_.setInsertionPoint(nested.getInsertionBlock(), nested.getInsertionPoint());
    body();
    scf::YieldOp::create(b_, loc_);
  });
}

void KernelBuilder::whileLess(Value begin, Value end, const std::function<Value(Value)>& body) {
  auto before = [&](OpBuilder& nested, Location, ValueRange state) {
    OpBuilder::InsertionGuard guard(b_);
    b_.setInsertionPoint(nested.getInsertionBlock(), nested.getInsertionPoint());
    scf::ConditionOp::create(b_, loc_, cmp(arith::CmpIPredicate::slt, state[0], end), state);
  };
  auto after = [&](OpBuilder& nested, Location, ValueRange state) {
    OpBuilder::InsertionGuard guard(b_);
    b_.setInsertionPoint(nested.getInsertionBlock(), nested.getInsertionPoint());
    scf::YieldOp::create(b_, loc_, body(state[0]));
  };
  scf::WhileOp::create(b_, loc_, TypeRange{i64()}, ValueRange{begin}, before, after);
}

}  // namespace llmc::cpu
