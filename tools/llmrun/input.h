// Prompts and messages from stdin and files.
#pragma once

#include <string>

#include "runtime/io/status.h"

namespace llmrt {

/// All of a file, which may be a pipe; of stdin where `path` is empty. On a terminal says how to
/// end it.
Result<std::string> readInput(const std::string& path);

/// Lines of stdin. Not through stdio, whose reads no signal ends.
class InputLines {
 public:
  /// Without its line end. False at the end, and when Ctrl-C came.
  Result<bool> read(std::string& out);

 private:
  std::string waiting_;
  size_t searched_ = 0;  // how much of it has no newline
};

}  // namespace llmrt
