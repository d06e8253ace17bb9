#include "codegen/cuda/Codegen.h"

namespace llmc::cuda {

llvm::Expected<CudaImage> compileKernels(const CudaSource& source, const CudaTarget& target) {
  const bool wgmma = target.hasWgmma();
  llvm::Expected<Binary> binary =
      compileCuda((wgmma ? "#define LLMC_WGMMA\n" : "") + source.text, target.arch);
  if (!binary) return binary.takeError();
  CudaImage image{.target = target.name,
                  .binary = std::move(*binary),
                  .launches = {},
                  .operands = source.operands,
                  .scratchBytes = wgmma ? source.wgmmaScratchBytes : source.scratchBytes};
  for (const Launch& launch : source.launches)
    if (launch.where != (wgmma ? Launch::kWithoutWgmma : Launch::kWithWgmma))
      image.launches.push_back(launch);
  // Whoever runs the kernel can tell from this that none is missing.
  for (Launch& launch : image.launches) {
    for (const Launch& other : image.launches) {
      if (other.kernel != launch.kernel || other.minRows > launch.minRows ||
          launch.minRows > other.maxRows)
        continue;
      ++launch.parts;
      launch.part += &other < &launch;
    }
  }
  return image;
}

}  // namespace llmc::cuda
