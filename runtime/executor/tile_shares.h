// How the tiles of a phase are shared among the threads of a team.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <vector>

namespace llmrt {

/// Every thread has a contiguous share of the tiles, the same in every step, so that it streams one
/// region of the weights. It takes the first half of it at once, so that most tiles cost one call,
/// and then a quarter of what is left at a time, so that all threads end at much the same moment; a
/// thread that has done all of its own takes what others have left. Cores do not get the same part
/// of a memory that all of them ask for: of equal shares, one thread was measured to wait for the
/// other for a quarter of its time (two cores; more were not measured).
///
/// The phases of a step are separated by barriers, and all threads of the team call forEach() in
/// each of them with the same tiles and least.
class TileShares {
 public:
  explicit TileShares(int threads) : threads_(static_cast<size_t>(threads)) {}

  /// Calls run(begin, end) until, over all threads, each of [0, tiles) was run once. `least`: the
  /// fewest tiles worth a call, at least 1.
  template <typename Run>
  void forEach(int64_t tiles, int64_t least, int worker, const Run& run) {
    const int64_t count = static_cast<int64_t>(threads_.size());
    Thread& self = threads_[static_cast<size_t>(worker)];
    // The counter of the phase before is free since the barrier between; nobody reads it yet.
    const uint32_t parity = self.phase++ % 2;
    self.taken[1 - parity].store(0, std::memory_order_relaxed);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t owner = (worker + i) % count;
      const Share share = shareOf(tiles, least, owner, count);
      if (i == 0 && share.begin < share.left) run(share.begin, share.left);
      if (share.left == share.end) continue;  // the counters of others are theirs to write
      std::atomic<int64_t>& taken = threads_[static_cast<size_t>(owner)].taken[parity];
      int64_t at = taken.load(std::memory_order_relaxed);
      while (share.left + at < share.end) {
        const int64_t rest = share.end - share.left - at;
        const int64_t size = std::min(std::max(least, rest / 4), rest);
        if (!taken.compare_exchange_weak(at, at + size, std::memory_order_relaxed)) continue;
        run(share.left + at, share.left + at + size);
        at = taken.load(std::memory_order_relaxed);
      }
    }
  }

 private:
  /// Tiles [begin, left) are the owner's, [left, end) anybody's.
  struct Share {
    int64_t begin, left, end;
  };
  static Share shareOf(int64_t tiles, int64_t least, int64_t owner, int64_t count) {
    Share s{tiles * owner / count, 0, tiles * (owner + 1) / count};
    const int64_t half = (s.end - s.begin + 1) / 2;
    s.left = s.end - s.begin - half < least || count == 1 ? s.end : s.begin + half;
    return s;
  }

  struct alignas(64) Thread {
    std::atomic<int64_t> taken[2] = {};  // of its share, in phases of even and odd number
    uint32_t phase = 0;                  // its own thread's
  };
  std::vector<Thread> threads_;
};

}  // namespace llmrt
