// Anonymous memory for arenas and synthetic weights, and what the machine still has of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "runtime/io/status.h"

namespace llmrt {

/// Buffers of a session begin at multiples of this.
constexpr uint64_t kAlignment = 64;
/// The least multiple of `to` that is not below `bytes`.
constexpr uint64_t alignUp(uint64_t bytes, uint64_t to = kAlignment) {
  return (bytes + to - 1) / to * to;
}

/// Zeroed pages, given back on destruction. Pages cost memory when they are first touched.
class AnonymousMemory {
 public:
  AnonymousMemory() = default;
  AnonymousMemory(AnonymousMemory&& other) noexcept;
  AnonymousMemory& operator=(AnonymousMemory&& other) noexcept;
  ~AnonymousMemory();

  /// `what` names the memory in the message of a failure ("KV cache and activations").
  /// Aligned to 2 MiB where it is larger than that, so that huge pages (advised) can back it.
  static Result<AnonymousMemory> allocate(uint64_t bytes, const std::string& what);

  uint8_t* data() const { return data_; }
  uint64_t size() const { return size_; }

 private:
  uint8_t* data_ = nullptr;
  uint64_t size_ = 0;
  void* mapping_ = nullptr;
  size_t mapping_bytes_ = 0;
};

/// Bytes that can be allocated without swapping (MemAvailable); UINT64_MAX where that is unknown.
uint64_t availableMemoryBytes();

/// kOutOfMemory when `bytes` are more than the machine has available.
Status checkMemoryAvailable(uint64_t bytes, const std::string& what);

}  // namespace llmrt
