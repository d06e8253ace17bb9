#include "codegen/cuda/KernelText.h"

#include <algorithm>

using namespace mlir;

namespace llmc::cuda {

namespace {

/// sm_86, sm_89 and sm_120 have the least, 99 KB; kernels that stage rows declare up to 5 KB
/// themselves.
constexpr int64_t kMostDynamicBytes = 94 << 10;

}  // namespace

std::string formatProblem(llm::KernelOpInterface op) {
  for (const llm::KernelOperand& operand : op.getKernelOperands()) {
    if (operand.space != llm::Space::weights) continue;
    for (FlatSymbolRefAttr symbol : operand.symbols) {
      llm::WeightOp weight = llm::lookupWeight(op, symbol);
      const llmrt::WeightFormat& format =
          llm::weightFormatOf(weight.getTensorType().getElementType());
      if (!format.isPlain())
        return fmt::format("weights of the format {} have no way to a GPU's registers",
                           format.name);
    }
  }
  return "";
}

const char* activationName(llm::ActivationKind kind) {
  switch (kind) {
    case llm::ActivationKind::silu:
      return "kSilu";
    case llm::ActivationKind::gelu:
      return "kGelu";
    case llm::ActivationKind::gelu_tanh:
      return "kGeluTanh";
    case llm::ActivationKind::relu:
      return "kRelu";
    case llm::ActivationKind::relu2:
      return "kRelu2";
    case llm::ActivationKind::sigmoid:
      return "kSigmoid";
    case llm::ActivationKind::quick_gelu:
      return "kQuickGelu";
  }
  return "";
}

std::string poolName(Type kv) {
  auto type = cast<llm::KvCacheType>(kv);
  const bool alike = type.getHeadDim() == type.getValueDim();
  return fmt::format("KvPool<{}, {}, {}{}>", storageName(type.getElementType()),
                     type.getNumKvHeads(), type.getHeadDim(),
                     alike ? "" : fmt::format(", {}", type.getValueDim()));
}

Staging stagingOf(int64_t rows, int64_t cols, Type type, std::string& problem) {
  const int64_t blockCols = 8 * perWord(type);
  const int64_t bytes = rows * ceilDiv(cols, blockCols) * blockCols * 4;
  const bool staged = bytes <= kStagedBytes || cols % blockCols != 0;
  if (staged && bytes > kMostDynamicBytes && problem.empty()) {
    problem = fmt::format("a matrix with {} columns, which is no multiple of {}, is too wide", cols,
                          blockCols);
  }
  return {rows, staged ? bytes : 0, staged};
}

int64_t fewRowsBlocks(const Staging& staging) {
  return staging.staged || staging.rows == 1 ? 2 : 1;
}

int64_t panelsPerBlock(int64_t numPanels) { return std::clamp<int64_t>(numPanels / 1024, 1, 8); }

}  // namespace llmc::cuda
