#include "runtime/executor/code_image.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace llmrt {

CodeImage::CodeImage(CodeImage&& other) noexcept
    : handle_(std::exchange(other.handle_, nullptr)), fd_(std::exchange(other.fd_, -1)) {}

CodeImage& CodeImage::operator=(CodeImage&& other) noexcept {
  std::swap(handle_, other.handle_);
  std::swap(fd_, other.fd_);
  return *this;
}

CodeImage::~CodeImage() {
  if (handle_) dlclose(handle_);
  if (fd_ >= 0) close(fd_);  // last: from here on another image may have its number
}

Result<CodeImage> CodeImage::load(std::span<const uint8_t> image) {
  // The dynamic loader wants a file: an anonymous one in memory. It stays open as long as the image
  // is loaded, since the loader takes an object of the same name for the same object: with the
  // number given to a second file, that one's image would silently be this one.
  CodeImage result;
  result.fd_ = memfd_create("llmc-kernels", MFD_CLOEXEC);
  if (result.fd_ < 0) return ioError(fmt::format("memfd_create: {}", std::strerror(errno)));
  for (size_t done = 0; done < image.size();) {
    const ssize_t n = write(result.fd_, image.data() + done, image.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return ioError(fmt::format("writing kernels to memory: {}", std::strerror(errno)));
    done += static_cast<size_t>(n);
  }
  result.handle_ =
      dlopen(fmt::format("/proc/self/fd/{}", result.fd_).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!result.handle_) {
    const char* reason = dlerror();
    return invalidData(fmt::format("the kernels cannot be loaded: {}", reason ? reason : "?"));
  }
  return result;
}

LlmcKernelFn CodeImage::find(const std::string& symbol) const {
  return reinterpret_cast<LlmcKernelFn>(dlsym(handle_, symbol.c_str()));
}

}  // namespace llmrt
