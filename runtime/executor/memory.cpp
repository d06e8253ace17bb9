#include "runtime/executor/memory.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <utility>

namespace llmrt {
namespace {

constexpr uint64_t kHugePageBytes = uint64_t{2} << 20;
constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;

}  // namespace

AnonymousMemory::AnonymousMemory(AnonymousMemory&& other) noexcept { *this = std::move(other); }

AnonymousMemory& AnonymousMemory::operator=(AnonymousMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(mapping_, other.mapping_);
  std::swap(mapping_bytes_, other.mapping_bytes_);
  return *this;
}

AnonymousMemory::~AnonymousMemory() {
  if (mapping_) munmap(mapping_, mapping_bytes_);
}

Result<AnonymousMemory> AnonymousMemory::allocate(uint64_t bytes, const std::string& what) {
  AnonymousMemory memory;
  if (bytes == 0) return memory;
  const uint64_t slack = bytes >= kHugePageBytes ? kHugePageBytes : 0;
  void* mapping = bytes > UINT64_MAX / 2 ? MAP_FAILED
                                         : mmap(nullptr, bytes + slack, PROT_READ | PROT_WRITE,
                                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) {
    return outOfMemory(fmt::format("out of memory: {} needs {:.2f} GiB, which the system refuses",
                                   what, static_cast<double>(bytes) / kGiB));
  }
  memory.mapping_ = mapping;
  memory.mapping_bytes_ = bytes + slack;
  memory.data_ = static_cast<uint8_t*>(mapping);
  memory.size_ = bytes;
  if (slack) {
    const uint64_t address = reinterpret_cast<uint64_t>(mapping);
    memory.data_ += (kHugePageBytes - address % kHugePageBytes) % kHugePageBytes;
    // Only advice: without huge pages everything works, with more TLB misses.
    (void)madvise(memory.data_, bytes, MADV_HUGEPAGE);
  }
  return memory;
}

uint64_t availableMemoryBytes() {
  std::FILE* file = std::fopen("/proc/meminfo", "re");
  if (!file) return UINT64_MAX;
  char line[256];
  uint64_t kib = UINT64_MAX;
  while (std::fgets(line, sizeof line, file)) {
    if (std::sscanf(line, "MemAvailable: %" SCNu64 " kB", &kib) == 1) break;
  }
  std::fclose(file);
  return kib > UINT64_MAX / 1024 ? UINT64_MAX : kib * 1024;
}

Status checkMemoryAvailable(uint64_t bytes, const std::string& what) {
  const uint64_t available = availableMemoryBytes();
  if (bytes <= available) return {};
  return outOfMemory(fmt::format("out of memory: {} need {:.2f} GiB, {:.2f} GiB are available",
                                 what, static_cast<double>(bytes) / kGiB,
                                 static_cast<double>(available) / kGiB));
}

}  // namespace llmrt
