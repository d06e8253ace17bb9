// Compiles the kernels of a scheduled module for one CPU target, ahead of time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "codegen/cpu/Target.h"
#include "codegen/cpu/Tuning.h"
#include "ir/LLM.h"
#include "llvm/Support/Error.h"

namespace llmc::cpu {

/// Machine code of every llm.kernel of a model, for one target.
struct TargetImage {
  std::string target;  // CpuTarget::name
  std::vector<uint8_t>
      image;  // ELF shared object; exports each llm.kernel's symbol as an LlmcKernelFn
  int64_t scratchBytes = 0;  // the largest scratch any kernel needs, per thread
  std::string text;          // what `Emit` asked for, empty otherwise
  /// Of the tuning, for people: a line for each kernel that it was used for, the kernel's symbol
  /// and
  /// ": " before what was chosen.
  std::vector<std::string> tuned;
  std::string cacheProblem;  // why the folder of kept kernels (KernelCache.h) is not used
};

/// What to return as text beside the image.
enum class Emit { none, llvm, assembly };

/// Lowers every llm.kernel in `model` through scf, arith, vector and LLVM to a position-independent
/// shared object. Fails with one line when a kernel cannot be generated or the linker refuses the
/// object. `tuning`: what was measured for the target; null: all follows from its description.
llvm::Expected<TargetImage> compileKernels(llm::ModelOp model, const CpuTarget& target,
                                           Emit emit = Emit::none,
                                           const CpuTuning* tuning = nullptr);

}  // namespace llmc::cpu
