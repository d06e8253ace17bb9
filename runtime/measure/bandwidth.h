// The bandwidth limit of decode: how fast this machine reads with plain loops.
#pragma once

#include <array>
#include <cstdint>

#include "runtime/io/status.h"

namespace llmrt {

/// Reads a buffer over and over. One sequential stream per thread leaves up to 40 % of the bandwidth
/// unused; so several counts are tried.
class BandwidthMeter {
 public:
  static constexpr std::array<int, 5> kStreams = {1, 2, 4, 8, 16};  // per thread

  /// Allocates and touches the buffer. It is larger than four times the last-level cache, so that
  /// nothing of one pass is left for the next (an eighth of the memory that is available at most,
  /// 65 MiB at least); or of `bytes` where these are fewer, about as many as a step of a model
  /// reads: then it lies in the caches as that does.
  static Result<BandwidthMeter> create(int threads, uint64_t bytes = UINT64_MAX);
  BandwidthMeter(BandwidthMeter&& other) noexcept;
  BandwidthMeter& operator=(BandwidthMeter&&) = delete;
  ~BandwidthMeter();

  /// Whether the buffer is in no cache.
  bool ofMemory() const { return of_memory_; }
  /// One pass, or as many as are 65 MiB, with `streams` (of kStreams) per thread: bytes per second.
  Result<double> measure(int streams) const;
  /// The best of one pass with each of kStreams.
  Result<double> measureBest() const;
  uint64_t bufferBytes() const { return bytes_; }

 private:
  BandwidthMeter() = default;
  int threads_ = 1;
  uint8_t* data_ = nullptr;
  uint64_t bytes_ = 0;
  bool of_memory_ = true;
};

}  // namespace llmrt
