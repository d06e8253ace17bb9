#include "tools/llmrun/input.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "tools/llmrun/interrupt.h"

namespace llmrt {

// Not through MappedFile: a prompt may come from a pipe or /dev/stdin.
Result<std::string> readInput(const std::string& path) {
  if (path.empty() && isatty(STDIN_FILENO) && isatty(STDERR_FILENO))
    fmt::print(stderr, "(reading the prompt from the terminal: Ctrl-D on a new line ends it)\n");
  std::FILE* file = path.empty() ? stdin : std::fopen(path.c_str(), "rbe");
  if (!file) {
    if (errno == ENOENT || errno == ENOTDIR) return notFound(path + ": no such file");
    return ioError(fmt::format("{}: {}", path, std::strerror(errno)));
  }
  std::string text;
  char buffer[1 << 16];
  size_t n;
  do {  // after a part of a buffer nothing comes: a terminal would wait for a second Ctrl-D
    n = std::fread(buffer, 1, sizeof buffer, file);
    text.append(buffer, n);
  } while (n == sizeof buffer);
  const bool failed = std::ferror(file) != 0;
  const int error = errno;
  if (file != stdin) std::fclose(file);
  if (failed)
    return ioError(fmt::format("{}: {}", path.empty() ? "stdin" : path, std::strerror(error)));
  return text;
}

Result<bool> InputLines::read(std::string& out) {
  for (;;) {
    if (interrupted) return false;
    if (const size_t end = waiting_.find('\n', searched_); end != std::string::npos) {
      out = waiting_.substr(0, end);
      waiting_.erase(0, end + 1);
      searched_ = 0;
      break;
    }
    searched_ = waiting_.size();
    char bytes[4096];
    if (waitForInput() == Wake::kInterrupt) return false;
    const ssize_t n = ::read(STDIN_FILENO, bytes, sizeof bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ioError(fmt::format("stdin: {}", std::strerror(errno)));
    waiting_.append(bytes, static_cast<size_t>(n));
    if (n > 0) continue;
    if (waiting_.empty()) return false;
    out = std::exchange(waiting_, {});  // the last line has no newline
    searched_ = 0;
    break;
  }
  while (out.ends_with('\r')) out.pop_back();
  return true;
}

}  // namespace llmrt
