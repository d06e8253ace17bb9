// Mamba-2's state space layer (arXiv 2405.21060), token by token: linear_attention.cuh says how the
// rows of a step are taken.

/// Per head S = decay S + B (t x)^T, y = (S^T C + d x) * gate, with t = softplus(dt + dt_bias)
/// within [from, to] and decay = exp(A t). Sums over the warps' shares of S are in ascending order.
/// kIsRate: `log` has A itself. gate may be null. `Rows`: gatedDelta's.
template <int kHeads, int kGroups, int kStateSize, int kHeadDim, bool kIsRate, int kXbcStride,
          int kDtStride, int kYStride, int kGateStride, class Rows>
DEVICE void stateSpace(const Args& a, const float* xbc, const float* dt, const float* gate,
                       const float* log, const float* dt_bias, const float* d, const Rows& rows,
                       void* state, float* y, float from, float to) {
  typedef StateColumns<kHeads, kStateSize, kHeadDim> Columns;
  constexpr int kEach = Columns::kEach;
  __shared__ float input[kStateWarps * kEach], output[kStateWarps * kEach];  // B and C
  __shared__ float out[kStateWarps][32];
  __shared__ Branch branch;
  letNextKernelBegin();
  const RowWalk<Rows> walk(a, rows, &branch);
  if (!walk.begins) {
    waitForEarlierKernels();
    return;
  }
  Columns s(state, rows, walk.first);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, head = s.head, col = s.col;
  const float rate = kIsRate ? log[head] : -exponential(log[head]);
  const float bias = dt_bias[head], direct = d[head];
  waitForEarlierKernels();
  walk.forRows([&](int row, bool own) {
    const float* const x = xbc + static_cast<i64>(row) * kXbcStride;
    const float* const b = x + kHeads * kHeadDim + head / (kHeads / kGroups) * kStateSize;
    const float* const c = b + kGroups * kStateSize;
    for (int i = threadIdx.x; i < kStateWarps * kEach; i += kStateThreads) {
      input[i] = i < kStateSize ? b[i] : 0.0f;
      output[i] = i < kStateSize ? c[i] : 0.0f;
    }
    __syncthreads();
    const float time =
        fminf(fmaxf(softplus(dt[static_cast<i64>(row) * kDtStride + head] + bias), from), to);
    const float decay = exponential(rate * time);
    const float value = s.live ? x[head * kHeadDim + col] : 0.0f, scaled = time * value;
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      s.s[i] = fmaf(input[warp * kEach + i], scaled, decay * s.s[i]);
      sum = fmaf(s.s[i], output[warp * kEach + i], sum);
    }
    out[warp][lane] = sum;
    // The next row's B and C are written when all have read this row's.
    __syncthreads();
    if (warp == 0 && s.live && own) {
      float total = 0;
#pragma unroll
      for (int w = 0; w < kStateWarps; ++w) total += out[w][lane];
      total = fmaf(direct, value, total);
      if (gate) total *= gate[static_cast<i64>(row) * kGateStride + head * kHeadDim + col];
      y[static_cast<i64>(row) * kYStride + head * kHeadDim + col] = total;
    }
  });
  if (!Rows::kTrees) s.store();
}
