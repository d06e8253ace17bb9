#include "runtime/measure/bandwidth.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "runtime/measure/parallel.h"

namespace llmrt {
namespace {

constexpr uint64_t kLine = 64;
// What is read at once: up to 16 streams, 65 KB apart, since 64 KB apart all would fall into the
// same set of the first-level cache.
constexpr uint64_t kChunk = uint64_t{16 * 65} << 10;
constexpr uint64_t kLeastBytes = 64 * kChunk;  // of memory, and of all passes of a measurement

// 16 bytes: what every x86-64 and aarch64 loads at once. Wider vectors read no faster from memory.
typedef uint64_t Vector __attribute__((vector_size(16), may_alias));
constexpr uint64_t kVectors = kLine / sizeof(Vector);

// Reads kStreams equal parts of the chunk [data, data + bytes) side by side, a line of each in
// turn.
template <int kStreams>
uint64_t readStreams(const uint8_t* data, uint64_t bytes) {
  const uint64_t part = bytes / kStreams;
  Vector sums[kVectors] = {};
  for (uint64_t at = 0; at < part; at += kLine) {
#pragma GCC unroll 16
    for (int s = 0; s < kStreams; ++s) {
      const auto* line =
          reinterpret_cast<const Vector*>(data + static_cast<uint64_t>(s) * part + at);
#pragma GCC unroll 4
      for (uint64_t i = 0; i < kVectors; ++i) sums[i] ^= line[i];
    }
  }
  const Vector sum = sums[0] ^ sums[1] ^ sums[2] ^ sums[3];
  return sum[0] ^ sum[1];
}

uint64_t readWith(int streams, const uint8_t* data, uint64_t bytes) {
  switch (streams) {
    case 1:
      return readStreams<1>(data, bytes);
    case 2:
      return readStreams<2>(data, bytes);
    case 4:
      return readStreams<4>(data, bytes);
    case 8:
      return readStreams<8>(data, bytes);
    default:
      return readStreams<16>(data, bytes);
  }
}

uint64_t systemBytes(int name, uint64_t unit) {
  const long value = sysconf(name);
  return value > 0 ? static_cast<uint64_t>(value) * unit : 0;
}

/// Bytes of the last-level caches of all CPUs together, as Linux describes them; 0 where it does
/// not. (glibc's sysconf() gives what the processor has as a whole, of which a virtual machine may
/// have a small part.)
uint64_t lastLevelCaches() {
  std::set<std::pair<std::string, std::string>> caches;  // the CPUs that share it, its size
  for (int cpu = 0; cpu < sysconf(_SC_NPROCESSORS_CONF); ++cpu) {
    std::pair<std::string, std::string> last;
    for (int index = 0;; ++index) {
      const std::string folder = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) +
                                 "/cache/index" + std::to_string(index) + "/";
      std::ifstream cpus(folder + "shared_cpu_list"), size(folder + "size");
      std::pair<std::string, std::string> cache;
      if (!std::getline(cpus, cache.first) || !std::getline(size, cache.second)) break;
      last = std::move(cache);  // they are in the order of their levels
    }
    if (!last.second.empty()) caches.insert(last);
  }
  uint64_t bytes = 0;
  for (const auto& [cpus, size] : caches) {
    bytes += std::strtoull(size.c_str(), nullptr, 10) << 10;  // "32768K"
  }
  return bytes;
}

uint64_t cacheBytes() {
  if (const uint64_t known = lastLevelCaches()) return known;
  return std::max(systemBytes(_SC_LEVEL3_CACHE_SIZE, 1), systemBytes(_SC_LEVEL2_CACHE_SIZE, 1));
}

struct alignas(64) Counter {
  std::atomic<uint64_t> value{0};
};

}  // namespace

Result<BandwidthMeter> BandwidthMeter::create(int threads, uint64_t bytes) {
  const uint64_t cache = cacheBytes();
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  // Enough chunks for threads to help each other.
  const uint64_t wanted =
      std::max<uint64_t>(cache * 4, kLeastBytes * static_cast<uint64_t>(std::max(threads, 1)));
  const uint64_t most = std::max<uint64_t>(systemBytes(_SC_AVPHYS_PAGES, page) / 8, kLeastBytes);
  const uint64_t unit = kChunk * static_cast<uint64_t>(std::max(threads, 1));

  BandwidthMeter meter;
  meter.threads_ = std::max(threads, 1);
  meter.of_memory_ = bytes >= std::min(wanted, most);
  meter.bytes_ = std::max<uint64_t>((std::min({wanted, most, bytes}) + unit - 1) / unit, 1) * unit;
  void* data =
      mmap(nullptr, meter.bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    meter.bytes_ = 0;
    return outOfMemory("out of memory: no buffer to measure bandwidth with");
  }
  meter.data_ = static_cast<uint8_t*>(data);
  (void)madvise(data, meter.bytes_, MADV_HUGEPAGE);
  // Untouched pages would all be one zero page in the cache. Each thread touches what it reads.
  const uint64_t share = meter.bytes_ / static_cast<uint64_t>(meter.threads_);
  LLMRT_RETURN_IF_ERROR(timeOnThreads(meter.threads_, [&](int t) {
                          std::memset(meter.data_ + static_cast<uint64_t>(t) * share, t + 1, share);
                        }).status());
  return meter;
}

BandwidthMeter::BandwidthMeter(BandwidthMeter&& other) noexcept
    : threads_(other.threads_),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      of_memory_(other.of_memory_) {}

BandwidthMeter::~BandwidthMeter() {
  if (data_) munmap(data_, bytes_);
}

Result<double> BandwidthMeter::measure(int streams) const {
  const uint64_t share = bytes_ / static_cast<uint64_t>(threads_);
  const uint64_t passes = (kLeastBytes + bytes_ - 1) / bytes_;
  // Chunks of each share that were read. Cores that all ask for the memory do not get the same part
  // of it: who has done its own share helps the others, or the slowest would be what is measured.
  std::vector<Counter> read(static_cast<size_t>(threads_));
  LLMRT_ASSIGN_OR_RETURN(
      const double seconds, timeOnThreads(threads_, [&](int t) {
        for (int i = 0; i < threads_; ++i) {
          const auto owner = static_cast<size_t>((t + i) % threads_);
          uint64_t at;
          while ((at = read[owner].value.fetch_add(kChunk, std::memory_order_relaxed)) <
                 share * passes) {
            const uint64_t sum = readWith(streams, data_ + owner * share + at % share, kChunk);
            asm volatile("" : : "r"(sum));  // the loads are wanted, not their result
          }
        }
      }));
  return static_cast<double>(bytes_ * passes) / seconds;
}

Result<double> BandwidthMeter::measureBest() const {
  double best = 0;
  for (int streams : kStreams) {
    LLMRT_ASSIGN_OR_RETURN(const double one, measure(streams));
    best = std::max(best, one);
  }
  return best;
}

}  // namespace llmrt
