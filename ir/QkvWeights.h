// How the weights of norm_qkv are packed: its operands, its kernels and their tiles go by it.
#pragma once

#include "ir/LLM.h"

namespace llmc::llm {

/// A packed weight of norm_qkv: of the projections of q, k and v, those side by side that are of
/// one type. Most models have one of all three.
struct QkvWeight {
  llvm::StringRef
      operand;  // its name: "weight", or "k_weight" or "v_weight" of what it begins with
  llvm::SmallVector<mlir::FlatSymbolRefAttr, 3> projections;
  int64_t heads = 0;
};
llvm::SmallVector<QkvWeight, 3> qkvWeightsOf(NormQkvOp op);

}  // namespace llmc::llm
