// Objects of kernels, kept in a folder: a kernel that was compiled before, for any model, is read.
#pragma once

#include <optional>
#include <string>

#include "codegen/cpu/Lower.h"

namespace llmc::cpu {

/// The folder that LLMC_KERNEL_CACHE names in the environment. Without it nothing is found and
/// nothing is kept.
///
/// - A file is named by a hash of all that decides an object: the kernel in MLIR, what Lower.cpp
///   reads of the target, the bytes of this program, LLVM's and MLIR's libraries by size and time.
/// - A file appears whole and has a checksum. A damaged one is as if absent, and is written again.
/// - An object is the same whether it was found or made: the cache never shows in a plan.
/// - It is pruned to 512 MiB, and of what nobody has read for a week.
/// - Who may write to the folder decides what plans do, as with a plan itself.
class KernelCache {
 public:
  /// Makes the folder where it is absent. `problem` receives why it cannot be used, in one line.
  static KernelCache open(std::string& problem);

  /// The name of a kernel's object, which is asked for before lowering changes the kernel. Empty:
  /// there is no cache.
  std::string nameOf(mlir::ModuleOp kernel, const CpuTarget& target) const;
  std::optional<KernelObject> find(const std::string& name) const;
  /// A file that cannot be written, on a full disk for one, is as if nobody had asked.
  void keep(const std::string& name, const KernelObject& object) const;

 private:
  std::string folder_;  // empty: there is none
};

}  // namespace llmc::cpu
