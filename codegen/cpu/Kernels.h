// One emitter per op of the llm dialect. Each writes the body of a kernel; operand indices are
// those of the op's getKernelOperands().
#pragma once

#include "codegen/cpu/KernelBuilder.h"

namespace llmc::cpu {

/// What a kernel is specialised to beyond its op.
struct KernelShape {
  int64_t maxRows = 0;                 // the entry point's bound on rows
  llvm::ArrayRef<int64_t> rowStrides;  // in floats, of the arena operands in their order

  bool isDecode() const { return maxRows <= llm::kDecodeMaxRows; }
};

void emitLinear(KernelBuilder& k, llm::LinearOp op, const KernelShape& shape);
void emitLinearResidual(KernelBuilder& k, llm::LinearResidualOp op, const KernelShape& shape);
void emitNormQkv(KernelBuilder& k, llm::NormQkvOp op, const KernelShape& shape);
void emitNormGlu(KernelBuilder& k, llm::NormGluOp op, const KernelShape& shape);
void emitLogits(KernelBuilder& k, llm::LogitsOp op, const KernelShape& shape);
void emitNormLogits(KernelBuilder& k, llm::NormLogitsOp op, const KernelShape& shape);

void emitNormLinear(KernelBuilder& k, llm::NormLinearOp op, const KernelShape& shape);
void emitHeadLinear(KernelBuilder& k, llm::HeadLinearOp op, const KernelShape& shape);

void emitRoute(KernelBuilder& k, llm::RouteOp op, const KernelShape& shape);
void emitExpertGlu(KernelBuilder& k, llm::ExpertGluOp op, const KernelShape& shape);
void emitExpertDown(KernelBuilder& k, llm::ExpertDownOp op, const KernelShape& shape);

void emitAttention(KernelBuilder& k, llm::AttentionOp op, const KernelShape& shape);

void emitEmbed(KernelBuilder& k, llm::EmbedOp op, const KernelShape& shape);
void emitRmsNorm(KernelBuilder& k, llm::RmsNormOp op, const KernelShape& shape);
void emitLayerNorm(KernelBuilder& k, llm::LayerNormOp op, const KernelShape& shape);
void emitQkNorm(KernelBuilder& k, llm::QkNormOp op, const KernelShape& shape);
void emitNormResidual(KernelBuilder& k, llm::NormResidualOp op, const KernelShape& shape);
void emitBias(KernelBuilder& k, llm::BiasOp op, const KernelShape& shape);
void emitRope(KernelBuilder& k, llm::RopeOp op, const KernelShape& shape);
void emitKvWrite(KernelBuilder& k, llm::KvWriteOp op, const KernelShape& shape);
void emitActivation(KernelBuilder& k, llm::ActivationOp op, const KernelShape& shape);
void emitMul(KernelBuilder& k, llm::MulOp op, const KernelShape& shape);
void emitAdd(KernelBuilder& k, llm::AddOp op, const KernelShape& shape);
void emitScale(KernelBuilder& k, llm::ScaleOp op, const KernelShape& shape);
void emitScaleRows(KernelBuilder& k, llm::ScaleRowsOp op, const KernelShape& shape);
void emitConcat(KernelBuilder& k, llm::ConcatOp op, const KernelShape& shape);

//===----------------------------------------------------------------------===//
// Pieces that row kernels and fused epilogues share
//===----------------------------------------------------------------------===//

/// How the matrix `symbol` names is stored; N and K of one layer.
struct MatrixInfo {
  const llmrt::WeightFormat* format;
  int64_t rows, cols;  // N, K
};
MatrixInfo matrixInfo(mlir::Operation* op, mlir::FlatSymbolRefAttr symbol);
int64_t widthOf(Value tensor);

/// body(row) for every tile of a kernel whose tile is one row.
void forRows(KernelBuilder& k, const std::function<void(Value)>& body);
/// body(byte offset of 16 floats) along a row of `width` floats. Buffers are padded to whole
/// vectors.
void forVectors(KernelBuilder& k, int64_t width, const std::function<void(Value)>& body);

/// The numbers of a norm; null pointers where it has none.
struct NormArgs {
  Value weight, bias;
  bool layer = false;  // layer_norm, otherwise rms_norm
  double eps = 0;

  explicit operator bool() const { return layer || weight; }
};

/// dst[0..width) = x / sqrt(mean(x^2) + eps) * weight, one row.
void normRow(KernelBuilder& k, Value x, Value weight, Value dst, int64_t width, double eps);
/// dst[0..width) = the norm of x, one row.
void normRow(KernelBuilder& k, const NormArgs& norm, Value x, Value dst, int64_t width);
/// The norm of one head of `headDim` elements; writes no element after them. dst may be x.
void normHead(KernelBuilder& k, const NormArgs& norm, Value x, Value dst, int64_t headDim);

/// Elements of a head that the rope table `symbol` rotates.
int64_t rotaryDim(mlir::Operation* op, mlir::FlatSymbolRefAttr symbol);

/// The least multiple of `to` that is not below `v`.
constexpr int64_t roundUp(int64_t v, int64_t to) { return (v + to - 1) / to * to; }
/// The widest vector (1 to 16 lanes) that divides `width`.
constexpr int64_t lanesFor(int64_t width) {
  int64_t lanes = kLanes;
  while (width % lanes) lanes /= 2;
  return lanes;
}

/// Rotates x[i] and x[i + half] (two vectors of `lanes`) by the row's angle; returns the pair.
/// `element`: i. Table: runtime/schema/plan.fbs RopeTable.
std::pair<Value, Value> rotate(KernelBuilder& k, Value table, Value pos, Value element,
                               int64_t half, Value low, Value high);

}  // namespace llmc::cpu
