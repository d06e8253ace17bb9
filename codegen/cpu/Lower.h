// From a module of kernels in MLIR's lower dialects to a shared object.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "codegen/cpu/Codegen.h"
#include "mlir/IR/BuiltinOps.h"

namespace llmc::cpu {

/// Loads the dialects that kernels are written in, and their translations to LLVM IR.
void loadKernelDialects(mlir::MLIRContext& context);

/// An ELF object.
using KernelObject = std::vector<char>;

/// Lowers `kernels` (func.funcs over scf, arith, vector and llvm) to LLVM IR, optimises it and
/// emits an object. `text` receives what `emit` asks for; the object is empty where it asks.
llvm::Expected<KernelObject> compileToObject(mlir::ModuleOp kernels, const CpuTarget& target,
                                             Emit emit, std::string& text);

/// All that compileToObject() reads of a target.
std::string textForLowering(const CpuTarget& target);

/// Links objects into a shared object that depends on nothing, in their order. Undefined symbols
/// are an error.
llvm::Expected<std::vector<uint8_t>> linkShared(const std::vector<KernelObject>& objects,
                                                const CpuTarget& target);

}  // namespace llmc::cpu
