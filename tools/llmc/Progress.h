// A progress bar on a terminal, and Ctrl-C that leaves no half-written file.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace llmc {

/// While it lives, SIGINT and SIGTERM are noticed instead of killing the process, so that temporary
/// files are removed.
class Progress {
 public:
  explicit Progress(std::string what);
  ~Progress();
  Progress(const Progress&) = delete;

  /// Draws the bar, at most ten times a second, where stderr is a terminal. False once the user
  /// asked to stop.
  bool update(uint64_t done_bytes, uint64_t total_bytes);

 private:
  std::string what_;
  bool terminal_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point start_, last_;
};

}  // namespace llmc
