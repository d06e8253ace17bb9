// NVIDIA's run-time compiler, found when it is needed: nothing of CUDA is there to build or start
// llmc.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "llvm/Support/Error.h"

namespace llmc::cuda {

/// What ptxas says of a kernel. All 0 for PTX.
struct Resources {
  uint32_t registers = 0;
  uint32_t spillBytes = 0;
  uint32_t sharedBytes = 0;  // static
};

struct Binary {
  std::vector<uint8_t> image;                  // cubin, or PTX text with its final zero
  std::map<std::string, Resources> resources;  // by symbol
  uint32_t minDriver = 0;                      // as cuDriverGetVersion() counts: 13000
  std::vector<std::string> warnings;           // of ptxas: code that waits where it need not
};

/// Whether NVRTC can be loaded; the error says how to get it.
llvm::Error checkNvrtc();

/// Which NVRTC would compile: its version and its library's size, since a patch has the version of
/// what it replaces. "" where there is none.
std::string nvrtcBuild();

/// Compiles one source. `arch`: "sm_90a" gives a cubin, "compute_80" PTX. An error carries the
/// compiler's log.
llvm::Expected<Binary> compileCuda(const std::string& source, const std::string& arch);

/// The resources in the log of ptxas -v.
std::map<std::string, Resources> parsePtxasLog(const std::string& log);

}  // namespace llmc::cuda
