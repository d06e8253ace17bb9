// A whole file mapped read-only.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "runtime/io/status.h"

namespace llmrt {

/// Owns the mapping; the bytes stay where they are when the object moves. The size is the file's
/// size at open: whoever shortens a file that is in use gets the SIGBUS the kernel gives, as with
/// every mapped file; programs explain it (mapped_file_fault.h).
class MappedFile {
 public:
  /// A regular file, possibly empty. Anything else (a directory, a pipe, a device) is an error: it
  /// has no fixed size.
  static Result<MappedFile> open(const std::string& path);

  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  const uint8_t* data() const { return data_; }  // null when empty
  uint64_t size() const { return size_; }
  std::span<const uint8_t> bytes() const { return {data_, static_cast<size_t>(size_)}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  const uint8_t* data_ = nullptr;
  uint64_t size_ = 0;
};

}  // namespace llmrt
