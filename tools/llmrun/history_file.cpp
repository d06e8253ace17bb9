#include "tools/llmrun/history_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>

#include "tools/cli/user_folders.h"

namespace llmrt {
namespace {

Status failed(const std::string& path) {
  return ioError(fmt::format("{}: {}", path, std::strerror(errno)));
}

// An open file, locked until it goes.
class LockedFile {
 public:
  explicit LockedFile(const std::string& path) : path_(path) {}
  ~LockedFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  LockedFile(const LockedFile&) = delete;
  LockedFile& operator=(const LockedFile&) = delete;

  Status open() {
    for (;;) {
      fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
      if (fd_ < 0) return failed(path_);
      while (::flock(fd_, LOCK_EX) != 0)
        if (errno != EINTR) return failed(path_);
      // Another process may have put a shorter file in its place while this one waited.
      struct stat mine, current;
      if (::fstat(fd_, &mine) != 0) return failed(path_);
      if (!S_ISREG(mine.st_mode)) return ioError(path_ + ": is not a file");
      if (::stat(path_.c_str(), &current) == 0 && current.st_ino == mine.st_ino &&
          current.st_dev == mine.st_dev) {
        if ((mine.st_mode & 077) != 0 && ::fchmod(fd_, 0600) != 0) return failed(path_);
        return {};
      }
      ::close(fd_);
    }
  }

  Result<std::string> read() const {
    std::string text;
    char bytes[1 << 16];
    for (;;) {
      const ssize_t n = ::pread(fd_, bytes, sizeof bytes, static_cast<off_t>(text.size()));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return failed(path_);
      if (n == 0) return text;
      text.append(bytes, static_cast<size_t>(n));
    }
  }

  Status append(std::string_view text) const { return write(fd_, path_, text); }

  // By a new file under the old name: whoever reads sees one of the two whole.
  Status replace(std::string_view text) const {
    const std::string temporary = fmt::format("{}.{}", path_, ::getpid());
    const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return failed(temporary);
    Status status = write(fd, temporary, text);
    ::close(fd);
    if (status.ok() && ::rename(temporary.c_str(), path_.c_str()) != 0) status = failed(path_);
    if (!status.ok()) ::unlink(temporary.c_str());
    return status;
  }

 private:
  static Status write(int fd, const std::string& path, std::string_view text) {
    while (!text.empty()) {
      const ssize_t n = ::write(fd, text.data(), text.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return failed(path);
      text.remove_prefix(static_cast<size_t>(n));
    }
    return {};
  }

  const std::string& path_;
  int fd_ = -1;
};

std::vector<std::string_view> linesOf(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    if (end > 0) lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

}  // namespace

std::string HistoryFile::defaultPath() {
  const std::string folder = userFolder("XDG_STATE_HOME", ".local/state");
  return folder.empty() ? "" : folder + "/history";
}

Result<std::vector<std::string>> HistoryFile::load() const {
  std::vector<std::string> entries;
  if (std::error_code error; !std::filesystem::exists(path_, error)) return entries;
  LockedFile file(path_);
  LLMRT_RETURN_IF_ERROR(file.open());
  LLMRT_ASSIGN_OR_RETURN(const std::string text, file.read());
  for (const std::string_view line : linesOf(text)) {
    const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (json.is_string()) entries.push_back(json.get<std::string>());
  }
  if (entries.size() > kMaxEntries)
    entries.erase(entries.begin(), entries.end() - static_cast<ptrdiff_t>(kMaxEntries));
  return entries;
}

Status HistoryFile::append(const std::string& entry) const {
  if (entry.size() > kMaxEntryBytes) return {};
  std::error_code error;
  const auto folder = std::filesystem::path(path_).parent_path();
  std::filesystem::create_directories(folder, error);
  if (error) return ioError(fmt::format("{}: {}", folder.string(), error.message()));
  LockedFile file(path_);
  LLMRT_RETURN_IF_ERROR(file.open());
  LLMRT_ASSIGN_OR_RETURN(const std::string before, file.read());
  // A line that another program's death cut short ends here.
  std::string line = before.empty() || before.ends_with('\n') ? "" : "\n";
  line += nlohmann::json(entry).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  line += '\n';
  const std::vector<std::string_view> lines = linesOf(before);
  // The margin: not every message writes the whole file.
  if (lines.size() < kMaxEntries + kMaxEntries / 4) return file.append(line);
  std::string kept;
  for (size_t i = lines.size() - (kMaxEntries - 1); i < lines.size(); ++i)
    kept += fmt::format("{}\n", lines[i]);
  return file.replace(kept + line);
}

}  // namespace llmrt
