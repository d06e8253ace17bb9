// Kernels with a block per row: embedding, and what remains of a model where a fusion is switched
// off.

/// The KV cache: per layer a pool of blocks, each [num_kv_heads, 64 tokens, head_dim_padded] of
/// keys (values alike).
template <class T, int kNumHeads, int kHeadDim>
struct KvPool {
  typedef typename T::Element Element;
  typedef T Type;
  static constexpr int kHeads = kNumHeads, kDim = kHeadDim;
  static constexpr int kPadded = ceilDiv(kHeadDim, 16) * 16;
  /// The vector of head `head` at position `pos` of sequence `seq`.
  static DEVICE Element* at(void* pool, const Step& step, int seq, int pos, int head) {
    const i64 block = step.block_tables[seq * step.blocks_per_seq + pos / kBlockTokens];
    return static_cast<Element*>(pool) +
           ((block * kNumHeads + head) * kBlockTokens + pos % kBlockTokens) * kPadded;
  }
};

/// Rotates (low, high) = (x[i], x[i + half]) by the angle of `pos`. Table: [max_seq_len, 2, half]
/// cos and sin.
template <int kHalf>
DEVICE void rotate(const float* table, int pos, int i, float& low, float& high) {
  const float* row = table + static_cast<i64>(pos) * 2 * kHalf + i;
  const float c = row[0], s = row[kHalf], a = low, b = high;
  low = a * c - b * s;
  high = b * c + a * s;
}

/// y[row] = weight[token]. kFragments: the weight lies as the logits' matrix does.
template <class T, int kCols, bool kFragments, int kStride>
DEVICE void embedRow(const Args& a, const void* weight, float* y) {
  const Step& step = *a.step;
  const int row = blockIdx.y;
  if (row >= step.num_rows) return;
  const i64 token = step.rows[row].token_id;
  constexpr int kPer = T::kPerWord, kBlocks = ceilDiv(kCols, 8 * kPer);
  for (int k = threadIdx.x; k < kCols; k += blockDim.x) {
    i64 index = token * kCols + k;
    if (kFragments) {
      const int word = k / kPer;
      index = ((token / 16 * kBlocks + word / 8) * kBlockWords +
               fragmentWord(word % 8, static_cast<int>(token % 16))) *
                  kPer +
              k % kPer;
    }
    y[static_cast<i64>(row) * kStride + k] =
        T::load(static_cast<const typename T::Element*>(weight) + index);
  }
}

template <int kCols, int kXStride, int kYStride>
DEVICE void rmsNormRow(const Args& a, const float* x, const float* weight, float* y, float eps) {
  __shared__ float partial[9];
  const int row = blockIdx.y;
  if (row >= a.step->num_rows) return;
  x += static_cast<i64>(row) * kXStride;
  y += static_cast<i64>(row) * kYStride;
  float sum = 0;
  for (int k = threadIdx.x; k < kCols; k += 256) sum += x[k] * x[k];
  sum = sumBlock<256>(sum, partial);
  const float scale = 1.0f / sqrtf(sum / kCols + eps);
  for (int k = threadIdx.x; k < kCols; k += 256) y[k] = x[k] * scale * weight[k];
}

/// y = f(x, other), element by element. `other` has a stride of 0 where it is a vector for all
/// rows.
template <int kCols, int kXStride, int kOtherStride, int kYStride, class F>
DEVICE void elementwiseRow(const Args& a, const float* x, const float* other, float* y, F f) {
  const i64 row = blockIdx.y;
  if (row >= a.step->num_rows) return;
  for (int k = threadIdx.x; k < kCols; k += blockDim.x)
    y[row * kYStride + k] = f(x[row * kXStride + k], other[row * kOtherStride + k]);
}

template <int kCols, int kHeadDim, int kXStride, int kYStride>
DEVICE void ropeRow(const Args& a, const float* x, const float* table, float* y) {
  const i64 row = blockIdx.y;
  if (row >= a.step->num_rows) return;
  constexpr int kHalf = kHeadDim / 2;
  for (int t = threadIdx.x; t < kCols / 2; t += blockDim.x) {
    const int at = t / kHalf * kHeadDim + t % kHalf;
    float low = x[row * kXStride + at], high = x[row * kXStride + at + kHalf];
    rotate<kHalf>(table, a.step->rows[row].pos, t % kHalf, low, high);
    y[row * kYStride + at] = low;
    y[row * kYStride + at + kHalf] = high;
  }
}

template <class Pool, int kKStride, int kVStride>
DEVICE void kvWriteRow(const Args& a, const float* k, const float* v, void* keys, void* values) {
  const int row = blockIdx.y;
  const Step& step = *a.step;
  if (row >= step.num_rows) return;
  const Row r = step.rows[row];
  for (int i = threadIdx.x; i < Pool::kHeads * Pool::kDim; i += blockDim.x) {
    const int head = i / Pool::kDim, e = i % Pool::kDim;
    Pool::at(keys, step, r.seq, r.pos, head)[e] =
        Pool::Type::fromFloat(k[static_cast<i64>(row) * kKStride + i]);
    Pool::at(values, step, r.seq, r.pos, head)[e] =
        Pool::Type::fromFloat(v[static_cast<i64>(row) * kVStride + i]);
  }
}
