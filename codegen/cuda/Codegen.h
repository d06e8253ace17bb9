// Compiles the kernels of a scheduled module for CUDA, ahead of time: CUDA C++ specialised by
// constants, and NVRTC's machine code of it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "codegen/cuda/Nvrtc.h"
#include "codegen/cuda/Target.h"
#include "ir/LLM.h"
#include "llvm/Support/Error.h"

namespace llmc::cuda {

/// One launch of a llm.kernel: schema CudaLaunch.
struct Launch {
  uint32_t kernel = 0;  // in the order of the model's llm.kernels
  std::string symbol;
  int64_t minRows = 1, maxRows = 0;
  int64_t part = 0, parts = 0;  // of the launches for a number of rows
  int64_t threads = 0;
  int64_t blocks = 1;
  int64_t rowsPerBlock = 0;
  int64_t tokensPerBlock = 0;
  int64_t dynamicSharedBytes = 0;
  enum { kEverywhere, kWithWgmma, kWithoutWgmma } where = kEverywhere;  // CudaTarget::hasWgmma
  // How many blocks are to fit on a processor; 0: as ptxas sees fit. It would rather fit more than
  // keep every load that is on its way in registers, and spills a word for that.
  int64_t blocksPerProcessor = 0;
  int64_t clusterBlocks = 1;  // `blocks` is a multiple of them
};

/// The kernels of a model as CUDA C++: the same text for every architecture, but for what it says
/// under LLMC_WGMMA.
struct CudaSource {
  std::string text;
  std::vector<Launch> launches;
  int64_t operands = 1;  // every kernel takes so many: the most that one of them has
  int64_t scratchBytes = 0, wgmmaScratchBytes = 0;  // without LLMC_WGMMA and with it
};

struct CudaImage {
  std::string target;  // CudaTarget::name
  Binary binary;
  std::vector<Launch> launches;
  int64_t operands = 0;  // CudaSource::operands: schema Target.cuda_operands
  int64_t scratchBytes = 0;
};

struct EmitOptions {
  /// Panels that a block of a product of few rows makes, one after the other; 0: as the rule has
  /// it.
  int64_t panelsPerBlock = 0;
  /// Blocks of a cluster of wgmma's products, which share what they read of their rows: 1 or 2.
  int64_t clusterBlocks = 1;
  /// The smallest tiles of wgmma's products: 128 rows or 64.
  int64_t tileRows = 128;
};

/// One line where a kernel has no CUDA form: it names the kernel, and the op, state, kind of step
/// or operand that has none.
llvm::Expected<CudaSource> emitCuda(llm::ModelOp model, const EmitOptions& options = {});

llvm::Expected<CudaImage> compileKernels(const CudaSource& source, const CudaTarget& target);

}  // namespace llmc::cuda
