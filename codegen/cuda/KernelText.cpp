#include "codegen/cuda/KernelText.h"

#include <algorithm>

#include "llvm/Support/ErrorHandling.h"
#include "runtime/abi/cuda_abi.h"

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
        return fmt::format("weights of the format {} have no CUDA kernels yet", format.name);
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
    case llm::ActivationKind::none:
      return "kNoActivation";
  }
  return "";
}

std::string poolName(llm::KvCacheType kv) {
  const bool alike = kv.getHeadDim() == kv.getValueDim();
  return fmt::format("KvPool<{}, {}, {}{}>", storageName(kv.getElementType()), kv.getNumKvHeads(),
                     kv.getHeadDim(), alike ? "" : fmt::format(", {}", kv.getValueDim()));
}

std::string scratchAt(int64_t offset) {
  return fmt::format("args.scratch + {}", LLMC_CUDA_COUNTER_BYTES + offset);
}

KernelForm::KernelForm(llm::KernelOp kernel, const EmitOptions& emit)
    : kind(kernel.getKind()),
      maxRows(static_cast<int64_t>(kernel.getMaxRows())),
      options(emit),
      operands_(kernel.getComputeOp().getKernelOperands()),
      strides_(kernel.getRowStrides()) {}

int64_t KernelForm::find(llvm::StringRef name) const {
  const auto* found =
      llvm::find_if(operands_, [&](const llm::KernelOperand& o) { return o.name == name; });
  return found == operands_.end() ? -1 : found - operands_.begin();
}

/// Where a function finds operand `i`: the one place that knows of numbers.
static std::string operandAt(int64_t i) { return fmt::format("args.operands[{}]", i); }

std::string KernelForm::any(llvm::StringRef name) const {
  return has(name) ? operandAt(find(name)) : "nullptr";
}
std::string KernelForm::cast(const char* type, llvm::StringRef name) const {
  return has(name) ? fmt::format("static_cast<{}>({})", type, any(name)) : "nullptr";
}
std::string KernelForm::in(llvm::StringRef name) const { return cast("const float*", name); }
std::string KernelForm::ints(llvm::StringRef name) const { return cast("const int*", name); }
std::string KernelForm::out(llvm::StringRef name) const { return cast("float*", name); }

std::string KernelForm::cacheRows() const {
  const std::string rows =
      fmt::format("{{{}, {}, {}}}", ints("pos"), ints("seq"), ints("block_table"));
  if (!inTrees()) return "CacheRows" + rows;
  return fmt::format("TreeRows{{{}, {}, {}}}", rows, ints("slot"), ints("parent"));
}

std::string KernelForm::slotRows() const {
  const std::string rows = fmt::format("{{{}, {}}}", ints("seq"), ints("slots"));
  if (!has("parent")) return "SlotRows" + rows;  // a commit's rows are one branch
  return fmt::format("TreeSlotRows{{{}, {}}}", rows, ints("parent"));
}

int64_t KernelForm::stride(llvm::StringRef name) const {
  const int64_t* next = strides_.begin();
  for (const llm::KernelOperand& o : operands_) {
    if (o.space != llm::Space::arena) continue;
    if (o.name == name) return *next;
    ++next;
  }
  llvm::report_fatal_error("no operand of that name in the arena");
}

std::vector<llvm::StringRef> KernelForm::unused(llvm::ArrayRef<Function> functions) const {
  std::vector<llvm::StringRef> names;
  for (const llm::KernelOperand& o : operands_)
    if (llvm::none_of(functions, [&](const Function& f) {
          return llvm::StringRef(f.body).contains(operandAt(find(o.name)));
        }))
      names.push_back(o.name);
  return names;
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
