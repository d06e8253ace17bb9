// How the weights of norm_qkv and norm_projections are packed: their operands, kernels and tiles go
// by it.
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

/// A packed weight of norm_projections: of its projections those side by side that are of one type
/// and of which each begins with a panel of its own.
struct ProjectionsWeight {
  struct Part {
    size_t projection = 0;  // number of
    int64_t firstPanel = 0, panels = 0;
  };
  llvm::StringRef operand;
  llvm::SmallVector<Part> parts;
  int64_t firstTile = 0;  // of the op's
  int64_t panels() const { return parts.back().firstPanel + parts.back().panels; }
  int64_t tiles() const { return (panels() + kTilePanels - 1) / kTilePanels; }
};
llvm::SmallVector<ProjectionsWeight> projectionsWeightsOf(NormProjectionsOp op);

/// The operands of projection `index`: what it gives, and its bias where it has one.
llvm::StringRef resultOperand(size_t index);
llvm::StringRef biasOperand(size_t index);

}  // namespace llmc::llm
