// Norms beyond the plain rms_norm of a row: layer_norm, norms of heads, a norm that joins the
// residual stream; and what finishes the heads of q, k and v where that takes whole heads.

/// y = (x - mean) / sqrt(variance + eps) * weight + bias, as far as there are a weight and a bias.
/// Blocks of 256 threads.
template <int kCols, int kXStride, int kYStride>
DEVICE void layerNormRow(const Args& a, const float* x, const float* weight, const float* bias,
                         float* y, float eps) {
  __shared__ float partial[2][9];
  const int row = blockIdx.y;
  if (row >= a.step->num_rows) return;
  x += static_cast<i64>(row) * kXStride;
  y += static_cast<i64>(row) * kYStride;
  float sum = 0, squares = 0;
  for (int k = threadIdx.x; k < kCols; k += 256) sum += x[k];
  const float mean = sumBlock<256>(sum, partial[0]) / kCols;
  for (int k = threadIdx.x; k < kCols; k += 256) squares = fmaf(x[k] - mean, x[k] - mean, squares);
  const float scale = 1.0f / sqrtf(sumBlock<256>(squares, partial[1]) / kCols + eps);
  for (int k = threadIdx.x; k < kCols; k += 256)
    y[k] = fmaf((x[k] - mean) * scale, weight ? weight[k] : 1.0f, bias ? bias[k] : 0.0f);
}

/// y = residual + rms_norm(x), times *factor where there is one. Blocks of 256 threads.
template <int kCols, int kXStride, int kResidualStride, int kYStride>
DEVICE void normResidualRow(const Args& a, const float* x, const float* residual,
                            const float* weight, const float* factor, float* y, float eps) {
  __shared__ float partial[9];
  const i64 row = blockIdx.y;
  if (row >= a.step->num_rows) return;
  x += row * kXStride;
  float sum = 0;
  for (int k = threadIdx.x; k < kCols; k += 256) sum = fmaf(x[k], x[k], sum);
  const float scale = 1.0f / sqrtf(sumBlock<256>(sum, partial) / kCols + eps);
  for (int k = threadIdx.x; k < kCols; k += 256) {
    const float v = fmaf(x[k] * scale, weight[k], residual[row * kResidualStride + k]);
    y[row * kYStride + k] = factor ? v * *factor : v;
  }
}

/// A head normalised by one warp: `values` [kDim] in shared memory, all written before. `weight`:
/// null for none.
template <int kDim, bool kLayer>
DEVICE void normHead(float* values, const float* weight, float eps) {
  const int lane = threadIdx.x % 32;
  float mean = 0, squares = 0;
  if (kLayer) {
    for (int e = lane; e < kDim; e += 32) mean += values[e];
    mean = sumLanes<32>(mean) / kDim;
  }
  for (int e = lane; e < kDim; e += 32) squares = fmaf(values[e] - mean, values[e] - mean, squares);
  const float scale = 1.0f / sqrtf(sumLanes<32>(squares) / kDim + eps);
  for (int e = lane; e < kDim; e += 32)
    values[e] = (values[e] - mean) * scale * (weight ? weight[e] : 1.0f);
  __syncwarp();
}

constexpr int kHeadsPerBlock = 4;  // a warp each, 128 threads

/// qk_norm: each head by itself; the heads' weights lie kWeightStride apart, 0 where they share
/// one. Block (kHeadsPerBlock heads, row).
template <int kCols, int kDim, bool kLayer, int kWeightStride, int kXStride, int kYStride>
DEVICE void qkNormRow(const Args& a, const float* x, const float* weight, float* y, float eps) {
  __shared__ float shared[kHeadsPerBlock][kDim];
  const int warp = threadIdx.x / 32, head = blockIdx.x * kHeadsPerBlock + warp;
  const i64 row = blockIdx.y;
  if (row >= a.step->num_rows || head >= kCols / kDim) return;
  float* const values = shared[warp];
  // A lane has the same elements throughout.
  for (int e = threadIdx.x % 32; e < kDim; e += 32) values[e] = x[row * kXStride + head * kDim + e];
  normHead<kDim, kLayer>(values, weight ? weight + head * kWeightStride : nullptr, eps);
  for (int e = threadIdx.x % 32; e < kDim; e += 32) y[row * kYStride + head * kDim + e] = values[e];
}

/// Where the values are that the heads behind q's give.
enum ValueHeads {
  kNoValues,   // nowhere: there are no heads behind q's
  kOwnValues,  // in heads of their own, behind those of k
  kKeyValues   // in those of k, before norm and rotation
};

/// Heads of q, k and v after their product, where a warp must see a whole head: with a norm of q
/// and k heads (null: none) or, with kNormValues, of v heads; with rotation of the first kRotary
/// elements only (0: none); where values are not of their own. `raw`: [rows, kRawStride], the heads
/// of q, k and v side by side. Block (kHeadsPerBlock heads, row).
template <class Pool, int kNumHeads, int kRotary, int kValues, bool kNormValues, int kRawStride,
          int kQStride, class Rows>
DEVICE void finishHeads(const Args& a, const float* raw, const float* bias, const float* q_norm,
                        const float* k_norm, float eps, const float* rope, const Rows& rows,
                        void* keys, void* values, float* q) {
  constexpr int kDim = Pool::kDim, kHalf = kRotary / 2;
  constexpr int kCachedHeads = kValues == kNoValues    ? 0
                               : kValues == kKeyValues ? Pool::kHeads
                                                       : 2 * Pool::kHeads;
  __shared__ float shared[kHeadsPerBlock][kDim];
  letNextKernelBegin();
  const Step& step = *a.step;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int head = blockIdx.x * kHeadsPerBlock + warp, row = blockIdx.y;
  const bool works = row < loadAhead(&step.num_rows) && head < kNumHeads + kCachedHeads,
             is_query = head < kNumHeads, is_key = !is_query && head < kNumHeads + Pool::kHeads;
  // What a step is and the angles are read ahead of the wait.
  constexpr int kEach = ceilDiv(kDim, 32);  // elements of a lane
  float cos[kEach] = {}, sin[kEach] = {};
  int slot = 0;
  i64 block = 0;
  if (works && !is_query) {
    const int seq = loadAhead(rows.seq + row);
    slot = loadAhead(rows.slots() + row);
    block = loadAhead(Pool::tableAt(step, rows, seq, slot));
  }
  if (works && kRotary > 0 && (is_query || is_key)) {
    const float* const turn =
        rope + static_cast<i64>(loadAhead(rows.pos + row)) * kRotary;  // [2, kHalf]
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const int e = lane + 32 * i;
      if (e < kRotary)
        cos[i] = turn[e < kHalf ? e : e - kHalf], sin[i] = turn[e < kHalf ? e + kHalf : e];
    }
  }
  waitForEarlierKernels();
  if (!works) return;
  float* const mine = shared[warp];
  // A lane has the same elements throughout, but for the pairs of a rotation.
  auto load = [&] {
    for (int e = lane; e < kDim; e += 32) {
      const float v = raw[static_cast<i64>(row) * kRawStride + head * kDim + e];
      mine[e] = bias ? v + bias[head * kDim + e] : v;
    }
    __syncwarp();
  };
  load();
  const int kv_head = head - kNumHeads - (is_key ? 0 : Pool::kHeads);
  const auto storeCached = [&](bool key, int e, float v) {
    Pool::template vectorIn<Pool::kPadded>(key ? keys : values, block, slot, kv_head)[e] =
        Pool::Type::fromFloat(v);
  };
  if (!is_query && (!is_key || kValues == kKeyValues)) {
    if (kNormValues) normHead<kDim, false>(mine, nullptr, eps);
    for (int e = lane; e < kDim; e += 32) storeCached(false, e, mine[e]);
    if (!is_key) return;
    load();
  }
  if (q_norm) normHead<kDim, false>(mine, is_query ? q_norm : k_norm, eps);
#pragma unroll
  for (int n = 0; n < kEach; ++n) {
    const int e = lane + 32 * n;
    if (e >= kDim) break;
    float v = mine[e];
    if (e < kRotary) {
      const int i = e < kHalf ? e : e - kHalf;
      float low = mine[i], high = mine[i + kHalf];
      rotate(cos[n], sin[n], low, high);
      v = e < kHalf ? low : high;
    }
    if (is_query)
      q[static_cast<i64>(row) * kQStride + head * kDim + e] = v;
    else
      storeCached(true, e, v);
  }
}
