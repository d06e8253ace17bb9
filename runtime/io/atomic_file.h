// A file that appears under its name whole, or not at all.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/io/status.h"

namespace llmrt {

/// Written front to back through a 1 MiB buffer to a temporary name in the same directory, and
/// renamed by commit(). Destroyed without commit(), or after a failure, the temporary is removed
/// and what was at `path` before is untouched. A write beyond RLIMIT_FSIZE is an error like a full
/// disk, not a signal.
class AtomicFile {
 public:
  /// `path` may exist (then commit() replaces it; a symbolic link is followed) but must not be a
  /// directory or a device.
  static Result<AtomicFile> create(const std::string& path);

  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&& other) noexcept;
  ~AtomicFile();

  Status write(const void* data, uint64_t bytes);
  /// Appends zeros until position() == `offset`, which must not lie behind.
  Status padTo(uint64_t offset);
  uint64_t position() const { return position_; }

  /// Flushes and renames. `sync`: waits for the disk first, so that a power cut cannot leave the
  /// name without the data.
  Status commit(bool sync = false);

  const std::string& path() const { return path_; }

 private:
  AtomicFile() = default;
  Status flush();
  Status writeAll(const uint8_t* data, uint64_t bytes);
  void discard();

  std::string path_;
  std::string temporary_;  // empty once committed or removed
  int fd_ = -1;
  uint64_t position_ = 0;
  std::vector<uint8_t> buffer_;
};

}  // namespace llmrt
