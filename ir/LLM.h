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
struct KvCacheResource : mlir::SideEffects::Resource::Base<KvCacheResource> {
  llvm::StringRef getName() final { return "KvCache"; }
};

/// How weights of this element type are stored; null where they are not.
const llmrt::WeightFormat* findWeightFormat(mlir::Type elementType);
/// The same of a weight that is verified, or of a cache's plain values.
const llmrt::WeightFormat& weightFormatOf(mlir::Type elementType);
/// Bytes of an element of activations or of a cache.
int64_t elementBytes(mlir::Type type);

/// The weight that `symbol` names in the model around `from`; null when there is none.
WeightOp lookupWeight(mlir::Operation* from, mlir::FlatSymbolRefAttr symbol);

}  // namespace llmc::llm
