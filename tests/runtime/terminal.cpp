#include "tests/runtime/terminal.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>

namespace llmrt {

Terminal::Terminal(const std::vector<std::string>& args, const std::string& state) {
  std::vector<char*> argv;
  for (const std::string& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  const std::string state_home = state.empty() ? own_state_ / "" : state;
  struct winsize size = {};
  size.ws_row = 24, size.ws_col = 200;
  pid_ = forkpty(&fd_, nullptr, nullptr, &size);
  if (pid_ == 0) {
    setenv("TERM", "xterm", 1);
    setenv("XDG_STATE_HOME", state_home.c_str(), 1);
    unsetenv("NO_COLOR");
    execv(argv[0], argv.data());
    _exit(127);
  }
  if (pid_ < 0) ADD_FAILURE() << "no terminal can be made";
}

Terminal::~Terminal() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    wait();
  }
  if (fd_ >= 0) close(fd_);
}

void Terminal::type(const std::string& keys) {
  ASSERT_EQ(write(fd_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
}

void Terminal::interrupt() { signal(SIGINT); }

void Terminal::signal(int number) { kill(pid_, number); }

bool Terminal::isOrdinary() const {
  struct termios mode = {};  // asked of this end, Linux answers for the other
  return tcgetattr(fd_, &mode) == 0 && (mode.c_lflag & ICANON) && (mode.c_lflag & ECHO);
}

bool Terminal::readMore(int timeout_ms) {
  struct pollfd poll_fd = {fd_, POLLIN, 0};
  if (poll(&poll_fd, 1, timeout_ms) <= 0) return false;
  char buffer[4096];
  const ssize_t n = read(fd_, buffer, sizeof buffer);
  if (n <= 0) return false;
  shown_.append(buffer, static_cast<size_t>(n));
  return true;
}

bool Terminal::waitFor(const std::string& text) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  for (;;) {
    const size_t at = shown_.find(text, seen_);
    if (at != std::string::npos) {
      seen_ = at + text.size();
      return true;
    }
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        end - std::chrono::steady_clock::now());
    if (left.count() <= 0 || !readMore(static_cast<int>(left.count()))) return false;
  }
}

bool Terminal::waitForMore() {
  while (shown_.size() == seen_ && readMore(30'000)) {
  }
  return shown_.size() > seen_;
}

bool Terminal::waitForPrompt() {
  if (!waitFor("> ")) return false;
  for (int i = 0; i < 30'000; ++i) {
    struct termios mode = {};  // asked of this end, Linux answers for the other
    if (tcgetattr(fd_, &mode) == 0 && !(mode.c_lflag & ICANON)) return true;
    usleep(1000);
  }
  return false;
}

int Terminal::wait() {
  while (readMore(1000)) {
  }
  int status = 0;
  for (int i = 0; waitpid(pid_, &status, WNOHANG) == 0; ++i) {
    if (i == 3000) kill(pid_, SIGKILL);  // it would wait for keys for ever
    usleep(10'000);
  }
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace llmrt
