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

/// The weight that `symbol` names in the model around `from`; null when there is none.
WeightOp lookupWeight(mlir::Operation* from, mlir::FlatSymbolRefAttr symbol);

}  // namespace llmc::llm
