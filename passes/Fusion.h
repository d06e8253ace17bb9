// What the fusion patterns share: following a value back through ops it alone uses, and saying what
// happened.
#pragma once

#include <string>

#include "ir/LLM.h"
#include "llvm/ADT/StringRef.h"
#include "mlir/IR/PatternMatch.h"

namespace llmc {

/// A norm that fused ops can begin with: rms_norm, or a layer_norm that has a weight.
struct Norm {
  mlir::Operation* op = nullptr;
  mlir::Value x, y;
  mlir::FlatSymbolRefAttr weight, bias;
  mlir::FloatAttr eps;
  mlir::UnitAttr layer;  // null: rms_norm

  explicit operator bool() const { return op != nullptr; }
};

/// The norm that makes `value`; null where none does.
Norm normOf(mlir::Value value);

/// One projection on its way back from the value that is used: rope(qk_norm(bias(linear(x)))),
/// where all but the linear may be absent. Every value but the last has this one use.
struct Projection {
  llm::LinearOp linear;
  llm::BiasOp bias;
  llm::QkNormOp qkNorm;
  llm::RopeOp rope;

  explicit operator bool() const { return static_cast<bool>(linear); }
  mlir::FlatSymbolRefAttr weight() { return linear.getWeightAttr(); }
  mlir::FlatSymbolRefAttr biasOrNull() { return bias ? bias.getWeightAttr() : nullptr; }
};

/// A symbol as the IR spells it, for remarks: "@q_proj".
std::string spelled(mlir::FlatSymbolRefAttr symbol);

/// What traceProjection() says of a value that no linear makes.
inline constexpr llvm::StringLiteral kNotALinear = "an operand is not a linear";

/// Follows `value` back to its linear; a null projection, with `why` set, where there is none or an
/// inner value has another use. The use of `value` itself is not looked at, nor are uses by
/// `other`.
Projection traceProjection(mlir::Value value, std::string& why, mlir::Operation* other = nullptr);

/// The value that leaves a projection of `linear` forwards: through bias, qk_norm and rope as long
/// as each is the only user.
Projection followProjection(llm::LinearOp linear);

/// Whether products alone read the norm: each may then have the norm within it, and none is written
/// to memory.
bool feedsLinearsAlone(const Norm& norm);
/// Erases the norm if nothing reads it any more.
void eraseIfUnused(mlir::RewriterBase& rewriter, const Norm& norm);

/// The result of the projection's last op.
mlir::Value resultOf(const Projection& projection);

/// Erases the ops of a projection whose result has no use left.
void eraseProjection(mlir::RewriterBase& rewriter, const Projection& projection);

/// Empty when the weights may be packed together: all present, of one element type and for the same
/// layers; else one clause that names the two that differ.
std::string whyNotPackable(mlir::Operation* from, llvm::ArrayRef<mlir::FlatSymbolRefAttr> weights);
/// The same for kernels that take weights of several types, each packed with its like: one of two
/// that differ must be quantised. Kernels for GPUs, which take no quantised weights, need no such
/// form then.
std::string whyNotPackableApart(mlir::Operation* from,
                                llvm::ArrayRef<mlir::FlatSymbolRefAttr> weights);

/// The same for kernels that multiply by each type by itself.
std::string whyNotOfSameLayers(mlir::Operation* from,
                               llvm::ArrayRef<mlir::FlatSymbolRefAttr> weights);

/// Reports a near miss: notifyMatchFailure, and a remark "NAME not fused: WHY".
mlir::LogicalResult notFused(mlir::PatternRewriter& rewriter, mlir::Operation* op,
                             llvm::StringRef name, llvm::StringRef why);

}  // namespace llmc
