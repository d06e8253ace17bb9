// A CUDA GPU: what of a plan runs on it, and executors on it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "runtime/cuda/driver.h"
#include "runtime/executor/device.h"

namespace llmrt::cuda {

/// How kernels are launched; tests/gpu compares.
struct LaunchOptions {
  /// A kernel may begin while the one before it ends, where its code can wait by itself.
  bool programmatic = true;
  /// The share of a processor's L1 that is shared memory, in per cent; -1: as the driver sees fit,
  /// kernel by kernel. A processor has to run dry before it changes over, so all have the same.
  int shared_carveout = 100;
};

class CudaDevice : public Device {
 public:
  /// "cuda" or "cuda:I" (the I-th GPU), then ",serial" and ",carveout=PERCENT" for other
  /// LaunchOptions than the default. One line where there is no driver, no GPU, or no such GPU.
  static Result<std::unique_ptr<CudaDevice>> open(const std::string& spec);
  ~CudaDevice() override;

  std::string name() const override { return name_; }
  Result<uint32_t> chooseTarget(const schema::Plan& plan) const override;
  Result<Room> room(const Plan& plan, const ExecutorOptions& options) const override;
  Result<std::unique_ptr<Executor>> createExecutor(const Plan& plan, const Weights& weights,
                                                   const ExecutorOptions& options) override;

  const Driver& driver() const { return driver_; }
  /// Makes the device's context the calling thread's.
  Status use() const;
  int driverVersion() const { return driver_version_; }
  const LaunchOptions& launching() const { return launching_; }

 private:
  explicit CudaDevice(const Driver& driver) : driver_(driver) {}

  const Driver& driver_;
  CuDevice device_ = 0;
  CuContext context_ = nullptr;
  std::string name_;
  LaunchOptions launching_;
  int capability_ = 0, driver_version_ = 0;  // 90 for 9.0
};

/// The compute capability that code for `target` was compiled for: 80 of "cuda:sm_80" and of
/// "cuda:compute_80"; 0: none.
int targetCapability(const std::string& target);

/// How well code for `target` ("cuda:sm_80") suits a GPU of compute capability `capability`: the
/// larger the better, 0: it does not run there. Exact code for an "a" or "f" architecture comes
/// first, then the highest plain one of the same major number that is not above, then PTX.
int targetRank(const std::string& target, int capability);

}  // namespace llmrt::cuda
