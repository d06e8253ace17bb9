#include "codegen/cuda/Codegen.h"

#include <set>

namespace llmc::cuda {

namespace {

/// Launches that say which part of their kernel they are, so that whoever runs it can tell that
/// none is missing. Where that differs among the numbers of rows of one, it is several.
std::vector<Launch> withParts(const std::vector<Launch>& launches) {
  std::vector<Launch> result;
  for (const Launch& launch : launches) {
    std::set<int64_t> begins = {launch.minRows};  // numbers of rows from where on others run
    for (const Launch& other : launches)
      if (other.kernel == launch.kernel)
        for (const int64_t rows : {other.minRows, other.maxRows + 1})
          if (rows > launch.minRows && rows <= launch.maxRows) begins.insert(rows);
    for (const int64_t rows : begins) {
      Launch piece = launch;
      piece.minRows = rows;
      for (const Launch& other : launches) {
        if (other.kernel != launch.kernel || other.minRows > rows || rows > other.maxRows) continue;
        ++piece.parts;
        piece.part += &other < &launch;
      }
      if (rows == launch.minRows || piece.part != result.back().part ||
          piece.parts != result.back().parts) {
        if (rows > launch.minRows) result.back().maxRows = rows - 1;
        result.push_back(std::move(piece));
      }
    }
  }
  return result;
}

}  // namespace

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
  image.launches = withParts(image.launches);
  return image;
}

}  // namespace llmc::cuda
