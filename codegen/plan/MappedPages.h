// Advice to the kernel about pages of mapped files.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <span>

namespace llmc {

/// Advises the kernel about whole pages of `bytes`.
inline void advise(std::span<const uint8_t> bytes, int advice) {
  if (bytes.empty()) return;
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<uintptr_t>(bytes.data()) + page - 1) / page * page;
  const auto end = (reinterpret_cast<uintptr_t>(bytes.data()) + bytes.size()) / page * page;
  if (begin < end) (void)::madvise(reinterpret_cast<void*>(begin), end - begin, advice);
}

}  // namespace llmc
