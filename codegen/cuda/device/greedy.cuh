// The next token of a greedy run, without the host: the largest logit of one row, which becomes the
// next step's row.

/// runtime/abi/cuda_abi.h: LlmcCudaGreedy.
struct Greedy {
  const float* logits;
  Row* row;              // of the step that was; becomes the next one's
  u64* best;             // 0 before and after
  u32* arrived;          // 0 before and after
  volatile u64* chosen;  // the host's: [kRing] of (step number << 32 | id)
  u32* steps;            // steps so far
  i64 vocab_size;
};

/// Blocks of 256 threads, any grid. Of equal logits the lowest id is chosen; NaN never, unless all
/// are.
DEVICE void chooseGreedily(const Greedy& s) {
  constexpr u32 kRing = 64;  // LLMC_CUDA_RING
  letNextKernelBegin();
  waitForEarlierKernels();
  u64 best = 0;
  for (i64 id = static_cast<i64>(blockIdx.x) * 256 + threadIdx.x; id < s.vocab_size;
       id += static_cast<i64>(gridDim.x) * 256) {
    const float logit = s.logits[id];
    const u32 bits = floatToBits(logit);
    // Unsigned integers in the order of the floats; NaN below all of them.
    const u32 order = logit != logit ? 0u : bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    const u64 key = static_cast<u64>(order) << 32 | (0xffffffffu - static_cast<u32>(id));
    best = key > best ? key : best;
  }
#pragma unroll
  for (int lane = 1; lane < 32; lane *= 2) {
    const u64 other = __shfl_xor_sync(~0u, best, lane);
    best = other > best ? other : best;
  }
  // A maximum does not depend on the order in which it is taken.
  if (threadIdx.x % 32 == 0) atomicMax(s.best, best);
  __threadfence();
  __syncthreads();
  if (threadIdx.x != 0) return;
  if (atomicAdd(s.arrived, 1u) != gridDim.x - 1) return;
  __threadfence();
  const u32 id = 0xffffffffu - static_cast<u32>(*static_cast<volatile u64*>(s.best));
  *s.best = 0;
  *s.arrived = 0;
  const u32 step = *s.steps;
  *s.steps = step + 1;
  s.row->token_id = static_cast<int>(id);
  s.row->pos += 1;
  s.chosen[step % kRing] = static_cast<u64>(step) << 32 | id;
  fenceForHost();
}
