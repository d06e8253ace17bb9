// Attention over the blocked KV cache.
//
// Keys are walked in chunks of kChunk positions on a grid that starts at position 0. Each chunk
// gives (m, l, o), the largest score, the sum of exponentials and the weighted sum of values;
// chunks are merged in ascending order, by one block in turn or by the last of several to end, with
// the same operations: the bits do not depend on how work is split.

/// All query heads of KV head `head` for one row; a block of 256 threads.
template <class Pool, int kNumHeads, int kWindow, int kQStride, int kYStride>
struct Attention {
  static constexpr int kChunk = 256, kThreads = 256, kWarps = 8;
  static constexpr int kDim = Pool::kDim, kPadded = Pool::kPadded,
                       kGroup = kNumHeads / Pool::kHeads;
  /// Query heads that share each key they read, in registers.
  static constexpr int kTogether = kGroup < 4 ? kGroup : 4;
  typedef typename Pool::Element Element;
  static constexpr int kPerVector = 16 / sizeof(Element), kVectors = kPadded / kPerVector;
  /// Lanes on one key: a power of two; a lane has kVectorsPerLane vectors of it.
  static constexpr DEVICE int lanesFor(int vectors) {
    return vectors >= 32 ? 32 : vectors >= 16 ? 16 : vectors >= 8 ? 8 : vectors >= 4 ? 4 : 2;
  }
  static constexpr int kLanes = lanesFor(kVectors), kVectorsPerLane = ceilDiv(kVectors, kLanes);
  static constexpr int kKeysAtOnce = 32 / kLanes, kWarpKeys = kChunk / kWarps,
                       kOutputs = ceilDiv(kTogether * kPadded, kThreads);

  struct Shared {
    float scores[kTogether][kChunk];
    float output[kWarps][kTogether][kPadded];
    float largest[kTogether], sum[kTogether];
    int last;
  };

  /// (m, l, o) of some keys; a thread has elements threadIdx.x + i kThreads of [kTogether][kPadded]
  /// of o.
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

  /// body(i, quad of the lane's vector j of key begin + i) for the keys of this warp that lie in
  /// [from, to).
  template <class Body>
  static DEVICE void forKeys(const void* pool, const Step& step, int seq, int head, int chunk_begin,
                             int from, int to, Body body) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, in_key = lane % kLanes,
              key = lane / kLanes;
    const int begin =
        chunk_begin + warp * kWarpKeys;  // within one block of the cache: 32 divides 64
    if (begin + kWarpKeys <= from || begin >= to) return;
    const Element* keys = Pool::at(const_cast<void*>(pool), step, seq, begin, head);
    constexpr int kSteps = kWarpKeys / kKeysAtOnce, kUnroll = kSteps < 8 ? kSteps : 8;
    for (int s = 0; s < kSteps; s += kUnroll) {
      uint4 quads[kUnroll][kVectorsPerLane];
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        const int i = (s + u) * kKeysAtOnce + key;
        const bool valid = begin + i >= from && begin + i < to;
#pragma unroll
        for (int j = 0; j < kVectorsPerLane; ++j) {
          const int v = in_key + j * kLanes;
          quads[u][j] = uint4();
          if (valid && (kVectors % kLanes == 0 || v < kVectors))
            quads[u][j] = *reinterpret_cast<const uint4*>(keys + i * kPadded + v * kPerVector);
        }
      }
#pragma unroll
      for (int u = 0; u < kUnroll; ++u)
        body(warp * kWarpKeys + (s + u) * kKeysAtOnce + key, quads[u]);
    }
  }

  /// The state of query heads [h0, h0 + kTogether) of the group over keys [from, to) of the chunk.
  /// All threads call it.
  static DEVICE void chunkState(Shared& shared, const Step& step, const float* q, const void* keys,
                                const void* values, int row, int seq, int head, int h0,
                                int chunk_begin, int from, int to, float scale, State& state) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, in_key = lane % kLanes;
    const float* query = q + static_cast<i64>(row) * kQStride + (head * kGroup + h0) * kDim;
    {
      float mine[kTogether][kVectorsPerLane][kPerVector];
#pragma unroll
      for (int h = 0; h < kTogether; ++h)
#pragma unroll
        for (int j = 0; j < kVectorsPerLane; ++j)
#pragma unroll
          for (int e = 0; e < kPerVector; ++e) {
            const int d = (in_key + j * kLanes) * kPerVector + e;
            mine[h][j][e] = d < kDim && h0 + h < kGroup ? query[h * kDim + d] * scale : 0.0f;
          }
      for (int i = threadIdx.x; i < kTogether * kChunk; i += kThreads)
        (&shared.scores[0][0])[i] = -infinity();
      __syncthreads();
      forKeys(keys, step, seq, head, chunk_begin, from, to,
              [&](int i, const uint4(&quads)[kVectorsPerLane]) {
                float dots[kTogether];
#pragma unroll
                for (int h = 0; h < kTogether; ++h) dots[h] = 0;
#pragma unroll
                for (int j = 0; j < kVectorsPerLane; ++j) {
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
                  const float dot = sumLanes<kLanes>(dots[h]);
                  if (in_key == 0 && inside) shared.scores[h][i] = dot;
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
      float out[kTogether][kVectorsPerLane][kPerVector];
#pragma unroll
      for (int h = 0; h < kTogether; ++h)
#pragma unroll
        for (int j = 0; j < kVectorsPerLane; ++j)
#pragma unroll
          for (int e = 0; e < kPerVector; ++e) out[h][j][e] = 0;
      forKeys(values, step, seq, head, chunk_begin, from, to,
              [&](int i, const uint4(&quads)[kVectorsPerLane]) {
#pragma unroll
                for (int j = 0; j < kVectorsPerLane; ++j) {
                  float value[kPerVector];
                  unpackVector(quads[j], value);
#pragma unroll
                  for (int h = 0; h < kTogether; ++h)
#pragma unroll
                    for (int e = 0; e < kPerVector; ++e)
                      out[h][j][e] = fmaf(shared.scores[h][i], value[e], out[h][j][e]);
                }
              });
#pragma unroll
      for (int h = 0; h < kTogether; ++h)
#pragma unroll
        for (int j = 0; j < kVectorsPerLane; ++j)
#pragma unroll
          for (int e = 0; e < kPerVector; ++e) {
            float v = out[h][j][e];
#pragma unroll
            for (int other = kLanes; other < 32; other *= 2) v += __shfl_xor_sync(~0u, v, other);
            const int d = (in_key + j * kLanes) * kPerVector + e;
            if (lane < kLanes && d < kPadded) shared.output[warp][h][d] = v;
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
      if (at < kTogether * kPadded)
        for (int w = 0; w < kWarps; ++w) sum += (&shared.output[w][0][0])[at];
      state.output[i] = sum;
    }
    __syncthreads();  // the next chunk overwrites what was read
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
      const int head = (threadIdx.x + i * kThreads) / kPadded;
      float old_one = 0, new_one = 0;  // selected, so that the arrays stay in registers
#pragma unroll
      for (int h = 0; h < kTogether; ++h)
        if (h == head) old_one = old_scale[h], new_one = new_scale[h];
      state.output[i] = state.output[i] * old_one + next.output[i] * new_one;
    }
  }

  static DEVICE void store(const State& state, float* y, int row, int head, int h0) {
#pragma unroll
    for (int i = 0; i < kOutputs; ++i) {
      const int at = threadIdx.x + i * kThreads, h = at / kPadded, d = at % kPadded;
      float sum = 1;
#pragma unroll
      for (int k = 0; k < kTogether; ++k)
        if (k == h) sum = state.sum[k];
      if (h < kTogether && h0 + h < kGroup && d < kDim)
        y[static_cast<i64>(row) * kYStride + (head * kGroup + h0 + h) * kDim + d] =
            state.output[i] / sum;
    }
  }

  static DEVICE int firstKey(int pos) {
    return kWindow > 0 && pos + 1 > kWindow ? pos + 1 - kWindow : 0;
  }

  /// Block (KV head, row): all chunks, one after the other.
  static DEVICE void inTurn(const Args& a, const float* q, const void* keys, const void* values,
                            float* y, float scale) {
    __shared__ Shared shared;
    letNextKernelBegin();
    waitForEarlierKernels();
    const Step& step = *a.step;
    const int head = blockIdx.x, row = blockIdx.y;
    if (row >= step.num_rows) return;
    const int pos = step.rows[row].pos, seq = step.rows[row].seq, from = firstKey(pos);
    for (int h0 = 0; h0 < kGroup; h0 += kTogether) {
      State state = {};
      for (int chunk = from / kChunk; chunk <= pos / kChunk; ++chunk) {
        State next = {};
        chunkState(shared, step, q, keys, values, row, seq, head, h0, chunk * kChunk, from, pos + 1,
                   scale, next);
        if (chunk == from / kChunk)
          state = next;
        else
          merge(state, next);
      }
      store(state, y, row, head, h0);
    }
  }

  /// What a chunk leaves for the merge: [kTogether] m, [kTogether] l, [kTogether][kPadded] o, for
  /// each h0.
  static constexpr int kPartialFloats = kTogether * (2 + kPadded);
  static constexpr int kRounds = ceilDiv(kGroup, kTogether);

  /// Block (KV head, row, chunk): one chunk; the last block of a row and head to end merges them.
  /// `counters`: [rows, KV heads], 0 before and after. `partials`: [rows, KV heads, chunks of the
  /// longest sequence, kRounds, kPartialFloats].
  static DEVICE void split(const Args& a, const float* q, const void* keys, const void* values,
                           float* y, float scale, u32* counters, float* partials, int max_chunks) {
    __shared__ Shared shared;
    letNextKernelBegin();
    waitForEarlierKernels();
    const Step& step = *a.step;
    const int head = blockIdx.x, row = blockIdx.y, chunk = blockIdx.z;
    if (row >= step.num_rows) return;
    const int pos = step.rows[row].pos, seq = step.rows[row].seq, from = firstKey(pos);
    const int first = from / kChunk, last = pos / kChunk;
    if (chunk < first || chunk > last) return;
    float* const mine = partials + (static_cast<i64>(row) * Pool::kHeads + head) * max_chunks *
                                       (kRounds * kPartialFloats);
    for (int round = 0; round < kRounds; ++round) {
      State state = {};
      chunkState(shared, step, q, keys, values, row, seq, head, round * kTogether, chunk * kChunk,
                 from, pos + 1, scale, state);
      if (first == last) {
        store(state, y, row, head, round * kTogether);
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
        if (at < kTogether * kPadded) to[2 * kTogether + at] = state.output[i];
      }
    }
    if (first == last) return;
    __threadfence();  // what this thread wrote, before the block is counted
    __syncthreads();
    u32* const counter = counters + row * Pool::kHeads + head;
    if (threadIdx.x == 0) {
      shared.last = atomicAdd(counter, 1u) == static_cast<u32>(last - first);
      if (shared.last) *counter = 0;
    }
    __syncthreads();
    if (!shared.last) return;
    __threadfence();  // what the other blocks wrote, after they were counted
    for (int round = 0; round < kRounds; ++round) {
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
          next.output[i] = at < kTogether * kPadded ? part[2 * kTogether + at] : 0.0f;
        }
        if (other == first)
          state = next;
        else
          merge(state, next);
      }
      store(state, y, row, head, round * kTogether);
    }
  }
};
