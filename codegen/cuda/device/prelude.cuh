// What every generated kernel is written in: fixed types, the kernel ABI, and each instruction that
// C++ does not have as a named function (those of sm_90a alone: hopper.cuh). No CUDA header is
// included, so NVRTC needs none. Under LLMC_CUDA_SHIM (tests/cuda/shim.h) the same text runs on a
// CPU: the shim defines what stands between #ifndef and #endif here.
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#define DEVICE __device__ __forceinline__

/// runtime/abi/kernel_abi.h: LlmcStep.
struct Step {
  i64 num_rows, num_logits_rows, num_sequences, blocks_per_seq;
};
/// runtime/abi/cuda_abi.h: LlmcCudaArgs and the operands behind it, kOperands of them, which the
/// text of an image says above this. The one argument of every kernel of an op.
struct Args {
  const Step* step;
  u8* scratch;
  void* operands[kOperands];
};
/// Where the tokens of a step's rows lie in a paged state: operands of what reads or writes one.
struct CacheRows {
  static constexpr bool kTrees = false;  // tokens lie at their positions
  const int *pos, *seq;                  // of each row
  const int* block_table;                // [num_sequences, blocks_per_seq]
  /// Where in its sequence each row's token lies.
  DEVICE const int* slots() const { return pos; }
};

constexpr int kBlockTokens = 64;  // LLMC_KV_BLOCK_TOKENS

#ifndef LLMC_CUDA_SHIM
DEVICE u8* dynamicShared() {
  extern __shared__ __align__(128) unsigned char dynamic_shared[];
  return dynamic_shared;
}

DEVICE float bitsToFloat(u32 v) { return __uint_as_float(v); }
DEVICE u32 floatToBits(float v) { return __float_as_uint(v); }
DEVICE float halfToFloat(u16 v) {
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(v));
  return f;
}
DEVICE u16 floatToHalf(float v) {
  u16 h;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(v));
  return h;
}

DEVICE u16 floatToBf16(float v) {
  u16 h;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(h) : "f"(v));
  return h;
}
/// Two in one instruction, the first in the lower half.
DEVICE u32 packBf16(float low, float high) {
  u32 pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
DEVICE u32 packHalf(float low, float high) {
  u32 pair;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
/// 2^v to within 2 units of the last place; 0 for what would be denormal.
DEVICE float powerOfTwo(float v) {
  float power;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(v));
  return power;
}

/// Sixteen bytes of weights: read once a step, so first to be evicted and not worth a place in L1.
/// Volatile keeps the loads where they are written, ahead of what hides them.
DEVICE uint4 loadOnce(const void* p) {
  u64 policy;
  asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::cache_hint.v4.u32 {%0, %1, %2, %3}, [%4], %5;"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p), "l"(policy));
  return v;
}

/// 16 bytes from global to shared memory, asynchronously; zeros where `valid` is false.
DEVICE void copyAsync16(void* shared, const void* global, bool valid) {
  const u32 to = static_cast<u32>(__cvta_generic_to_shared(shared));
  const int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(bytes)
               : "memory");
}
/// The same of weights, which are read once a step: first to be evicted.
DEVICE void copyAsyncOnce16(void* shared, const void* global) {
  const u32 to = static_cast<u32>(__cvta_generic_to_shared(shared));
  u64 policy;
  asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  asm volatile("cp.async.cg.shared.global.L2::cache_hint [%0], [%1], 16, %2;" ::"r"(to),
               "l"(global), "l"(policy)
               : "memory");
}
DEVICE void commitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until at most N of this thread's groups are in flight.
template <int N>
DEVICE void waitCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

/// d += a b: a [16, 16] and b [16, 8] in the fragment order of mma.m16n8k16, sums in f32.
DEVICE void mmaBf16(float (&d)[4], const uint4& a, u32 b0, u32 b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}
DEVICE void mmaF16(float (&d)[4], const uint4& a, u32 b0, u32 b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}

/// Four 8x8 matrices of 16-bit elements: lane l points at row l % 8 of matrix l / 8; of each
/// matrix, lane 4 g + c gets elements (g, 2 c) and (g, 2 c + 1): the B operand of an mma where
/// columns are k.
DEVICE void loadMatrices(u32 (&v)[4], const void* row) {
  const u32 at = static_cast<u32>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3])
               : "r"(at)
               : "memory");
}
/// The same, transposed: lane 4 g + c gets elements (2 c, g) and (2 c + 1, g): the B operand of an
/// mma where rows are k.
DEVICE void loadTransposed(u32 (&v)[4], const void* row) {
  const u32 at = static_cast<u32>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(v[0]), "=r"(v[1]), "=r"(v[2]), "=r"(v[3])
               : "r"(at)
               : "memory");
}

/// Programmatic dependent launch (sm_90 and later, nothing before): a kernel may begin while the
/// one before it ends. Before waitForEarlierKernels() it writes nothing, and reads nothing that a
/// kernel of its step writes; a step, its inputs and block tables it reads by loadAhead().
DEVICE void waitForEarlierKernels() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
DEVICE void letNextKernelBegin() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
/// Writes what other blocks read once this one has been counted.
template <class T>
DEVICE void publish(T* p, T v) {
  *p = v;
}
/// Counts one arrival, and says how many there were. What this block wrote before a barrier in
/// front of it is seen behind a barrier after it by the block that counts a later one: one
/// instruction orders for all threads, where a fence of each would cost every one of them a round
/// to the L2.
DEVICE u32 countArrival(u32* counter) {
  u32 before;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], 1;"
               : "=r"(before)
               : "l"(counter)
               : "memory");
  return before;
}
/// What other blocks wrote, from the L2.
DEVICE float loadFresh(const float* p) {
  float v;
  asm volatile("ld.global.cg.f32 %0, [%1];" : "=f"(v) : "l"(p) : "memory");
  return v;
}
/// A step, its inputs, a block table or a recurrent state, ahead of waitForEarlierKernels(). Copies
/// and the last step wrote it, and only that wait promises that the L1 holds nothing older: it is
/// read from the L2. Not volatile, as it stays the same while a kernel runs: loads may be moved,
/// and several be on their way.
DEVICE int loadAhead(const int* p) {
  int v;
  asm("ld.global.cg.s32 %0, [%1];" : "=r"(v) : "l"(p));
  return v;
}
DEVICE float loadAhead(const float* p) {
  float v;
  asm("ld.global.cg.f32 %0, [%1];" : "=f"(v) : "l"(p));
  return v;
}
DEVICE i64 loadAhead(const i64* p) {
  i64 v;
  asm("ld.global.cg.s64 %0, [%1];" : "=l"(v) : "l"(p));
  return v;
}
/// What was written before is seen by the host before what is written after.
DEVICE void fenceForHost() { __threadfence_system(); }
#endif  // LLMC_CUDA_SHIM

/// A step as a finish (linear.cuh) gets it where it may be ahead of waitForEarlierKernels(), and so
/// reads by loadAhead(); behind it, it gets a Step.
struct EarlyStep {
  const Step& step;
  DEVICE operator const Step&() const { return step; }
};
DEVICE int readStep(const EarlyStep&, const int* p) { return loadAhead(p); }
DEVICE int readStep(const Step&, const int* p) { return *p; }

/// Sum over the lanes whose numbers differ in the bits of kLanes - 1; every one of them gets it.
template <int kLanes>
DEVICE float sumLanes(float v) {
#pragma unroll
  for (int lane = 1; lane < kLanes; lane *= 2) v += __shfl_xor_sync(~0u, v, lane);
  return v;
}
template <int kLanes>
DEVICE float maxLanes(float v) {
#pragma unroll
  for (int lane = 1; lane < kLanes; lane *= 2) v = fmaxf(v, __shfl_xor_sync(~0u, v, lane));
  return v;
}

/// Sum over the lanes up to this one.
DEVICE int sumOfLanesThrough(int v) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const int other = __shfl_sync(~0u, v, lane - step < 0 ? lane : lane - step);
    if (lane >= step) v += other;
  }
  return v;
}

/// Sum over the threads of a block, the same in every thread. `partial`: [kThreads / 32 + 1] shared
/// floats of this call alone. Warps are summed in ascending order.
template <int kThreads>
DEVICE float sumBlock(float v, float* partial) {
  v = sumLanes<32>(v);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = v;
  __syncthreads();
  float sum = 0;
  for (int w = 0; w < kThreads / 32; ++w) sum += partial[w];
  return sum;
}

// Storage types: how many values a 32-bit word holds, and how they are read and written.
struct F32 {
  typedef float Element;
  static constexpr int kPerWord = 1;
  static DEVICE void unpack(u32 word, float (&v)[1]) { v[0] = bitsToFloat(word); }
  static DEVICE float load(const float* p) { return *p; }
  static DEVICE float fromFloat(float v) { return v; }
};
struct F16 {
  typedef u16 Element;
  static constexpr int kPerWord = 2;
  static DEVICE void unpack(u32 word, float (&v)[2]) {
    v[0] = halfToFloat(static_cast<u16>(word));
    v[1] = halfToFloat(static_cast<u16>(word >> 16));
  }
  static DEVICE float load(const u16* p) { return halfToFloat(*p); }
  /// Saturates: an infinity in the cache would make every later token NaN.
  static DEVICE float saturate(float v) {
    return v > 65504.0f ? 65504.0f : v < -65504.0f ? -65504.0f : v;
  }
  static DEVICE u16 fromFloat(float v) { return floatToHalf(saturate(v)); }
};
struct BF16 {
  typedef u16 Element;
  static constexpr int kPerWord = 2;
  static DEVICE void unpack(u32 word, float (&v)[2]) {
    v[0] = bitsToFloat(word << 16);
    v[1] = bitsToFloat(word & 0xffff0000u);
  }
  static DEVICE float load(const u16* p) { return bitsToFloat(static_cast<u32>(*p) << 16); }
  /// To nearest, ties to even.
  static DEVICE u16 fromFloat(float v) { return floatToBf16(v); }
};

constexpr DEVICE int ceilDiv(int a, int b) { return (a + b - 1) / b; }

// The layout of matrices on the device ("fragments"): panels of 16 outputs; a panel is blocks of 8
// words of k by 16 outputs, 512 bytes that 32 lanes read as 16 bytes each. Lane 4 g + c holds, as
// one quad, words (k = c, n = g), (c, g + 8), (c + 4, g), (c + 4, g + 8): the A operand of
// mma.m16n8k16. Where two outputs are finished together (the halves of a RoPE pair, gate and up),
// they are n = g and n = g + 8 of one panel, so one lane has both.
constexpr int kBlockWords = 128;
/// Where word `kw` (0 to 7) of output `n` (0 to 15) lies in its block.
DEVICE int fragmentWord(int kw, int n) { return ((n % 8) * 4 + kw % 4) * 4 + n / 8 + 2 * (kw / 4); }

DEVICE float infinity() { return bitsToFloat(0x7f800000u); }
DEVICE float exponential(float x) { return expf(x); }

/// c tanh(v / c), or v where c is 0.
DEVICE float softcap(float v, float c) { return c == 0.0f ? v : c * tanhf(v / c); }

enum Activation { kSilu, kGelu, kGeluTanh, kRelu, kRelu2, kSigmoid, kQuickGelu, kNoActivation };
template <int kKind>
DEVICE float activate(float x) {
  if (kKind == kSilu) return x / (1.0f + exponential(-x));
  if (kKind == kGelu) return 0.5f * x * (1.0f + erff(x * 0.70710678f));
  // x/2 (1 + tanh z) = x / (1 + e^-2z)
  if (kKind == kGeluTanh)
    return x / (1.0f + exponential(-1.59576912f * (x + 0.044715f * x * x * x)));
  if (kKind == kSigmoid) return 1.0f / (1.0f + exponential(-x));
  if (kKind == kQuickGelu) return x / (1.0f + exponential(-1.702f * x));
  if (kKind == kNoActivation) return x;
  const float positive = fmaxf(x, 0.0f);
  return kKind == kRelu2 ? positive * positive : positive;
}
