// Attention of many rows on tensor cores: mma.sync m16n8k16 with caches of bf16 or f16.
//
// Four warps share a tile of 64 keys and 64 values, a block of the cache; each has 16 queries, a
// query being one head of one row. Scores and outputs stay in registers (arXiv 2205.14135). Where
// heads are wider than 128, queries wait in shared memory, and one tile of keys and one of values
// are there at a time: keys travel while values are multiplied, values while keys are.
// Queries, scaled, and probabilities are rounded to the cache's type; sums are f32.

template <class Pool, int kNumHeads, int kWindow, int kQStride, int kYStride>
struct FlashAttention {
  typedef typename Pool::Type T;
  static constexpr int kThreads = 128, kKeys = kBlockTokens;
  static constexpr int kDim = Pool::kDim, kPadded = Pool::kPadded,
                       kGroup = kNumHeads / Pool::kHeads;
  static constexpr int kRows = 64 / kGroup;  // of the step, in a block
  /// 16 bytes more than a vector: eight rows then begin in different banks, for both ways of
  /// reading.
  static constexpr int kRowBytes = kPadded * 2 + 16, kTileBytes = kKeys * kRowBytes;
  static constexpr bool kWide = kPadded > 128;
  static constexpr int kQueryBytes = kPadded / 16 * kThreads * 16;
  /// Keys and values, twice; or once, with the queries.
  static constexpr int kSharedBytes = kWide ? 2 * kTileBytes + kQueryBytes : 4 * kTileBytes;

  static DEVICE void copyTile(u8* to, const void* pool, const Step& step, int seq, int head,
                              int block, int last_pos) {
    constexpr int kChunks = kPadded / 8;  // of 16 bytes, in a vector
    const int first = block * kKeys;
    const u8* from =
        reinterpret_cast<const u8*>(Pool::at(const_cast<void*>(pool), step, seq, first, head));
    for (int i = threadIdx.x; i < kKeys * kChunks; i += kThreads) {
      const int key = i / kChunks, chunk = i % kChunks;
      // What the sequence has not written must not reach a sum, not even times 0.
      copyAsync16(to + key * kRowBytes + chunk * 16, from + (key * kChunks + chunk) * 16,
                  first + key <= last_pos);
    }
  }

  /// Block (KV head, kRows rows).
  static DEVICE void run(const Args& a, const float* q, const void* keys, const void* values,
                         float* y, float scale, float cap = 0, const float* sinks = nullptr) {
    u8* const shared = dynamicShared();
    letNextKernelBegin();
    waitForEarlierKernels();
    const Step& step = *a.step;
    const int head = blockIdx.x, first = blockIdx.y * kRows;
    const int end = first + kRows < step.num_rows ? first + kRows : static_cast<int>(step.num_rows);
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, c = lane % 4;
    // Rows of one sequence are adjacent; a block may have the end of one and the beginning of
    // another.
    for (int begin = first; begin < end;) {
      const int seq = step.rows[begin].seq;
      int stop = begin + 1;
      while (stop < end && step.rows[stop].seq == seq) ++stop;
      oneSequence(shared, step, q, keys, values, y, scale, cap, sinks, head, seq, first, begin,
                  stop, warp, g, c, lane);
      begin = stop;
    }
  }

  /// Rows [begin, stop) of the block's, which begins at row `first`.
  static DEVICE void oneSequence(u8* shared, const Step& step, const float* q, const void* keys,
                                 const void* values, float* y, float scale, float cap,
                                 const float* sinks, int head, int seq, int first, int begin,
                                 int stop, int warp, int g, int c, int lane) {
    // This thread's two queries, and the positions they attend to: [from, pos].
    int row[2], query_head[2], pos[2], from[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int entry = warp * 16 + g + 8 * h;
      row[h] = first + entry / kGroup;
      query_head[h] = head * kGroup + entry % kGroup;
      const bool mine = entry < kRows * kGroup && row[h] >= begin && row[h] < stop;
      pos[h] = mine ? step.rows[row[h]].pos : -1;
      from[h] = kWindow > 0 && pos[h] + 1 > kWindow ? pos[h] + 1 - kWindow : 0;
    }
    u32 queries[kWide ? 1 : kPadded / 16][4];
    // [kPadded / 16][128]: a thread reads what it wrote itself.
    uint4* const kept = reinterpret_cast<uint4*>(shared + 2 * kTileBytes) + threadIdx.x;
#pragma unroll
    for (int k = 0; k < kPadded / 16; ++k) {
      u32* const query = queries[kWide ? 0 : k];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int h = j % 2, d = k * 16 + j / 2 * 8 + 2 * c;
        const float* at = q + static_cast<i64>(row[h]) * kQStride + query_head[h] * kDim + d;
        const float low = pos[h] >= 0 && d < kDim ? at[0] * scale : 0.0f;
        const float high = pos[h] >= 0 && d + 1 < kDim ? at[1] * scale : 0.0f;
        query[j] = packPair(T(), low, high);
      }
      if (kWide) {
        uint4 quad;
        quad.x = query[0], quad.y = query[1], quad.z = query[2], quad.w = query[3];
        kept[k * kThreads] = quad;
      }
    }
    float out[kPadded / 8][4], largest[2] = {-infinity(), -infinity()}, sum[2] = {0, 0};
#pragma unroll
    for (int n = 0; n < kPadded / 8; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) out[n][e] = 0;

    const int last_pos = step.rows[stop - 1].pos, first_pos = step.rows[begin].pos;
    const int first_block =
        (kWindow > 0 && first_pos + 1 > kWindow ? first_pos + 1 - kWindow : 0) / kKeys;
    const int last_block = last_pos / kKeys;
    auto copyKeys = [&](int block) {
      u8* const to = shared + (kWide ? 0 : (block - first_block) % 2 * 2 * kTileBytes);
      copyTile(to, keys, step, seq, head, block, last_pos);
    };
    auto copyValues = [&](int block) {
      u8* const to = shared + (kWide ? 0 : (block - first_block) % 2 * 2 * kTileBytes) + kTileBytes;
      copyTile(to, values, step, seq, head, block, last_pos);
    };
    copyKeys(first_block);
    if (kWide) commitCopies();
    copyValues(first_block);
    commitCopies();
#pragma unroll 1
    for (int block = first_block; block <= last_block; ++block) {
      if (!kWide) {
        if (block < last_block) {
          copyKeys(block + 1);
          copyValues(block + 1);
        }
        commitCopies();
      }
      waitCopies<1>();
      __syncthreads();  // this block's keys (and values, unless kWide) are there for every thread
      const u8* const key_tile = shared + (kWide ? 0 : (block - first_block) % 2 * 2 * kTileBytes);
      const u8* const value_tile = key_tile + kTileBytes;
      float scores[kKeys / 8][4];
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) scores[n][e] = 0;
      auto multiplyKeys = [&](int k, int n, const uint4& query) {
        const u8* const key = key_tile + (n * 8 + g) * kRowBytes + c * 4 + k * 32;
        mma(T(), scores[n], query, *reinterpret_cast<const u32*>(key),
            *reinterpret_cast<const u32*>(key + 16));
      };
      if (kWide) {
#pragma unroll
        for (int k = 0; k < kPadded / 16; ++k) {
          const uint4 query = kept[k * kThreads];
#pragma unroll
          for (int n = 0; n < kKeys / 8; ++n) multiplyKeys(k, n, query);
        }
        __syncthreads();  // the keys have been read
        if (block < last_block) copyKeys(block + 1);
        commitCopies();
      } else {
#pragma unroll
        for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
          for (int k = 0; k < kPadded / 16; ++k) {
            const u32* const words = queries[kWide ? 0 : k];
            uint4 query;
            query.x = words[0], query.y = words[1], query.z = words[2], query.w = words[3];
            multiplyKeys(k, n, query);
          }
      }
      float old_scale[2], base[2];
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        float most = -infinity();
#pragma unroll
        for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            const int key = block * kKeys + n * 8 + 2 * c + e;
            float& score = scores[n][2 * h + e];
            score = softcap(score, cap);
            if (key > pos[h] || key < from[h]) score = -infinity();
            most = fmaxf(most, score);
          }
        most = fmaxf(largest[h], maxLanes<4>(most));
        base[h] = most == -infinity() ? 0.0f : most;  // no key yet: every exponential is 0
        old_scale[h] = exponential(largest[h] - base[h]);
        largest[h] = most;
        float block_sum = 0;
#pragma unroll
        for (int n = 0; n < kKeys / 8; ++n)
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            float& score = scores[n][2 * h + e];
            score = exponential(score - base[h]);
            block_sum += score;
          }
        sum[h] = sum[h] * old_scale[h] + sumLanes<4>(block_sum);
      }
#pragma unroll
      for (int n = 0; n < kPadded / 8; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) out[n][e] *= old_scale[e / 2];
      if (kWide) {
        waitCopies<1>();
        __syncthreads();  // and the values
      }
#pragma unroll
      for (int k = 0; k < kKeys / 16; ++k) {
        uint4 p;
        p.x = packPair(T(), scores[2 * k][0], scores[2 * k][1]);
        p.y = packPair(T(), scores[2 * k][2], scores[2 * k][3]);
        p.z = packPair(T(), scores[2 * k + 1][0], scores[2 * k + 1][1]);
        p.w = packPair(T(), scores[2 * k + 1][2], scores[2 * k + 1][3]);
        // Lane l points at row l % 8 of matrix l / 8: keys 0-7, 8-15 of the sixteen, then the same
        // of the next 8 elements.
        const u8* const value = value_tile + (k * 16 + lane % 16) * kRowBytes + lane / 16 * 16;
#pragma unroll
        for (int n = 0; n < kPadded / 16; ++n) {
          u32 v[4];
          loadTransposed(v, value + n * 32);
          mma(T(), out[2 * n], p, v[0], v[1]);
          mma(T(), out[2 * n + 1], p, v[2], v[3]);
        }
      }
      __syncthreads();  // the tiles have been read: copies may overwrite them
      if (kWide) {
        if (block < last_block) copyValues(block + 1);
        commitCopies();
      }
    }
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      if (pos[h] < 0) continue;
      float* const to = y + static_cast<i64>(row[h]) * kYStride + query_head[h] * kDim;
      float inverse = 1.0f / sum[h];
      if (sinks) {  // one more key, whose value is 0
        const float sink = sinks[query_head[h]], most = fmaxf(largest[h], sink),
                    scale = exponential(largest[h] - most);
        inverse = scale / (sum[h] * scale + exponential(sink - most));
      }
#pragma unroll
      for (int n = 0; n < kPadded / 8; ++n) {
        const int d = n * 8 + 2 * c;
        if (d < kDim) to[d] = out[n][2 * h] * inverse;
        if (d + 1 < kDim) to[d + 1] = out[n][2 * h + 1] * inverse;
      }
    }
  }
};
