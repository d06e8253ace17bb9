#include "codegen/cuda/Codegen.h"

namespace llmc::cuda {

llvm::Expected<CudaImage> compileKernels(const CudaSource& source, const CudaTarget& target) {
  llvm::Expected<Binary> binary = compileCuda(source.text, target.arch);
  if (!binary) return binary.takeError();
  return CudaImage{target.name, std::move(*binary), source.launches, source.scratchBytes};
}

}  // namespace llmc::cuda
