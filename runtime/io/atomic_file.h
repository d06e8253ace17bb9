// A file that appears under its name whole, or not at all.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/io/status.h"

namespace llmrt {

/// Written front to back through a 1 MiB buffer to a file without a name, which commit() brings to
/// the disk and then names. Destroyed without commit(), after a failure, or in a process that is
/// killed, nothing of it stays and what was at `path` before is untouched. A write beyond
/// RLIMIT_FSIZE is an error like a full disk, not a signal.
///
/// Where a name must be given before the last one (a file is replaced, or the file system knows no
/// files without a name), it is `path` with ".tmp-" and a number, and locked (flock) while its
/// writer lives. The next create() of the same path removes those that nobody holds.
class AtomicFile {
 public:
  /// `path` may exist (then commit() replaces it) but must not be a directory or a device. What a
  /// symbolic link leads to is written, whether it is there or not.
  static Result<AtomicFile> create(const std::string& path);
  /// create() as it is on file systems that know no files without a name.
  static Result<AtomicFile> createNamed(const std::string& path);

  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&& other) noexcept;
  ~AtomicFile();

  Status write(const void* data, uint64_t bytes);
  /// Appends zeros until position() == `offset`, which must not lie behind.
  Status padTo(uint64_t offset);
  uint64_t position() const { return position_; }
  /// Writes over bytes that were written before: [offset, offset + bytes) ends at position() or
  /// earlier.
  Status overwrite(uint64_t offset, const void* data, uint64_t bytes);

  /// Waits for the disk, names the file, and waits for the name: a power cut leaves all of it or
  /// nothing.
  Status commit() { return commitAs(path_); }
  /// The same under another name in the same directory, replacing what is there.
  Status commitAs(const std::string& name);

  const std::string& path() const { return path_; }

 private:
  AtomicFile() = default;
  static Result<AtomicFile> prepare(const std::string& path);
  Status openNamed();
  Status flush();
  Status writeAll(const uint8_t* data, uint64_t bytes);
  Status nameAs(const std::string& name);
  void discard();

  std::string path_;
  std::string temporary_;  // the name it has before its last; empty: none
  int fd_ = -1;
  uint64_t position_ = 0;
  std::vector<uint8_t> buffer_;
};

/// Waits until the names in the directory of `path` are on the disk. Where a file system cannot,
/// nothing is said.
void syncDirectoryOf(const std::string& path);

/// Removes temporaries of `path` that no living process holds.
void removeAbandoned(const std::string& path);

}  // namespace llmrt
