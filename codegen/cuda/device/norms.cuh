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
    y[k] = (x[k] - mean) * scale * (weight ? weight[k] : 1.0f) + (bias ? bias[k] : 0.0f);
}

/// y = residual + rms_norm(x). Blocks of 256 threads.
template <int kCols, int kXStride, int kResidualStride, int kYStride>
DEVICE void normResidualRow(const Args& a, const float* x, const float* residual,
                            const float* weight, float* y, float eps) {
  __shared__ float partial[9];
  const i64 row = blockIdx.y;
  if (row >= a.step->num_rows) return;
  x += row * kXStride;
  float sum = 0;
  for (int k = threadIdx.x; k < kCols; k += 256) sum = fmaf(x[k], x[k], sum);
  const float scale = 1.0f / sqrtf(sumBlock<256>(sum, partial) / kCols + eps);
  for (int k = threadIdx.x; k < kCols; k += 256)
    y[row * kYStride + k] = residual[row * kResidualStride + k] + x[k] * scale * weight[k];
}

/// A head normalised by one warp: `values` [kDim] in shared memory, all written before.
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
  for (int e = lane; e < kDim; e += 32) values[e] = (values[e] - mean) * scale * weight[e];
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
  normHead<kDim, kLayer>(values, weight + head * kWeightStride, eps);
  for (int e = threadIdx.x % 32; e < kDim; e += 32) y[row * kYStride + head * kDim + e] = values[e];
}

/// Heads of q, k and v after their product, where a warp must see a whole head: with a norm of q
/// and k heads (null: none), or with rotation of the first kRotary elements only (0: none). `raw`:
/// [rows, kRawStride], the heads of q, k and v side by side. Block (kHeadsPerBlock heads, row).
template <class Pool, int kNumHeads, int kRotary, int kRawStride, int kQStride, class Rows>
DEVICE void finishHeads(const Args& a, const float* raw, const float* bias, const float* q_norm,
                        const float* k_norm, float eps, const float* rope, const Rows& rows,
                        void* keys, void* values, float* q) {
  constexpr int kDim = Pool::kDim, kHalf = kRotary / 2;
  __shared__ float shared[kHeadsPerBlock][kDim];
  letNextKernelBegin();
  waitForEarlierKernels();
  const Step& step = *a.step;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int head = blockIdx.x * kHeadsPerBlock + warp, row = blockIdx.y;
  if (row >= step.num_rows || head >= kNumHeads + 2 * Pool::kHeads) return;
  float* const mine = shared[warp];
  for (int e = lane; e < kDim; e += 32) {
    const float v = raw[static_cast<i64>(row) * kRawStride + head * kDim + e];
    mine[e] = bias ? v + bias[head * kDim + e] : v;
  }
  __syncwarp();
  const bool is_query = head < kNumHeads, is_key = !is_query && head < kNumHeads + Pool::kHeads;
  if (q_norm && (is_query || is_key)) normHead<kDim, false>(mine, is_query ? q_norm : k_norm, eps);
  const int pos = rows.pos[row], seq = rows.seq[row], slot = Rows::kTrees ? rows.slots()[row] : pos;
  const int kv_head = head - kNumHeads - (is_key ? 0 : Pool::kHeads);
  typename Pool::Element* const cached =
      is_query ? nullptr : Pool::at(is_key ? keys : values, step, rows, seq, slot, kv_head);
  for (int e = lane; e < kDim; e += 32) {
    float v = mine[e];
    if (e < kRotary && (is_query || is_key)) {
      const int i = e < kHalf ? e : e - kHalf;
      float low = mine[i], high = mine[i + kHalf];
      rotate<kHalf>(rope, pos, i, low, high);
      v = e < kHalf ? low : high;
    }
    if (is_query)
      q[static_cast<i64>(row) * kQStride + head * kDim + e] = v;
    else
      cached[e] = Pool::Type::fromFloat(v);
  }
}
