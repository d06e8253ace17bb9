// The shim's twins of device/hopper.cuh: bulk copies, barriers in shared memory, clusters, wgmma. A
// part of shim.h, which includes it.
#pragma once

namespace shim {

/// The block of this rank in the cluster, which must not have ended.
inline Block& blockOfRank(unsigned rank) {
  if (rank >= cluster.size) fail("there is no block of this rank in the cluster");
  Block& b = rank == block.rank ? block : cluster.other;
  if (b.ended) fail("reaches into the shared memory of a block that has ended");
  return b;
}
/// The place in its dynamic shared memory that `p` is in one's own.
template <class T>
T* inBlock(Block& b, T* p) {
  const auto offset = reinterpret_cast<unsigned char*>(p) - block.dynamic_shared.data();
  if (offset < 0 || static_cast<size_t>(offset) >= block.dynamic_shared.size())
    fail("an address of a cluster is not in dynamic shared memory");
  return reinterpret_cast<T*>(b.dynamic_shared.data() + offset);
}
/// A bulk copy to the same place of block `b`.
inline void beginCopy(Block& b, void* to, const void* from, int bytes,
                      unsigned long long* barrier) {
  if (reinterpret_cast<uintptr_t>(to) % 16 != 0 || reinterpret_cast<uintptr_t>(from) % 16 != 0 ||
      bytes % 16 != 0)
    fail("a bulk copy is not aligned");
  void* const there = inBlock(b, to);
  std::memset(there, 0xff, static_cast<size_t>(bytes));  // NaN until it is waited for
  b.bulk_copies.push_back({there, from, bytes, reinterpret_cast<Barrier*>(inBlock(b, barrier))});
}
/// Whether all threads of the cluster that have not ended have arrived at its barrier.
inline bool allOfClusterArrived() {
  const auto arrived = [](const Block& b) {
    return std::all_of(b.fibers.begin(), b.fibers.begin() + b.threads, [](const Fiber& f) {
      return f.state == State::kDone || f.cluster_phase > cluster.phase;
    });
  };
  return arrived(block) && (cluster.size == 1 || arrived(cluster.other));
}

inline void endPhase(Barrier& b) {
  if (b.pending != 0 || b.bytes != 0) return;
  b.pending = b.arrivals;
  b.phase ^= 1;
}

/// A warp's part of the oldest group of products: 16 rows each. The tile is read only now: whoever
/// overwrites it before it is waited for is found out.
inline void finishWgmmas() {
  warpBarrier(~0u);
  const unsigned g = lane() / 4, c = lane() % 4;
  unsigned char* const shared = block.dynamic_shared.data();
  const auto base = reinterpret_cast<uintptr_t>(shared);
  const std::vector<Wgmma>& mine = self().wgmmas.front();
  for (size_t i = 0; i < mine.size(); ++i) {
    const uint64_t b = mine[i].b;
    if (b >> 62 != 1 || (b >> 32 & 0x3fff) != 64)
      fail("not an operand in rows of 128 bytes, swizzled");
    const uintptr_t start = base + ((((b & 0x3fff) << 4) - base) & 0x3ffff);
    float rows[2][16];
    for (unsigned k = 0; k < 16; ++k) {
      const uint4& a = peer(g * 4 + k % 8 / 2).wgmmas.front()[i].a;
      const uint32_t words[4] = {a.x, a.y, a.z, a.w};
      for (unsigned half = 0; half < 2; ++half)
        rows[half][k] =
            mine[i].decode(static_cast<uint16_t>(words[half + 2 * (k / 8)] >> (k % 2 * 16)));
    }
    for (int n = 0; n < mine[i].columns; ++n) {
      if (static_cast<unsigned>(n % 8 / 2) != c) continue;
      float* const sums = mine[i].sums + n / 8 * 4 + n % 2;  // of both halves, two apart
      for (unsigned k = 0; k < 16; ++k) {
        uintptr_t at = start + static_cast<unsigned>(n) / 8 * 1024 +
                       static_cast<unsigned>(n) % 8 * 128 + k * 2;
        at ^= (at >> 7 & 7) << 4;
        uint16_t bits;
        if (at < base || at + 2 > base + block.dynamic_shared.size())
          fail("a product reads outside shared memory");
        std::memcpy(&bits, reinterpret_cast<const void*>(at), 2);
        const float column = mine[i].decode(bits);
        for (unsigned half = 0; half < 2; ++half)
          sums[2 * half] = std::fma(rows[half][k], column, sums[2 * half]);
      }
    }
  }
  warpBarrier(~0u);
  self().wgmmas.erase(self().wgmmas.begin());
}

}  // namespace shim

inline unsigned sharedAddress(const void* p) {
  return static_cast<unsigned>(reinterpret_cast<uintptr_t>(p));
}
inline void barrierInit(unsigned long long* barrier, int arrivals) {
  shim::Barrier b{static_cast<uint16_t>(arrivals), static_cast<uint16_t>(arrivals), 0, 0};
  std::memcpy(barrier, &b, sizeof b);
}
inline void barrierFence() {}
inline void barrierArrive(unsigned long long* barrier, shim::Place at = shim::Place::current()) {
  if (shim::skipped(at, "arrive")) return;
  auto& b = *reinterpret_cast<shim::Barrier*>(barrier);
  if (b.pending == 0) shim::fail("more threads arrive at a barrier than it counts");
  --b.pending;
  shim::endPhase(b);
}
/// At the barrier in the same place of the cluster's block `rank`.
inline void barrierArriveAt(unsigned long long* barrier, int rank,
                            shim::Place at = shim::Place::current()) {
  barrierArrive(shim::inBlock(shim::blockOfRank(static_cast<unsigned>(rank)), barrier), at);
}
inline void barrierExpect(unsigned long long* barrier, int bytes) {
  reinterpret_cast<shim::Barrier*>(barrier)->bytes += bytes;
  barrierArrive(barrier);
}
inline void bulkCopy(void* to, const void* from, int bytes, unsigned long long* barrier) {
  shim::beginCopy(shim::block, to, from, bytes, barrier);
}
template <int kBlocks>
void bulkCopyToAll(void* to, const void* from, int bytes, unsigned long long* barrier) {
  for (unsigned rank = 0; rank < kBlocks; ++rank)
    shim::beginCopy(shim::blockOfRank(rank), to, from, bytes, barrier);
}
/// Copies arrive when someone waits for them.
inline void barrierWait(unsigned long long* barrier, int parity,
                        shim::Place at = shim::Place::current()) {
  if (shim::skipped(at, "phase")) return;
  auto& b = *reinterpret_cast<shim::Barrier*>(barrier);
  while (static_cast<int>(b.phase) == parity) {
    auto& copies = shim::block.bulk_copies;
    for (size_t i = 0; i < copies.size();) {
      if (copies[i].barrier != &b) {
        ++i;
        continue;
      }
      std::memcpy(copies[i].to, copies[i].from, static_cast<size_t>(copies[i].bytes));
      b.bytes -= copies[i].bytes;
      copies.erase(copies.begin() + static_cast<std::ptrdiff_t>(i));
      shim::block.progress = true;
    }
    shim::endPhase(b);
    if (static_cast<int>(b.phase) == parity) shim::yield(shim::State::kSpin);
  }
  shim::block.progress = true;  // also of a thread that waits again before it is looked at
}
inline void syncMultipliers(shim::Place at = shim::Place::current()) {
  if (shim::skipped(at, "block")) return;
  constexpr unsigned kThreads = 256;
  const unsigned end = (shim::block.multipliers++ / kThreads + 1) * kThreads;
  while (shim::block.multipliers < end) shim::yield(shim::State::kSpin);
  shim::block.progress = true;
}
inline void syncCluster(shim::Place at = shim::Place::current()) {
  if (shim::skipped(at, "cluster")) return;
  const unsigned mine = shim::self().cluster_phase = shim::cluster.phase + 1;
  while (shim::cluster.phase < mine) {
    if (shim::allOfClusterArrived())
      ++shim::cluster.phase;
    else
      shim::yield(shim::State::kSpin);
  }
  shim::block.progress = true;
}
template <int>
void takeRegisters() {}
template <int>
void giveRegisters() {}
inline void wgmmaFence() {}
inline void wgmmaCommit() { shim::self().wgmmas.emplace_back(); }
template <int N>
void wgmmaWait(shim::Place at = shim::Place::current()) {
  if (shim::skipped(at, "products")) return;
  while (shim::self().wgmmas.size() > N + 1) shim::finishWgmmas();
}
template <int kSums>
void wgmmaKeep(float (&)[kSums]) {}
struct BF16;
template <class T, int kSums>
void wgmma(T, float (&d)[kSums], const uint4& a, unsigned long long b) {
  const bool bf16 = std::is_same_v<T, BF16>;
  shim::self().wgmmas.back().push_back(
      {bf16 ? +[](uint16_t v) { return shim::bitsToFloat(uint32_t{v} << 16); } : shim::halfToFloat,
       d, 2 * kSums, a, b});
}
