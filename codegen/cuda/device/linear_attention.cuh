// Linear attention by the gated delta rule (arXiv 2412.06464) and its short convolution: what reads
// and writes recurrent states. A sequence's tokens are taken one after another, by the blocks at
// its first row in the step: those at other rows have nothing to do. So a row's bits depend neither
// on the other sequences nor on where a step ends. Rows of trees go the way from their sequence's
// state through their ancestors, and leave the state as it is.

/// Where a recurrent state has the sequences of a step's rows.
struct SlotRows {
  static constexpr bool kTrees = false;
  const int* seq;    // of each row
  const int* slots;  // of each sequence
  DEVICE bool beginsAt(int row) const { return row == 0 || seq[row - 1] != seq[row]; }
  /// Behind the last row of the sequence that begins at `row`.
  DEVICE int endOf(int row, int num_rows) const {
    int end = row + 1;
    while (end < num_rows && seq[end] == seq[row]) ++end;
    return end;
  }
  template <int kElements>
  DEVICE float* slotOf(void* state, int row) const {
    return static_cast<float*>(state) + static_cast<i64>(slots[seq[row]]) * kElements;
  }
};

/// The same of a verify step. Rows that follow one another down a branch are one block's.
struct TreeSlotRows : SlotRows {
  static constexpr bool kTrees = true;
  const int* parent;  // of each row: TreeRows
  DEVICE bool beginsAt(int row) const { return row == 0 || parent[row] != row - 1; }
  DEVICE int endOf(int row, int num_rows) const {
    int end = row + 1;
    while (end < num_rows && parent[end] == end - 1) ++end;
    return end;
  }
};

constexpr int kConvThreads = 128;

/// The last token's x is the last factor's.
template <int kTaps>
DEVICE float convolve(const float (&x)[kTaps], const float (&factors)[kTaps]) {
  float sum = 0;
#pragma unroll
  for (int t = 0; t < kTaps; ++t) sum = fmaf(x[t], factors[t], sum);
  return sum;
}
template <class T, int kCols, int kTaps>
DEVICE void loadFactors(const void* weight, int col, float (&factors)[kTaps]) {
#pragma unroll
  for (int t = 0; t < kTaps; ++t)
    factors[t] = T::load(static_cast<const typename T::Element*>(weight) + t * kCols + col);
}

/// y_t = activation(sum of weight[i] x_{t - kTaps + 1 + i} + bias) * gate, a thread per column; bias
/// and gate may be absent. The state: x of the last kTaps - 1 tokens.
template <class T, int kCols, int kTaps, int kActivation, int kXStride, int kYStride,
          int kGateStride = 0>
DEVICE void causalConv(const Args& a, const float* x, const void* weight, const SlotRows& rows,
                       void* state, float* y, const float* bias = nullptr,
                       const float* gate = nullptr) {
  const int first = blockIdx.y, num_rows = static_cast<int>(a.step->num_rows);
  if (first >= num_rows || !rows.beginsAt(first)) return;
  const int col = blockIdx.x * kConvThreads + threadIdx.x;
  if (col >= kCols) return;
  float* const slot = rows.slotOf<(kTaps - 1) * kCols>(state, first) + col;
  float factors[kTaps], past[kTaps];  // oldest first; the last is the row's own
  loadFactors<T, kCols>(weight, col, factors);
#pragma unroll
  for (int t = 0; t + 1 < kTaps; ++t) past[t] = slot[t * kCols];
  const int end = rows.endOf(first, num_rows);
#pragma unroll 1
  for (int row = first; row < end; ++row) {
    past[kTaps - 1] = x[static_cast<i64>(row) * kXStride + col];
    float out = convolve(past, factors);
    if (bias) out += bias[col];
    out = activate<kActivation>(out);
    if (gate) out *= gate[static_cast<i64>(row) * kGateStride + col];
    y[static_cast<i64>(row) * kYStride + col] = out;
#pragma unroll
    for (int t = 0; t + 1 < kTaps; ++t) past[t] = past[t + 1];
  }
#pragma unroll
  for (int t = 0; t + 1 < kTaps; ++t) slot[t * kCols] = past[t];
}

/// The same of a verify step: every row by itself.
template <class T, int kCols, int kTaps, int kActivation, int kXStride, int kYStride,
          int kGateStride = 0>
DEVICE void causalConv(const Args& a, const float* x, const void* weight, const TreeSlotRows& rows,
                       void* state, float* y, const float* bias = nullptr,
                       const float* gate = nullptr) {
  const int row = blockIdx.y, col = blockIdx.x * kConvThreads + threadIdx.x;
  if (row >= a.step->num_rows || col >= kCols) return;
  const float* const slot = rows.slotOf<(kTaps - 1) * kCols>(state, row) + col;
  float factors[kTaps], past[kTaps];
  loadFactors<T, kCols>(weight, col, factors);
  int at = row, kept = kTaps - 1;  // tokens of the state that are left, the latest last
#pragma unroll
  for (int t = kTaps - 1; t >= 0; --t) {
    past[t] = at >= 0 ? x[static_cast<i64>(at) * kXStride + col] : slot[--kept * kCols];
    if (at >= 0) at = rows.parent[at];
  }
  float out = convolve(past, factors);
  if (bias) out += bias[col];
  out = activate<kActivation>(out);
  if (gate) out *= gate[static_cast<i64>(row) * kGateStride + col];
  y[static_cast<i64>(row) * kYStride + col] = out;
}

/// ln(1 + e^x)
DEVICE float softplus(float x) { return fmaxf(x, 0.0f) + log1pf(exponential(-fabsf(x))); }

constexpr int kDeltaThreads = 128, kDeltaWarps = kDeltaThreads / 32;

/// S = decay S + k d^T, d = sigmoid(beta) (v - decay S^T k); y = S^T q. A block has 32 columns of
/// one head's S in registers, a lane each, and a warp a share of its rows; sums over the warps'
/// shares are in ascending order. `Rows`: SlotRows, or TreeSlotRows; then a block goes through the
/// ancestors of its first row again, whose outputs are another block's.
template <int kKeyHeads, int kHeads, bool kTiled, int kKeyDim, int kValueDim, int kQkvStride,
          int kGateStride, int kBetaStride, int kYStride, class Rows>
DEVICE void gatedDelta(const Args& a, const float* qkv, const float* gate, const float* beta,
                       const float* a_log, const float* dt_bias, const Rows& rows, void* state,
                       float* y, float eps) {
  constexpr int kParts = ceilDiv(kValueDim, 32), kEach = ceilDiv(kKeyDim, kDeltaWarps);
  __shared__ float query[kDeltaWarps * kEach], key[kDeltaWarps * kEach];
  __shared__ float known[kDeltaWarps][32], out[kDeltaWarps][32];
  __shared__ float partial[2][kDeltaWarps + 1];
  const int first = blockIdx.y, num_rows = static_cast<int>(a.step->num_rows);
  if (first >= num_rows || !rows.beginsAt(first)) return;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int head = blockIdx.x / kParts, col = blockIdx.x % kParts * 32 + lane;
  const bool live = col < kValueDim;
  // Rows of S from warp * kEach on; those that there are not stay zero.
  float* const slot = rows.template slotOf<kHeads * kKeyDim * kValueDim>(state, first) +
                      (head * kKeyDim + warp * kEach) * kValueDim + col;
  const int mine = kKeyDim - warp * kEach;
  float s[kEach];
#pragma unroll
  for (int i = 0; i < kEach; ++i) s[i] = live && i < mine ? slot[i * kValueDim] : 0.0f;
  const float rate = exponential(a_log[head]), bias = dt_bias[head];
  const float query_scale = 1.0f / sqrtf(static_cast<float>(kKeyDim));
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
    const int key_head = kTiled ? head % kKeyHeads : head / (kHeads / kKeyHeads);
    const float* const q = qkv + static_cast<i64>(row) * kQkvStride + key_head * kKeyDim;
    const float* const k = q + kKeyHeads * kKeyDim;
    float q_squares = 0, k_squares = 0;
    for (int i = threadIdx.x; i < kKeyDim; i += kDeltaThreads) {
      q_squares += q[i] * q[i];
      k_squares += k[i] * k[i];
    }
    q_squares = sumBlock<kDeltaThreads>(q_squares, partial[0]);
    k_squares = sumBlock<kDeltaThreads>(k_squares, partial[1]);
    const float q_scale = 1.0f / sqrtf(q_squares + eps) * query_scale;
    const float k_scale = 1.0f / sqrtf(k_squares + eps);
    for (int i = threadIdx.x; i < kDeltaWarps * kEach; i += kDeltaThreads) {
      query[i] = i < kKeyDim ? q[i] * q_scale : 0.0f;
      key[i] = i < kKeyDim ? k[i] * k_scale : 0.0f;
    }
    __syncthreads();
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kEach; ++i) sum = fmaf(s[i], key[warp * kEach + i], sum);
    known[warp][lane] = sum;
    __syncthreads();
    float before = 0;
#pragma unroll
    for (int w = 0; w < kDeltaWarps; ++w) before += known[w][lane];
    const float decay =
        exponential(-rate * softplus(gate[static_cast<i64>(row) * kGateStride + head] + bias));
    const float strength = activate<kSigmoid>(beta[static_cast<i64>(row) * kBetaStride + head]);
    const float v = live ? qkv[static_cast<i64>(row) * kQkvStride + 2 * kKeyHeads * kKeyDim +
                               head * kValueDim + col]
                         : 0.0f;
    const float delta = strength * (v - decay * before);
    sum = 0;
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      s[i] = fmaf(decay, s[i], key[warp * kEach + i] * delta);
      sum = fmaf(s[i], query[warp * kEach + i], sum);
    }
    out[warp][lane] = sum;
    // The next row's q and k are written, and its first sums, when all have read this row's.
    __syncthreads();
    if (warp == 0 && live && (!Rows::kTrees || t >= first)) {
      float total = 0;
#pragma unroll
      for (int w = 0; w < kDeltaWarps; ++w) total += out[w][lane];
      y[static_cast<i64>(row) * kYStride + head * kValueDim + col] = total;
    }
  }
  if (Rows::kTrees) return;
#pragma unroll
  for (int i = 0; i < kEach; ++i)
    if (live && i < mine) slot[i * kValueDim] = s[i];
}
