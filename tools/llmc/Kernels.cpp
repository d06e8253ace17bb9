#include "tools/llmc/Kernels.h"

#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/MemoryBufferRef.h"

namespace llmc {

std::map<std::string, uint64_t> kernelSizes(std::span<const uint8_t> image) {
  std::map<std::string, uint64_t> sizes;
  // LLVM reads ELF headers in place and wants them aligned, which bytes in a plan need not be.
  const std::string copy(image.begin(), image.end());
  auto object = llvm::object::ObjectFile::createELFObjectFile(llvm::MemoryBufferRef(copy, "image"));
  if (!object) {
    llvm::consumeError(object.takeError());
    return sizes;
  }
  const auto* elf = llvm::dyn_cast<llvm::object::ELFObjectFileBase>(object->get());
  if (!elf) return sizes;
  for (const llvm::object::ELFSymbolRef symbol : elf->getDynamicSymbolIterators()) {
    auto name = symbol.getName();
    if (!name) {
      llvm::consumeError(name.takeError());
      continue;
    }
    if (symbol.getELFType() == llvm::ELF::STT_FUNC) sizes[name->str()] = symbol.getSize();
  }
  return sizes;
}

}  // namespace llmc
