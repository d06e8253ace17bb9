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

/// Lowers `kernels` (func.funcs over scf, arith, vector and llvm) to LLVM IR, optimises it and
/// emits an ELF object. `text` receives what `emit` asks for.
llvm::Expected<std::vector<char>> compileToObject(mlir::ModuleOp kernels, const CpuTarget& target,
                                                  Emit emit, std::string& text);

/// Links an object into a shared object that depends on nothing. Undefined symbols are an error.
llvm::Expected<std::vector<uint8_t>> linkShared(const std::vector<char>& object,
                                                const CpuTarget& target);

}  // namespace llmc::cpu
