// What a terminal shows while something takes its time, and Ctrl-C that leaves no half-written
// file.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

namespace llmc {

/// One line that names the stage and, once it has taken a second, counts the seconds. Nothing where
/// stderr is no terminal.
class StageLine {
 public:
  StageLine();
  ~StageLine();
  StageLine(const StageLine&) = delete;

  void show(const std::string& stage);
  /// Takes the line away; show() brings it back.
  void clear();

 private:
  void draw() const;

  const bool terminal_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string stage_;  // empty: no line
  std::chrono::steady_clock::time_point start_;
  bool ended_ = false;
  std::thread ticker_;  // code generation does not call back for many seconds
};

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
