// The device sources as a test sees them: under the shim, with a launch that takes any callable.
#pragma once

// The shim defines what the device sources are written in, and they build on each other.
#define LLMC_WGMMA
constexpr int kOperands = 1;  // of Args, which the bodies do not look at
// clang-format off
#include "tests/cuda/shim.h"
#include "codegen/cuda/device/prelude.cuh"
#include "codegen/cuda/device/relayout.cuh"
#include "codegen/cuda/device/rows.cuh"
#include "codegen/cuda/device/trees.cuh"
#include "codegen/cuda/device/norms.cuh"
#include "codegen/cuda/device/linear.cuh"
#include "codegen/cuda/device/batch.cuh"
#include "codegen/cuda/device/tensor.cuh"
#include "codegen/cuda/device/grouped.cuh"
#include "codegen/cuda/device/experts.cuh"
#include "codegen/cuda/device/hopper.cuh"
#include "codegen/cuda/device/wgmma.cuh"
#include "codegen/cuda/device/experts_wgmma.cuh"
#include "codegen/cuda/device/attention.cuh"
#include "codegen/cuda/device/flash.cuh"
#include "codegen/cuda/device/flash_wide.cuh"
#include "codegen/cuda/device/linear_attention.cuh"
#include "codegen/cuda/device/state_space.cuh"
#include "runtime/abi/sampling.h"
#include "codegen/cuda/device/sample.cuh"
// clang-format on

namespace llmc::test {

struct Grid {
  unsigned x = 1, y = 1, z = 1;
  unsigned cluster = 1;  // blocks of one
};

/// Runs kernel() as every thread of a grid.
template <class Kernel>
void launch(Grid grid, unsigned threads, unsigned dynamic_shared_bytes, Kernel kernel) {
  const unsigned dims[3] = {grid.x, grid.y, grid.z};
  llmc_shim_run(
      dims, threads, dynamic_shared_bytes, [](void* k) { (*static_cast<Kernel*>(k))(); }, &kernel,
      grid.cluster);
}

}  // namespace llmc::test
