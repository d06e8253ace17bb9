// Attention over the blocked KV cache.
//
// Keys are walked in chunks of kChunk positions on a grid that starts at position 0. Each chunk
// gives (m, l, o), the largest score, the sum of exponentials and the weighted sum of values;
// chunks are merged in ascending order, by one block in turn or by the last of several to end, with
// the same operations: the bits do not depend on how work is split.

/// Vectors of a cache as lanes read them.
template <class Pool, int kWidth>
struct CachedVectors {
  static constexpr int kPerVector = 16 / sizeof(typename Pool::Element),
                       kVectors = kWidth / kPerVector;
  /// Lanes on one key: a power of two; a lane has kPerLane vectors of it.
  static constexpr DEVICE int lanesFor(int vectors) {
    return vectors >= 32 ? 32 : vectors >= 16 ? 16 : vectors >= 8 ? 8 : vectors >= 4 ? 4 : 2;
  }
  static constexpr int kLanes = lanesFor(kVectors), kPerLane = ceilDiv(kVectors, kLanes),
                       kKeysAtOnce = 32 / kLanes;
};

/// The query heads of a KV head for one row, shared by kParts blocks of 256 threads. `cap`: scores
/// s become cap tanh(s / cap), 0: they stay. `sinks`: a score per query head that has no value; may
/// be null.
template <class Pool, int kNumHeads, int kWindow, int kQStride, int kYStride, int kParts = 1>
struct Attention {
  static constexpr int kChunk = 256, kThreads = 256, kWarps = 8;
  static constexpr int kDim = Pool::kDim, kPadded = Pool::kPadded,
                       kGroup = kNumHeads / Pool::kHeads;
  static constexpr int kValueDim = Pool::kValueDim, kValuePadded = Pool::kValuePadded;
  /// Query heads that share each key they read, in registers; latents are wide.
  static constexpr int kMostTogether = kPadded > 256 ? 2 : 4,
                       kTogether = kGroup < kMostTogether ? kGroup : kMostTogether;
  typedef typename Pool::Element Element;
  typedef CachedVectors<Pool, kPadded> Keys;
  typedef CachedVectors<Pool, kValuePadded> Values;
  static constexpr int kPerVector = Keys::kPerVector;
  static_assert(kChunk == kThreads, "a warp's threads have the numbers of its keys");
  static constexpr int kWarpKeys = kChunk / kWarps,
                       kOutputs = ceilDiv(kTogether * kValuePadded, kThreads);
  static constexpr int kRounds = ceilDiv(kGroup, kTogether),
                       kRoundsPerPart = ceilDiv(kRounds, kParts);

  struct Shared {
    float scores[kTogether][kChunk];
    float output[kWarps][kTogether][kValuePadded];
    float largest[kTogether], sum[kTogether];
    int last;
  };

  /// (m, l, o) of some keys; a thread has elements threadIdx.x + i kThreads of
  /// [kTogether][kValuePadded] of o.
  struct State {
    float largest[kTogether], sum[kTogether], output[kOutputs];
  };

  static DEVICE void unpackVector(const uint4& v, float (&values)[kPerVector]) {
    const u32 words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      float pair[Pool::Type::kPerWord];
      Pool::Type::unpack(words[i], pair);
#pragma unroll
      for (int j = 0; j < Pool::Type::kPerWord; ++j) values[i * Pool::Type::kPerWord + j] = pair[j];
    }
  }

  /// body(i, quads of the lane's vectors of key begin + i) for the keys of this warp that lie in
  /// [from, to). V: Keys or Values, kWidth: elements of one in the pool.
  template <class V, int kWidth, class Body>
  static DEVICE void forKeys(const void* pool, const Step& step, int seq, int head, int chunk_begin,
                             int from, int to, Body body) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, in_key = lane % V::kLanes,
              key = lane / V::kLanes;
    const int begin =
        chunk_begin + warp * kWarpKeys;  // within one block of the cache: 32 divides 64
    if (begin + kWarpKeys <= from || begin >= to) return;
    const Element* vectors =
        Pool::template vectorAt<kWidth>(const_cast<void*>(pool), step, seq, begin, head);
    constexpr int kSteps = kWarpKeys / V::kKeysAtOnce, kMost = V::kPerLane > 2 ? 2 : 8,
                  kUnroll = kSteps < kMost ? kSteps : kMost;
    for (int s = 0; s < kSteps; s += kUnroll) {
      uint4 quads[kUnroll][V::kPerLane];
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        const int i = (s + u) * V::kKeysAtOnce + key;
        const bool valid = begin + i >= from && begin + i < to;
#pragma unroll
        for (int j = 0; j < V::kPerLane; ++j) {
          const int v = in_key + j * V::kLanes;
          quads[u][j] = uint4();
          if (valid && (V::kVectors % V::kLanes == 0 || v < V::kVectors))
            quads[u][j] = *reinterpret_cast<const uint4*>(vectors + i * kWidth + v * kPerVector);
        }
      }
#pragma unroll
      for (int u = 0; u < kUnroll; ++u)
        body(warp * kWarpKeys + (s + u) * V::kKeysAtOnce + key, quads[u]);
    }
  }

  /// The state of query heads [h0, h0 + kTogether) of the group over keys [from, to) of the chunk.
  /// All threads call it.
  static DEVICE void chunkState(Shared& shared, const Step& step, const float* q, const void* keys,
                                const void* values, int row, int seq, int head, int h0,
                                int chunk_begin, int from, int to, float scale, float cap,
                                State& state) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const float* query = q + static_cast<i64>(row) * kQStride + (head * kGroup + h0) * kDim;
    {
      const int in_key = lane % Keys::kLanes;
      float mine[kTogether][Keys::kPerLane][kPerVector];
#pragma unroll
      for (int h = 0; h < kTogether; ++h)
#pragma unroll
        for (int j = 0; j < Keys::kPerLane; ++j)
#pragma unroll
          for (int e = 0; e < kPerVector; ++e) {
            const int d = (in_key + j * Keys::kLanes) * kPerVector + e;
            mine[h][j][e] = d < kDim && h0 + h < kGroup ? query[h * kDim + d] * scale : 0.0f;
          }
      for (int i = threadIdx.x; i < kTogether * kChunk; i += kThreads)
        (&shared.scores[0][0])[i] = -infinity();
      __syncwarp();  // a warp has cleared the scores of its own keys
      forKeys<Keys, kPadded>(keys, step, seq, head, chunk_begin, from, to,
                             [&](int i, const uint4(&quads)[Keys::kPerLane]) {
                               float dots[kTogether];
#pragma unroll
                               for (int h = 0; h < kTogether; ++h) dots[h] = 0;
#pragma unroll
                               for (int j = 0; j < Keys::kPerLane; ++j) {
                                 float key[kPerVector];
                                 unpackVector(quads[j], key);
#pragma unroll
                                 for (int h = 0; h < kTogether; ++h)
#pragma unroll
                                   for (int e = 0; e < kPerVector; ++e)
                                     dots[h] = fmaf(mine[h][j][e], key[e], dots[h]);
                               }
                               const bool inside = chunk_begin + i >= from && chunk_begin + i < to;
#pragma unroll
                               for (int h = 0; h < kTogether; ++h) {
                                 const float dot = sumLanes<Keys::kLanes>(dots[h]);
                                 if (in_key == 0 && inside) shared.scores[h][i] = softcap(dot, cap);
                               }
                             });
    }
    __syncthreads();
    if (warp < kTogether) {  // one warp a head
      float* const scores = shared.scores[warp];
      float largest = -infinity(), sum = 0;
      for (int i = lane; i < kChunk; i += 32) largest = fmaxf(largest, scores[i]);
      largest = maxLanes<32>(largest);
      for (int i = lane; i < kChunk; i += 32) {
        const float e = exponential(scores[i] - largest);
        scores[i] = e;
        sum += e;
      }
      sum = sumLanes<32>(sum);
      if (lane == 0) {
        shared.largest[warp] = largest;
        shared.sum[warp] = sum;
      }
    }
    __syncthreads();
    {
      const int in_key = lane % Values::kLanes;
      float out[kTogether][Values::kPerLane][kPerVector];
#pragma unroll
      for (int h = 0; h < kTogether; ++h)
#pragma unroll
        for (int j = 0; j < Values::kPerLane; ++j)
#pragma unroll
          for (int e = 0; e < kPerVector; ++e) out[h][j][e] = 0;
      forKeys<Values, kValuePadded>(values, step, seq, head, chunk_begin, from, to,
                                    [&](int i, const uint4(&quads)[Values::kPerLane]) {
#pragma unroll
                                      for (int j = 0; j < Values::kPerLane; ++j) {
                                        float value[kPerVector];
                                        unpackVector(quads[j], value);
#pragma unroll
                                        for (int h = 0; h < kTogether; ++h)
#pragma unroll
                                          for (int e = 0; e < kPerVector; ++e)
                                            out[h][j][e] =
                                                fmaf(shared.scores[h][i], value[e], out[h][j][e]);
                                      }
                                    });
#pragma unroll
      for (int h = 0; h < kTogether; ++h)
#pragma unroll
        for (int j = 0; j < Values::kPerLane; ++j)
#pragma unroll
          for (int e = 0; e < kPerVector; ++e) {
            float v = out[h][j][e];
#pragma unroll
            for (int other = Values::kLanes; other < 32; other *= 2)
              v += __shfl_xor_sync(~0u, v, other);
            const int d = (in_key + j * Values::kLanes) * kPerVector + e;
            if (lane < Values::kLanes && d < kValuePadded) shared.output[warp][h][d] = v;
          }
    }
    __syncthreads();
#pragma unroll
    for (int h = 0; h < kTogether; ++h) {
      state.largest[h] = shared.largest[h];
      state.sum[h] = shared.sum[h];
    }
#pragma unroll
    for (int i = 0; i < kOutputs; ++i) {
      const int at = threadIdx.x + i * kThreads;
      float sum = 0;
      if (at < kTogether * kValuePadded)
        for (int w = 0; w < kWarps; ++w) sum += (&shared.output[w][0][0])[at];
      state.output[i] = sum;
    }
    // The next chunk writes what was read here behind a barrier of its own; its scores before, but
    // those are its own warp's alone.
  }

  static DEVICE void merge(State& state, const State& next) {
    float old_scale[kTogether], new_scale[kTogether];
#pragma unroll
    for (int h = 0; h < kTogether; ++h) {
      const float largest = fmaxf(state.largest[h], next.largest[h]);
      old_scale[h] = exponential(state.largest[h] - largest);
      new_scale[h] = exponential(next.largest[h] - largest);
      state.largest[h] = largest;
      state.sum[h] = state.sum[h] * old_scale[h] + next.sum[h] * new_scale[h];
    }
#pragma unroll
    for (int i = 0; i < kOutputs; ++i) {
      const int head = (threadIdx.x + i * kThreads) / kValuePadded;
      float old_one = 0, new_one = 0;  // selected, so that the arrays stay in registers
#pragma unroll
      for (int h = 0; h < kTogether; ++h)
        if (h == head) old_one = old_scale[h], new_one = new_scale[h];
      state.output[i] = state.output[i] * old_one + next.output[i] * new_one;
    }
  }

  static DEVICE void store(const State& state, const float* sinks, float* y, int row, int head,
                           int h0) {
#pragma unroll
    for (int i = 0; i < kOutputs; ++i) {
      const int at = threadIdx.x + i * kThreads, h = at / kValuePadded, d = at % kValuePadded;
      if (h >= kTogether || h0 + h >= kGroup || d >= kValueDim) continue;
      float sum = 1, largest = 0;
#pragma unroll
      for (int k = 0; k < kTogether; ++k)
        if (k == h) sum = state.sum[k], largest = state.largest[k];
      const int query = head * kGroup + h0 + h;
      float v = state.output[i];
      if (sinks) {  // one more key, whose value is 0
        const float most = fmaxf(largest, sinks[query]), scale = exponential(largest - most);
        v *= scale;
        sum = sum * scale + exponential(sinks[query] - most);
      }
      y[static_cast<i64>(row) * kYStride + query * kValueDim + d] = v / sum;
    }
  }

  static DEVICE int firstKey(int pos) {
    return kWindow > 0 && pos + 1 > kWindow ? pos + 1 - kWindow : 0;
  }

  /// Block (KV head and part of its query heads, row): all chunks, one after the other.
  static DEVICE void inTurn(const Args& a, const float* q, const void* keys, const void* values,
                            float* y, float scale, float cap = 0, const float* sinks = nullptr) {
    __shared__ Shared shared;
    letNextKernelBegin();
    waitForEarlierKernels();
    const Step& step = *a.step;
    const int head = blockIdx.x / kParts, part = blockIdx.x % kParts, row = blockIdx.y;
    if (row >= step.num_rows) return;
    const int pos = step.rows[row].pos, seq = step.rows[row].seq, from = firstKey(pos);
    const int end = roundsEnd(part);
    for (int round = part * kRoundsPerPart; round < end; ++round) {
      const int h0 = round * kTogether;
      State state = {};
      for (int chunk = from / kChunk; chunk <= pos / kChunk; ++chunk) {
        State next = {};
        chunkState(shared, step, q, keys, values, row, seq, head, h0, chunk * kChunk, from, pos + 1,
                   scale, cap, next);
        if (chunk == from / kChunk)
          state = next;
        else
          merge(state, next);
      }
      store(state, sinks, y, row, head, h0);
    }
  }

  /// Rounds of a part: [part * kRoundsPerPart, this).
  static DEVICE int roundsEnd(int part) {
    return (part + 1) * kRoundsPerPart < kRounds ? (part + 1) * kRoundsPerPart : kRounds;
  }

  /// What a chunk leaves for the merge: [kTogether] m, [kTogether] l, [kTogether][kValuePadded] o,
  /// for each h0.
  static constexpr int kPartialFloats = kTogether * (2 + kValuePadded);

  /// Block (KV head and part, row, chunk): one chunk; the last block of a row, head and part to end
  /// merges them. `counters`: [rows, KV heads, kParts], 0 before and after. `partials`: [rows, KV
  /// heads, chunks of the longest sequence, kRounds, kPartialFloats].
  static DEVICE void split(const Args& a, const float* q, const void* keys, const void* values,
                           float* y, float scale, u32* counters, float* partials, int max_chunks,
                           float cap = 0, const float* sinks = nullptr) {
    __shared__ Shared shared;
    letNextKernelBegin();
    waitForEarlierKernels();
    const Step& step = *a.step;
    const int head = blockIdx.x / kParts, part = blockIdx.x % kParts, row = blockIdx.y,
              chunk = blockIdx.z;
    if (row >= step.num_rows) return;
    const int pos = step.rows[row].pos, seq = step.rows[row].seq, from = firstKey(pos);
    const int first = from / kChunk, last = pos / kChunk;
    const int begin = part * kRoundsPerPart, end = roundsEnd(part);
    if (chunk < first || chunk > last) return;
    float* const mine = partials + (static_cast<i64>(row) * Pool::kHeads + head) * max_chunks *
                                       (kRounds * kPartialFloats);
    for (int round = begin; round < end; ++round) {
      State state = {};
      chunkState(shared, step, q, keys, values, row, seq, head, round * kTogether, chunk * kChunk,
                 from, pos + 1, scale, cap, state);
      if (first == last) {
        store(state, sinks, y, row, head, round * kTogether);
        continue;
      }
      float* to = mine + (chunk * kRounds + round) * kPartialFloats;
      if (threadIdx.x == 0) {
#pragma unroll
        for (int h = 0; h < kTogether; ++h)
          to[h] = state.largest[h], to[kTogether + h] = state.sum[h];
      }
#pragma unroll
      for (int i = 0; i < kOutputs; ++i) {
        const int at = threadIdx.x + i * kThreads;
        if (at < kTogether * kValuePadded) to[2 * kTogether + at] = state.output[i];
      }
    }
    if (first == last) return;
    __threadfence();  // what this thread wrote, before the block is counted
    __syncthreads();
    u32* const counter = counters + row * gridDim.x + blockIdx.x;
    if (threadIdx.x == 0) {
      shared.last = atomicAdd(counter, 1u) == static_cast<u32>(last - first);
      if (shared.last) *counter = 0;
    }
    __syncthreads();
    if (!shared.last) return;
    __threadfence();  // what the other blocks wrote, after they were counted
    for (int round = begin; round < end; ++round) {
      State state = {};
      for (int other = first; other <= last; ++other) {
        const volatile float* part = mine + (other * kRounds + round) * kPartialFloats;
        State next = {};
#pragma unroll
        for (int h = 0; h < kTogether; ++h)
          next.largest[h] = part[h], next.sum[h] = part[kTogether + h];
#pragma unroll
        for (int i = 0; i < kOutputs; ++i) {
          const int at = threadIdx.x + i * kThreads;
          next.output[i] = at < kTogether * kValuePadded ? part[2 * kTogether + at] : 0.0f;
        }
        if (other == first)
          state = next;
        else
          merge(state, next);
      }
      store(state, sinks, y, row, head, round * kTogether);
    }
  }
};
