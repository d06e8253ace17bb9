// Linear attention by the gated delta rule (arXiv 2412.06464) and its short convolution: what reads
// and writes recurrent states. A sequence's tokens are taken one after another, by the blocks at
// its first row in the step: those at other rows have nothing to do. So a row's bits depend neither
// on the other sequences nor on where a step ends. Rows of trees go the way from their sequence's
// state through their ancestors, and leave the state as it is.

/// Where a recurrent state has the sequences of a step's rows. All of it may be read ahead of
/// waitForEarlierKernels(), and so may the state: the steps before have ended, and of a step one
/// kernel has it.
struct SlotRows {
  static constexpr bool kTrees = false;
  const int* seq;    // of each row
  const int* slots;  // of each sequence
  DEVICE bool beginsAt(int row) const {
    return row == 0 || loadAhead(seq + row - 1) != loadAhead(seq + row);
  }
  /// Whether the row behind `row`, which there is, goes on where it ends.
  DEVICE bool goesOnFrom(int row) const { return seq[row + 1] == seq[row]; }
  template <int kElements>
  DEVICE float* slotOf(void* state, int row) const {
    return static_cast<float*>(state) +
           static_cast<i64>(loadAhead(slots + loadAhead(seq + row))) * kElements;
  }
};

/// The same of a verify step. Rows that follow one another down a branch are one block's.
struct TreeSlotRows : SlotRows {
  static constexpr bool kTrees = true;
  const int* parent;  // of each row: TreeRows
  DEVICE bool beginsAt(int row) const { return row == 0 || loadAhead(parent + row) != row - 1; }
  DEVICE bool goesOnFrom(int row) const { return parent[row + 1] == row; }
};

/// The rows that blocks (any, row) take one after another: from the block's own row on, if some
/// begin there.
template <class Rows>
struct RowWalk {
  const Rows& rows;
  int first, num_rows;
  bool begins;
  const Branch* branch;  // of the first row, in trees
  int ancestors = 0;

  /// All threads call it, kTreeRows or more. `shared`: null but for trees.
  DEVICE RowWalk(const Args& a, const Rows& of, Branch* shared)
      : rows(of),
        first(blockIdx.y),
        num_rows(static_cast<int>(loadAhead(&a.step->num_rows))),
        begins(first < num_rows && of.beginsAt(first)),
        branch(shared) {
    if constexpr (Rows::kTrees) {
      if (!begins) return;
      shared->find(of.parent, num_rows, first);
      ancestors = shared->count - 1;
    }
  }
  /// body(row, whether its outputs are the block's): ancestors' are another one's.
  template <class Body>
  DEVICE void forRows(Body body) const {
    bool more = true;
#pragma unroll 1
    for (int t = first - ancestors; more; ++t) {
      const bool own = !Rows::kTrees || t >= first;
      more = !own || (t + 1 < num_rows && rows.goesOnFrom(t));
      body(own ? t : branch->rows[t - first + ancestors], own);
    }
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

/// y_t = activation(sum of weight[i] x_{t - kTaps + 1 + i} + bias) * gate, a thread per column;
/// bias and gate may be absent. The state: x of the last kTaps - 1 tokens.
template <class T, int kCols, int kTaps, int kActivation, int kXStride, int kYStride,
          int kGateStride = 0>
DEVICE void causalConv(const Args& a, const float* x, const void* weight, const SlotRows& rows,
                       void* state, float* y, const float* bias = nullptr,
                       const float* gate = nullptr) {
  letNextKernelBegin();
  const RowWalk<SlotRows> walk(a, rows, nullptr);
  const int col = blockIdx.x * kConvThreads + threadIdx.x;
  const bool works = walk.begins && col < kCols;
  float* const slot = works ? rows.slotOf<(kTaps - 1) * kCols>(state, walk.first) + col : nullptr;
  float factors[kTaps], past[kTaps];  // oldest first; the last is the row's own
  if (works) {
    loadFactors<T, kCols>(weight, col, factors);
#pragma unroll
    for (int t = 0; t + 1 < kTaps; ++t) past[t] = loadAhead(slot + t * kCols);
  }
  waitForEarlierKernels();
  if (!works) return;
  walk.forRows([&](int row, bool) {
    past[kTaps - 1] = x[static_cast<i64>(row) * kXStride + col];
    float out = convolve(past, factors);
    if (bias) out += bias[col];
    out = activate<kActivation>(out);
    if (gate) out *= gate[static_cast<i64>(row) * kGateStride + col];
    y[static_cast<i64>(row) * kYStride + col] = out;
#pragma unroll
    for (int t = 0; t + 1 < kTaps; ++t) past[t] = past[t + 1];
  });
#pragma unroll
  for (int t = 0; t + 1 < kTaps; ++t) slot[t * kCols] = past[t];
}

/// The same of a verify step: every row by itself.
template <class T, int kCols, int kTaps, int kActivation, int kXStride, int kYStride,
          int kGateStride = 0>
DEVICE void causalConv(const Args& a, const float* x, const void* weight, const TreeSlotRows& rows,
                       void* state, float* y, const float* bias = nullptr,
                       const float* gate = nullptr) {
  letNextKernelBegin();
  const int row = blockIdx.y, col = blockIdx.x * kConvThreads + threadIdx.x;
  const bool works = row < loadAhead(&a.step->num_rows) && col < kCols;
  float factors[kTaps], past[kTaps];
  int from[kTaps];  // the rows that they are of; -1: the state's
  if (works) {
    const float* const slot = rows.slotOf<(kTaps - 1) * kCols>(state, row) + col;
    loadFactors<T, kCols>(weight, col, factors);
    int at = row, kept = kTaps - 1;  // tokens of the state that are left, the latest last
#pragma unroll
    for (int t = kTaps - 1; t >= 0; --t) {
      from[t] = at;
      if (at < 0) past[t] = loadAhead(slot + --kept * kCols);
      if (at >= 0) at = loadAhead(rows.parent + at);
    }
  }
  waitForEarlierKernels();
  if (!works) return;
#pragma unroll
  for (int t = 0; t < kTaps; ++t)
    if (from[t] >= 0) past[t] = x[static_cast<i64>(from[t]) * kXStride + col];
  float out = convolve(past, factors);
  if (bias) out += bias[col];
  out = activate<kActivation>(out);
  if (gate) out *= gate[static_cast<i64>(row) * kGateStride + col];
  y[static_cast<i64>(row) * kYStride + col] = out;
}

/// ln(1 + e^x)
DEVICE float softplus(float x) { return fmaxf(x, 0.0f) + log1pf(exponential(-fabsf(x))); }

constexpr int kStateThreads = 128, kStateWarps = kStateThreads / 32;

/// A block's part of a head's state [kRows, kCols], of kHeads: 32 columns, a lane each, whose rows
/// the warps share, in registers. Block (head and part of its columns, row of the step).
template <int kHeads, int kRows, int kCols>
struct StateColumns {
  static constexpr int kParts = ceilDiv(kCols, 32), kEach = ceilDiv(kRows, kStateWarps);
  int head, col;
  bool live;       // there is such a column
  int first, own;  // the warp's rows: those that there are not stay zero
  float* slot;
  float s[kEach];

  template <class Rows>
  DEVICE StateColumns(void* state, const Rows& rows, int row)
      : head(blockIdx.x / kParts),
        col(blockIdx.x % kParts * 32 + threadIdx.x % 32),
        live(col < kCols),
        first(static_cast<int>(threadIdx.x) / 32 * kEach),
        own(kRows - first),
        slot(rows.template slotOf<kHeads * kRows * kCols>(state, row) +
             (head * kRows + first) * kCols + col) {
#pragma unroll
    for (int i = 0; i < kEach; ++i) s[i] = live && i < own ? loadAhead(slot + i * kCols) : 0.0f;
  }
  DEVICE void store() const {
#pragma unroll
    for (int i = 0; i < kEach; ++i)
      if (live && i < own) slot[i * kCols] = s[i];
  }
};

/// S = decay S + k d^T, d = sigmoid(beta) (v - decay S^T k); y = S^T q. Sums over the warps' shares
/// are in ascending order. `Rows`: SlotRows, or TreeSlotRows; then a block goes through the
/// ancestors of its first row again, whose outputs are another block's, and the state stays.
template <int kKeyHeads, int kHeads, bool kTiled, int kKeyDim, int kValueDim, int kQkvStride,
          int kGateStride, int kBetaStride, int kYStride, class Rows>
DEVICE void gatedDelta(const Args& a, const float* qkv, const float* gate, const float* beta,
                       const float* a_log, const float* dt_bias, const Rows& rows, void* state,
                       float* y, float eps) {
  typedef StateColumns<kHeads, kKeyDim, kValueDim> Columns;
  constexpr int kEach = Columns::kEach;
  __shared__ float query[kStateWarps * kEach], key[kStateWarps * kEach];
  __shared__ float known[kStateWarps][32], out[kStateWarps][32];
  __shared__ float partial[2][kStateWarps + 1];
  __shared__ Branch branch;
  letNextKernelBegin();
  const RowWalk<Rows> walk(a, rows, &branch);
  if (!walk.begins) {
    waitForEarlierKernels();
    return;
  }
  Columns c(state, rows, walk.first);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, head = c.head, col = c.col;
  const float rate = exponential(a_log[head]), bias = dt_bias[head];
  const float query_scale = 1.0f / sqrtf(static_cast<float>(kKeyDim));
  waitForEarlierKernels();
  walk.forRows([&](int row, bool own) {
    const int key_head = kTiled ? head % kKeyHeads : head / (kHeads / kKeyHeads);
    const float* const q = qkv + static_cast<i64>(row) * kQkvStride + key_head * kKeyDim;
    const float* const k = q + kKeyHeads * kKeyDim;
    float q_squares = 0, k_squares = 0;
    for (int i = threadIdx.x; i < kKeyDim; i += kStateThreads) {
      q_squares = fmaf(q[i], q[i], q_squares);
      k_squares = fmaf(k[i], k[i], k_squares);
    }
    q_squares = sumBlock<kStateThreads>(q_squares, partial[0]);
    k_squares = sumBlock<kStateThreads>(k_squares, partial[1]);
    const float q_scale = 1.0f / sqrtf(q_squares + eps) * query_scale;
    const float k_scale = 1.0f / sqrtf(k_squares + eps);
    for (int i = threadIdx.x; i < kStateWarps * kEach; i += kStateThreads) {
      query[i] = i < kKeyDim ? q[i] * q_scale : 0.0f;
      key[i] = i < kKeyDim ? k[i] * k_scale : 0.0f;
    }
    __syncthreads();
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kEach; ++i) sum = fmaf(c.s[i], key[warp * kEach + i], sum);
    known[warp][lane] = sum;
    __syncthreads();
    float before = 0;
#pragma unroll
    for (int w = 0; w < kStateWarps; ++w) before += known[w][lane];
    const float decay =
        exponential(-rate * softplus(gate[static_cast<i64>(row) * kGateStride + head] + bias));
    const float strength = activate<kSigmoid>(beta[static_cast<i64>(row) * kBetaStride + head]);
    const float v = c.live ? qkv[static_cast<i64>(row) * kQkvStride + 2 * kKeyHeads * kKeyDim +
                                 head * kValueDim + col]
                           : 0.0f;
    const float delta = strength * fmaf(-decay, before, v);
    sum = 0;
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      c.s[i] = fmaf(decay, c.s[i], key[warp * kEach + i] * delta);
      sum = fmaf(c.s[i], query[warp * kEach + i], sum);
    }
    out[warp][lane] = sum;
    // The next row's q and k are written, and its first sums, when all have read this row's.
    __syncthreads();
    if (warp == 0 && c.live && own) {
      float total = 0;
#pragma unroll
      for (int w = 0; w < kStateWarps; ++w) total += out[w][lane];
      y[static_cast<i64>(row) * kYStride + head * kValueDim + col] = total;
    }
  });
  if (!Rows::kTrees) c.store();
}
