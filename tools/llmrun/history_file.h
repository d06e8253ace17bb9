// What was typed in former runs.
#pragma once

#include <string>
#include <vector>

#include "runtime/io/status.h"

namespace llmrt {

/// A file of entries, the oldest first, each a line that is a JSON string. Several processes may
/// use it at once: each entry is appended under a lock, and what others appended stays. Never much
/// more than kMaxEntries, for the user's eyes alone (mode 0600).
class HistoryFile {
 public:
  static constexpr size_t kMaxEntries = 1000;
  static constexpr size_t kMaxEntryBytes = 64 << 10;  // a longer one is not kept

  /// $XDG_STATE_HOME/llmc/history, or that in ~/.local/state; empty where neither is known.
  static std::string defaultPath();

  explicit HistoryFile(std::string path) : path_(std::move(path)) {}

  /// None where there is no file yet. A line that is no entry is passed over.
  Result<std::vector<std::string>> load() const;
  /// Makes the file and its folders where they are missing.
  Status append(const std::string& entry) const;

 private:
  std::string path_;
};

}  // namespace llmrt
