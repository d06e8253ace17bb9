// The pieces that the text of kernels is put together from.
#pragma once

#include <fmt/format.h>

#include <string>
#include <vector>

#include "codegen/cuda/Codegen.h"

namespace llmc::cuda {

inline int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

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
    case llmrt::DType::kHalfE8M0:
      break;
  }
  llvm_unreachable("no plain values");
}
inline int64_t perWord(mlir::Type type) {
  return 4 / llmrt::dtypeBytes(llm::weightFormatOf(type).planes[0].dtype);
}
/// Why no kernel of the device's reads the weights that `op` reads; empty where one does.
std::string formatProblem(llm::KernelOpInterface op);

/// A float constant with all its digits.
inline std::string number(double v) {
  const std::string text = fmt::format("{:.9g}", static_cast<float>(v));
  return text + (text.find_first_of(".e") == std::string::npos ? ".0f" : "f");
}
inline const char* boolean(bool v) { return v ? "true" : "false"; }

const char* activationName(llm::ActivationKind kind);
/// The device's KvPool of a paged state.
std::string poolName(llm::KvCacheType kv);

/// `offset` bytes of scratch behind the counters.
std::string scratchAt(int64_t offset);

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

/// A kernel as the emission of its op sees it: what it is specialised to beside the op, and its
/// operands by the names that ir/KernelOps.cpp gives them.
class KernelForm {
 public:
  KernelForm(llm::KernelOp kernel, const EmitOptions& emit);

  const llm::StepKind kind;
  const int64_t maxRows;
  const EmitOptions& options;

  /// Whether its steps have decode's kernels, whose bits do not depend on the other rows: all but
  /// those of a prompt.
  bool fewRows() const { return kind != llm::StepKind::prefill; }
  /// Whether its rows are those of trees.
  bool inTrees() const { return kind == llm::StepKind::verify || kind == llm::StepKind::commit; }
  bool has(llvm::StringRef name) const { return find(name) >= 0; }
  // An operand as what it is in a function's text; where there is none of that name, "nullptr".
  std::string in(llvm::StringRef name) const;    // floats that are read
  std::string ints(llvm::StringRef name) const;  // integers that are read: a step's inputs
  std::string out(llvm::StringRef name) const;   // floats that are written
  std::string any(llvm::StringRef name) const;   // matrices, pools of states
  /// The device's CacheRows, or TreeRows, of an op with a paged state.
  std::string cacheRows() const;
  /// The device's SlotRows, or TreeSlotRows, of an op with a recurrent state.
  std::string slotRows() const;
  /// Between the rows of an operand in the arena, in elements. There must be one of that name.
  int64_t stride(llvm::StringRef name) const;
  /// Those that `functions` do not name: nothing would read or write them.
  std::vector<llvm::StringRef> unused(llvm::ArrayRef<Function> functions) const;

 private:
  int64_t find(llvm::StringRef name) const;
  std::string cast(const char* type, llvm::StringRef name) const;

  llvm::SmallVector<llm::KernelOperand> operands_;
  llvm::ArrayRef<int64_t> strides_;  // of those in the arena
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

/// Rows of a batch: groups of kBatchRows read weights once (device/batch.cuh), from kLeastBatchRows
/// on that pays for the launch that packs them.
constexpr int64_t kLeastBatchRows = 5, kBatchRows = 16;
/// Panels of a matrix from which on a block makes two: nearly all processors of an H200 have one.
constexpr int64_t kBatchPanels = 256;
/// BatchProduct::kSharedBytes and PackedBatch::kBytes.
inline int64_t batchBytes(int64_t rows, int64_t panels, mlir::Type type) {
  return 8 * (panels == 2 ? 5 : 7) * (panels * 512 + rows * 8 * perWord(type) * 4);
}
inline int64_t batchPackedBytes(int64_t cols, mlir::Type type) {
  const int64_t blockCols = 8 * perWord(type);
  return (ceilDiv(cols, blockCols) * blockCols + 1) * kBatchRows * 4;
}

/// Processors of an H100 or H200, for which grids are sized.
constexpr int64_t kHopperProcessors = 132;
/// ProductOnWgmma::kSharedBytes of its tiles of so many rows.
constexpr int64_t wgmmaBytes(int64_t tokens) {
  return 1024 + 4 * (16384 + tokens * 128) + 8 * 2560 + 64;
}
/// The last template argument of a body that runs in clusters.
inline std::string clusterArgument(int64_t blocks) {
  return blocks > 1 ? fmt::format(", {}", blocks) : "";
}
/// kTensorSharedBytes.
constexpr int64_t kTensorTileBytes = 3 * 16384;
/// Heads that a block takes, a warp each: kHeadsPerBlock of the device sources.
constexpr int64_t kHeadsPerBlock = 4;
/// Of groupedOnTensorCores: its kGroupedStages, kGroupedStageBytes each.
constexpr int64_t kGroupedBytes = 3 * (12 << 10);

// What each op becomes; who adds an op adds it here and to emitOp() in Emit.cpp.
// A block per row (EmitRows.cpp).
Functions emit(llm::EmbedOp op, const KernelForm& form);
Functions emit(llm::RmsNormOp op, const KernelForm& form);
Functions emit(llm::LayerNormOp op, const KernelForm& form);
Functions emit(llm::NormResidualOp op, const KernelForm& form);
Functions emit(llm::QkNormOp op, const KernelForm& form);
Functions emit(llm::BiasOp op, const KernelForm& form);
Functions emit(llm::ScaleOp op, const KernelForm& form);
Functions emit(llm::ScaleByOp op, const KernelForm& form);
Functions emit(llm::ScaleByPosOp op, const KernelForm& form);
Functions emit(llm::LayerSliceOp op, const KernelForm& form);
Functions emit(llm::ScaleRowsOp op, const KernelForm& form);
Functions emit(llm::ConcatOp op, const KernelForm& form);
Functions emit(llm::RopeOp op, const KernelForm& form);
Functions emit(llm::KvWriteOp op, const KernelForm& form);
Functions emit(llm::KvMoveOp op, const KernelForm& form);
Functions emit(llm::KeepOp op, const KernelForm& form);
Functions emit(llm::KeptOp op, const KernelForm& form);
Functions emit(llm::ActivationOp op, const KernelForm& form);
Functions emit(llm::MulOp op, const KernelForm& form);
Functions emit(llm::AddOp op, const KernelForm& form);
// Matrix products (EmitProducts.cpp).
Functions emit(llm::LinearOp op, const KernelForm& form);
Functions emit(llm::LinearResidualOp op, const KernelForm& form);
Functions emit(llm::LogitsOp op, const KernelForm& form);
Functions emit(llm::NormQkvOp op, const KernelForm& form);
Functions emit(llm::NormGluOp op, const KernelForm& form);
Functions emit(llm::NormLinearOp op, const KernelForm& form);
Functions emit(llm::NormProjectionsOp op, const KernelForm& form);
Functions emit(llm::NormLogitsOp op, const KernelForm& form);
// EmitAttention.cpp.
Functions emit(llm::AttentionOp op, const KernelForm& form);
// Linear attention (EmitLinearAttention.cpp).
Functions emit(llm::CausalConvOp op, const KernelForm& form);
Functions emit(llm::GatedDeltaOp op, const KernelForm& form);
Functions emit(llm::SsdOp op, const KernelForm& form);
// Routed experts and the heads' products of latent attention (EmitExperts.cpp).
Functions emit(llm::RouteOp op, const KernelForm& form);
Functions emit(llm::ExpertGluOp op, const KernelForm& form);
Functions emit(llm::ExpertDownOp op, const KernelForm& form);
Functions emit(llm::HeadLinearOp op, const KernelForm& form);

}  // namespace llmc::cuda
