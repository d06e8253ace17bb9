// Attention of many rows on tensor cores: mma.sync m16n8k16 with caches of bf16 or f16
// (arXiv 2205.14135). Queries, scaled, and probabilities are rounded to the cache's type; sums are
// f32. Keys are walked in blocks of the cache, in ascending order.

/// A thread's two of a block's kTile queries, rows g and g + 8 of its warp's sixteen. A query is
/// one of the kGroup heads of one row that read a KV head; they are counted row by row.
template <class Pool, int kNumHeads, int kWindow, int kQStride, int kYStride>
struct FlashQueries {
  typedef typename Pool::Type T;
  static constexpr int kDim = Pool::kDim, kGroup = kNumHeads / Pool::kHeads, kTile = 64;
  /// The grid: KV heads times kParts, rows over kRows.
  static constexpr int kParts = ceilDiv(kGroup, kTile), kRows = kGroup < kTile ? kTile / kGroup : 1;

  int row[2], head[2];       // of all query heads
  int pos[2], from[2];       // it attends to positions [from, pos]; to none: pos is -1
  float largest[2], sum[2];  // of the scores so far; of their exponentials

  static DEVICE int firstKey(int pos) {
    return kWindow > 0 && pos + 1 > kWindow ? pos + 1 - kWindow : 0;
  }

  /// body(KV head, the block's first query, sequence, begin, stop) for the rows [begin, stop) of
  /// each sequence that the block has queries of: a sequence's rows are adjacent.
  template <class Body>
  static DEVICE void forSequences(const Step& step, const CacheRows& of, Body body) {
    // The last rows first: they attend to most, and short ones fill the gaps that they leave.
    const int part = (gridDim.y - 1 - blockIdx.y) * kParts + blockIdx.x / Pool::kHeads,
              first = part * kTile;
    const int last = (first + kTile - 1) / kGroup + 1, rows = static_cast<int>(step.num_rows),
              end = last < rows ? last : rows;
    for (int begin = first / kGroup; begin < end;) {
      const int seq = of.seq[begin];
      int stop = begin + 1;
      while (stop < end && of.seq[stop] == seq) ++stop;
      body(static_cast<int>(blockIdx.x % Pool::kHeads), first, seq, begin, stop);
      begin = stop;
    }
  }

  /// Of the sixteen queries from `first` on, those of rows [begin, stop).
  DEVICE FlashQueries(const CacheRows& of, int kv_head, int first, int begin, int stop) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int query = first + threadIdx.x % 32 / 4 + 8 * h;
      row[h] = query / kGroup;
      head[h] = kv_head * kGroup + query % kGroup;
      pos[h] = row[h] >= begin && row[h] < stop ? of.pos[row[h]] : -1;
      from[h] = firstKey(pos[h]);
      largest[h] = -infinity();
      sum[h] = 0;
    }
  }

  /// Elements [16 k, 16 k + 16) of the queries, times `scale`: an A operand.
  DEVICE uint4 fragment(const float* q, int k, float scale) const {
    u32 words[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int h = j % 2, d = k * 16 + j / 2 * 8 + 2 * (threadIdx.x % 4);
      const float* at = q + static_cast<i64>(row[h]) * kQStride + head[h] * kDim + d;
      const float low = pos[h] >= 0 && d < kDim ? at[0] * scale : 0.0f;
      const float high = pos[h] >= 0 && d + 1 < kDim ? at[1] * scale : 0.0f;
      words[j] = packPair(T(), low, high);
    }
    return {words[0], words[1], words[2], words[3]};
  }

  /// The positions that all of rows [begin, stop) of a sequence attend to.
  struct Whole {
    int from, to;
    DEVICE Whole(const CacheRows& of, int begin, int stop)
        : from(firstKey(of.pos[stop - 1])), to(of.pos[begin]) {}
    DEVICE bool has(int first, int count) const { return first >= from && first + count - 1 <= to; }
  };

  /// Caps the scores of 8 kKeyTiles keys from `first` on, -infinity where they are not attended to
  /// if these are an edge; `most`: the largest of each query.
  template <int kKeyTiles>
  DEVICE void mask(float (&scores)[kKeyTiles][4], int first, bool edge, float cap,
                   float (&most)[2]) const {
    if (edge) {
#pragma unroll
      for (int n = 0; n < kKeyTiles; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int key = first + n * 8 + 2 * (threadIdx.x % 4) + e % 2;
          if (key > pos[e / 2] || key < from[e / 2]) scores[n][e] = -infinity();
        }
    }
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      most[h] = -infinity();
#pragma unroll
      for (int n = 0; n < kKeyTiles; ++n)
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          float& score = scores[n][2 * h + e];
          if (cap != 0.0f && score != -infinity()) score = softcap(score, cap);
          most[h] = fmaxf(most[h], score);
        }
      most[h] = maxLanes<4>(most[h]);
    }
  }

  /// Scores become exponentials, which are added to the sum. `most`: the largest score of the
  /// block; `old_scale`: what outputs so far are to be multiplied by.
  template <int kKeyTiles>
  DEVICE void weigh(float (&scores)[kKeyTiles][4], const float (&most)[2], float (&old_scale)[2]) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const float now = fmaxf(largest[h], most[h]);
      const float base = now == -infinity() ? 0.0f : now;  // no key yet: every exponential is 0
      // e^v as 2^(v log2 e), whose product is taken along: two instructions, not eight.
      constexpr float kLog2E = 1.44269504f;
      const float shift = -base * kLog2E;
      old_scale[h] = powerOfTwo((largest[h] - base) * kLog2E);
      largest[h] = now;
      float block_sum = 0;
#pragma unroll
      for (int n = 0; n < kKeyTiles; ++n)
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          float& score = scores[n][2 * h + e];
          score = powerOfTwo(fmaf(score, kLog2E, shift));
          block_sum += score;
        }
      sum[h] = fmaf(sum[h], old_scale[h], sumLanes<4>(block_sum));
    }
  }

  /// Exponentials of keys [16 k, 16 k + 16) as an A operand.
  template <int kKeyTiles>
  static DEVICE uint4 probabilities(const float (&scores)[kKeyTiles][4], int k) {
    return {packPair(T(), scores[2 * k][0], scores[2 * k][1]),
            packPair(T(), scores[2 * k][2], scores[2 * k][3]),
            packPair(T(), scores[2 * k + 1][0], scores[2 * k + 1][1]),
            packPair(T(), scores[2 * k + 1][2], scores[2 * k + 1][3])};
  }

  /// y = outputs over sums. `columnOf(n)`: the first of outputs n's eight elements.
  template <int kTiles, class ColumnOf>
  DEVICE void store(const float (&out)[kTiles][4], float* y, const float* sinks,
                    ColumnOf columnOf) const {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      if (pos[h] < 0) continue;
      float* const to = y + static_cast<i64>(row[h]) * kYStride + head[h] * Pool::kValueDim;
      float inverse = 1.0f / sum[h];
      if (sinks) {  // one more key, whose value is 0
        const float sink = sinks[head[h]], most = fmaxf(largest[h], sink),
                    scale = exponential(largest[h] - most);
        inverse = scale / fmaf(sum[h], scale, exponential(sink - most));
      }
#pragma unroll
      for (int n = 0; n < kTiles; ++n) {
        const int d = columnOf(n) + 2 * (threadIdx.x % 4);
        if (d < Pool::kValueDim) to[d] = out[n][2 * h] * inverse;
        if (d + 1 < Pool::kValueDim) to[d + 1] = out[n][2 * h + 1] * inverse;
      }
    }
  }
};

template <int kTiles>
DEVICE void clear(float (&sums)[kTiles][4]) {
#pragma unroll
  for (int n = 0; n < kTiles; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) sums[n][e] = 0;
}
/// Rows g and g + 8 of a tile's sums times a factor each.
template <int kTiles>
DEVICE void scaleRows(float (&sums)[kTiles][4], const float (&factor)[2]) {
#pragma unroll
  for (int n = 0; n < kTiles; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) sums[n][e] *= factor[e / 2];
}

/// scores += 16 queries by 8 kKeyTiles keys over 16 elements; the keys are rows of kRowBytes at
/// `keys` in shared memory.
template <class T, int kRowBytes, int kKeyTiles>
DEVICE void multiplyKeys(float (&scores)[kKeyTiles][4], const uint4& query, const u8* keys) {
  static_assert(kKeyTiles % 2 == 0);
  // Lane l points at row l % 8 of matrix l / 8: elements 0-7, 8-15 of eight keys, then of the next.
  keys += (threadIdx.x % 8 + threadIdx.x % 32 / 16 * 8) * kRowBytes + threadIdx.x / 8 % 2 * 16;
#pragma unroll
  for (int n = 0; n < kKeyTiles; n += 2) {
    u32 v[4];
    loadMatrices(v, keys + n * 8 * kRowBytes);
    mma(T(), scores[n], query, v[0], v[1]);
    mma(T(), scores[n + 1], query, v[2], v[3]);
  }
}
/// out[2 n], out[2 n + 1] += 16 queries' probabilities of 16 keys times those keys' elements
/// [16 n, 16 n + 16) at `values`, for n < kPairs.
template <class T, int kRowBytes, int kPairs>
DEVICE void multiplyValues(float (*out)[4], const uint4& p, const u8* values) {
  // Lane l points at row l % 8 of matrix l / 8: keys 0-7, 8-15 of the sixteen, then the same of the
  // next 8 elements.
  values += threadIdx.x % 16 * kRowBytes + threadIdx.x % 32 / 16 * 16;
#pragma unroll
  for (int n = 0; n < kPairs; ++n) {
    u32 v[4];
    loadTransposed(v, values + n * 32);
    mma(T(), out[2 * n], p, v[0], v[1]);
    mma(T(), out[2 * n + 1], p, v[2], v[3]);
  }
}

/// Heads of at most 128 elements, values as wide as keys: four warps, sixteen queries each.
/// Queries, scores and outputs stay in registers; a block of keys and one of values are in shared
/// memory while the next ones travel.
template <class Pool, int kNumHeads, int kWindow, int kQStride, int kYStride>
struct FlashAttention {
  typedef typename Pool::Type T;
  typedef FlashQueries<Pool, kNumHeads, kWindow, kQStride, kYStride> Queries;
  static constexpr int kThreads = 128, kKeys = kBlockTokens, kPadded = Pool::kPadded;
  static_assert(kPadded <= 128 && Pool::kDim == Pool::kValueDim, "else WideFlashAttention");
  /// 16 bytes more than a vector: eight rows then begin in different banks, for both ways of
  /// reading.
  static constexpr int kRowBytes = kPadded * 2 + 16, kTileBytes = kKeys * kRowBytes;
  static constexpr int kSharedBytes = 4 * kTileBytes;  // keys and values, twice

  /// `valid`: how many of the keys the sequence has written.
  static DEVICE void copyTile(u8* to, const void* pool, int block, int head, int valid) {
    constexpr int kChunks = kPadded / 8;  // of 16 bytes, in a vector
    const u8* from = reinterpret_cast<const u8*>(
        Pool::template vectorIn<kPadded>(const_cast<void*>(pool), block, 0, head));
    static_assert(kKeys * kChunks % kThreads == 0);
#pragma unroll
    for (int i = 0; i < kKeys * kChunks / kThreads; ++i) {
      const int piece = i * kThreads + threadIdx.x, key = piece / kChunks, chunk = piece % kChunks;
      // What the sequence has not written must not reach a sum, not even times 0.
      copyAsync16(to + key * kRowBytes + chunk * 16, from + (key * kChunks + chunk) * 16,
                  key < valid);
    }
  }

  static DEVICE void run(const Args& a, const float* q, const CacheRows& rows, const void* keys,
                         const void* values, float* y, float scale, float cap = 0,
                         const float* sinks = nullptr) {
    u8* const shared = dynamicShared();
    letNextKernelBegin();
    waitForEarlierKernels();
    const Step& step = *a.step;
    Queries::forSequences(step, rows, [&](int head, int first, int seq, int begin, int stop) {
      oneSequence(shared, step, q, rows, keys, values, y, scale, cap, sinks, head, first, seq,
                  begin, stop);
    });
  }

  /// The block's queries, from `first` on, of rows [begin, stop).
  static DEVICE void oneSequence(u8* shared, const Step& step, const float* q,
                                 const CacheRows& rows, const void* keys, const void* values,
                                 float* y, float scale, float cap, const float* sinks, int head,
                                 int first, int seq, int begin, int stop) {
    Queries queries(rows, head, first + threadIdx.x / 32 * 16, begin, stop);
    uint4 fragments[kPadded / 16];
#pragma unroll
    for (int k = 0; k < kPadded / 16; ++k) fragments[k] = queries.fragment(q, k, scale);
    float out[kPadded / 8][4];
    clear(out);
    const int last_pos = rows.pos[stop - 1], last_block = last_pos / kKeys;
    const int first_block = Queries::firstKey(rows.pos[begin]) / kKeys;
    // Of the sequence's block, one ahead of its copy: the table is not waited for.
    const int* const table = Pool::tableAt(step, rows, seq, 0);
    const typename Queries::Whole whole(rows, begin, stop);
    auto copy = [&](int block, int in_pool) {
      u8* const to = shared + (block - first_block) % 2 * 2 * kTileBytes;
      const int valid = last_pos + 1 - block * kKeys;
      copyTile(to, keys, in_pool, head, valid);
      copyTile(to + kTileBytes, values, in_pool, head, valid);
    };
    copy(first_block, table[first_block]);
    commitCopies();
    int next = first_block < last_block ? table[first_block + 1] : 0;
#pragma unroll 1
    for (int block = first_block; block <= last_block; ++block) {
      if (block < last_block) copy(block + 1, next);
      commitCopies();
      if (block + 2 <= last_block) next = table[block + 2];
      waitCopies<1>();
      __syncthreads();  // this block's keys and values are there for every thread
      const u8* const key_tile = shared + (block - first_block) % 2 * 2 * kTileBytes;
      const u8* const value_tile = key_tile + kTileBytes;
      float scores[kKeys / 8][4], most[2], old_scale[2];
      clear(scores);
#pragma unroll
      for (int k = 0; k < kPadded / 16; ++k)
        multiplyKeys<T, kRowBytes>(scores, fragments[k], key_tile + k * 32);
      queries.mask(scores, block * kKeys, !whole.has(block * kKeys, kKeys), cap, most);
      queries.weigh(scores, most, old_scale);
      scaleRows(out, old_scale);
#pragma unroll
      for (int k = 0; k < kKeys / 16; ++k)
        multiplyValues<T, kRowBytes, kPadded / 16>(out, Queries::probabilities(scores, k),
                                                   value_tile + k * 16 * kRowBytes);
      __syncthreads();  // the tiles have been read: copies may overwrite them
    }
    queries.store(out, y, sinks, [](int n) { return n * 8; });
  }
};
