#include "runtime/cuda/memory.h"

#include <fmt/format.h>

namespace llmrt::cuda {

std::string sizeText(uint64_t bytes) {
  const auto size = static_cast<double>(bytes);
  return size >= 0x1p30   ? fmt::format("{:.1f} GiB", size / 0x1p30)
         : size >= 0x1p20 ? fmt::format("{:.1f} MiB", size / 0x1p20)
                          : fmt::format("{:.1f} KiB", size / 0x1p10);
}

Result<DeviceMemory> DeviceMemory::allocate(const Driver& driver, uint64_t bytes,
                                            const std::string& what) {
  DeviceMemory memory;
  memory.driver_ = &driver;
  const CuResult result = driver.allocate(&memory.address_, bytes);
  if (result != 0) memory.address_ = 0;
  LLMRT_CUDA_CHECK(driver, result, fmt::format("{} of GPU memory for {}", sizeText(bytes), what));
  return memory;
}

Result<PinnedMemory> PinnedMemory::allocate(const Driver& driver, uint64_t bytes,
                                            const std::string& what) {
  PinnedMemory memory;
  memory.driver_ = &driver;
  const CuResult result = driver.host_allocate(&memory.data_, bytes, 0);
  if (result != 0) memory.data_ = nullptr;
  LLMRT_CUDA_CHECK(driver, result,
                   fmt::format("{} of pinned memory for {}", sizeText(bytes), what));
  return memory;
}

}  // namespace llmrt::cuda
