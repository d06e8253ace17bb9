// Owners of what the driver hands out. None may outlive the device's context.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "runtime/cuda/driver.h"
#include "runtime/executor/memory.h"

namespace llmrt::cuda {

/// Buffers on the device begin at multiples of 256.
constexpr uint64_t deviceAlignUp(uint64_t bytes) { return alignUp(bytes, 256); }

/// "12.3 GiB"; MiB or KiB where it is less than one.
std::string sizeText(uint64_t bytes);

/// Device memory.
class DeviceMemory {
 public:
  DeviceMemory() = default;
  DeviceMemory(DeviceMemory&& other) noexcept { *this = std::move(other); }
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    std::swap(driver_, other.driver_);
    std::swap(address_, other.address_);
    return *this;
  }
  ~DeviceMemory() {
    if (address_) driver_->free(address_);
  }
  /// `what` names the memory in the message of a failure.
  static Result<DeviceMemory> allocate(const Driver& driver, uint64_t bytes,
                                       const std::string& what);

  CuDevicePtr address() const { return address_; }

 private:
  const Driver* driver_ = nullptr;
  CuDevicePtr address_ = 0;
};

/// Host memory that the device copies from and to without the help of a CPU.
class PinnedMemory {
 public:
  PinnedMemory() = default;
  PinnedMemory(PinnedMemory&& other) noexcept { *this = std::move(other); }
  PinnedMemory& operator=(PinnedMemory&& other) noexcept {
    std::swap(driver_, other.driver_);
    std::swap(data_, other.data_);
    return *this;
  }
  ~PinnedMemory() {
    if (data_) driver_->host_free(data_);
  }
  static Result<PinnedMemory> allocate(const Driver& driver, uint64_t bytes,
                                       const std::string& what);

  uint8_t* data() const { return static_cast<uint8_t*>(data_); }

 private:
  const Driver* driver_ = nullptr;
  void* data_ = nullptr;
};

/// A handle of the driver's and how it is destroyed.
template <typename Handle>
class Owned {
 public:
  Owned() = default;
  Owned(Handle handle, CuResult (*destroy)(Handle)) : handle_(handle), destroy_(destroy) {}
  Owned(Owned&& other) noexcept { *this = std::move(other); }
  Owned& operator=(Owned&& other) noexcept {
    std::swap(handle_, other.handle_);
    std::swap(destroy_, other.destroy_);
    return *this;
  }
  ~Owned() {
    if (handle_) destroy_(handle_);
  }
  Handle get() const { return handle_; }
  explicit operator bool() const { return handle_ != nullptr; }

 private:
  Handle handle_ = nullptr;
  CuResult (*destroy_)(Handle) = nullptr;
};

}  // namespace llmrt::cuda
