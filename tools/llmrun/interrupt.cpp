#include "tools/llmrun/interrupt.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>

namespace llmrt {

std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free, "set by a signal handler");

namespace {

// A byte in this pipe wakes poll(), also one that has not begun when the signal comes.
int wake_pipe[2] = {-1, -1};

std::atomic<bool> redraw{false};

void wake() {
  [[maybe_unused]] const ssize_t n = ::write(wake_pipe[1], "", 1);  // full: there is a byte
}

void onInterrupt(int) {
  const int error = errno;
  interrupted = true;
  wake();
  errno = error;
}

}  // namespace

void catchInterrupts(SecondInterrupt second) {
  // Without a pipe, which only a process out of descriptors lacks, waitForInput() looks again at
  // each key.
  if (wake_pipe[0] < 0) [[maybe_unused]]
    const int error = ::pipe2(wake_pipe, O_NONBLOCK | O_CLOEXEC);
  struct sigaction action = {};
  action.sa_handler = onInterrupt;
  // Restarts what it comes into: a write that it cut short would lose a part of an answer.
  action.sa_flags =
      static_cast<int>(SA_RESTART | (second == SecondInterrupt::kEndsProcess ? SA_RESETHAND : 0u));
  sigaction(SIGINT, &action, nullptr);
}

bool takeInterrupt() {
  // In this order: what comes in between sets the flag, and a byte too many wakes for nothing.
  char bytes[64];
  while (::read(wake_pipe[0], bytes, sizeof bytes) > 0) {
  }
  return interrupted.exchange(false);
}

Wake waitForInput() {
  for (;;) {
    if (interrupted) return Wake::kInterrupt;
    if (redraw.exchange(false)) return Wake::kRedraw;
    struct pollfd waited[2] = {{STDIN_FILENO, POLLIN, 0}, {wake_pipe[0], POLLIN, 0}};
    if (::poll(waited, 2, -1) < 0 && errno != EINTR)
      return Wake::kInput;  // read() will say what is wrong
    if (waited[0].revents != 0 && !interrupted) return Wake::kInput;
    char byte;
    if (!interrupted) [[maybe_unused]]
      const ssize_t n = ::read(wake_pipe[0], &byte, 1);
  }
}

void forgetRedraw() { redraw = false; }

void wakeForRedraw() {
  redraw = true;
  wake();
}

}  // namespace llmrt
