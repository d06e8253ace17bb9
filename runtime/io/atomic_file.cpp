#include "runtime/io/atomic_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <string_view>
#include <system_error>

namespace llmrt {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kBufferBytes = uint64_t{1} << 20;
constexpr std::string_view kTemporary = ".tmp-";

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

// The file that symbolic links lead to, whether it is there or not: renaming over a link would
// replace the link.
std::string followLinks(std::string path) {
  constexpr int kMostLinks = 40;  // Linux's own bound
  for (int i = 0; i < kMostLinks; ++i) {
    std::error_code no_link;
    const fs::path target = fs::read_symlink(path, no_link);
    if (no_link) break;
    path = fs::path(path).parent_path() / target;  // an absolute target stands alone
  }
  return path;
}

std::string directoryOf(const std::string& path) {
  const fs::path directory = fs::path(path).parent_path();
  return directory.empty() ? "." : directory.string();
}

// By which a file without a name can be given one. Needs /proc.
std::string descriptorPath(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

// Calls make(name) with names that are likely free until it does not fail with EEXIST. False, with
// errno, where it fails.
template <typename Make>
bool makeTemporary(const std::string& path, std::string* made, Make&& make) {
  for (int attempt = 0; attempt < 100; ++attempt) {
    const std::string name =
        path + std::string(kTemporary) + std::to_string(::getpid()) + "-" + std::to_string(attempt);
    if (make(name)) {
      *made = name;
      return true;
    }
    if (errno != EEXIST) return false;
  }
  return false;
}

}  // namespace

void syncDirectoryOf(const std::string& path) {
  const int fd = ::open(directoryOf(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

void removeAbandoned(const std::string& path) {
  const std::string prefix = fs::path(path).filename().string() + std::string(kTemporary);
  std::error_code error;
  for (fs::directory_iterator it(directoryOf(path), error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (!name.starts_with(prefix) ||
        name.find_first_not_of("0123456789-", prefix.size()) != std::string::npos)
      continue;
    const int fd = ::open(it->path().c_str(), O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) continue;
    // Its writer holds the lock until the file has its last name; also one on another host, where
    // the file system shares locks.
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0) ::unlink(it->path().c_str());
    ::close(fd);
  }
}

Result<AtomicFile> AtomicFile::prepare(const std::string& path) {
  AtomicFile file;
  file.path_ = followLinks(path);
  struct stat info;
  // A chain of links that never ends is still one.
  if (::lstat(file.path_.c_str(), &info) == 0 && !S_ISREG(info.st_mode))
    return invalidArgument(
        path + (S_ISDIR(info.st_mode) ? ": is a directory" : ": is not a regular file") +
        ", cannot be written as one");
  removeAbandoned(file.path_);
  file.buffer_.reserve(kBufferBytes);
  return file;
}

Result<AtomicFile> AtomicFile::create(const std::string& path) {
  LLMRT_ASSIGN_OR_RETURN(AtomicFile file, prepare(path));
  file.fd_ = ::open(directoryOf(file.path_).c_str(), O_WRONLY | O_TMPFILE | O_CLOEXEC, 0666);
  if (file.fd_ >= 0) {
    if (::access(descriptorPath(file.fd_).c_str(), F_OK) == 0) {
      ::flock(file.fd_, LOCK_EX);  // before it has any name
      return file;
    }
    file.discard();
  }
  LLMRT_RETURN_IF_ERROR(file.openNamed());
  return file;
}

Result<AtomicFile> AtomicFile::createNamed(const std::string& path) {
  LLMRT_ASSIGN_OR_RETURN(AtomicFile file, prepare(path));
  LLMRT_RETURN_IF_ERROR(file.openNamed());
  return file;
}

Status AtomicFile::openNamed() {
  const bool made = makeTemporary(path_, &temporary_, [this](const std::string& name) {
    fd_ = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ < 0) return false;
    // Another process may have found it before it was locked, and removed it.
    ::flock(fd_, LOCK_EX);
    if (::access(name.c_str(), F_OK) != 0) {
      ::close(fd_);
      fd_ = -1;
      errno = EEXIST;
      return false;
    }
    return true;
  });
  if (!made) return ioError(path_ + ": cannot create: " + std::strerror(errno));
  return {};
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

Status AtomicFile::overwrite(uint64_t offset, const void* data, uint64_t bytes) {
  if (offset > position_ || bytes > position_ - offset)
    return internalError(path_ + ": bytes " + std::to_string(offset) + " + " +
                         std::to_string(bytes) + " were not written before");
  LLMRT_RETURN_IF_ERROR(flush());
  const auto* from = static_cast<const uint8_t*>(data);
  while (bytes > 0) {
    const ssize_t written = ::pwrite(fd_, from, bytes, static_cast<off_t>(offset));
    if (written < 0) {
      if (errno == EINTR) continue;
      const int error = errno;
      discard();
      return ioError(path_ + ": cannot write: " + std::strerror(error));
    }
    from += written;
    offset += static_cast<uint64_t>(written);
    bytes -= static_cast<uint64_t>(written);
  }
  return {};
}

// A file without a name gets one at once where the name is free, else by way of a temporary one:
// rename() alone replaces.
Status AtomicFile::nameAs(const std::string& name) {
  const auto link = [this](const std::string& to) {
    return ::linkat(AT_FDCWD, descriptorPath(fd_).c_str(), AT_FDCWD, to.c_str(),
                    AT_SYMLINK_FOLLOW) == 0;
  };
  const auto failed = [&] { return ioError(name + ": cannot write: " + std::strerror(errno)); };
  if (temporary_.empty()) {
    if (link(name)) return {};
    if (errno != EEXIST || !makeTemporary(path_, &temporary_, link)) return failed();
  }
  if (std::rename(temporary_.c_str(), name.c_str()) != 0) return failed();
  temporary_.clear();
  return {};
}

Status AtomicFile::commitAs(const std::string& name) {
  LLMRT_RETURN_IF_ERROR(flush());
  // It also reports what a network or quota file system held back.
  Status status;
  if (::fsync(fd_) != 0) status = ioError(path_ + ": cannot write: " + std::strerror(errno));
  if (status.ok()) status = nameAs(name);
  discard();
  if (status.ok()) syncDirectoryOf(path_);
  return status;
}

}  // namespace llmrt
