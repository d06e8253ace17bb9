// The bandwidth limit of decode: how fast this machine reads memory with plain loops.
#pragma once

#include <array>
#include <cstdint>

#include "runtime/io/status.h"

namespace llmrt {

/// Reads a buffer larger than four times the last-level cache, so that nothing of one pass is left
/// for the next. One sequential stream per thread leaves up to 40 % of the bandwidth unused; so
/// several counts are tried.
class BandwidthMeter {
 public:
  static constexpr std::array<int, 5> kStreams = {1, 2, 4, 8, 16};  // per thread

  /// Allocates and touches the buffer: about an eighth of the memory that is available at most,
  /// 65 MiB at least.
  static Result<BandwidthMeter> create(int threads);
  BandwidthMeter(BandwidthMeter&& other) noexcept;
  BandwidthMeter& operator=(BandwidthMeter&&) = delete;
  ~BandwidthMeter();

  /// One pass with `streams` (of kStreams) per thread: bytes per second.
  Result<double> measure(int streams) const;
  /// The best of one pass with each of kStreams.
  Result<double> measureBest() const;
  uint64_t bufferBytes() const { return bytes_; }

 private:
  BandwidthMeter() = default;
  int threads_ = 1;
  uint8_t* data_ = nullptr;
  uint64_t bytes_ = 0;
};

}  // namespace llmrt
