#include "runtime/io/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace llmrt {
namespace {

constexpr uint64_t kBufferBytes = uint64_t{1} << 20;

// write() beyond RLIMIT_FSIZE sends SIGXFSZ to the calling thread, which kills the process unless
// it is blocked; then write() also fails with EFBIG, which is what we want. A pending signal is
// taken back before it is unblocked.
class FileSizeSignalBlock {
 public:
  FileSizeSignalBlock() {
    sigemptyset(&signal_);
    sigaddset(&signal_, SIGXFSZ);
    pthread_sigmask(SIG_BLOCK, &signal_, &before_);
  }
  ~FileSizeSignalBlock() {
    if (!sigismember(&before_, SIGXFSZ)) {
      const timespec no_wait = {0, 0};
      while (sigtimedwait(&signal_, nullptr, &no_wait) > 0) {
      }
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t signal_;
  sigset_t before_;
};

// The file a symbolic link leads to: renaming over the link itself would replace the link.
std::string followLink(const std::string& path) {
  char resolved[PATH_MAX];
  return ::realpath(path.c_str(), resolved) ? std::string(resolved) : path;
}

}  // namespace

Result<AtomicFile> AtomicFile::create(const std::string& path) {
  AtomicFile file;
  file.path_ = followLink(path);
  struct stat info;
  if (::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode))
    return invalidArgument(
        path + (S_ISDIR(info.st_mode) ? ": is a directory" : ": is not a regular file") +
        ", cannot be written as one");
  for (int attempt = 0; attempt < 100; ++attempt) {
    std::string temporary =
        file.path_ + ".tmp" + std::to_string(::getpid()) + "-" + std::to_string(attempt);
    file.fd_ = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file.fd_ >= 0) {
      file.temporary_ = std::move(temporary);
      file.buffer_.reserve(kBufferBytes);
      return file;
    }
    if (errno != EEXIST) break;
  }
  return ioError(path + ": cannot create: " + std::strerror(errno));
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept { *this = std::move(other); }

AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(temporary_, other.temporary_);
  std::swap(fd_, other.fd_);
  std::swap(position_, other.position_);
  std::swap(buffer_, other.buffer_);
  return *this;
}

AtomicFile::~AtomicFile() { discard(); }

void AtomicFile::discard() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
  temporary_.clear();
}

Status AtomicFile::writeAll(const uint8_t* data, uint64_t bytes) {
  if (fd_ < 0) return ioError(path_ + ": not open for writing");
  FileSizeSignalBlock block;
  while (bytes > 0) {
    // Linux writes at most 2 GiB at once.
    ssize_t written = ::write(fd_, data, std::min<uint64_t>(bytes, uint64_t{1} << 30));
    if (written < 0) {
      if (errno == EINTR) continue;
      const int error = errno;
      discard();
      return ioError(path_ + ": cannot write: " + std::strerror(error));
    }
    data += written;
    bytes -= static_cast<uint64_t>(written);
  }
  return {};
}

Status AtomicFile::flush() {
  LLMRT_RETURN_IF_ERROR(writeAll(buffer_.data(), buffer_.size()));
  buffer_.clear();
  return {};
}

Status AtomicFile::write(const void* data, uint64_t bytes) {
  const auto* from = static_cast<const uint8_t*>(data);
  if (buffer_.size() + bytes > kBufferBytes) LLMRT_RETURN_IF_ERROR(flush());
  if (bytes > kBufferBytes) {
    LLMRT_RETURN_IF_ERROR(writeAll(from, bytes));
  } else {
    buffer_.insert(buffer_.end(), from, from + bytes);
  }
  position_ += bytes;
  return {};
}

Status AtomicFile::padTo(uint64_t offset) {
  if (offset < position_)
    return internalError(path_ + ": offset " + std::to_string(offset) + " lies behind position " +
                         std::to_string(position_));
  static constexpr uint8_t kZeros[4096] = {};
  while (position_ < offset)
    LLMRT_RETURN_IF_ERROR(write(kZeros, std::min<uint64_t>(offset - position_, sizeof(kZeros))));
  return {};
}

Status AtomicFile::commit(bool sync) {
  LLMRT_RETURN_IF_ERROR(flush());
  // close() reports what a network or quota file system held back.
  int failed = sync ? ::fsync(fd_) : 0;
  if (failed == 0) {
    failed = ::close(fd_);
    fd_ = -1;
  }
  if (failed == 0) failed = std::rename(temporary_.c_str(), path_.c_str());
  if (failed != 0) {
    const int error = errno;
    discard();
    return ioError(path_ + ": cannot write: " + std::strerror(error));
  }
  temporary_.clear();
  return {};
}

}  // namespace llmrt
