// Routed experts: which a row goes to, and their two products. A route is a row of
// [numbers of kTopK experts..., their weights...]; an entry is row * kTopK + slot. Expert matrices
// lie one after another.

enum Scoring { kSoftmax, kSigmoidScores, kSoftmaxChosen };

/// Below every score, and its differences stay finite.
constexpr float kLowestScore = -1e30f;

/// values[0..kCount) in shared memory become their softmax, by one warp. Lane i % 32 has value i.
template <int kCount>
DEVICE void softmaxOfWarp(float* values) {
  const int lane = threadIdx.x % 32;
  float most = -infinity(), sum = 0;
  for (int i = lane; i < kCount; i += 32) most = fmaxf(most, values[i]);
  most = maxLanes<32>(most);
  for (int i = lane; i < kCount; i += 32) sum += values[i] = exponential(values[i] - most);
  sum = sumLanes<32>(sum);
  for (int i = lane; i < kCount; i += 32) values[i] /= sum;
  __syncwarp();
}

/// The largest of values[begin, end) and its index, of equal ones the first; it is kLowestScore
/// then, for every lane. One warp; the index lies there whatever the values are.
DEVICE float takeLargest(float* values, int begin, int end, int* index) {
  const int lane = threadIdx.x % 32;
  float best = 2 * kLowestScore;
  int at = begin;
  for (int i = begin + lane; i < end; i += 32)
    if (values[i] > best) best = values[i], at = i;
#pragma unroll
  for (int other = 1; other < 32; other *= 2) {
    const float v = __shfl_xor_sync(~0u, best, other);
    const int i = __shfl_xor_sync(~0u, at, other);
    if (v > best || (v == best && i < at)) best = v, at = i;
  }
  // Every lane has read: what they found has been compared.
  if (lane == 0) values[at] = kLowestScore;
  __syncwarp();
  *index = at;
  return best;
}

/// llm.route: one warp a row. kGroups 0: the experts are not in groups.
template <int kExperts, int kTopK, int kScoring, bool kNormalize, int kGroups, int kKeep,
          int kGroupTop, int kXStride, int kYStride>
DEVICE void routeRow(const Args& a, const float* x, const float* bias, const float* expert_scale,
                     float scale, float* y) {
  __shared__ float scores[kExperts], choice[kExperts], chosen[kTopK],
      groups[kGroups > 0 ? kGroups : 1];
  const int lane = threadIdx.x;
  const i64 row = blockIdx.y;
  if (row >= a.step->num_rows) return;
  x += row * kXStride;
  y += row * kYStride;
  // Lane i % 32 has score i, until the barrier of the first takeLargest.
  for (int i = lane; i < kExperts; i += 32)
    scores[i] = kScoring == kSigmoidScores ? activate<kSigmoid>(x[i]) : x[i];
  if (kScoring == kSoftmax) softmaxOfWarp<kExperts>(scores);
  for (int i = lane; i < kExperts; i += 32) choice[i] = scores[i] + (bias ? bias[i] : 0.0f);
  if (kGroups > 0) {
    constexpr int kSize = kExperts / (kGroups > 0 ? kGroups : 1);
    for (int group = 0; group < kGroups; ++group) {
      // The best of a group are taken out, and put back after they have been added up.
      float best[kGroupTop > 0 ? kGroupTop : 1], sum = 0;
      int index[kGroupTop > 0 ? kGroupTop : 1];
#pragma unroll
      for (int i = 0; i < kGroupTop; ++i)
        sum += best[i] = takeLargest(choice, group * kSize, (group + 1) * kSize, &index[i]);
      if (lane == 0) {
#pragma unroll
        for (int i = 0; i < kGroupTop; ++i) choice[index[i]] = best[i];
        groups[group] = sum;
      }
      __syncwarp();
    }
    int ignored;
    for (int i = 0; i < kKeep; ++i) takeLargest(groups, 0, kGroups, &ignored);
    // The groups that were taken hold kLowestScore.
    for (int i = lane; i < kExperts; i += 32)
      if (groups[i / kSize] > kLowestScore) choice[i] = kLowestScore;
  }
  for (int slot = 0; slot < kTopK; ++slot) {
    int best;
    takeLargest(choice, 0, kExperts, &best);
    if (lane == 0) {
      y[slot] = static_cast<float>(best);
      chosen[slot] = scores[best];
    }
  }
  __syncwarp();
  if (kScoring == kSoftmaxChosen) softmaxOfWarp<kTopK>(chosen);
  float factor = scale;
  if (kNormalize) {
    float sum = 0;
    for (int slot = 0; slot < kTopK; ++slot) sum += chosen[slot];
    factor /= sum;
  }
  for (int slot = lane; slot < kTopK; slot += 32) {
    const float weight = chosen[slot] * factor;
    y[kTopK + slot] = expert_scale ? weight * expert_scale[static_cast<int>(y[slot])] : weight;
  }
}

/// How a route is read.
template <int kNumExperts, int kChosen, int kRowStride>
struct Route {
  static constexpr int kExperts = kNumExperts, kTopK = kChosen;
  const float* route;
  DEVICE int expert(int entry) const {
    return static_cast<int>(route[static_cast<i64>(entry / kTopK) * kRowStride + entry % kTopK]);
  }
  DEVICE float weight(int entry) const {
    return route[static_cast<i64>(entry / kTopK) * kRowStride + kTopK + entry % kTopK];
  }
};

/// The rows of an expert as those of a product. kOwnRows: x has a row per entry (of kCols), else
/// per row of the step.
template <int kTopK, int kCols, int kXStride, bool kOwnRows>
struct ExpertRows {
  const float* x;
  const int* entries;  // of the expert
  int number;          // of them
  DEVICE int count() const { return number; }
  DEVICE void wait() const {}
  DEVICE const float* row(int m) const { return rowOf(x, entries[m]); }
  static DEVICE const float* rowOf(const float* x, int entry) {
    return x + static_cast<i64>(entry / kTopK) * kXStride + (kOwnRows ? entry % kTopK * kCols : 0);
  }
};

// A finish of an expert's product is, as in linear.cuh, two steps: load(expert, panel, g), once for
// all entries, and store().

/// y = act(gate) * up of an entry; with a limit c, act(min(gate, c)) * (max(min(up, c), -c) + 1).
template <int kKind, int kWidth, int kTopK, int kStride>
struct FinishExpertGlu {
  const float* gate_bias;  // [experts, kWidth]; null: none
  const float* up_bias;
  float limit;  // 0: none
  float* y;
  struct Loaded {
    float gate, up;
  };
  DEVICE Loaded load(int expert, int panel, int g) const {
    const int n = panel * 8 + g;
    const i64 at = static_cast<i64>(expert) * kWidth + (n < kWidth ? n : 0);
    return gate_bias ? Loaded{gate_bias[at], up_bias[at]} : Loaded{};
  }
  DEVICE void store(const Step&, int entry, int panel, int g, float low, float high,
                    const Loaded& loaded) const {
    const int n = panel * 8 + g;
    if (n >= kWidth) return;
    if (gate_bias) {
      low += loaded.gate;
      high += loaded.up;
    }
    if (limit != 0.0f) {
      low = fminf(low, limit);
      high = fmaxf(fminf(high, limit), -limit) + 1.0f;
    }
    y[static_cast<i64>(entry / kTopK) * kStride + entry % kTopK * kWidth + n] =
        activate<kKind>(low) * high;
  }
};

/// y = act(x W^T + bias) of an entry: experts of one matrix.
template <int kKind, int kWidth, int kTopK, int kStride>
struct FinishExpertUp {
  const float* bias;  // [experts, kWidth]; null: none
  float* y;
  struct Loaded {
    float bias[2];
  };
  DEVICE Loaded load(int expert, int panel, int g) const {
    Loaded loaded = {};
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int n = panel * 16 + g + 8 * i;
      if (bias && n < kWidth) loaded.bias[i] = bias[static_cast<i64>(expert) * kWidth + n];
    }
    return loaded;
  }
  DEVICE void store(const Step&, int entry, int panel, int g, float low, float high,
                    const Loaded& loaded) const {
    float* const to = y + static_cast<i64>(entry / kTopK) * kStride + entry % kTopK * kWidth;
    const float values[2] = {low, high};
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int n = panel * 16 + g + 8 * i;
      if (n >= kWidth) continue;
      to[n] = activate<kKind>(values[i] + loaded.bias[i]);
    }
  }
};

/// An entry's own product, to be combined later: [entries, kWidth].
template <int kWidth>
struct FinishEntry {
  float* y;
  struct Loaded {};
  DEVICE Loaded load(int, int, int) const { return {}; }
  DEVICE void store(const Step&, int entry, int panel, int g, float low, float high,
                    const Loaded&) const {
    float* to = y + static_cast<i64>(entry) * kWidth + panel * 16 + g;
    if (panel * 16 + g < kWidth) to[0] = low;
    if (panel * 16 + g + 8 < kWidth) to[8] = high;
  }
};

/// The same for multiplyFewRows, which has numbers of `entries`.
template <class Finish>
struct FinishOfExpert {
  Finish finish;
  int expert;
  const int* entries;
  typedef typename Finish::Loaded Loaded;
  static constexpr bool kAhead = true;
  DEVICE Loaded load(const Step&, int, int panel, int g) const {
    return finish.load(expert, panel, g);
  }
  DEVICE void store(const Step& step, int m, int panel, int g, float low, float high,
                    const Loaded& loaded) const {
    finish.store(step, entries[m], panel, g, low, high, loaded);
  }
};

/// Few rows: an expert's panels are read once for all rows that chose it, and never for none.
/// Block (kPanelsPerBlock panels of a slot, row): it makes the panels for every row that chose the
/// same expert, if its row is the first of them. At most kMostRows rows. P: of one expert.
template <class P, int kRows, bool kStaged, int kPanelsPerBlock, int kMostRows, class Routed,
          class Finish>
DEVICE void expertsOfFewRows(const Args& a, const float* x, Routed route, const void* weight,
                             Finish finish) {
  constexpr int kTopK = Routed::kTopK, kSlotBlocks = ceilDiv(P::kPanels, kPanelsPerBlock);
  __shared__ int experts[kMostRows * kTopK], entries[kMostRows * kTopK];
  letNextKernelBegin();
  waitForEarlierKernels();
  const Step& step = *a.step;
  const int mine = blockIdx.y * kTopK + blockIdx.x / kSlotBlocks;
  const int total = static_cast<int>(step.num_rows) * kTopK;
  if (mine >= total) return;
  for (int i = threadIdx.x; i < total; i += 256) experts[i] = route.expert(i);
  __syncthreads();
  const int expert = experts[mine];
  int count = 0, first = total;
  for (int i = 0; i < total; ++i) {
    if (experts[i] != expert) continue;
    if (count == 0) first = i;
    if (threadIdx.x == 0) entries[count] = i;
    ++count;
  }
  if (first != mine) return;  // the whole block: another one does it
  __syncthreads();
  const u8* const matrix =
      static_cast<const u8*>(weight) + static_cast<i64>(expert) * P::kPanels * P::kBlocks * 512;
  multiplyFewRows<P, kRows, kStaged, kPanelsPerBlock>(
      step, ExpertRows<kTopK, P::kCols, P::kXStride, false>{x, entries, count},
      blockIdx.x % kSlotBlocks * kPanelsPerBlock, 0, 1, nullptr, nullptr, 0, matrix,
      FinishOfExpert<Finish>{finish, expert, entries});
}

/// The entries of one row by expert, in ascending order; by the block's first kTopK threads, into
/// shared memory.
template <class Routed>
DEVICE void sortRow(Routed route, int row, int* experts, int* entries, float* weights) {
  if (threadIdx.x >= Routed::kTopK) return;
  const int mine = row * Routed::kTopK + static_cast<int>(threadIdx.x), expert = route.expert(mine);
  int place = 0;
  for (int i = row * Routed::kTopK; i < (row + 1) * Routed::kTopK; ++i) {
    const int other = route.expert(i);
    place += other < expert || (other == expert && i < mine);
  }
  experts[place] = expert;
  entries[place] = mine;
  weights[place] = route.weight(mine);
}

/// llm.expert_down of few rows: y = the sum over a row's experts, in ascending order, of weight *
/// (x W^T + b), as one sum over the k of all of them: the matrices of all kTopK experts are on
/// their way at once. Block (panel, row). kStaged: the row's entries, times their weights, are
/// brought to shared memory, [kTopK][kPaddedCols] floats.
template <class P, bool kStaged, int kWidth, int kYStride, class Routed>
DEVICE void expertDownOfOneRow(const Args& a, const float* x, Routed route, const void* weight,
                               const float* bias, float* y) {
  typedef typename P::Weight T;
  constexpr int kTopK = Routed::kTopK, kWarps = 8, kUnroll = 8, kPer = T::kPerWord,
                kAll = kTopK * P::kBlocks;
  __shared__ int experts[kTopK], entries[kTopK];
  __shared__ float weights[kTopK], partial[kWarps][16], biases[kTopK][16];
  float* const staged = reinterpret_cast<float*>(dynamicShared());
  letNextKernelBegin();
  waitForEarlierKernels();
  const Step& step = *a.step;
  const int row = blockIdx.y, panel = blockIdx.x;
  if (row >= step.num_rows) return;
  sortRow(route, row, experts, entries, weights);
  __syncthreads();
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, c = lane % 4;
  const int begin = kAll * warp / kWarps, end = kAll * (warp + 1) / kWarps;
  const int groups = ceilDiv(end - begin, kUnroll);
  auto load = [&](uint4(&quads)[kUnroll], int group) {
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const int b = begin + group * kUnroll + u;
      if (b >= end) continue;
      const i64 of_panel = static_cast<i64>(experts[b / P::kBlocks]) * P::kPanels + panel;
      quads[u] = loadOnce(static_cast<const u8*>(weight) +
                          (of_panel * P::kBlocks + b % P::kBlocks) * 512 + lane * 16);
    }
  };
  uint4 even[kUnroll], odd[kUnroll];
  load(even, 0);
  // The panel's biases of all experts travel during the product, too.
  constexpr int kEachBias = ceilDiv(kTopK * 16, 256);
  float mine[kEachBias] = {};
#pragma unroll
  for (int i = 0; i < kEachBias; ++i) {
    const int at = threadIdx.x + i * 256, n = panel * 16 + at % 16;
    if (bias && at < kTopK * 16 && n < kWidth)
      mine[i] = bias[static_cast<i64>(experts[at / 16]) * kWidth + n];
  }
  const float* const from = x + static_cast<i64>(row) * P::kXStride;
  auto element = [&](int place, int k) {
    const bool inside = P::kPaddedCols == P::kCols || k < P::kCols;
    return inside ? from[entries[place] % kTopK * P::kCols + k] * weights[place] : 0.0f;
  };
  if (kStaged) {
    for (int i = threadIdx.x; i < kTopK * P::kPaddedCols; i += 256)
      staged[i] = element(i / P::kPaddedCols, i % P::kPaddedCols);
    __syncthreads();
  }
  auto operand = [&](int, int k, float(&values)[kPer]) {
#pragma unroll
    for (int i = 0; i < kPer; ++i)
      values[i] =
          kStaged ? staged[k + i] : element((k + i) / P::kPaddedCols, (k + i) % P::kPaddedCols);
  };
  float acc[1][2] = {};
  auto multiply = [&](const uint4(&quads)[kUnroll], int group) {
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const int b = begin + group * kUnroll + u;
      if (b < end) multiplyBlock<T, 1>(quads[u], b * P::kBlockCols, c, operand, acc);
    }
  };
  for (int group = 0; group < groups; group += 2) {
    if (group + 1 < groups) load(odd, group + 1);
    multiply(even, group);
    if (group + 2 < groups) load(even, group + 2);
    if (group + 1 < groups) multiply(odd, group + 1);
  }
  const float low = sumLanes<4>(acc[0][0]), high = sumLanes<4>(acc[0][1]);
  if (c == 0) {
    partial[warp][g] = low;
    partial[warp][g + 8] = high;
  }
#pragma unroll
  for (int i = 0; i < kEachBias; ++i) {
    const int at = threadIdx.x + i * 256;
    if (at < kTopK * 16) biases[at / 16][at % 16] = mine[i];
  }
  __syncthreads();
  const int n = panel * 16 + threadIdx.x;
  if (threadIdx.x >= 16 || n >= kWidth) return;
  float sum = 0;
  for (int w = 0; w < kWarps; ++w) sum += partial[w][threadIdx.x];
  if (bias)
    for (int i = 0; i < kTopK; ++i) sum = fmaf(weights[i], biases[i][threadIdx.x], sum);
  y[static_cast<i64>(row) * kYStride + n] = sum;
}

/// The entries of a step by expert: `begins` [experts + 1], then `entries`. Block (expert), 256
/// threads. Counts are exact as floats: there are far fewer than 2^24.
template <class Routed>
DEVICE void sortByExpert(const Args& a, Routed route, int* begins) {
  __shared__ float partial[2][9];
  __shared__ int counts[256];
  letNextKernelBegin();
  waitForEarlierKernels();
  const int expert = blockIdx.x, total = static_cast<int>(a.step->num_rows) * Routed::kTopK;
  // A thread's entries are neighbours, so an expert's stay in order.
  const int each = (total + 255) / 256;
  const int first = static_cast<int>(threadIdx.x) * each,
            last = first + each < total ? first + each : total;
  int before = 0, mine = 0;
  for (int i = first; i < last; ++i) {
    const int e = route.expert(i);
    before += e < expert;
    mine += e == expert;
  }
  counts[threadIdx.x] = mine;
  const int begin = static_cast<int>(sumBlock<256>(static_cast<float>(before), partial[0]));
  const int count = static_cast<int>(sumBlock<256>(static_cast<float>(mine), partial[1]));
  int* to = begins + Routed::kExperts + 1 + begin;
  for (unsigned t = 0; t < threadIdx.x; ++t) to += counts[t];
  for (int i = first; i < last; ++i)
    if (route.expert(i) == expert) *to++ = i;
  if (threadIdx.x == 0) {
    begins[expert] = begin;
    if (expert == Routed::kExperts - 1) begins[expert + 1] = begin + count;
  }
}

/// Experts as groups, from what sortByExpert() left. Rows: ExpertRows.
template <int kExperts, class Rows>
struct ExpertGroups {
  const float* x;
  const int* begins;
  DEVICE void begin(const Step&) {}
  DEVICE bool tile(int t, int* group, int* first, int* count) const {
    const int lane = threadIdx.x % 32;
    int tiles = 0;  // of the experts before
    for (int base = 0; base < kExperts; base += 32) {
      const int e = base + lane;
      const int rows = e < kExperts ? begins[e + 1] - begins[e] : 0;
      const int own = (rows + kGroupedTileRows - 1) / kGroupedTileRows;
      const int through = sumOfLanesThrough(own);
      const int all = __shfl_sync(~0u, through, 31);
      if (t < tiles + all) {
        // Of the one lane whose expert has the tile.
        const int in_lane = t - tiles - (through - own);
        const bool found = in_lane >= 0 && in_lane < own;
        int where = found ? lane : 0;
#pragma unroll
        for (int other = 1; other < 32; other *= 2) where |= __shfl_xor_sync(~0u, where, other);
        *group = base + where;
        *first = __shfl_sync(~0u, in_lane, where) * kGroupedTileRows;
        *count = __shfl_sync(~0u, rows, where);
        return true;
      }
      tiles += all;
    }
    return false;
  }
  DEVICE int entry(int group, int m) const { return begins[kExperts + 1 + begins[group] + m]; }
  DEVICE const float* row(int, int entry) const { return Rows::rowOf(x, entry); }
};

/// The same without tensor cores, for f32 weights: block (kPanelsPerBlock panels of an expert, any
/// number of parts of its rows).
template <class P, int kRows, bool kStaged, int kPanelsPerBlock, int kExperts, class Rows,
          class Finish>
DEVICE void expertsOfManyRows(const Args& a, const float* x, const int* begins, const void* weight,
                              Finish finish) {
  constexpr int kExpertBlocks = ceilDiv(P::kPanels, kPanelsPerBlock);
  letNextKernelBegin();
  waitForEarlierKernels();
  const int expert = blockIdx.x / kExpertBlocks, count = begins[expert + 1] - begins[expert];
  if (static_cast<int>(blockIdx.y) * kRows >= count) return;
  const int* const entries = begins + kExperts + 1 + begins[expert];
  const u8* const matrix =
      static_cast<const u8*>(weight) + static_cast<i64>(expert) * P::kPanels * P::kBlocks * 512;
  multiplyFewRows<P, kRows, kStaged, kPanelsPerBlock>(
      *a.step, Rows{x, entries, count}, blockIdx.x % kExpertBlocks * kPanelsPerBlock, blockIdx.y,
      gridDim.y, nullptr, nullptr, 0, matrix, FinishOfExpert<Finish>{finish, expert, entries});
}

/// y = the sum over a row's experts, in ascending order, of weight * (their product + bias).
/// `products`: [entries, kWidth].
template <int kWidth, int kYStride, class Routed>
DEVICE void combineExperts(const Args& a, Routed route, const float* products, const float* bias,
                           float* y) {
  constexpr int kTopK = Routed::kTopK;
  __shared__ int experts[kTopK], entries[kTopK];
  __shared__ float weights[kTopK];
  letNextKernelBegin();
  waitForEarlierKernels();
  const int row = blockIdx.y;
  if (row >= a.step->num_rows) return;
  sortRow(route, row, experts, entries, weights);
  __syncthreads();
  for (int n = threadIdx.x; n < kWidth; n += blockDim.x) {
    float sum = 0;
    for (int i = 0; i < kTopK; ++i) {
      float v = products[static_cast<i64>(entries[i]) * kWidth + n];
      if (bias) v += bias[static_cast<i64>(experts[i]) * kWidth + n];
      sum = fmaf(weights[i], v, sum);
    }
    y[static_cast<i64>(row) * kYStride + n] = sum;
  }
}
