#include "runtime/io/mapped_file_fault.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>

#include "runtime/io/printable.h"

namespace llmrt {
namespace {

const char* program_name = "";

// All below runs in a signal handler: no allocation, no lock, only system calls that POSIX allows
// there.

/// Lines of /proc/self/maps, "begin-end perms offset device inode   path", read through a small
/// buffer. The kernel writes a newline in a path as an octal number.
class MapsReader {
 public:
  MapsReader() : fd_(::open("/proc/self/maps", O_RDONLY | O_CLOEXEC)) {}
  ~MapsReader() {
    if (fd_ >= 0) ::close(fd_);
  }
  MapsReader(const MapsReader&) = delete;

  /// The next line without its end; what does not fit is left out. False at the end.
  bool next(char* line, size_t capacity) {
    size_t length = 0;
    for (int c = get();; c = get()) {
      if (c < 0 && length == 0) return false;
      if (c < 0 || c == '\n') break;
      if (length + 1 < capacity) line[length++] = static_cast<char>(c);
    }
    line[length] = '\0';
    return true;
  }

 private:
  int get() {
    if (at_ == end_) {
      const ssize_t n = fd_ < 0 ? 0 : ::read(fd_, buffer_, sizeof buffer_);
      if (n <= 0) return -1;
      at_ = 0;
      end_ = static_cast<size_t>(n);
    }
    return static_cast<unsigned char>(buffer_[at_++]);
  }

  int fd_;
  char buffer_[4096];
  size_t at_ = 0, end_ = 0;
};

uint64_t readHex(const char*& text) {
  uint64_t value = 0;
  for (;; ++text) {
    const char c = *text;
    if (c >= '0' && c <= '9') {
      value = value << 4 | static_cast<uint64_t>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      value = value << 4 | static_cast<uint64_t>(c - 'a' + 10);
    } else {
      return value;
    }
  }
}

/// The path of the file mapped at `address`, within `line`; null where none is.
char* mappedPath(uint64_t address, char* line, size_t capacity) {
  MapsReader maps;
  while (maps.next(line, capacity)) {
    const char* at = line;
    const uint64_t begin = readHex(at);
    if (*at++ != '-') continue;
    if (address < begin || address >= readHex(at)) continue;
    return std::strchr(line, '/');
  }
  return nullptr;
}

void say(const char* text) {
  for (size_t left = std::strlen(text); left > 0;) {
    const ssize_t n = ::write(STDERR_FILENO, text, left);
    if (n <= 0) return;
    text += n;
    left -= static_cast<size_t>(n);
  }
}

void onBusError(int signal, siginfo_t* info, void*) {
  char line[4096 + 128];  // PATH_MAX and what stands before it
  // A signal that a process sent (code 0 or below) has no address.
  char* const path = info->si_code > 0
                         ? mappedPath(reinterpret_cast<uint64_t>(info->si_addr), line, sizeof line)
                         : nullptr;
  if (!path) {
    // The default action, as soon as this handler, which blocks the signal, has ended.
    ::signal(signal, SIG_DFL);
    ::raise(signal);
    return;
  }
  for (char* c = path; *c;) {
    const size_t length = visibleCharacter(c);
    if (length == 0) *c = '?';
    c += length == 0 ? 1 : length;
  }
  say(program_name);
  say(": error: ");
  say(path);
  say(": was cut short or replaced while it was in use: write a new file and rename it instead\n");
  ::_exit(1);
}

}  // namespace

void explainLostMappings(const char* program) {
  program_name = program;
  struct sigaction action = {};
  action.sa_sigaction = onBusError;
  action.sa_flags = SA_SIGINFO;
  ::sigaction(SIGBUS, &action, nullptr);
}

}  // namespace llmrt
