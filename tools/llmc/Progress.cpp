#include "tools/llmc/Progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <utility>

#include "tools/llmc/Units.h"

namespace llmc {
namespace {

std::atomic<bool> interrupted{false};
struct sigaction oldInterrupt, oldTerminate;

void onSignal(int) { interrupted = true; }

}  // namespace

StageLine::StageLine() : terminal_(::isatty(STDERR_FILENO) == 1) {
  if (!terminal_) return;
  ticker_ = std::thread([this] {
    std::unique_lock lock(mutex_);
    while (!ended_) {
      changed_.wait_for(lock, std::chrono::seconds(1));
      if (!ended_ && !stage_.empty()) draw();
    }
  });
}

StageLine::~StageLine() {
  if (!terminal_) return;
  clear();
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  changed_.notify_one();
  ticker_.join();
}

void StageLine::show(const std::string& stage) {
  if (!terminal_) return;
  const std::lock_guard lock(mutex_);
  stage_ = stage;
  start_ = std::chrono::steady_clock::now();
  draw();
}

void StageLine::clear() {
  if (!terminal_) return;
  const std::lock_guard lock(mutex_);
  if (!stage_.empty()) std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
  stage_.clear();
}

void StageLine::draw() const {
  const auto seconds =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - start_)
          .count();
  fmt::print(stderr, "\r\033[K{} ...{}", stage_, seconds > 0 ? fmt::format(" {} s", seconds) : "");
  std::fflush(stderr);
}

Progress::Progress(std::string what)
    : what_(std::move(what)),
      terminal_(::isatty(STDERR_FILENO) == 1),
      start_(std::chrono::steady_clock::now()) {
  struct sigaction action = {};
  action.sa_handler = onSignal;
  ::sigaction(SIGINT, &action, &oldInterrupt);
  ::sigaction(SIGTERM, &action, &oldTerminate);
}

Progress::~Progress() {
  if (drawn_) std::fputs("\r\033[K", stderr);
  ::sigaction(SIGINT, &oldInterrupt, nullptr);
  ::sigaction(SIGTERM, &oldTerminate, nullptr);
}

bool Progress::update(uint64_t done, uint64_t total) {
  if (interrupted) return false;
  const auto now = std::chrono::steady_clock::now();
  if (!terminal_ || now - last_ < std::chrono::milliseconds(100)) return true;
  last_ = now;
  drawn_ = true;
  constexpr int kWidth = 30;
  const double share = total ? static_cast<double>(done) / static_cast<double>(total) : 1.0;
  const auto filled = static_cast<size_t>(share * kWidth);
  const double seconds = std::chrono::duration<double>(now - start_).count();
  fmt::print(stderr, "\r\033[K{} [{:-<30}] {:3.0f} %  {} of {}  {}/s", what_,
             std::string(filled, '#'), share * 100, bytesText(static_cast<double>(done)),
             bytesText(static_cast<double>(total)),
             bytesText(static_cast<double>(done) / std::max(seconds, 1e-3)));
  std::fflush(stderr);
  return true;
}

}  // namespace llmc
