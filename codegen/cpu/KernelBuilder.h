// A thin vocabulary over MLIR's arith, scf, vector and llvm dialects in which the CPU kernels are
// written.
//
// Integers are i64, memory is raw pointers with byte offsets, vectors have 16 floats (LLVM splits
// them over the target's registers). Every floating-point operation means exactly what it says:
// nothing is contracted or reassociated, so all targets give the same bits.
//
// This header includes no dialect but ours: their ops take seconds to compile, in each file anew.
#pragma once

#include <functional>

#include "codegen/cpu/Target.h"
#include "codegen/cpu/Tuning.h"
#include "ir/LLM.h"
#include "mlir/IR/Builders.h"

namespace mlir::arith {
enum class CmpIPredicate : uint64_t;
}

namespace llmc::cpu {

using mlir::Value;
using Values = llvm::SmallVector<Value>;

/// Lanes of the vectors that kernels are written on: one panel.
constexpr int64_t kLanes = 16;

/// Storage types of caches and of the planes of weights.
enum class Storage { f32, f16, bf16, i8, halfE8m0 };

/// The nearest cache that a prefetched line comes to. The farther ones get it too, but for
/// firstLevelOnce, whose lines are the first to go. The numbers are llvm.prefetch's locality.
enum class PrefetchTo : uint32_t { firstLevelOnce = 0, secondLevel = 2, firstLevel = 3 };
Storage storageOf(llmrt::DType dtype);
/// Of a cache.
Storage storageOf(mlir::Type elementType);
constexpr int64_t storageBytes(Storage s) {
  return s == Storage::f32 ? 4 : s == Storage::i8 ? 1 : 2;
}

/// The step's fields, loaded once at a kernel's entry. What rows are is among the operands.
struct StepArgs {
  Value numRows, numLogitsRows, blocksPerSeq;  // i64
};

/// What a kernel is specialised to beyond its op and its buffers.
struct KernelShape {
  llm::StepKind kind = llm::StepKind::prefill;
  int64_t maxRows = 0;

  /// Steps whose rows are too few to pay for a second pass over the weights: kernels are bound by
  /// reading those.
  bool fewRows() const {
    return kind == llm::StepKind::decode || kind == llm::StepKind::verify ||
           kind == llm::StepKind::mtp;
  }
};

class KernelBuilder {
 public:
  /// Opens `func.func @kernel(step, operands, tile_begin, tile_end, scratch) -> i32` in `module`.
  KernelBuilder(mlir::ModuleOp module, llm::KernelOp kernel, const CpuTarget& target,
                const ProductTuning& tuning = {});
  /// Returns 0 from the kernel.
  void finish();

  const CpuTarget& target() const { return target_; }
  const KernelShape& shape() const { return shape_; }
  /// Of the kernel's product with weights, where it has one.
  const ProductTuning& tuning() const { return tuning_; }
  Value tileBegin() const { return tileBegin_; }
  Value tileEnd() const { return tileEnd_; }
  const StepArgs& step() const { return step_; }
  /// Reserves `bytes` of the thread's scratch and gives a pointer to it (64-byte aligned).
  Value scratch(int64_t bytes);
  int64_t scratchBytes() const { return scratchBytes_; }
  /// Left operands of products with quants are rounded to int8 (Int8Rows.h).
  bool int8Activations() const { return int8Activations_; }

  // Operands, by their names in the op's getKernelOperands(). Asking for one that the op lacks is
  // a bug of the emitter, and ends the compiler with a line that names both.
  const llm::KernelOperand& described(llvm::StringRef name) const;
  /// The pointer of the operand.
  Value operand(llvm::StringRef name) const;
  /// The same of an operand that the op has where it has the attribute `given`; otherwise null.
  Value operandIf(mlir::Attribute given, llvm::StringRef name) const;
  /// Of a tensor in the arena: floats from one row to the next, and a pointer to the row `index`.
  int64_t rowStride(llvm::StringRef name) const;
  Value rowOf(llvm::StringRef name, Value index) {
    return rowPtr(operand(name), index, rowStride(name));
  }
  /// Element `index` of an input of the step (plan.fbs: Input), sign-extended to i64.
  Value inputOf(llvm::StringRef name, Value index);

  // Integers (i64).
  Value ci(int64_t v);
  Value add(Value a, Value b);
  Value add(Value a, int64_t b);
  Value sub(Value a, Value b);
  Value mul(Value a, Value b);
  Value mul(Value a, int64_t b);
  Value div(Value a, int64_t b);  // unsigned
  Value rem(Value a, int64_t b);  // unsigned
  Value div(Value a, Value b);
  Value rem(Value a, Value b);
  Value ceilDiv(Value a, int64_t b) { return div(add(a, b - 1), b); }
  Value min(Value a, Value b);
  Value max(Value a, Value b);
  Value cmp(mlir::arith::CmpIPredicate p, Value a, Value b);
  Value select(Value c, Value a, Value b);

  // Memory. Offsets are in bytes.
  Value offset(Value ptr, Value bytes);
  Value offset(Value ptr, int64_t bytes);
  Value load(mlir::Type type, Value ptr, int64_t align);
  void store(Value v, Value ptr, int64_t align);
  Value loadI32(Value ptr);  // sign-extended to i64
  /// Asks for the 64 bytes at ptr to be brought to the caches. Any address will do.
  void prefetch(Value ptr, PrefetchTo to);
  /// A pointer to the row `index` of a buffer of floats with `stride` floats a row.
  Value rowPtr(Value base, Value index, int64_t stride) {
    return offset(base, mul(index, stride * 4));
  }

  // Floats. vec(n) is vector<n x f32>.
  mlir::VectorType vec(int64_t lanes = kLanes);
  mlir::VectorType vecI(int64_t lanes, int64_t bits);
  Value cf(float v);  // scalar
  Value splat(float v, int64_t lanes = kLanes);
  Value zero() { return splat(0.0f); }
  Value broadcast(Value scalar, int64_t lanes = kLanes);
  Value fma(Value a, Value b, Value c);  // a * b + c, one rounding
  Value addf(Value a, Value b);
  Value subf(Value a, Value b);
  Value mulf(Value a, Value b);
  Value divf(Value a, Value b);
  Value maxf(Value a, Value b);  // for values that are not NaN
  Value negf(Value a);
  Value sqrtf(Value a);
  Value bitcast(mlir::Type t, Value v);
  /// Sums or takes the maximum of all lanes (a power of two) as a tree of halves: the same order on
  /// every target.
  Value reduceAdd(Value v);
  Value reduceMax(Value v);
  Value extract(Value v, int64_t lane);
  /// Keeps the first `count` lanes of a 16-lane vector, zero elsewhere.
  Value keepLanes(Value v, int64_t count);

  /// `lanes` floats at ptr.
  Value loadF32(Value ptr, int64_t lanes = kLanes) { return load(vec(lanes), ptr, 4); }
  Value loadScalar(Value ptr) { return load(f32(), ptr, 4); }
  /// `lanes` stored values at ptr, as floats.
  Value loadAs(Storage s, Value ptr, int64_t lanes = kLanes);
  /// The low and the high bf16 of each of kLanes words, as floats.
  std::pair<Value, Value> bf16Pairs(Value words);
  /// Rounds floats (to nearest, ties to even) to what is stored: floats, halves (saturating), or
  /// bf16 as i16.
  Value roundTo(Storage s, Value v);
  /// Floats as bf16, to nearest with ties to even, for the left operand of a bf16 product.
  Value roundToBf16(Value v);
  /// a * b + c of 16 pairs of bf16, each in a word of a and b: the upper ones, then the lower ones,
  /// each by an FMA. The instruction takes subnormals as zero and gives none; its emulation does
  /// not.
  Value dotBf16(Value a, Value b, Value c);

  // Words (vectors of i32) and the bytes in them.
  Value constant(llvm::ArrayRef<float> values);
  Value constant(llvm::ArrayRef<int32_t> values);
  Value splatWord(int32_t v) { return constant(llvm::SmallVector<int32_t>(kLanes, v)); }
  Value andBits(Value words, int32_t mask);
  Value orBits(Value a, Value b);
  Value addWords(Value words, int32_t v);
  Value shiftLeft(Value words, int64_t bits);
  /// Zeros come in from above.
  Value shiftRight(Value words, int64_t bits);
  Value shiftRight(Value words, Value bits);  // an i64, of all lanes
  Value shiftRight(Value words, llvm::ArrayRef<int32_t> bits);
  /// The lowest byte of each word, sign-extended.
  Value signOfByte(Value words);
  /// Byte `i` of each word, counted from the lowest, as a float.
  Value byteAsFloat(Value words, int64_t i, bool isSigned);
  /// v + each byte, modulo 256.
  Value addBytes(Value words, int32_t v);
  /// table[i] in place of each byte i, which is below 16, of kLanes words.
  Value lookUpBytes(llvm::ArrayRef<int8_t> table, Value words);
  /// The same in place of each of up to kLanes words, sign-extended.
  Value lookUpWords(llvm::ArrayRef<int8_t> table, Value words);
  /// sums + the four products of bytes of each word, exactly: of b with a sign and within +-127, of
  /// a with one where `isSigned`, otherwise without. Without vpdpbusd, a byte of a without a sign
  /// is below 64; with it there are no signed ones.
  Value dotBytes(Value a, Value b, Value sums, bool isSigned);
  /// sums + the two products of i16 with a sign of each word, which do not overflow together.
  Value dotPairs(Value a, Value b, Value sums);
  /// table[i % 16] for the kLanes words i: where the target has an instruction for it.
  bool hasFloatTable() const;
  Value lookUpFloats(Value table, Value words);

  // Control flow.
  using Body = std::function<Values(Value, mlir::ValueRange)>;
  Values loop(Value lo, Value hi, int64_t step, mlir::ValueRange init, const Body& body);
  void loop(Value lo, Value hi, int64_t step, const std::function<void(Value)>& body);
  void ifThen(Value condition, const std::function<void()>& body);
  /// for (i = begin; i < end; i = body(i))
  void whileLess(Value begin, Value end, const std::function<Value(Value)>& body);

  mlir::OpBuilder& builder() { return b_; }
  mlir::Type f32() { return b_.getF32Type(); }
  mlir::Type i64() { return b_.getI64Type(); }
  mlir::Type ptr();
  mlir::Type amxTile();
  /// A call of LLVM's intrinsic `name`. `result` is its type; without one it gives none.
  Value intrinsic(const llvm::Twine& name, mlir::Type result, mlir::ValueRange arguments);

 private:
  mlir::OpBuilder b_;
  mlir::Location loc_;
  const CpuTarget& target_;
  const KernelShape shape_;
  const ProductTuning tuning_;
  llm::KernelOpInterface op_;

  /// An operand at run time.
  struct Argument {
    llm::KernelOperand description;
    Value pointer;
    int64_t rowStride = 0;  // of a tensor in the arena
  };
  const Argument& get(llvm::StringRef name) const;
  llvm::SmallVector<Argument> arguments_;

  /// Looks up bytes, of which there are 16 or 64.
  Value lookUp(llvm::ArrayRef<int8_t> table, Value bytes);

  const bool int8Activations_;
  Value scratch_, tileBegin_, tileEnd_;
  StepArgs step_;
  int64_t scratchBytes_ = 0;
};

}  // namespace llmc::cpu
