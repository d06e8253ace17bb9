// Kernels with a block per row: embedding, and what remains of a model where a fusion is switched
// off.

/// A paged state: per layer a pool of blocks, each [num_kv_heads, 64 tokens, head_dim_padded] of
/// keys, and one of values, which may have another width (latents: arXiv 2405.04434).
template <class T, int kNumHeads, int kHeadDim, int kValueHeadDim = kHeadDim>
struct KvPool {
  typedef typename T::Element Element;
  typedef T Type;
  static constexpr int kHeads = kNumHeads, kDim = kHeadDim, kValueDim = kValueHeadDim;
  static constexpr int kPadded = ceilDiv(kHeadDim, 16) * 16,
                       kValuePadded = ceilDiv(kValueHeadDim, 16) * 16;
  /// The vector of head `head` at position `pos` of sequence `seq`, kWidth elements long.
  template <int kWidth>
  static DEVICE Element* vectorAt(void* pool, const Step& step, const CacheRows& rows, int seq,
                                  int pos, int head) {
    return vectorIn<kWidth>(pool, *tableAt(step, rows, seq, pos), pos, head);
  }
  /// Where the block of that position stands.
  static DEVICE const int* tableAt(const Step& step, const CacheRows& rows, int seq, int pos) {
    return &rows.block_table[seq * step.blocks_per_seq + pos / kBlockTokens];
  }
  template <int kWidth>
  static DEVICE Element* vectorIn(void* pool, i64 block, int pos, int head) {
    return static_cast<Element*>(pool) + offsetIn<kWidth>(block, pos, head);
  }
  template <int kWidth>
  static DEVICE i64 offsetIn(i64 block, int pos, int head) {
    return ((block * kNumHeads + head) * kBlockTokens + pos % kBlockTokens) * kWidth;
  }
  static DEVICE Element* at(void* pool, const Step& step, const CacheRows& rows, int seq, int pos,
                            int head) {
    return vectorAt<kPadded>(pool, step, rows, seq, pos, head);
  }
  static DEVICE Element* valueAt(void* pool, const Step& step, const CacheRows& rows, int seq,
                                 int pos, int head) {
    return vectorAt<kValuePadded>(pool, step, rows, seq, pos, head);
  }
};

DEVICE void rotate(float cos, float sin, float& low, float& high) {
  const float a = low, b = high;
  low = fmaf(a, cos, -(b * sin));
  high = fmaf(b, cos, a * sin);
}
/// Rotates (low, high) = (x[i], x[i + half]) by the angle of `pos`. Table: [max_seq_len, 2, half]
/// cos and sin.
template <int kHalf>
DEVICE void rotate(const float* table, int pos, int i, float& low, float& high) {
  const float* row = table + static_cast<i64>(pos) * 2 * kHalf + i;
  rotate(row[0], row[kHalf], low, high);
}

/// y[row] = weight[token] * scale + positions[pos]; no positions where they are null. kFragments:
/// the weight lies as the logits' matrix does. Blocks of 256 threads: of a row in memory each has
/// up to eight words on their way.
template <class T, int kCols, bool kFragments, int kStride>
DEVICE void embedRow(const Args& a, const int* token_id, const void* weight, float* y,
                     float scale = 1, const int* pos = nullptr, const void* positions = nullptr) {
  const int row = blockIdx.y;
  if (row >= a.step->num_rows) return;
  const i64 token = token_id[row];
  constexpr int kPer = T::kPerWord, kBlocks = ceilDiv(kCols, 8 * kPer);
  typedef typename T::Element Element;
  const Element* const elements = static_cast<const Element*>(weight);
  const Element* const of_pos =
      static_cast<const Element*>(positions) + (positions ? static_cast<i64>(pos[row]) * kCols : 0);
  y += static_cast<i64>(row) * kStride;
  constexpr int kWords = ceilDiv(kCols, kPer), kEach = ceilDiv(kWords, 256),
                kTogether = kEach < 8 ? kEach : 8;
  // Where element e of word `word` of the row lies.
  auto at = [&](int word, int e) {
    if (!kFragments) return token * kCols + word * kPer + e;
    return ((token / 16 * kBlocks + word / 8) * kBlockWords +
            fragmentWord(word % 8, static_cast<int>(token % 16))) *
               kPer +
           e;
  };
#pragma unroll 1
  for (int begin = threadIdx.x; begin < kWords; begin += kTogether * 256) {
    float values[kTogether][kPer], others[kTogether][kPer];
#pragma unroll
    for (int i = 0; i < kTogether; ++i)
#pragma unroll
      for (int e = 0; e < kPer; ++e) {
        const int word = begin + i * 256, k = word * kPer + e;
        values[i][e] = k < kCols ? T::load(elements + at(word, e)) : 0.0f;
        others[i][e] = positions && k < kCols ? T::load(of_pos + k) : 0.0f;
      }
#pragma unroll
    for (int i = 0; i < kTogether; ++i)
#pragma unroll
      for (int e = 0; e < kPer; ++e) {
        const int k = (begin + i * 256) * kPer + e;
        const float v = values[i][e] * scale;
        if (k < kCols) y[k] = positions ? v + others[i][e] : v;
      }
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
  for (int k = threadIdx.x; k < kCols; k += 256) sum = fmaf(x[k], x[k], sum);
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

/// Row `from_row[row]` of `from`, or the row itself where that is null.
template <int kCols, int kFromStride, int kToStride>
DEVICE void copyRow(const Args& a, const float* from, const int* from_row, float* to) {
  const i64 row = blockIdx.y;
  if (row >= a.step->num_rows) return;
  from += static_cast<i64>(from_row ? from_row[row] : row) * kFromStride;
  for (int k = threadIdx.x; k < kCols; k += blockDim.x) to[row * kToStride + k] = from[k];
}

/// Rotates the first kRotary elements of each head; those after it stay as they are.
template <int kCols, int kHeadDim, int kRotary, int kXStride, int kYStride>
DEVICE void ropeRow(const Args& a, const float* x, const int* pos, const float* table, float* y) {
  const i64 row = blockIdx.y;
  if (row >= a.step->num_rows) return;
  constexpr int kHalf = kRotary / 2, kParts = kHeadDim - kHalf;  // pairs, then single elements
  for (int t = threadIdx.x; t < kCols / kHeadDim * kParts; t += blockDim.x) {
    const int i = t % kParts, at = t / kParts * kHeadDim + (i < kHalf ? i : i + kHalf);
    float low = x[row * kXStride + at];
    if (i < kHalf) {
      float high = x[row * kXStride + at + kHalf];
      rotate<kHalf>(table, pos[row], i, low, high);
      y[row * kYStride + at + kHalf] = high;
    }
    y[row * kYStride + at] = low;
  }
}

template <class Pool, int kKStride, int kVStride, class Rows>
DEVICE void kvWriteRow(const Args& a, const float* k, const float* v, const Rows& rows, void* keys,
                       void* values) {
  const int row = blockIdx.y;
  const Step& step = *a.step;
  if (row >= step.num_rows) return;
  const int slot = rows.slots()[row], seq = rows.seq[row];
  for (int i = threadIdx.x; i < Pool::kHeads * Pool::kDim; i += blockDim.x)
    Pool::at(keys, step, rows, seq, slot, i / Pool::kDim)[i % Pool::kDim] =
        Pool::Type::fromFloat(k[static_cast<i64>(row) * kKStride + i]);
  for (int i = threadIdx.x; i < Pool::kHeads * Pool::kValueDim; i += blockDim.x)
    Pool::valueAt(values, step, rows, seq, slot, i / Pool::kValueDim)[i % Pool::kValueDim] =
        Pool::Type::fromFloat(v[static_cast<i64>(row) * kVStride + i]);
}

/// y = x times the row's own factor, or one for each of kParts equal parts of it.
template <int kCols, int kParts, int kXStride, int kByStride, int kYStride>
DEVICE void scaleRow(const Args& a, const float* x, const float* by, float* y) {
  const i64 row = blockIdx.y;
  if (row >= a.step->num_rows) return;
  for (int k = threadIdx.x; k < kCols; k += blockDim.x)
    y[row * kYStride + k] = x[row * kXStride + k] * by[row * kByStride + k / (kCols / kParts)];
}

/// y = x * (1 + growth * ln(1 + pos / kEvery)), the quotient an integer.
template <int kCols, int kEvery, int kXStride, int kYStride>
DEVICE void scaleRowByPos(const Args& a, const float* x, const int* pos, float growth, float* y) {
  const i64 row = blockIdx.y;
  if (row >= a.step->num_rows) return;
  const float factor = fmaf(growth, logf(static_cast<float>(1 + pos[row] / kEvery)), 1.0f);
  for (int k = threadIdx.x; k < kCols; k += blockDim.x)
    y[row * kYStride + k] = x[row * kXStride + k] * factor;
}

/// y: each head of a (kA elements), followed by the same head of b (kB).
template <int kHeads, int kA, int kB, int kAStride, int kBStride, int kYStride>
DEVICE void concatRow(const Args& args, const float* a, const float* b, float* y) {
  const i64 row = blockIdx.y;
  if (row >= args.step->num_rows) return;
  for (int i = threadIdx.x; i < kHeads * (kA + kB); i += blockDim.x) {
    const int head = i / (kA + kB), e = i % (kA + kB);
    y[row * kYStride + i] =
        e < kA ? a[row * kAStride + head * kA + e] : b[row * kBStride + head * kB + e - kA];
  }
}
