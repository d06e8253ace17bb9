// The GPUs we generate code for.
#pragma once

#include <string>
#include <vector>

#include "llvm/ADT/StringRef.h"

namespace llmc::cuda {

struct CudaTarget {
  std::string name;  // as the plan and --target spell it: "cuda:sm_80"
  std::string arch;  // NVRTC's: "sm_80", or "compute_80" for PTX
  bool isPtx() const { return arch.starts_with("compute_"); }
  /// Products of warpgroups, which no other architecture has.
  bool hasWgmma() const { return arch == "sm_90a"; }
};

/// Null when there is no such target.
const CudaTarget* findCudaTarget(llvm::StringRef name);
/// Names of the targets that users choose from: all but PTX's and one for tests.
std::vector<std::string> cudaTargetNames();
/// What every plan with CUDA code carries beside it: PTX for GPUs that came after it. Plain code of
/// sm_80, since code for "a" architectures does not move forward.
const CudaTarget& ptxTarget();

}  // namespace llmc::cuda
