// The next token, without the host: chosen from the logits of one row as runtime/sampling/sampler.cpp
// does it, with the integers of runtime/abi/sampling.h, so it is the same token. It becomes the
// next step's row.
//
// A choice is one launch (greedy) or several, whose blocks share the vocabulary: each launch is a
// phase, and the last block to end draws its conclusion. The k-th largest logit, and the one at
// which top_p is reached, are found by radix: digits of 11, 11 and 10 bits of the logits' order,
// the highest first. Sums are of integers: the order of atomics does not matter.

constexpr int kSampleThreads = 256;  // LLMC_CUDA_SAMPLE_THREADS
constexpr int kSampleBins = 2048, kSampleMostBlocks = 64;
constexpr u32 kNotFinite = 0xffffffffu;        // LLMC_CUDA_NOT_FINITE: told in place of a token
constexpr u64 kNoBest = ~static_cast<u64>(0);  // above any logit's key, as no order is that large

/// runtime/abi/cuda_abi.h: LlmcCudaSampleState.
struct SampleState {
  u64 seed, position;
  u64 top_p, min_weight;
  float repetition_penalty, temperature;
  u32 top_k, steps;
  // Of the step at hand. `left`: what remains to be found, a rank or a weight.
  u64 best, left;
  u32 arrived, done;
  // Tokens below `threshold` (top_k) and `cut` (top_p) are dropped; of those at the cut the first
  // `ties` are kept.
  u32 threshold, cut, ties;
  float largest;
  u64 bins[kSampleBins];
  u64 block_weights[kSampleMostBlocks], block_ties[kSampleMostBlocks];
};

/// runtime/abi/cuda_abi.h: LlmcCudaSample.
struct Sample {
  const float* logits;
  int *token_id, *pos;
  SampleState* state;
  u8* seen;
  volatile u64* chosen;
  i64 vocab_size;
  i64 phase;
};
enum SamplePhase { kLargest, kCount1, kCount2, kWeigh0, kWeigh1, kWeigh2, kDraw };

/// Unsigned integers in the order of the floats: equal where they are equal (zeros of both signs),
/// 0 for NaN.
DEVICE u32 orderOf(float v) {
  const u32 bits = floatToBits(v == 0.0f ? 0.0f : v);
  return v != v ? 0u : bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}
DEVICE float floatOf(u32 order) {
  return bitsToFloat(order & 0x80000000u ? order & 0x7fffffffu : ~order);
}

struct Sampler {
  const Sample& s;
  SampleState& state;
  u64 (&scan)[2][kSampleThreads];

  DEVICE float logit(i64 id) const {
    float v = s.logits[id];
    if (s.seen[id]) v = v < 0.0f ? v * state.repetition_penalty : v / state.repetition_penalty;
    return state.temperature > 0.0f ? v / state.temperature : v;
  }
  DEVICE u64 weight(float v) const {
    const u64 w = llmcSampleWeight(v, state.largest);
    return w < state.min_weight ? 0 : w;
  }

  /// The sum of `mine` over the threads before this one; `total`: over all. All threads call it.
  DEVICE u64 sumBefore(u64 mine, u64* total) const {
    const int t = threadIdx.x;
    int from = 0;
    scan[0][t] = mine;
    __syncthreads();
    for (int step = 1; step < kSampleThreads; step *= 2) {
      scan[1 - from][t] = scan[from][t] + (t >= step ? scan[from][t - step] : 0);
      from = 1 - from;
      __syncthreads();
    }
    *total = scan[from][kSampleThreads - 1];
    const u64 before = scan[from][t] - mine;
    __syncthreads();  // the next sum overwrites what was read
    return before;
  }

  /// The highest bin down to which the bins hold `left`, or top_p of all where `weigh`: its number
  /// goes to `found` at `shift`, what it must give itself to state.left. Empties the bins. Nothing
  /// is found where they hold less: then state.left becomes 0.
  DEVICE void findBin(bool weigh, int shift, u32* found) const {
    constexpr int kEach = kSampleBins / kSampleThreads;
    const int top = kSampleBins - 1 - threadIdx.x * kEach;
    u64 mine[kEach], sum = 0, total;
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      mine[i] = *const_cast<volatile u64*>(&state.bins[top - i]);
      state.bins[top - i] = 0;
      sum += mine[i];
    }
    u64 left = state.left;
    u64 before = sumBefore(sum, &total);
    if (weigh) {
      const u64 target = llmcMultiplyHigh(total, state.top_p);
      left = target > 0 ? target : 1;
    }
    if (threadIdx.x == 0 && left > total) state.left = 0;
    if (before >= left || left > before + sum) return;
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      if (left > before && left <= before + mine[i]) {
        *found |= static_cast<u32>(top - i) << shift;
        state.left = left - before;
      }
      before += mine[i];
    }
  }

  /// Of the ids [begin, end): the weight of those that are kept whatever their number, and how many
  /// lie at the cut.
  DEVICE void keep(i64 begin, i64 end, u32 cut, u64* above, u64* ties) const {
    *above = *ties = 0;
    for (i64 id = begin; id < end; ++id) {
      const float v = logit(id);
      const u32 order = orderOf(v);
      if (order > cut) *above += weight(v);
      if (order == cut) ++*ties;
    }
  }

  DEVICE void choose(i64 id) const { choose(id, static_cast<u32>(id)); }
  /// `told`: what the host hears.
  DEVICE void choose(i64 id, u32 told) const {
    s.seen[id] = 1;
    const u32 step = state.steps;
    state.steps = step + 1;
    state.done = 1;
    *s.token_id = static_cast<int>(id);
    *s.pos += 1;
    s.chosen[step % 64] = static_cast<u64>(step) << 32 | told;  // LLMC_CUDA_RING
    fenceForHost();
  }

  /// The last block's part of kDraw: the block, then the token, in whose weight the drawn number
  /// lies. Ids are walked in ascending order. `found`: [3], shared.
  DEVICE void draw(u32 cut, u64* found) const {
    const int t = threadIdx.x, blocks = gridDim.x;
    const u64 tie_weight = cut == 0 ? 0 : weight(floatOf(cut));
    const u64 most = state.ties;
    auto kept = [&](u64 ties, u64 before) {
      return before >= most ? 0 : ties < most - before ? ties : most - before;
    };
    u64 above = 0, ties = 0, total, all_ties;
    if (t < blocks) {
      above = *const_cast<volatile u64*>(&state.block_weights[t]);
      ties = *const_cast<volatile u64*>(&state.block_ties[t]);
    }
    const u64 ties_before = sumBefore(ties, &all_ties);
    const u64 mine = above + kept(ties, ties_before) * tie_weight;
    const u64 before = sumBefore(mine, &total);
    if (t == 0) scan[0][0] = llmcMultiplyHigh(llmcRandomAt(state.seed, state.position + state.steps), total);
    __syncthreads();
    const u64 drawn = scan[0][0];
    if (drawn >= before && drawn < before + mine) {
      found[0] = t;
      found[1] = ties_before;
      found[2] = before;
    }
    __syncthreads();
    i64 begin, end;
    range(static_cast<i64>(found[0]), t, &begin, &end);
    keep(begin, end, cut, &above, &ties);
    u64 tie = found[1] + sumBefore(ties, &all_ties);
    const u64 here = above + kept(ties, tie) * tie_weight;
    u64 at = found[2] + sumBefore(here, &total);
    if (drawn < at || drawn >= at + here) return;
    for (i64 id = begin; id < end; ++id) {
      const float v = logit(id);
      const u32 order = orderOf(v);
      if (order > cut) at += weight(v);
      if (order == cut && tie++ < most) at += tie_weight;
      if (drawn < at) {
        choose(id);
        return;
      }
    }
  }

  /// Of kDraw: the ids of a thread of a block.
  DEVICE void range(i64 block, int thread, i64* begin, i64* end) const {
    const i64 parts = static_cast<i64>(gridDim.x) * kSampleThreads,
              part = block * kSampleThreads + thread;
    *begin = s.vocab_size * part / parts;
    *end = s.vocab_size * (part + 1) / parts;
  }
};

/// At most kSampleMostBlocks blocks. Of equal logits greedy takes the lowest id. Where a logit is
/// NaN or infinite there is no choice: the host is told.
DEVICE void chooseToken(const Sample& s) {
  // Halves of 64-bit sums: shared memory adds 32 bits in one instruction, 64 in a loop of its own.
  __shared__ u32 low[kSampleBins], high[kSampleBins];
  __shared__ u64 found[3];
  __shared__ u64 scan[2][kSampleThreads];
  __shared__ int last;
  letNextKernelBegin();
  waitForEarlierKernels();
  SampleState& state = *s.state;
  const Sampler sampler{s, state, scan};
  const int phase = static_cast<int>(s.phase);
  if (phase != kLargest && state.done) return;
  const bool counts = phase == kLargest ? state.top_k > 0 : phase <= kCount2;
  const bool weighs = phase >= kWeigh0 && phase <= kWeigh2;
  if (phase != kLargest && counts && state.left == 0) return;  // fewer than top_k there are
  const int digit = phase % 3, shift = digit == 0 ? 21 : digit == 1 ? 10 : 0;
  const u32 digit_mask = digit == 2 ? 1023u : 2047u, above_digit = digit == 0   ? 0u
                                                                   : digit == 1 ? ~0u << 21
                                                                                : ~0u << 10;
  const u32 threshold = state.threshold,
            prefix = weighs ? state.cut : threshold;  // of what earlier digits found
  const u32 cut = state.cut > threshold ? state.cut : threshold;
  if (counts || weighs) {
    for (int i = threadIdx.x; i < kSampleBins; i += kSampleThreads) low[i] = high[i] = 0;
    __syncthreads();
  }
  u64 best = 0;
  if (phase == kDraw) {
    i64 begin, end;
    u64 above, ties, sums[2];
    sampler.range(blockIdx.x, threadIdx.x, &begin, &end);
    sampler.keep(begin, end, cut, &above, &ties);
    sampler.sumBefore(above, &sums[0]);
    sampler.sumBefore(ties, &sums[1]);
    if (threadIdx.x == 0) {
      publish(&state.block_weights[blockIdx.x], sums[0]);
      publish(&state.block_ties[blockIdx.x], sums[1]);
    }
  } else {
    for (i64 id = static_cast<i64>(blockIdx.x) * kSampleThreads + threadIdx.x; id < s.vocab_size;
         id += static_cast<i64>(gridDim.x) * kSampleThreads) {
      const float v = sampler.logit(id);
      const u32 order = orderOf(v);
      if (phase == kLargest) {
        const u64 key = static_cast<u64>(order) << 32 | (0xffffffffu - static_cast<u32>(id));
        best = key > best ? key : best;
        if ((floatToBits(s.logits[id]) & 0x7f800000u) == 0x7f800000u) best = kNoBest;
      }
      if (order == 0 || ((order ^ prefix) & above_digit) != 0) continue;
      const u32 bin = order >> shift & digit_mask;
      if (counts) atomicAdd(&low[bin], 1u);
      if (weighs && order >= threshold) {
        const u64 weight = llmcSampleWeight(v, state.largest);
        const u32 before = atomicAdd(&low[bin], static_cast<u32>(weight));
        const u32 carry = before > ~static_cast<u32>(weight),
                  upper = static_cast<u32>(weight >> 32) + carry;
        if (upper > 0) atomicAdd(&high[bin], upper);
      }
    }
  }
  if (phase == kLargest) {
#pragma unroll
    for (int lane = 1; lane < 32; lane *= 2) {
      const u64 other = __shfl_xor_sync(~0u, best, lane);
      best = other > best ? other : best;
    }
    if (threadIdx.x % 32 == 0) atomicMax(&state.best, best);
  }
  if (counts || weighs) {
    __syncthreads();
    for (int i = threadIdx.x; i < kSampleBins; i += kSampleThreads) {
      const u64 sum = static_cast<u64>(high[i]) << 32 | low[i];
      if (sum > 0) atomicAdd(&state.bins[i], sum);
    }
  }
  __syncthreads();  // what the block gave, before it is counted
  if (threadIdx.x == 0) last = countArrival(&state.arrived) == gridDim.x - 1;
  __syncthreads();
  if (!last) return;
  if (threadIdx.x == 0) state.arrived = 0;
  if (phase == kLargest && threadIdx.x == 0) {
    const u64 found = *const_cast<volatile u64*>(&state.best);
    const u32 order = static_cast<u32>(found >> 32);
    state.best = 0;
    state.done = 0;
    state.threshold = state.cut = 0;
    state.ties = ~0u;
    state.left = state.top_k;
    state.largest = floatOf(order);
    const bool finite = order > 0x007fffffu && order < 0xff800000u;
    if (found == kNoBest) {
      sampler.choose(0, kNotFinite);  // a step that ran ahead gets a token that there is
    } else if (state.temperature == 0.0f || !finite) {
      sampler.choose(static_cast<i64>(0xffffffffu - static_cast<u32>(found)));
    }
  }
  __syncthreads();
  if (counts) sampler.findBin(false, shift, &state.threshold);
  if (weighs) sampler.findBin(phase == kWeigh0, shift, &state.cut);
  if (phase == kWeigh2) {
    __syncthreads();
    if (threadIdx.x == 0) {
      const u64 w = llmcSampleWeight(floatOf(state.cut), state.largest);
      state.ties = static_cast<u32>((state.left + w - 1) / w);
    }
  }
  if (phase == kDraw) sampler.draw(cut, found);
}
