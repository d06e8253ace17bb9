// Mamba-2's state space layer (arXiv 2405.21060), token by token: linear_attention.cuh says how the
// rows of a step are taken.

constexpr int kSsdThreads = 128, kSsdWarps = kSsdThreads / 32;

/// Per head S = decay S + B (t x)^T, y = (S^T C + d x) * gate, with t = softplus(dt + dt_bias) within
/// [from, to] and decay = exp(A t). A block has 32 columns of one head's S in registers, a lane each,
/// and a warp a share of its rows; sums over the warps' shares are in ascending order. kIsRate: `log`
/// has A itself. gate may be null. `Rows`: gatedDelta's.
template <int kHeads, int kGroups, int kStateSize, int kHeadDim, bool kIsRate, int kXbcStride,
          int kDtStride, int kYStride, int kGateStride, class Rows>
DEVICE void stateSpace(const Args& a, const float* xbc, const float* dt, const float* gate,
                       const float* log, const float* dt_bias, const float* d, const Rows& rows,
                       void* state, float* y, float from, float to) {
  constexpr int kParts = ceilDiv(kHeadDim, 32), kEach = ceilDiv(kStateSize, kSsdWarps);
  __shared__ float input[kSsdWarps * kEach], output[kSsdWarps * kEach];  // B and C
  __shared__ float out[kSsdWarps][32];
  const int first = blockIdx.y, num_rows = static_cast<int>(a.step->num_rows);
  if (first >= num_rows || !rows.beginsAt(first)) return;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int head = blockIdx.x / kParts, col = blockIdx.x % kParts * 32 + lane;
  const bool live = col < kHeadDim;
  // Rows of S from warp * kEach on; those that there are not stay zero.
  float* const slot = rows.template slotOf<kHeads * kStateSize * kHeadDim>(state, first) +
                      (head * kStateSize + warp * kEach) * kHeadDim + col;
  const int mine = kStateSize - warp * kEach;
  float s[kEach];
#pragma unroll
  for (int i = 0; i < kEach; ++i) s[i] = live && i < mine ? slot[i * kHeadDim] : 0.0f;
  const float rate = kIsRate ? log[head] : -exponential(log[head]);
  const float bias = dt_bias[head], direct = d[head];
  const int end = rows.endOf(first, num_rows);
  __shared__ Branch branch;
  int ancestors = 0;  // of the first row
  if constexpr (Rows::kTrees) {
    branch.find(rows.parent, num_rows, first);
    ancestors = branch.count - 1;
  }
#pragma unroll 1
  for (int t = first - ancestors; t < end; ++t) {
    const int row = Rows::kTrees && t < first ? branch.rows[t - first + ancestors] : t;
    const float* const x = xbc + static_cast<i64>(row) * kXbcStride;
    const float* const b = x + kHeads * kHeadDim + head / (kHeads / kGroups) * kStateSize;
    const float* const c = b + kGroups * kStateSize;
    for (int i = threadIdx.x; i < kSsdWarps * kEach; i += kSsdThreads) {
      input[i] = i < kStateSize ? b[i] : 0.0f;
      output[i] = i < kStateSize ? c[i] : 0.0f;
    }
    __syncthreads();
    const float time =
        fminf(fmaxf(softplus(dt[static_cast<i64>(row) * kDtStride + head] + bias), from), to);
    const float decay = exponential(rate * time);
    const float value = live ? x[head * kHeadDim + col] : 0.0f, scaled = time * value;
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      s[i] = fmaf(input[warp * kEach + i], scaled, decay * s[i]);
      sum = fmaf(s[i], output[warp * kEach + i], sum);
    }
    out[warp][lane] = sum;
    // The next row's B and C are written when all have read this row's.
    __syncthreads();
    if (warp == 0 && live && (!Rows::kTrees || t >= first)) {
      float total = 0;
#pragma unroll
      for (int w = 0; w < kSsdWarps; ++w) total += out[w][lane];
      total = fmaf(direct, value, total);
      if (gate) total *= gate[static_cast<i64>(row) * kGateStride + head * kHeadDim + col];
      y[static_cast<i64>(row) * kYStride + head * kHeadDim + col] = total;
    }
  }
  if (Rows::kTrees) return;
#pragma unroll
  for (int i = 0; i < kEach; ++i)
    if (live && i < mine) slot[i * kHeadDim] = s[i];
}
