// One emitter per op of the llm dialect. Each writes the body of a kernel, and finds its operands
// by the names that the op's getKernelOperands() gives them.
#pragma once

#include "codegen/cpu/KernelBuilder.h"

namespace llmc::cpu {

void emitLinear(KernelBuilder& k, llm::LinearOp op);
void emitLinearResidual(KernelBuilder& k, llm::LinearResidualOp op);
void emitNormQkv(KernelBuilder& k, llm::NormQkvOp op);
void emitNormGlu(KernelBuilder& k, llm::NormGluOp op);
void emitLogits(KernelBuilder& k, llm::LogitsOp op);
void emitNormLogits(KernelBuilder& k, llm::NormLogitsOp op);

void emitNormLinear(KernelBuilder& k, llm::NormLinearOp op);
void emitNormProjections(KernelBuilder& k, llm::NormProjectionsOp op);
void emitHeadLinear(KernelBuilder& k, llm::HeadLinearOp op);

void emitRoute(KernelBuilder& k, llm::RouteOp op);
void emitExpertGlu(KernelBuilder& k, llm::ExpertGluOp op);
void emitExpertDown(KernelBuilder& k, llm::ExpertDownOp op);

void emitAttention(KernelBuilder& k, llm::AttentionOp op);
void emitCausalConv(KernelBuilder& k, llm::CausalConvOp op);
void emitGatedDelta(KernelBuilder& k, llm::GatedDeltaOp op);
void emitSsd(KernelBuilder& k, llm::SsdOp op);

void emitEmbed(KernelBuilder& k, llm::EmbedOp op);
void emitRmsNorm(KernelBuilder& k, llm::RmsNormOp op);
void emitLayerNorm(KernelBuilder& k, llm::LayerNormOp op);
void emitQkNorm(KernelBuilder& k, llm::QkNormOp op);
void emitNormResidual(KernelBuilder& k, llm::NormResidualOp op);
void emitBias(KernelBuilder& k, llm::BiasOp op);
void emitRope(KernelBuilder& k, llm::RopeOp op);
void emitKvWrite(KernelBuilder& k, llm::KvWriteOp op);
void emitKeep(KernelBuilder& k, llm::KeepOp op);
void emitHidden(KernelBuilder& k, llm::HiddenOp op);
void emitKept(KernelBuilder& k, llm::KeptOp op);
void emitKvMove(KernelBuilder& k, llm::KvMoveOp op);
void emitActivation(KernelBuilder& k, llm::ActivationOp op);
void emitMul(KernelBuilder& k, llm::MulOp op);
void emitAdd(KernelBuilder& k, llm::AddOp op);
void emitScale(KernelBuilder& k, llm::ScaleOp op);
void emitScaleRows(KernelBuilder& k, llm::ScaleRowsOp op);
void emitScaleBy(KernelBuilder& k, llm::ScaleByOp op);
void emitScaleByPos(KernelBuilder& k, llm::ScaleByPosOp op);
void emitLayerSlice(KernelBuilder& k, llm::LayerSliceOp op);
void emitConcat(KernelBuilder& k, llm::ConcatOp op);

//===----------------------------------------------------------------------===//
// Pieces that row kernels and fused epilogues share
//===----------------------------------------------------------------------===//

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
