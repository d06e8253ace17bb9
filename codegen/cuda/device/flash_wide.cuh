// Flash attention of heads that are too wide for FlashAttention's registers, or whose values have
// another width than keys: latents above all, one KV head of 576 elements with values of 512, which
// up to 128 query heads read.

/// The keys and values of a sequence on their way through shared memory: of each block of the
/// cache the keys, then the values, in slices of 64 elements. kStages places take turns.
template <class Pool, int kThreads, int kStages>
struct SliceRing {
  static constexpr int kKeys = kBlockTokens, kCols = 64;
  /// 16 bytes more than a row: eight of them then begin in different banks, for both ways of
  /// reading.
  static constexpr int kRowBytes = kCols * 2 + 16, kSliceBytes = kKeys * kRowBytes;
  static constexpr int kKeySlices = ceilDiv(Pool::kPadded, kCols),
                       kValueSlices = ceilDiv(Pool::kValuePadded, kCols);

  u8* shared;  // [kStages][kSliceBytes]
  CacheRows rows;
  const void *keys, *values;
  int head, seq, last_pos;
  int block, slice;  // the next one to be copied
  int place;         // of the next one to arrive

  DEVICE void begin(const Step& step, int first_block) {
    block = first_block;
    slice = place = 0;
    for (int s = 0; s < kStages - 1; ++s) copy(step, s);
  }

  /// Waits for the next slice, and sends for the one that takes the last one's place.
  DEVICE const u8* next(const Step& step) {
    waitCopies<kStages - 2>();
    __syncthreads();  // it is there for every thread, and the last one has been read
    copy(step, place == 0 ? kStages - 1 : place - 1);
    const u8* const arrived = shared + place * kSliceBytes;
    place = place + 1 == kStages ? 0 : place + 1;
    return arrived;
  }

  DEVICE void copy(const Step& step, int to_place) {
    const int first = block * kKeys;
    if (first <= last_pos) {
      const bool is_key = slice < kKeySlices;
      const int width = is_key ? Pool::kPadded : Pool::kValuePadded,
                col = (is_key ? slice : slice - kKeySlices) * kCols;
      const auto* from =
          is_key ? Pool::at(const_cast<void*>(keys), step, rows, seq, first, head)
                 : Pool::valueAt(const_cast<void*>(values), step, rows, seq, first, head);
      u8* const to = shared + to_place * kSliceBytes;
      constexpr int kChunks = kCols / 8;  // of 16 bytes, in a row
      static_assert(kKeys * kChunks % kThreads == 0);
#pragma unroll
      for (int n = 0; n < kKeys * kChunks / kThreads; ++n) {
        const int i = n * kThreads + threadIdx.x, key = i / kChunks, chunk = i % kChunks,
                  at = col + chunk * 8;
        // What the sequence has not written must not reach a sum, not even times 0.
        copyAsync16(to + key * kRowBytes + chunk * 16, from + key * width + at,
                    first + key <= last_pos && at < width);
      }
      if (++slice == kKeySlices + kValueSlices) {
        slice = 0;
        ++block;
      }
    }
    commitCopies();
  }
};

/// Eight warps share 64 queries, which wait in shared memory. Warp (r, half) has the queries [16 r,
/// 16 r + 16): their scores with half of a block's keys, and half of each slice of their outputs,
/// in registers. What the two halves need of each other, the largest score and the probabilities,
/// goes through shared memory.
template <class Pool, int kNumHeads, int kWindow, int kQStride, int kYStride, int kStages>
struct WideFlashAttention {
  typedef typename Pool::Type T;
  typedef FlashQueries<Pool, kNumHeads, kWindow, kQStride, kYStride> Queries;
  static constexpr int kThreads = 256;
  typedef SliceRing<Pool, kThreads, kStages> Ring;
  static constexpr int kTile = Queries::kTile, kKeys = Ring::kKeys, kRowBytes = Ring::kRowBytes;
  static constexpr int kSteps = Ring::kCols / 16;  // of sixteen elements, in a slice
  static constexpr int kHalfKeys = kKeys / 2, kHalfCols = Ring::kCols / 2;
  /// Operands A of 64 rows, 16 values of k.
  static constexpr int kOperandBytes = kTile * 32;
  static constexpr int kQueryBytes = Ring::kKeySlices * kSteps * kOperandBytes,
                       kWeightBytes = kKeys / 16 * kOperandBytes, kHalvesBytes = 2 * kTile * 4;
  static constexpr int kSharedBytes =
      kQueryBytes + kWeightBytes + kHalvesBytes + kStages * Ring::kSliceBytes;

  uint4 *queries, *weights;  // this lane's quads of operands; weights are probabilities
  float* halves;             // [2][kTile]
  Ring ring;

  static DEVICE int half() { return threadIdx.x / 32 % 2; }
  static DEVICE uint4& quad(uint4* operands, int k) { return operands[k * (kOperandBytes / 16)]; }

  /// Each query's join(first half's, second half's) of what the two have in `mine`.
  template <class Join>
  DEVICE void joinHalves(float (&mine)[2], Join join) const {
    float* const at = halves + threadIdx.x / 64 * 16 + threadIdx.x % 32 / 4;
#pragma unroll
    for (int h = 0; h < 2; ++h)
      if (threadIdx.x % 4 == 0) at[half() * kTile + 8 * h] = mine[h];
    __syncthreads();  // both halves are there
#pragma unroll
    for (int h = 0; h < 2; ++h) mine[h] = join(at[8 * h], at[kTile + 8 * h]);
  }

  /// The block's queries, from `first` on, of rows [begin, stop).
  DEVICE void oneSequence(const Step& step, const float* q, float* y, float scale, float cap,
                          const float* sinks, int first, int begin, int stop) {
    Queries mine(ring.rows, ring.head, first + threadIdx.x / 64 * 16, begin, stop);
    ring.last_pos = ring.rows.pos[stop - 1];
    const typename Queries::Whole whole(ring.rows, begin, stop);
    const int first_block = Queries::firstKey(ring.rows.pos[begin]) / kKeys;
    ring.begin(step, first_block);
#pragma unroll 1
    for (int k = half(); k < Ring::kKeySlices * kSteps; k += 2)
      quad(queries, k) = mine.fragment(q, k, scale);
    float out[Ring::kValueSlices * kHalfCols / 8][4];
    clear(out);
#pragma unroll 1
    for (int block = first_block; block * kKeys <= ring.last_pos; ++block) {
      float scores[kHalfKeys / 8][4], most[2], old_scale[2];
      clear(scores);
#pragma unroll 1
      for (int s = 0; s < Ring::kKeySlices; ++s) {
        const u8* const keys = ring.next(step) + half() * kHalfKeys * kRowBytes;
#pragma unroll
        for (int k = 0; k < kSteps; ++k)
          multiplyKeys<T, kRowBytes>(scores, quad(queries, s * kSteps + k), keys + k * 32);
      }
      mine.mask(scores, block * kKeys + half() * kHalfKeys, !whole.has(block * kKeys, kKeys), cap,
                most);
      joinHalves(most, [](float a, float b) { return fmaxf(a, b); });
      mine.weigh(scores, most, old_scale);
#pragma unroll
      for (int k = 0; k < kHalfKeys / 16; ++k)
        quad(weights, half() * (kHalfKeys / 16) + k) = Queries::probabilities(scores, k);
      scaleRows(out, old_scale);
      uint4 p[kKeys / 16];
#pragma unroll
      for (int s = 0; s < Ring::kValueSlices; ++s) {
        const u8* const values = ring.next(step) + half() * kHalfCols * 2;
#pragma unroll
        for (int k = 0; k < kKeys / 16; ++k) {
          if (s == 0) p[k] = quad(weights, k);  // next() had a barrier
          multiplyValues<T, kRowBytes, kHalfCols / 16>(out + s * (kHalfCols / 8), p[k],
                                                       values + k * 16 * kRowBytes);
        }
      }
    }
    // Behind its barrier the last slice has been read: copies may overwrite it.
    joinHalves(mine.sum, [](float a, float b) { return a + b; });
    mine.store(out, y, sinks, [](int n) {
      return n / (kHalfCols / 8) * Ring::kCols + half() * kHalfCols + n % (kHalfCols / 8) * 8;
    });
  }

  static DEVICE void run(const Args& a, const float* q, const CacheRows& rows, const void* keys,
                         const void* values, float* y, float scale, float cap = 0,
                         const float* sinks = nullptr) {
    u8* const shared = dynamicShared();
    WideFlashAttention f;
    const int lane = threadIdx.x / 64 * 32 + threadIdx.x % 32;
    f.queries = reinterpret_cast<uint4*>(shared) + lane;
    f.weights = reinterpret_cast<uint4*>(shared + kQueryBytes) + lane;
    f.halves = reinterpret_cast<float*>(shared + kQueryBytes + kWeightBytes);
    f.ring.shared = shared + kQueryBytes + kWeightBytes + kHalvesBytes;
    f.ring.rows = rows;
    f.ring.keys = keys;
    f.ring.values = values;
    letNextKernelBegin();
    waitForEarlierKernels();
    const Step& step = *a.step;
    Queries::forSequences(step, rows, [&](int head, int first, int seq, int begin, int stop) {
      f.ring.head = head;
      f.ring.seq = seq;
      f.oneSequence(step, q, y, scale, cap, sinks, first, begin, stop);
    });
  }
};
