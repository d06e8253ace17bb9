// The CUDA execution model on a CPU, for generated kernels: compiled before their text (-include),
// in one shared object with them, which then exports llmc_shim_launch(). Blocks run one after the
// other, those of a cluster in turns, a block's threads as fibers: shared memory, barriers,
// shuffles, cp.async and mma.sync have the meaning they have on a GPU. What a GPU leaves undefined
// is made to show: data of a cp.async that was not waited for is NaN, a barrier or shuffle that not
// all threads reach ends the process, as does reaching into a block that has ended, and who comes
// first is drawn anew: the blocks of a grid and of a cluster, the warps of a block from one barrier
// to the next, and the lanes of a warp. It cannot show weak memory order, nor two blocks that run
// at once, but for a cluster's. These have dynamic shared memory of their own, but the same
// __shared__ variables.
//
// LLMC_SHIM_ORDER=SEED: other orders (default 1); 0: all in ascending order.
// LLMC_SHIM_SITES=FILE: a line "FILE:LINE KIND" for each barrier and wait that was reached.
// LLMC_SHIM_SKIP=FILE:LINE: the one there does nothing (tests/cuda/skip_barriers).
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>
#include <source_location>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#define LLMC_CUDA_SHIM
#define __global__
#define __device__
#define __forceinline__ inline
#define __shared__ static
#define __grid_constant__
#define __launch_bounds__(...)
#define __cluster_dims__(...)

struct uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct ShimDim {
  unsigned x = 1, y = 1, z = 1;
};

namespace shim {

enum class State { kReady, kWarpBarrier, kBlockBarrier, kSpin, kDone };

struct Copy {
  void* to;
  const void* from;
  bool valid;
};

/// A barrier in shared memory, in its 8 bytes.
struct Barrier {
  uint16_t arrivals, pending;  // a phase takes; are missing
  int32_t bytes : 31;          // that are missing
  uint32_t phase : 1;          // the parity of the phase at hand
};
static_assert(sizeof(Barrier) == 8);
struct BulkCopy {
  void* to;
  const void* from;
  int bytes;
  Barrier* barrier;
};
/// A product of a warpgroup that has begun: done when it is waited for.
struct Wgmma {
  float (*decode)(uint16_t);
  float* sums;
  int columns;
  uint4 a;
  uint64_t b;
};

struct Fiber {
  void* stack_pointer = nullptr;
  char* stack = nullptr;
  State state = State::kReady;
  unsigned mask = 0;  // of the warp barrier it waits at
  uint64_t exchange[2] =
      {};  // what it offers in a shuffle; two, so that one barrier a shuffle is enough
  uint32_t operands[2][6] = {};  // of an mma
  unsigned exchanges = 0;
  bool waited = false;                     // for the kernels before this one
  unsigned cluster_phase = 0;              // of the cluster's barrier, which it arrived at last
  std::vector<std::vector<Copy>> copies;   // committed groups, then the open one
  std::vector<std::vector<Wgmma>> wgmmas;  // the same
};

constexpr size_t kStackBytes = 256 << 10;

/// Who comes first. Launches of a process are numbered: each has orders of its own.
class Order {
 public:
  Order() {
    const char* text = std::getenv("LLMC_SHIM_ORDER");
    state_ = text ? std::strtoull(text, nullptr, 10) : 1;
  }
  /// 0, 1, ..., count - 1 in some order.
  const std::vector<unsigned>& of(unsigned count) {
    order_.resize(count);
    for (unsigned i = 0; i < count; ++i) order_[i] = i;
    // One in four is ascending and one descending: the two that most mistakes need.
    const unsigned form = state_ ? next() % 4 : 0;
    if (form == 1) std::reverse(order_.begin(), order_.end());
    if (form >= 2)
      for (unsigned i = count; i > 1; --i) std::swap(order_[i - 1], order_[next() % i]);
    return order_;
  }

 private:
  unsigned next() {  // SplitMix64
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return static_cast<unsigned>(z >> 32);
  }
  uint64_t state_;
  std::vector<unsigned> order_;
};

/// Whether the barrier or wait at a place of the text is the one to be left out. Notes the place
/// where LLMC_SHIM_SITES asks for it.
inline bool skipped(const std::source_location& at, const char* kind) {
  static const char* const skip = std::getenv("LLMC_SHIM_SKIP");
  static const char* const sites = std::getenv("LLMC_SHIM_SITES");
  if (!skip && !sites) return false;
  const char* slash = std::strrchr(at.file_name(), '/');
  const std::string place =
      std::string(slash ? slash + 1 : at.file_name()) + ':' + std::to_string(at.line());
  static std::set<std::string> noted;
  if (sites && noted.insert(place).second) {
    if (std::FILE* file = std::fopen(sites, "a")) {
      std::fprintf(file, "%s %s\n", place.c_str(), kind);
      std::fclose(file);
    }
  }
  return skip && place == skip;
}
using Place = std::source_location;

/// Dynamic shared memory. It begins as far behind a multiple of 1024 in every block, as on a GPU,
/// and with no more than the 16 bytes' alignment that kernels may assume.
class DynamicShared {
 public:
  DynamicShared() = default;
  DynamicShared(DynamicShared&& other) noexcept { *this = std::move(other); }
  DynamicShared& operator=(DynamicShared&& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~DynamicShared() { std::free(memory_); }

  /// NaN, as nothing has written it.
  void renew(size_t bytes) {
    if (!memory_ || bytes != size_) {
      std::free(memory_);
      void* memory = nullptr;
      if (posix_memalign(&memory, 1024, kOffset + bytes) != 0) std::abort();
      memory_ = static_cast<unsigned char*>(memory);
      size_ = bytes;
    }
    std::memset(data(), 0xff, size_);
  }
  unsigned char* data() const { return memory_ + kOffset; }
  size_t size() const { return size_; }

 private:
  static constexpr size_t kOffset = 16;
  unsigned char* memory_ = nullptr;
  size_t size_ = 0;
};

struct Block {
  std::vector<Fiber> fibers;
  DynamicShared dynamic_shared;
  void* scheduler = nullptr;
  unsigned current = 0, threads = 0;
  void (*run)(void*) = nullptr;
  void* argument = nullptr;
  ShimDim block_index, grid;
  std::vector<BulkCopy> bulk_copies;  // under way
  bool progress = false;              // since the last look
  unsigned multipliers = 0;           // how often one has come to syncMultipliers()
  unsigned rank = 0;                  // in its cluster
  bool ended = false;
  bool published = false, counted = false;  // since the last barrier: publish(), countArrival()
};
inline Block block;  // whose turn it is
inline Order block_order, cluster_order, warp_order, lane_order;

constexpr unsigned kMostCluster = 2;
/// Blocks that run in turns: `block` and, of two, the other.
struct Cluster {
  unsigned size = 1;
  Block other;
  unsigned phase = 0;  // of its barrier: how many have ended
};
inline Cluster cluster;

// Saves the callee-saved registers and the stack pointer of one fiber and takes up another's. It
// jumps: a processor would foresee that a return goes back to where the switch was called.
extern "C" void llmc_shim_switch(void** save, void* load);
#if !defined(__x86_64__)
#error "the shim's fibers are written for x86-64"
#endif
asm(R"(
.text
.type llmc_shim_switch, @function
llmc_shim_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  popq %rax
  jmp *%rax
)");

inline Fiber& self() { return block.fibers[block.current]; }
inline unsigned lane() { return block.current % 32; }
inline Fiber& peer(unsigned other) { return block.fibers[block.current / 32 * 32 + other]; }

[[noreturn]] inline void fail(const char* what) {
  std::fprintf(stderr, "cuda shim: %s: block (%u, %u, %u), thread %u\n", what, block.block_index.x,
               block.block_index.y, block.block_index.z, block.current);
  std::abort();
}

inline void yield(State state) {
  self().state = state;
  llmc_shim_switch(&self().stack_pointer, block.scheduler);
}

inline void enter() {
  block.run(block.argument);
  yield(State::kDone);
  fail("a thread went on after its end");
}

inline void prepare(Fiber& f) {
  if (!f.stack) {
    f.stack = static_cast<char*>(mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (f.stack == MAP_FAILED) fail("no memory for stacks");
  }
  // Stacks begin at different cache sets. The return address of enter() keeps the ABI's alignment.
  void** top =
      reinterpret_cast<void**>(f.stack + kStackBytes - 64 - (&f - block.fibers.data()) % 61 * 192);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(enter);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  f.stack_pointer = top;
  f.state = State::kReady;
  f.waited = false;
  f.cluster_phase = 0;
  f.copies.assign(1, {});
  f.wgmmas.assign(1, {});
}

/// Runs a warp until each of its threads waits for the block or has ended.
inline void runWarp(unsigned first, unsigned last) {
  for (unsigned i = first; i < last; ++i)
    if (block.fibers[i].state == State::kSpin) block.fibers[i].state = State::kReady;
  for (;;) {
    unsigned waiting = 0, wanted = 0, live = 0, spinning = 0;
    for (const unsigned lane : lane_order.of(last - first)) {
      const unsigned i = first + lane;
      Fiber& f = block.fibers[i];
      if (f.state == State::kReady) {
        block.current = i;
        llmc_shim_switch(&block.scheduler, f.stack_pointer);
        if (f.state != State::kSpin) block.progress = true;
      }
      spinning |= unsigned{f.state == State::kSpin} << (i - first);
      live |= unsigned{f.state != State::kDone} << (i - first);
      if (f.state != State::kWarpBarrier) continue;
      waiting |= 1u << (i - first);
      wanted |= f.mask;
    }
    if (!waiting) return;
    if (wanted & spinning) return;  // they wait for another warp first
    block.current = first;
    if ((wanted & live) != waiting) fail("a warp's threads do not all reach a shuffle");
    for (unsigned i = first; i < last; ++i)
      if (block.fibers[i].state == State::kWarpBarrier) block.fibers[i].state = State::kReady;
  }
}

/// Lets every warp of the block go on, once.
inline void advanceBlock() {
  unsigned done = 0, waiting = 0;
  for (const unsigned warp : warp_order.of((block.threads + 31) / 32))
    runWarp(warp * 32, std::min(warp * 32 + 32, block.threads));
  for (unsigned i = 0; i < block.threads; ++i) {
    done += block.fibers[i].state == State::kDone;
    waiting += block.fibers[i].state == State::kBlockBarrier;
  }
  block.ended = done == block.threads;
  if (block.ended && !block.bulk_copies.empty())
    fail("a block ends while copies to it are under way");
  // As on a GPU, threads that have ended count as arrived.
  if (block.ended || done + waiting != block.threads) return;
  for (unsigned i = 0; i < block.threads; ++i)
    if (block.fibers[i].state == State::kBlockBarrier) block.fibers[i].state = State::kReady;
  block.published = block.counted = false;
  block.progress = true;
}

/// The cluster's next block, in any order: all of them come round.
inline void nextOfCluster() {
  if (cluster.size > 1) std::swap(block, cluster.other);
}

/// Runs a cluster's blocks: one, or two in turns. One of two may have several turns on end.
inline void runCluster() {
  cluster.phase = 0;
  for (unsigned n = 0; n < cluster.size; ++n, nextOfCluster())
    for (unsigned i = 0; i < block.threads; ++i) prepare(block.fibers[i]);
  constexpr unsigned kTurns = 4;
  for (;;) {
    bool progress = false, ended = true;
    for (const unsigned turn : cluster_order.of(cluster.size * (cluster.size > 1 ? kTurns : 1))) {
      if (block.rank != turn % cluster.size) nextOfCluster();
      if (block.ended) continue;
      block.progress = false;
      advanceBlock();
      progress |= block.progress;
      ended &= block.ended;
    }
    if (ended) return;
    if (!progress) fail("deadlock");
  }
}

inline void warpBarrier(unsigned mask) {
  if (!(mask >> lane() & 1)) fail("a thread is not in the mask of its own shuffle");
  self().mask = mask;
  yield(State::kWarpBarrier);
}

template <class T>
T shuffle(unsigned mask, T value, unsigned from) {
  const unsigned turn = self().exchanges++ % 2;
  std::memcpy(&self().exchange[turn], &value, sizeof value);
  warpBarrier(mask);
  T result;
  std::memcpy(&result, &peer(from % 32).exchange[turn], sizeof result);
  return result;
}

/// A block is counted behind a barrier of all threads that wrote what others read. Blocks do not
/// run at once here: nobody would miss it.
inline void notePublished() {
  if (block.counted) fail("writes for other blocks though its block has been counted");
  block.published = true;
}

inline float bitsToFloat(uint32_t v) {
  float f;
  std::memcpy(&f, &v, 4);
  return f;
}

/// From the definition of the format, not from the code under test.
inline float halfToFloat(uint16_t h) {
  const int exponent = h >> 10 & 31, mantissa = h & 1023;
  const float sign = h & 0x8000 ? -1.0f : 1.0f;
  if (exponent == 31) return mantissa ? NAN : sign * INFINITY;
  return sign * (exponent ? std::ldexp(1.0f + mantissa / 1024.0f, exponent - 15)
                          : std::ldexp(mantissa / 1024.0f, -14));
}
inline uint16_t floatToHalf(float v) {
  const uint16_t sign = std::signbit(v) ? 0x8000 : 0;
  if (std::isnan(v)) return 0x7e00;
  const float magnitude = std::fabs(v);
  if (magnitude >= 65520.0f) return sign | 0x7c00;  // rounds to infinity
  int exponent = magnitude > 0 ? std::ilogb(magnitude) : -15;
  exponent = std::max(exponent, -14);
  // In units of the last place; nearbyint rounds ties to even. A carry goes into the exponent by
  // itself.
  const int units = static_cast<int>(std::nearbyint(std::ldexp(magnitude, 10 - exponent)));
  return sign | static_cast<uint16_t>(((exponent + 14) << 10) + units);
}

template <class Decode>
void mma(float (&d)[4], const uint4& a, uint32_t b0, uint32_t b1, Decode decode) {
  const unsigned turn = self().exchanges++ % 2;
  const uint32_t mine[6] = {a.x, a.y, a.z, a.w, b0, b1};
  std::memcpy(self().operands[turn], mine, sizeof mine);
  warpBarrier(~0u);
  // A row of `a` (a column of `b`) lies in four threads, two neighbours in each of two words.
  struct Line {
    float of[16];
  };
  const auto line = [&](unsigned first_thread, unsigned word, unsigned apart) {
    Line values;
    for (unsigned pair = 0; pair < 8; ++pair) {
      const uint32_t bits = peer(first_thread + pair % 4).operands[turn][word + pair / 4 * apart];
      values.of[2 * pair] = decode(static_cast<uint16_t>(bits));
      values.of[2 * pair + 1] = decode(static_cast<uint16_t>(bits >> 16));
    }
    return values;
  };
  const unsigned g = lane() / 4, c = lane() % 4;
  const Line rows[2] = {line(g * 4, 0, 2), line(g * 4, 1, 2)};
  const Line columns[2] = {line(2 * c * 4, 4, 1), line((2 * c + 1) * 4, 4, 1)};
  for (unsigned i = 0; i < 4; ++i)
    for (unsigned k = 0; k < 16; ++k)
      d[i] = std::fma(rows[i / 2].of[k], columns[i % 2].of[k], d[i]);
}

}  // namespace shim

struct ShimThreadIndex {
  struct X {
    operator unsigned() const { return shim::block.current; }
  } x;
};
static const ShimThreadIndex threadIdx{};
#define blockIdx (shim::block.block_index)
#define gridDim (shim::block.grid)
#define blockDim (ShimDim{shim::block.threads})

inline void __syncthreads(shim::Place at = shim::Place::current()) {
  if (!shim::skipped(at, "block")) shim::yield(shim::State::kBlockBarrier);
}
inline void __syncwarp(shim::Place at = shim::Place::current()) {
  if (!shim::skipped(at, "warp")) shim::warpBarrier(~0u);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T v, int other) {
  return shim::shuffle(mask, v, shim::lane() ^ static_cast<unsigned>(other));
}
template <class T>
T __shfl_sync(unsigned mask, T v, int from) {
  return shim::shuffle(mask, v, static_cast<unsigned>(from));
}
inline unsigned atomicAdd(unsigned* p, unsigned v) { return std::exchange(*p, *p + v); }
// Those of 64 bits are in global memory, for other blocks.
inline unsigned long long atomicAdd(unsigned long long* p, unsigned long long v) {
  shim::notePublished();
  return std::exchange(*p, *p + v);
}
inline unsigned long long atomicMax(unsigned long long* p, unsigned long long v) {
  shim::notePublished();
  return std::exchange(*p, std::max(*p, v));
}

inline unsigned char* dynamicShared() { return shim::block.dynamic_shared.data(); }
inline float bitsToFloat(unsigned v) { return shim::bitsToFloat(v); }
inline unsigned floatToBits(float v) {
  unsigned u;
  std::memcpy(&u, &v, 4);
  return u;
}
inline float halfToFloat(unsigned short v) { return shim::halfToFloat(v); }
inline unsigned short floatToHalf(float v) { return shim::floatToHalf(v); }
inline uint4 loadOnce(const void* p) {
  uint4 v;
  if (reinterpret_cast<uintptr_t>(p) % 16 != 0) shim::fail("a load of 16 bytes is not aligned");
  std::memcpy(&v, p, 16);
  return v;
}
inline void copyAsync16(void* shared, const void* global, bool valid) {
  if (reinterpret_cast<uintptr_t>(shared) % 16 != 0 ||
      (valid && reinterpret_cast<uintptr_t>(global) % 16 != 0))
    shim::fail("a copy of 16 bytes is not aligned");
  std::memset(shared, 0xff, 16);  // NaN until it is waited for
  shim::self().copies.back().push_back({shared, global, valid});
}
inline void copyAsyncOnce16(void* shared, const void* global) { copyAsync16(shared, global, true); }
inline void commitCopies() { shim::self().copies.emplace_back(); }
template <int N>
void waitCopies(shim::Place at = shim::Place::current()) {
  if (shim::skipped(at, "copies")) return;
  auto& groups = shim::self().copies;
  while (groups.size() > N + 1) {
    for (const shim::Copy& c : groups.front()) {
      if (c.valid)
        std::memcpy(c.to, c.from, 16);
      else
        std::memset(c.to, 0, 16);
    }
    groups.erase(groups.begin());
  }
}
inline void mmaBf16(float (&d)[4], const uint4& a, unsigned b0, unsigned b1) {
  shim::mma(d, a, b0, b1, [](uint16_t v) { return shim::bitsToFloat(uint32_t{v} << 16); });
}
inline void mmaF16(float (&d)[4], const uint4& a, unsigned b0, unsigned b1) {
  shim::mma(d, a, b0, b1, [](uint16_t v) { return shim::halfToFloat(v); });
}
inline unsigned short floatToBf16(float v) {
  unsigned bits;
  std::memcpy(&bits, &v, 4);
  if (std::isnan(v)) return 0x7fff;
  return static_cast<unsigned short>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
inline unsigned packBf16(float low, float high) {
  return floatToBf16(low) | unsigned{floatToBf16(high)} << 16;
}
inline unsigned packHalf(float low, float high) {
  return floatToHalf(low) | unsigned{floatToHalf(high)} << 16;
}
inline float powerOfTwo(float v) { return std::exp2(v); }
inline void loadMatrices(unsigned (&v)[4], const void* row) {
  const unsigned turn = shim::self().exchanges++ % 2;
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) shim::fail("a matrix row is not aligned");
  std::memcpy(&shim::self().exchange[turn], &row, sizeof row);
  shim::warpBarrier(~0u);
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned char* from;
    std::memcpy(&from, &shim::peer(i * 8 + shim::lane() / 4).exchange[turn], sizeof from);
    std::memcpy(&v[i], from + shim::lane() % 4 * 4, 4);
  }
}
inline void loadTransposed(unsigned (&v)[4], const void* row) {
  const unsigned turn = shim::self().exchanges++ % 2;
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) shim::fail("a matrix row is not aligned");
  std::memcpy(&shim::self().exchange[turn], &row, sizeof row);
  shim::warpBarrier(~0u);
  const unsigned g = shim::lane() / 4, c = shim::lane() % 4;
  for (unsigned i = 0; i < 4; ++i) {
    v[i] = 0;
    for (unsigned j = 0; j < 2; ++j) {
      const uint16_t* from;
      std::memcpy(&from, &shim::peer(i * 8 + 2 * c + j).exchange[turn], sizeof from);
      v[i] |= unsigned{from[g]} << (16 * j);
    }
  }
}
template <class T>
void publish(T* p, T v) {
  shim::notePublished();
  *p = v;
}
inline unsigned countArrival(unsigned* counter) {
  if (shim::block.published) shim::fail("counts its block, whose threads may still write");
  shim::block.counted = true;
  return (*counter)++;
}
inline float loadFresh(const float* p) { return *p; }
template <class T>
T loadAhead(const T* p) {
  return *p;
}
inline void fenceForHost() {}
inline void waitForEarlierKernels() { shim::self().waited = true; }
inline void letNextKernelBegin() {}

#include "shim_hopper.h"  // beside this one: the tests' NVRTC has no path to the sources

/// Runs run(argument) as every thread of a grid, whose x is a multiple of `cluster`, the blocks of
/// one.
extern "C" inline void llmc_shim_run(const unsigned grid[3], unsigned threads,
                                     unsigned dynamic_shared_bytes, void (*run)(void*),
                                     void* argument, unsigned cluster) {
  if (cluster > shim::kMostCluster || grid[0] % cluster != 0) shim::fail("no whole clusters");
  shim::cluster.size = cluster;
  for (const unsigned c : shim::block_order.of(grid[0] * grid[1] * grid[2] / cluster)) {
    for (unsigned rank = 0; rank < cluster; ++rank, shim::nextOfCluster()) {
      shim::Block& b = shim::block;
      if (b.fibers.size() < threads) b.fibers.resize(threads);
      b.threads = threads;
      b.run = run;
      b.argument = argument;
      b.grid = {grid[0], grid[1], grid[2]};
      b.dynamic_shared.renew(dynamic_shared_bytes);
      const unsigned i = c * cluster + rank;
      b.block_index = {i % grid[0], i / grid[0] % grid[1], i / grid[0] / grid[1]};
      b.multipliers = 0;
      b.rank = rank;
      b.ended = b.published = b.counted = false;
    }
    shim::runCluster();
  }
}
