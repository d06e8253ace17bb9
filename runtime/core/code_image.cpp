#include "runtime/core/code_image.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace llmrt {

CodeImage::CodeImage(CodeImage&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}

CodeImage& CodeImage::operator=(CodeImage&& other) noexcept {
  std::swap(handle_, other.handle_);
  return *this;
}

CodeImage::~CodeImage() {
  if (handle_) dlclose(handle_);
}

Result<CodeImage> CodeImage::load(std::span<const uint8_t> image) {
  // The dynamic loader wants a file: an anonymous one in memory, gone when the loader has mapped
  // it.
  const int fd = memfd_create("llmc-kernels", MFD_CLOEXEC);
  if (fd < 0) return ioError(fmt::format("memfd_create: {}", std::strerror(errno)));
  for (size_t done = 0; done < image.size();) {
    const ssize_t n = write(fd, image.data() + done, image.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      Status status = ioError(fmt::format("writing kernels to memory: {}", std::strerror(errno)));
      close(fd);
      return status;
    }
    done += static_cast<size_t>(n);
  }
  CodeImage result;
  result.handle_ = dlopen(fmt::format("/proc/self/fd/{}", fd).c_str(), RTLD_NOW | RTLD_LOCAL);
  close(fd);
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
