// The pieces that the text of kernels is put together from.
#pragma once

#include <fmt/format.h>

#include <string>
#include <vector>

#include "codegen/cuda/Codegen.h"

namespace llmc::cuda {

inline int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t width(mlir::Value v) {
  return mlir::cast<mlir::RankedTensorType>(v.getType()).getDimSize(1);
}

/// The device's type of plain values. Formats of blocks are refused before (formatProblem()).
inline const char* storageName(mlir::Type type) {
  switch (llm::weightFormatOf(type).planes[0].dtype) {
    case llmrt::DType::kF32:
      return "F32";
    case llmrt::DType::kF16:
      return "F16";
    case llmrt::DType::kBF16:
      return "BF16";
    case llmrt::DType::kI32:
    case llmrt::DType::kI8:
    case llmrt::DType::kU8:
      break;
  }
  llvm_unreachable("no plain values");
}
inline int64_t perWord(mlir::Type type) {
  return 4 / llmrt::dtypeBytes(llm::weightFormatOf(type).planes[0].dtype);
}
/// Why the device loads no tile of the weights that `op` reads; empty where it does.
std::string formatProblem(llm::KernelOpInterface op);

/// A float constant with all its digits.
inline std::string number(double v) {
  const std::string text = fmt::format("{:.9g}", static_cast<float>(v));
  return text + (text.find_first_of(".e") == std::string::npos ? ".0f" : "f");
}
inline const char* boolean(bool v) { return v ? "true" : "false"; }
/// Operand `i` of a kernel as what it is; -1: null.
inline std::string in(int64_t i) {
  return i < 0 ? "nullptr" : fmt::format("static_cast<const float*>(args.operands[{}])", i);
}
inline std::string out(int64_t i) {
  return fmt::format("static_cast<float*>(args.operands[{}])", i);
}
inline std::string any(int64_t i) {
  return i < 0 ? "nullptr" : fmt::format("args.operands[{}]", i);
}

struct Matrix {
  mlir::Type type;
  int64_t rows, cols;  // of one layer and expert
};
inline Matrix matrixOf(mlir::Operation* op, mlir::FlatSymbolRefAttr symbol) {
  llm::WeightOp w = llm::lookupWeight(op, symbol);
  return {w.getTensorType().getElementType(), w.getLayerShape()[0], w.getLayerShape()[1]};
}

const char* activationName(llm::ActivationKind kind);
/// The device's KvPool of a !llm.kv_cache.
std::string poolName(mlir::Type kv);

/// A __global__ function of a kernel; which kernel and the symbol come later.
struct Function {
  std::string suffix, body;
  Launch launch;
};

/// What an op becomes: functions in the order they run, the scratch they share after the counters
/// (and in all where the target has wgmma, if that is more), and why it cannot be, if it cannot.
struct Functions {
  std::vector<Function> functions;
  int64_t scratchBytes = 0, wgmmaScratchBytes = 0;
  std::string problem;
};

/// What a kernel is specialised to beside its op.
struct KernelForm {
  llvm::ArrayRef<int64_t> strides;
  int64_t maxRows = 0;
  bool isDecode() const { return maxRows <= llm::kDecodeMaxRows; }
};

/// How kernels for few rows take those: as many at a time, their bytes of shared memory, and
/// whether they are staged there at all.
struct Staging {
  int64_t rows, bytes;
  bool staged;
};
/// Shared memory that a block may take for staged rows: two blocks fit where there are 160 KB and
/// more, one everywhere.
constexpr int64_t kStagedBytes = 64 << 10;
/// `cols` values of each of `rows` rows, in whole blocks of `type`'s fragments. A row that is no
/// multiple of them must be staged; `problem` says so where it is too wide for that.
Staging stagingOf(int64_t rows, int64_t cols, mlir::Type type, std::string& problem);
/// Launch::blocksPerProcessor of kernels that stream weights through registers: two leave a thread
/// 128, half of them for weights on their way. Operands that are read where they lie, for several
/// rows, take more than two blocks have.
int64_t fewRowsBlocks(const Staging& staging);
/// Some thousand blocks keep every processor of a large GPU busy; more panels in a block share the
/// staging of its rows.
int64_t panelsPerBlock(int64_t numPanels);

/// Processors of an H100 or H200, for which grids are sized.
constexpr int64_t kHopperProcessors = 132;
/// ProductOnWgmma::kSharedBytes of its tiles of 128 and of 256 rows.
constexpr int64_t wgmmaBytes(int64_t tokens) {
  return 1024 + 4 * (16384 + tokens * 128) + 8 * 2560 + 64;
}
/// Of groupedOnTensorCores: its kGroupedStages, kGroupedStageBytes each.
constexpr int64_t kGroupedBytes = 3 * (12 << 10);

/// EmitAttention.cpp.
Functions emitAttention(llm::AttentionOp op, const KernelForm& form);
// Routed experts and the heads' products of latent attention (EmitExperts.cpp).
Functions emitRoute(llm::RouteOp op, const KernelForm& form);
Functions emitExpertGlu(llm::ExpertGluOp op, const KernelForm& form);
Functions emitExpertDown(llm::ExpertDownOp op, const KernelForm& form);
Functions emitHeadLinear(llm::HeadLinearOp op, const KernelForm& form);

}  // namespace llmc::cuda
