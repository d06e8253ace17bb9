// The llm dialect: types, attributes and ops. What each means is documented in the .td files beside
// this header.
#pragma once

#include "ir/KernelOp.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "runtime/io/weight_format.h"
// clang-format off: each generated header needs what stands above it
#include "ir/LLMDialect.h.inc"
#define GET_TYPEDEF_CLASSES
#include "ir/LLMTypes.h.inc"
#define GET_ATTRDEF_CLASSES
#include "ir/LLMAttributes.h.inc"
#include "ir/LLMInterfaces.h.inc"
#define GET_OP_CLASSES
#include "ir/LLMOps.h.inc"
// clang-format on

namespace llmc::llm {

/// The effects on it order kv_write before attention.
struct StateResource : mlir::SideEffects::Resource::Base<StateResource> {
  llvm::StringRef getName() final { return "State"; }
};

/// How weights of this element type are stored; null where they are not.
const llmrt::WeightFormat* findWeightFormat(mlir::Type elementType);
/// The same of a weight that is verified, or of a cache's plain values.
const llmrt::WeightFormat& weightFormatOf(mlir::Type elementType);
/// Bytes of an element of activations or of a cache.
int64_t elementBytes(mlir::Type type);

/// An attribute of a model: "float", as without it, or "int8" where products with weights of quants
/// round their left operands (codegen/cpu/Int8Rows.h says how).
constexpr llvm::StringLiteral kActivationsAttr = "llm.activations";
bool hasInt8Activations(ModelOp model);

/// The weight that `symbol` names in the model around `from`; null when there is none.
WeightOp lookupWeight(mlir::Operation* from, mlir::FlatSymbolRefAttr symbol);
/// The state that `symbol` names in the model around `from`; null when there is none.
StateOp lookupState(mlir::Operation* from, mlir::FlatSymbolRefAttr symbol);
/// The type of the paged state `symbol`, which the model is verified to have.
KvCacheType kvTypeOf(mlir::Operation* from, mlir::FlatSymbolRefAttr symbol);
/// The shape of the recurrent state `symbol`, which the model is verified to have.
llvm::ArrayRef<int64_t> recurrentShape(mlir::Operation* from, mlir::FlatSymbolRefAttr symbol);
/// How many elements of a head the rope table `symbol` rotates; the model is verified to have it.
int64_t rotaryDim(mlir::Operation* from, mlir::FlatSymbolRefAttr symbol);

/// What the steps of the entry point or of the kernel are for that `op` stands in.
StepKind stepKindOf(mlir::Operation* op);
/// The most rows that they have.
int64_t maxRowsOf(mlir::Operation* op);

/// A matrix weight of one layer (and one expert): [rows, cols].
struct Matrix {
  mlir::Type type;  // of its elements
  int64_t rows = 0, cols = 0;
};
/// The matrix `symbol`, which the model is verified to have. A vector has one column.
Matrix matrixOf(mlir::Operation* from, mlir::FlatSymbolRefAttr symbol);

/// `op`, of an entry or a kernel for steps of this kind, has no more rows than such steps may have.
mlir::LogicalResult verifyRowsOfKind(mlir::Operation* op, StepKind kind, int64_t maxRows);

/// Columns of an activation.
int64_t widthOf(mlir::Value tensor);

}  // namespace llmc::llm
