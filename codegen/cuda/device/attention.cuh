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

  struct alignas(16) Shared {
    float scores[kTogether][kChunk];
    float output[kWarps][kTogether][kValuePadded];
    float largest[kTogether], sum[kTogether];
    int last;
  };
  /// What mergeSplit() multiplies outputs by: old ones, a chunk's, and the chunk's l times that.
  struct alignas(16) Scale {
    float old_scale, new_scale, sum, unused;
  };
  static DEVICE constexpr int scalesIn(int floats) {
    return floats >= 4 * 256 ? 256 : floats >= 4 * 128 ? 128 : floats >= 4 * 64 ? 64 : 32;
  }
  /// Chunks whose scales are in shared memory at once, in place of scores and outputs: 32k tokens'
  /// for heads of 64 and more.
  static constexpr int kScales = scalesIn(kChunk + kWarps * kValuePadded);

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

  /// Of a chunk, this warp's keys: which of them lie in [from, to), and in which block of the
  /// cache.
  struct WarpKeys {
    static constexpr bool kTrees = false;
    int begin, from, to;  // begin: the first, of kWarpKeys
    i64 block;
    DEVICE WarpKeys(const Step& step, const CacheRows& rows, int seq, int chunk_begin, int from,
                    int to)
        : begin(chunk_begin + static_cast<int>(threadIdx.x) / 32 * kWarpKeys),
          from(from),
          to(to),
          block(any() ? loadAhead(Pool::tableAt(step, rows, seq, begin)) : 0) {}
    DEVICE bool any() const { return begin + kWarpKeys > from && begin < to; }
    DEVICE bool has(int i) const { return begin + i >= from && begin + i < to; }
  };

  /// Where the tokens of a row's branch lie that are rows of its step. In shared memory.
  struct BranchPlaces {
    Branch branch;
    int block[kTreeRows], slot[kTreeRows];
    int length;  // of the sequence before the step
    DEVICE void find(const Step& step, const TreeRows& rows, int row, int seq, int pos) {
      branch.find(rows.parent, static_cast<int>(loadAhead(&step.num_rows)), row);
      const int i = threadIdx.x;
      if (i < branch.count) {
        slot[i] = loadAhead(rows.slot + branch.rows[i]);
        block[i] = loadAhead(Pool::tableAt(step, rows, seq, slot[i]));
      }
      if (i == 0) length = pos + 1 - branch.count;
      __syncthreads();
    }
  };

  /// WarpKeys of a row of a tree: sums over keys follow positions, and who lies where shows in
  /// loads alone.
  struct BranchKeys : WarpKeys {
    static constexpr bool kTrees = true;
    const BranchPlaces& places;
    /// Key i's vector; `vectors`: that of key 0, did all lie at their positions.
    template <int kWidth>
    DEVICE const Element* vectorOf(const Element* vectors, const void* pool, int head,
                                   int i) const {
      const int deep = this->begin + i - places.length;
      if (deep < 0) return vectors + i * kWidth;
      return Pool::template vectorIn<kWidth>(const_cast<void*>(pool), places.block[deep],
                                             places.slot[deep], head);
    }
  };

  static DEVICE WarpKeys keysOf(const Step& step, const CacheRows& rows, int, int seq, int chunk,
                                int from, int pos) {
    return WarpKeys(step, rows, seq, chunk * kChunk, from, pos + 1);
  }
  /// All threads call it. `pos` -1: there is no such row.
  static DEVICE BranchKeys keysOf(const Step& step, const TreeRows& rows, int row, int seq,
                                  int chunk, int from, int pos) {
    __shared__ BranchPlaces places;
    if (pos >= 0) places.find(step, rows, row, seq, pos);
    return {WarpKeys(step, rows, seq, chunk * kChunk, from, pos + 1), places};
  }

  /// The vectors of a warp's keys on their way to its lanes: V: Keys or Values, kWidth: elements of
  /// one in the pool. Step s has key s * V::kKeysAtOnce + lane / V::kLanes. As many are loaded at
  /// once as two blocks' registers hold without a spill; rounds keep more beside.
  template <class V, int kWidth>
  struct Vectors {
    static constexpr int kSteps = kWarpKeys / V::kKeysAtOnce,
                         kWide = V::kPerLane > 1 || kWidth >= 256,
                         kMost = V::kPerLane > 2 || (kWide && kRounds > 1) ? 2
                                 : kRounds > 1                             ? 4
                                 : V::kPerLane > 1 || kPerVector < 8       ? 8
                                                                           : 16,
                         kUnroll = kSteps < kMost ? kSteps : kMost;
    uint4 quads[kUnroll][V::kPerLane];

    /// Steps [s, s + kUnroll). AnyKeys: WarpKeys or BranchKeys.
    template <class AnyKeys>
    DEVICE void load(const void* pool, const AnyKeys& keys, int head, int s) {
      if (!keys.any()) return;
      const int lane = threadIdx.x % 32;
      // Within one block of the cache: 32 divides 64.
      const Element* const vectors =
          Pool::template vectorIn<kWidth>(const_cast<void*>(pool), keys.block, keys.begin, head);
#pragma unroll
      for (int u = 0; u < kUnroll; ++u) {
        const int i = (s + u) * V::kKeysAtOnce + lane / V::kLanes;
#pragma unroll
        for (int j = 0; j < V::kPerLane; ++j) {
          const int v = lane % V::kLanes + j * V::kLanes;
          quads[u][j] = uint4();
          if (keys.has(i) && (V::kVectors % V::kLanes == 0 || v < V::kVectors)) {
            if constexpr (AnyKeys::kTrees)
              quads[u][j] = *reinterpret_cast<const uint4*>(
                  keys.template vectorOf<kWidth>(vectors, pool, head, i) + v * kPerVector);
            else
              quads[u][j] = *reinterpret_cast<const uint4*>(vectors + i * kWidth + v * kPerVector);
          }
        }
      }
    }
    /// body(i, quads of key keys.begin + i) for all of them; the first steps are loaded.
    template <class AnyKeys, class Body>
    DEVICE void forKeys(const void* pool, const AnyKeys& keys, int head, Body body) {
      if (!keys.any()) return;
#pragma unroll 1
      for (int s = 0; s < kSteps; s += kUnroll) {
        if (s > 0) load(pool, keys, head, s);
#pragma unroll
        for (int u = 0; u < kUnroll; ++u)
          body((s + u) * V::kKeysAtOnce + static_cast<int>(threadIdx.x) % 32 / V::kLanes, quads[u]);
      }
    }
  };

  /// Sums over kLanes lanes, of which this is number `lane`, of each of two or four heads: lane h
  /// gets that of v[h]. They are sumLanes()' to the bit; but each lane hands on what it does not
  /// keep, so 16 lanes take 5 shuffles for four heads, not 16.
  template <int kLanes>
  static DEVICE float sumHeads(const float (&v)[kTogether], int lane) {
    const bool odd = lane & 1, upper = lane & 2;
    float kept[kTogether / 2];
#pragma unroll
    for (int h = 0; h < kTogether; h += 2)
      kept[h / 2] = (odd ? v[h + 1] : v[h]) + __shfl_xor_sync(~0u, odd ? v[h] : v[h + 1], 1);
    float sum = kept[0];
    if constexpr (kTogether == 4)
      sum = (upper ? kept[1] : kept[0]) + __shfl_xor_sync(~0u, upper ? kept[0] : kept[1], 2);
#pragma unroll
    for (int other = kTogether; other < kLanes; other *= 2) sum += __shfl_xor_sync(~0u, sum, other);
    return sum;
  }

  /// The state of query heads [h0, h0 + kTogether) of the group over keys [from, to) of the chunk.
  /// All threads call it.
  template <class AnyKeys>
  static DEVICE void chunkState(Shared& shared, const AnyKeys& warp_keys, const float* q,
                                const void* keys, const void* values, int row, int head, int h0,
                                float scale, float cap, State& state) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, first = warp * kWarpKeys;
    Vectors<Values, kValuePadded> value_vectors;
    const float* query = q + static_cast<i64>(row) * kQStride + (head * kGroup + h0) * kDim;
    {
      const int in_key = lane % Keys::kLanes;
      Vectors<Keys, kPadded> key_vectors;
      // Ahead of the query, which takes as many registers where a lane has much of a key.
      constexpr bool kKeysAhead = Keys::kPerLane <= 2;
      if (kKeysAhead) key_vectors.load(keys, warp_keys, head, 0);
      constexpr int kWidth = kDim % kPerVector == 0 && kQStride % 4 == 0 ? 4 : 1;
      float mine[kTogether][Keys::kPerLane][kPerVector];
#pragma unroll
      for (int h = 0; h < kTogether; ++h)
#pragma unroll
        for (int j = 0; j < Keys::kPerLane; ++j)
#pragma unroll
          for (int e = 0; e < kPerVector; e += kWidth) {
            const int d = (in_key + j * Keys::kLanes) * kPerVector + e;
            float some[kWidth] = {};
            if (d < kDim && h0 + h < kGroup) loadFloats(query + h * kDim + d, some);
#pragma unroll
            for (int i = 0; i < kWidth; ++i) mine[h][j][e + i] = some[i] * scale;
          }
      for (int i = threadIdx.x; i < kTogether * kChunk; i += kThreads)
        (&shared.scores[0][0])[i] = -infinity();
      __syncwarp();  // a warp has cleared the scores of its own keys
      if (!kKeysAhead) key_vectors.load(keys, warp_keys, head, 0);
      key_vectors.forKeys(keys, warp_keys, head, [&](int i, const uint4(&quads)[Keys::kPerLane]) {
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
            for (int e = 0; e < kPerVector; ++e) dots[h] = fmaf(mine[h][j][e], key[e], dots[h]);
        }
        if constexpr ((kTogether == 2 || kTogether == 4) && Keys::kLanes >= kTogether) {
          const float dot = sumHeads<Keys::kLanes>(dots, in_key);
          if (in_key < kTogether && warp_keys.has(i))
            shared.scores[in_key][first + i] = softcap(dot, cap);
        } else {
#pragma unroll
          for (int h = 0; h < kTogether; ++h) {
            const float dot = sumLanes<Keys::kLanes>(dots[h]);
            if (in_key == 0 && warp_keys.has(i)) shared.scores[h][first + i] = softcap(dot, cap);
          }
        }
      });
    }
    // They travel during the softmax, where registers allow that.
    constexpr bool kValuesAhead = Values::kPerLane == 1;
    if (kValuesAhead) value_vectors.load(values, warp_keys, head, 0);
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
      if (!kValuesAhead) value_vectors.load(values, warp_keys, head, 0);
      value_vectors.forKeys(
          values, warp_keys, head, [&](int i, const uint4(&quads)[Values::kPerLane]) {
#pragma unroll
            for (int j = 0; j < Values::kPerLane; ++j) {
              float value[kPerVector];
              unpackVector(quads[j], value);
#pragma unroll
              for (int h = 0; h < kTogether; ++h)
#pragma unroll
                for (int e = 0; e < kPerVector; ++e)
                  out[h][j][e] = fmaf(shared.scores[h][first + i], value[e], out[h][j][e]);
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

  /// The head, of kTogether, that this thread's output i is of.
  static DEVICE int headOf(int i) {
    const int h = (threadIdx.x + i * kThreads) / kValuePadded;
    return h < kTogether ? h : kTogether - 1;
  }

  static DEVICE void merge(State& state, const State& next) {
    float old_scale[kTogether], new_scale[kTogether];
#pragma unroll
    for (int h = 0; h < kTogether; ++h) {
      const float largest = fmaxf(state.largest[h], next.largest[h]);
      old_scale[h] = exponential(state.largest[h] - largest);
      new_scale[h] = exponential(next.largest[h] - largest);
      state.largest[h] = largest;
      // mergeSplit() rounds as this does.
      state.sum[h] = fmaf(state.sum[h], old_scale[h], next.sum[h] * new_scale[h]);
    }
#pragma unroll
    for (int i = 0; i < kOutputs; ++i) {
      const int head = (threadIdx.x + i * kThreads) / kValuePadded;
      float old_one = 0, new_one = 0;  // selected, so that the arrays stay in registers
#pragma unroll
      for (int h = 0; h < kTogether; ++h)
        if (h == head) old_one = old_scale[h], new_one = new_scale[h];
      state.output[i] = fmaf(state.output[i], old_one, next.output[i] * new_one);
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
        sum = fmaf(sum, scale, exponential(sinks[query] - most));
      }
      y[static_cast<i64>(row) * kYStride + query * kValueDim + d] = v / sum;
    }
  }

  static DEVICE int firstKey(int pos) {
    return kWindow > 0 && pos + 1 > kWindow ? pos + 1 - kWindow : 0;
  }

  /// Block (KV head and part of its query heads, row): all chunks, one after the other.
  static DEVICE void inTurn(const Args& a, const float* q, const CacheRows& rows, const void* keys,
                            const void* values, float* y, float scale, float cap = 0,
                            const float* sinks = nullptr) {
    __shared__ Shared shared;
    letNextKernelBegin();
    waitForEarlierKernels();
    const Step& step = *a.step;
    const int head = blockIdx.x / kParts, part = blockIdx.x % kParts, row = blockIdx.y;
    if (row >= step.num_rows) return;
    const int pos = rows.pos[row], seq = rows.seq[row], from = firstKey(pos);
    const int end = roundsEnd(part);
    for (int round = part * kRoundsPerPart; round < end; ++round) {
      const int h0 = round * kTogether;
      State state = {};
      for (int chunk = from / kChunk; chunk <= pos / kChunk; ++chunk) {
        State next = {};
        chunkState(shared, WarpKeys(step, rows, seq, chunk * kChunk, from, pos + 1), q, keys,
                   values, row, head, h0, scale, cap, next);
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
  /// `Rows`: CacheRows, or TreeRows.
  template <class Rows>
  static DEVICE void split(const Args& a, const float* q, const Rows& rows, const void* keys,
                           const void* values, float* y, float scale, u32* counters,
                           float* partials, int max_chunks, float cap = 0,
                           const float* sinks = nullptr) {
    __shared__ Shared shared;
    letNextKernelBegin();
    const Step& step = *a.step;
    const int head = blockIdx.x / kParts, part = blockIdx.x % kParts, row = blockIdx.y,
              chunk = blockIdx.z;
    // What a step is stays as it is while its kernels run: it is read ahead of the wait.
    const bool is_row = row < loadAhead(&step.num_rows);
    const int pos = is_row ? loadAhead(rows.pos + row) : -1,
              seq = is_row ? loadAhead(rows.seq + row) : 0;
    const int from = firstKey(pos), first = from / kChunk, last = pos < 0 ? -1 : pos / kChunk;
    const auto warp_keys = keysOf(step, rows, row, seq, chunk, from, pos);
    const int begin = part * kRoundsPerPart, end = roundsEnd(part);
    waitForEarlierKernels();
    if (chunk < first || chunk > last) return;
    float* const mine = partials + (static_cast<i64>(row) * Pool::kHeads + head) * max_chunks *
                                       (kRounds * kPartialFloats);
    for (int round = begin; round < end; ++round) {
      State state = {};
      chunkState(shared, warp_keys, q, keys, values, row, head, round * kTogether, scale, cap,
                 state);
      if (first == last) {
        store(state, sinks, y, row, head, round * kTogether);
        continue;
      }
      float* to = mine + (chunk * kRounds + round) * kPartialFloats;
      if (threadIdx.x == 0) {
#pragma unroll
        for (int h = 0; h < kTogether; ++h)
          publish(to + h, state.largest[h]), publish(to + kTogether + h, state.sum[h]);
      }
#pragma unroll
      for (int i = 0; i < kOutputs; ++i) {
        const int at = threadIdx.x + i * kThreads;
        if (at < kTogether * kValuePadded) publish(to + 2 * kTogether + at, state.output[i]);
      }
    }
    if (first == last) return;
    __syncthreads();  // what the block wrote, before it is counted
    u32* const counter = counters + row * gridDim.x + blockIdx.x;
    if (threadIdx.x == 0) {
      shared.last = countArrival(counter) == static_cast<u32>(last - first);
      if (shared.last) *counter = 0;
    }
    __syncthreads();
    if (!shared.last) return;
    for (int round = begin; round < end; ++round) {
      State state = {};
      mergeSplit(shared, mine + round * kPartialFloats, first, last, state);
      store(state, sinks, y, row, head, round * kTogether);
    }
  }

  /// Where this thread's output i lies in a chunk's part; the last one again where it has none.
  static DEVICE int outputAt(int i) {
    constexpr int kLast = kTogether * kValuePadded - 1;
    const int at = threadIdx.x + i * kThreads;
    return 2 * kTogether + (at < kLast ? at : kLast);
  }

  /// Merges the next `count` chunks, from `parts` on, into a thread's outputs and their sums; all
  /// of kAtOnce if kWhole. No load and no use of one is behind a condition: that would be a branch,
  /// and ptxas would bring each load to where it is used.
  template <int kAtOnce, bool kWhole>
  static DEVICE void mergeSome(const Scale* scales, const float* parts, int count,
                               float (&output)[kOutputs], float (&sums)[kOutputs]) {
    float next[kAtOnce][kOutputs];
#pragma unroll
    for (int u = 0; u < kAtOnce; ++u)
#pragma unroll
      for (int i = 0; i < kOutputs; ++i)
        next[u][i] = loadFresh(parts + (kWhole || u < count ? u : 0) * (kRounds * kPartialFloats) +
                               outputAt(i));
#pragma unroll
    for (int u = 0; u < kAtOnce; ++u)
#pragma unroll
      for (int i = 0; i < kOutputs; ++i) {
        const Scale s = scales[headOf(i) * kScales + (kWhole || u < count ? u : 0)];
        const float sum = fmaf(sums[i], s.old_scale, s.sum);
        const float out = fmaf(output[i], s.old_scale, next[u][i] * s.new_scale);
        sums[i] = kWhole || u < count ? sum : sums[i];
        output[i] = kWhole || u < count ? out : output[i];
      }
  }

  /// The state of chunks [first, last], whose parts lie kRounds * kPartialFloats apart. Its sums
  /// are merge()'s, one after the other; largest scores do not depend on their order, so the scales
  /// of many chunks are made at once, and the loads of several are on their way.
  static DEVICE void mergeSplit(Shared& shared, const float* parts, int first, int last,
                                State& state) {
    static_assert(sizeof(Scale) * kTogether * kScales <=
                  sizeof shared.scores + sizeof shared.output);
    Scale* const scales = reinterpret_cast<Scale*>(&shared);  // [kTogether][kScales]
    constexpr int kStride = kRounds * kPartialFloats;
    // Up to 16 outputs of a thread are on their way: 16 KB a block, of the L2's some 250 ns. Rounds
    // leave registers for half as many.
    constexpr int kAtOnce = kOutputs >= 8 ? 2 : (kRounds > 1 ? 8 : 16) / kOutputs;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < kOutputs; ++i)
      state.output[i] = loadFresh(parts + first * kStride + outputAt(i));
    // Of warp h < kTogether: the largest so far of head h. Of a thread: the sums of its outputs'.
    float largest = 0, sums[kOutputs];
    if (warp < kTogether) largest = loadFresh(parts + first * kStride + warp);
#pragma unroll
    for (int i = 0; i < kOutputs; ++i)
      sums[i] = loadFresh(parts + first * kStride + kTogether + headOf(i));
    for (int base = first + 1; base <= last; base += kScales) {
      const int count = last + 1 - base < kScales ? last + 1 - base : kScales;
      __syncthreads();  // what lay here has been read
      if (warp < kTogether) {
        constexpr int kGroups =
            kScales >= 64 ? 2 : 1;  // of 32, whose loads are on their way at once
#pragma unroll 1
        for (int group = 0; group * 32 < count; group += kGroups) {
          float m[kGroups], l[kGroups];
#pragma unroll
          for (int j = 0; j < kGroups; ++j) {
            const int chunk = base + (group + j) * 32 + lane;
            const float* const part = parts + (chunk < last ? chunk : last) * kStride + warp;
            m[j] = loadFresh(part);
            l[j] = loadFresh(part + kTogether);
          }
#pragma unroll
          for (int j = 0; j < kGroups; ++j) {
            float through = m[j];  // the largest of the lanes up to this one
#pragma unroll
            for (int step = 1; step < 32; step *= 2)
              through = fmaxf(through, __shfl_sync(~0u, through, lane < step ? lane : lane - step));
            const float before = __shfl_sync(~0u, through, lane == 0 ? 0 : lane - 1);
            const float old_largest = lane == 0 ? largest : fmaxf(largest, before),
                        now = fmaxf(largest, through), new_scale = exponential(m[j] - now);
            scales[warp * kScales + (group + j) * 32 + lane] = {exponential(old_largest - now),
                                                                new_scale, l[j] * new_scale, 0};
            largest = __shfl_sync(~0u, now, 31);
          }
        }
      }
      __syncthreads();
      int c = 0;
      for (; c + kAtOnce <= count; c += kAtOnce)
        mergeSome<kAtOnce, true>(scales + c, parts + (base + c) * kStride, kAtOnce, state.output,
                                 sums);
      if (c < count)
        mergeSome<kAtOnce, false>(scales + c, parts + (base + c) * kStride, count - c, state.output,
                                  sums);
    }
    if (warp < kTogether && lane == 0) shared.largest[warp] = largest;
    __syncthreads();
#pragma unroll
    for (int h = 0; h < kTogether; ++h) {
      state.largest[h] = shared.largest[h];
#pragma unroll
      for (int i = 0; i < kOutputs; ++i)
        if (headOf(i) == h) state.sum[h] = sums[i];
    }
  }
};
