// Machine code of a plan, mapped executable: the only place where bytes of a file become code.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "runtime/abi/kernel_abi.h"
#include "runtime/io/status.h"

namespace llmrt {

/// A loaded ELF shared object without dependencies. Opening one is trusting it, like running a
/// program: the caller has verified the plan and the image's hash before.
class CodeImage {
 public:
  CodeImage() = default;
  CodeImage(CodeImage&& other) noexcept;
  CodeImage& operator=(CodeImage&& other) noexcept;
  ~CodeImage();

  static Result<CodeImage> load(std::span<const uint8_t> image);

  /// Null when the image has no such symbol. Valid as long as the image lives.
  LlmcKernelFn find(const std::string& symbol) const;

 private:
  void* handle_ = nullptr;
  int fd_ = -1;  // of the file the image was loaded from
};

}  // namespace llmrt
