// The kernels of a model: one for each distinct thing that code generation would specialise to.
#pragma once

#include <string>

#include "ir/LLM.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"
#include "mlir/IR/Builders.h"

namespace llmc {

/// Collects kernels while a model is scheduled. Two ops share one when they agree in op,
/// attributes, operand and result types, the shapes, types and packing of their weights, the types of
/// their states (and windows where they look back), the kind of step, the bound on rows and the row strides of their buffers.
/// Which weight or state a symbol names is a matter of the phase, not of the kernel.
class KernelTable {
 public:
  explicit KernelTable(llm::ModelOp model);

  /// The symbol of `op`'s kernel; declares it at the end of the model the first time.
  mlir::FlatSymbolRefAttr get(llm::KernelOpInterface op, llm::StepKind kind, int64_t maxRows,
                              llvm::ArrayRef<int64_t> rowStrides);
  int64_t size() const { return static_cast<int64_t>(byContent_.size()); }

 private:
  std::string uniqueName(std::string name);

  llm::ModelOp model_;
  llvm::StringMap<mlir::FlatSymbolRefAttr> byContent_;
  llvm::StringSet<> names_;
};

/// What a kernel of `op` was specialised to, as a C identifier:
/// norm_qkv_6144x4096_bf16_kvbf16_decode, attention_32x8x128_window4096_kvf16_prefill,
/// kv_move_8x128_kvbf16_commit, rms_norm_4096_decode.
std::string kernelName(llm::KernelOpInterface op, llm::StepKind kind);

}  // namespace llmc
