// Finds the packed weight that holds what a kernel reads.
#pragma once

#include "ir/LLM.h"
#include "llvm/ADT/DenseMap.h"

namespace llmc {

/// The packed weights of a model by what they hold: sources, layout, order and head rows.
class PackedWeights {
 public:
  explicit PackedWeights(llm::ModelOp model);

  /// The packed weight of an operand in Space::weights; null when there is none.
  llm::PackedWeightOp lookup(const llm::KernelOperand& operand) const;
  void insert(llm::PackedWeightOp packed);

 private:
  mlir::MLIRContext* context_;
  llvm::DenseMap<mlir::Attribute, llm::PackedWeightOp> byContent_;
};

/// The sources of an operand as `llm.packed_weight` spells them.
mlir::ArrayAttr sourcesOf(mlir::MLIRContext* context, const llm::KernelOperand& operand);

}  // namespace llmc
