#include "codegen/cuda/Target.h"

namespace llmc::cuda {

static const CudaTarget kTargets[] = {
    {"cuda:sm_80", "sm_80"},      // A100
    {"cuda:sm_86", "sm_86"},      // RTX 30, A10
    {"cuda:sm_89", "sm_89"},      // RTX 40, L4, L40
    {"cuda:sm_90a", "sm_90a"},    // H100, H200
    {"cuda:sm_100a", "sm_100a"},  // B200
    {"cuda:sm_120", "sm_120"},    // RTX 50
};
// To be compared with sm_90a on its own GPUs (tests/gpu): products by mma.sync, and no PTX that a
// driver would have to compile. Slower there, so it is not among the names.
static const CudaTarget kPlainHopper = {"cuda:sm_90", "sm_90"};
static const CudaTarget kPtx = {"cuda:compute_80", "compute_80"};

const CudaTarget* findCudaTarget(llvm::StringRef name) {
  for (const CudaTarget& target : kTargets)
    if (target.name == name) return &target;
  if (name == kPlainHopper.name) return &kPlainHopper;
  return name == kPtx.name ? &kPtx : nullptr;
}

std::vector<std::string> cudaTargetNames() {
  std::vector<std::string> names;
  for (const CudaTarget& target : kTargets) names.push_back(target.name);
  return names;
}

const CudaTarget& ptxTarget() { return kPtx; }

}  // namespace llmc::cuda
