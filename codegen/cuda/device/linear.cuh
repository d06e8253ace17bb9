// Matrix products on fragments: y = x W^T with a norm before and a finish after.
//
// A finish takes outputs g and g + 8 of a panel of one row, which is the row of x, or the logits
// row where rows are gathered. What it reads, it reads first, so that this travels during the
// product:
//   Loaded load(step, row, panel, g)
//   void store(step, row, panel, g, low, high, loaded)
//   kAhead    load() reads nothing that a kernel of the step writes: it may then be called ahead of
//             waitForEarlierKernels(), and reads what a step is through readStep()

/// What a product is specialised to. kGather: the rows are those whose logits are wanted. kNorm:
/// they are normalised first, by rms_norm, or by layer_norm where kLayer says so.
template <class T, int kK, int kNumPanels, int kXRowStride, bool kGathered, bool kNormed,
          bool kLayerNormed = false>
struct Product {
  typedef T Weight;
  static constexpr int kCols = kK, kPanels = kNumPanels, kXStride = kXRowStride;
  static constexpr bool kGather = kGathered, kNorm = kNormed, kLayer = kLayerNormed;
  static constexpr int kBlockCols = 8 * T::kPerWord;  // values of k in a block of fragments
  static constexpr int kBlocks = ceilDiv(kK, kBlockCols);
  static constexpr int kPaddedCols = kBlocks * kBlockCols;

  static DEVICE int rows(const Step& step) {
    return static_cast<int>(loadAhead(kGather ? &step.num_logits_rows : &step.num_rows));
  }
};

/// acc += the outputs g (acc[m][0]) and g + 8 (acc[m][1]) of one block of fragments. x(m, k):
/// values k, k + 1, ... of row m.
template <class T, int kRows, class X>
DEVICE void multiplyBlock(const uint4& quad, int k, int c, X x, float (&acc)[kRows][2]) {
  constexpr int kPer = T::kPerWord;
  const u32 words[4] = {quad.x, quad.y, quad.z, quad.w};
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float low[kPer], high[kPer];
    T::unpack(words[2 * half], low);
    T::unpack(words[2 * half + 1], high);
#pragma unroll
    for (int m = 0; m < kRows; ++m) {
      float values[kPer];
      x(m, k + (c + 4 * half) * kPer, values);
#pragma unroll
      for (int i = 0; i < kPer; ++i) {
        acc[m][0] = fmaf(low[i], values[i], acc[m][0]);
        acc[m][1] = fmaf(high[i], values[i], acc[m][1]);
      }
    }
  }
}

/// Floats at once: two are aligned to 8 bytes, four to 16.
DEVICE void loadFloats(const float* p, float (&v)[1]) { v[0] = *p; }
DEVICE void loadFloats(const float* p, float (&v)[2]) {
  const float2 two = *reinterpret_cast<const float2*>(p);
  v[0] = two.x, v[1] = two.y;
}
DEVICE void loadFloats(const float* p, float (&v)[4]) {
  const float4 four = *reinterpret_cast<const float4*>(p);
  v[0] = four.x, v[1] = four.y, v[2] = four.z, v[3] = four.w;
}
DEVICE void storeFloats(float* p, const float (&v)[1]) { *p = v[0]; }
DEVICE void storeFloats(float* p, const float (&v)[4]) {
  float4 four;
  four.x = v[0], four.y = v[1], four.z = v[2], four.w = v[3];
  *reinterpret_cast<float4*>(p) = four;
}

/// The rows of a step as those of a product.
template <class P>
struct StepRows {
  const Args& args;
  const float* x;
  const int* logits_rows = nullptr;  // where P gathers: the number of each row
  /// How many there are. What a step is, kernels of the step do not change.
  DEVICE int count() const { return P::rows(*args.step); }
  /// Until they may be read.
  DEVICE void wait() const {
    letNextKernelBegin();
    waitForEarlierKernels();
  }
  DEVICE const float* row(int m) const {
    return x + static_cast<i64>(P::kGather ? logits_rows[m] : m) * P::kXStride;
  }
  /// Where it lies among those that are packed.
  DEVICE u32 place(int m) const { return static_cast<u32>(m); }
};

/// sums[m] = what f(sum so far, m, k) makes of every k, in every one of 256 threads; warps in
/// ascending order.
template <int kRows, int kCols, class F>
DEVICE void sumOfRows(F f, float (&partial)[kRows][8], float (&sums)[kRows]) {
#pragma unroll
  for (int m = 0; m < kRows; ++m) sums[m] = 0;
  for (int k = threadIdx.x; k < kCols; k += 256) {
#pragma unroll
    for (int m = 0; m < kRows; ++m) sums[m] = f(sums[m], m, k);
  }
  __syncthreads();  // what an earlier call left has been read
#pragma unroll
  for (int m = 0; m < kRows; ++m) {
    const float sum = sumLanes<32>(sums[m]);
    if (threadIdx.x % 32 == 0) partial[m][threadIdx.x / 32] = sum;
  }
  __syncthreads();
#pragma unroll
  for (int m = 0; m < kRows; ++m) {
    sums[m] = 0;
    for (int w = 0; w < 8; ++w) sums[m] += partial[m][w];
  }
}

/// The mean of each row and the inverse of its deviation, as a layer norm has them.
template <int kRows, int kCols>
DEVICE void layerNormOfRows(const float* const (&from)[kRows], float eps,
                            float (&partial)[kRows][8], float (&mean)[kRows],
                            float (&inverse)[kRows]) {
  sumOfRows<kRows, kCols>([&](float sum, int m, int k) { return sum + from[m][k]; }, partial, mean);
#pragma unroll
  for (int m = 0; m < kRows; ++m) mean[m] /= kCols;
  sumOfRows<kRows, kCols>(
      [&](float sum, int m, int k) {
        const float v = from[m][k] - mean[m];
        return fmaf(v, v, sum);
      },
      partial, inverse);
#pragma unroll
  for (int m = 0; m < kRows; ++m) inverse[m] = 1.0f / sqrtf(inverse[m] / kCols + eps);
}

/// An element of a layer norm.
DEVICE float layerNormed(float v, float mean, float inverse, float weight, float shift) {
  return fmaf((v - mean) * inverse, weight, shift);
}

/// body(i, piece) for i in [0, kTogether), of pieces begin, begin + 256, ... below kPieces.
template <int kPieces, int kTogether, class Body>
DEVICE void forPieces(int begin, Body body) {
#pragma unroll
  for (int i = 0; i < kTogether; ++i) {
    const int piece = begin + i * 256;
    if (kPieces % (kTogether * 256) == 0 || piece < kPieces) body(i, piece);
  }
}

/// For few rows: kRows at a time, weights streamed from memory through registers. Blocks of 256
/// threads; a block makes up to kPanelsPerBlock panels from `first` on, its 8 warps share k in 8
/// contiguous pieces that are summed in ascending order. `rows` gives the rows, of which the block
/// takes groups part, part + parts, ...; finish gets the number of a row there. kStaged: x (times
/// the norm's weights; of a layer norm, whole) is brought to shared memory, [kRows][kPaddedCols]
/// floats; otherwise it is read where it lies. Each warp has kUnroll or 2 x kUnroll blocks of
/// weights on their way: 32 to 64 KB a block where a row is alone, and two blocks fit on a
/// processor.
template <class P, int kRows, bool kStaged, int kPanelsPerBlock, class Rows, class Finish>
DEVICE void multiplyFewRows(const Step& step, Rows source, int first, int part, int parts,
                            const float* norm, const float* shift, float eps, const void* weight,
                            Finish finish) {
  typedef typename P::Weight T;
  // Of 128 registers a thread, one row has 64 for weights on their way; the sums and operands of
  // four leave 32.
  constexpr int kThreads = 256, kWarps = 8, kUnroll = kRows == 1 ? 8 : 4, kPer = T::kPerWord;
  constexpr bool kScaled = P::kNorm && !P::kLayer;
  // Every warp's share is whole groups of kUnroll blocks: no load needs a condition.
  constexpr bool kEven = P::kBlocks % (kWarps * kUnroll) == 0;
  __shared__ float partial[2][kWarps][kRows][16];
  __shared__ float square_sums[kRows][kWarps];
  float* const staged = reinterpret_cast<float*>(dynamicShared());

  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, c = lane % 4;
  const int begin = P::kBlocks * warp / kWarps, end = P::kBlocks * (warp + 1) / kWarps;
  const int groups = ceilDiv(end - begin, kUnroll);
  const int count = P::kPanels - first < kPanelsPerBlock ? P::kPanels - first : kPanelsPerBlock;

  auto load = [&](uint4(&quads)[kUnroll], int panel, int group) {
    const int b = begin + group * kUnroll;
    const u8* at = static_cast<const u8*>(weight) +
                   (static_cast<i64>(panel) * P::kBlocks + b) * 512 + lane * 16;
#pragma unroll
    for (int u = 0; u < kUnroll; ++u)
      if (kEven || b + u < end) quads[u] = loadOnce(at + u * 512);
  };
  // Weights depend on no earlier kernel: their first loads go out before anything is waited for.
  uint4 even[kUnroll], odd[kUnroll];
  auto loadFirst = [&](int panel) {
    load(even, panel, 0);
    if (groups > 1) load(odd, panel, 1);
  };
  loadFirst(first);
  // So do those of a finish, where nothing that it reads does.
  typename Finish::Loaded loaded = {};
  const int rows = source.count();
  auto loadFinish = [&](int m0, int panel) {
    if (threadIdx.x >= kRows * 8) return;
    const int row = m0 + static_cast<int>(threadIdx.x) / 8;
    loaded = finish.load(EarlyStep{step}, row < rows ? row : rows - 1, panel, threadIdx.x % 8);
  };
  if (Finish::kAhead && part * kRows < rows) loadFinish(part * kRows, first);
  source.wait();
  for (int m0 = part * kRows; m0 < rows; m0 += parts * kRows) {
    if (!Finish::kAhead || m0 > part * kRows) loadFinish(m0, first);
    const float* from[kRows];
#pragma unroll
    for (int m = 0; m < kRows; ++m) from[m] = source.row(m0 + m < rows ? m0 + m : rows - 1);
    float mean[kRows], inverse[kRows];  // of a layer norm
    if (P::kLayer) layerNormOfRows<kRows, P::kCols>(from, eps, square_sums, mean, inverse);
    /// Element k of row m as it is multiplied; the scale of an rms norm comes after the product.
    auto normalised = [&](int m, int k) {
      const float v = from[m][k];
      if (P::kLayer) return layerNormed(v, mean[m], inverse[m], norm[k], shift ? shift[k] : 0.0f);
      return kScaled ? v * norm[k] : v;
    };
    float squares[kRows];
#pragma unroll
    for (int m = 0; m < kRows; ++m) squares[m] = 0;
    if (kStaged || kScaled) {
      // Several loads of 16 bytes at once: until this is done nothing is multiplied, and so no more
      // weights are asked for.
      constexpr int kWidth = P::kCols % 4 == 0 && P::kXStride % 4 == 0 ? 4 : 1;
      constexpr int kPieces = P::kPaddedCols / kWidth, kEach = ceilDiv(kPieces, kThreads),
                    kMost = kUnroll / (P::kNorm ? 2 : 1), kTogether = kEach < kMost ? kEach : kMost;
      auto inside = [](int k) { return P::kPaddedCols == P::kCols || k < P::kCols; };
#pragma unroll 1
      for (int begin = threadIdx.x; begin < kPieces; begin += kTogether * kThreads) {
        float weights[kTogether][kWidth] = {}, shifts[kTogether][kWidth] = {};
        if (kStaged && P::kNorm) {
          forPieces<kPieces, kTogether>(begin, [&](int i, int piece) {
            if (!inside(piece * kWidth)) return;
            loadFloats(norm + piece * kWidth, weights[i]);
            if (P::kLayer && shift) loadFloats(shift + piece * kWidth, shifts[i]);
          });
        }
#pragma unroll
        for (int m = 0; m < kRows; ++m) {
          float values[kTogether][kWidth] = {};
          forPieces<kPieces, kTogether>(begin, [&](int i, int piece) {
            if (inside(piece * kWidth)) loadFloats(from[m] + piece * kWidth, values[i]);
          });
          forPieces<kPieces, kTogether>(begin, [&](int i, int piece) {
#pragma unroll
            for (int e = 0; e < kWidth; ++e) {
              float& v = values[i][e];
              if (!inside(piece * kWidth)) {
                v = 0;
              } else if (kScaled) {
                squares[m] = fmaf(v, v, squares[m]);
                if (kStaged) v *= weights[i][e];
              } else if (P::kLayer) {
                v = layerNormed(v, mean[m], inverse[m], weights[i][e], shifts[i][e]);
              }
            }
            if (kStaged) storeFloats(staged + m * P::kPaddedCols + piece * kWidth, values[i]);
          });
        }
      }
    }
    if (kScaled) {
#pragma unroll
      for (int m = 0; m < kRows; ++m) {
        const float sum = sumLanes<32>(squares[m]);
        if (lane == 0) square_sums[m][warp] = sum;
      }
    }
    if (kStaged || kScaled) __syncthreads();

    auto operand = [&](int m, int k, float(&values)[kPer]) {
#pragma unroll
      for (int i = 0; i < kPer; ++i)
        values[i] = kStaged ? staged[m * P::kPaddedCols + k + i] : normalised(m, k + i);
    };
    for (int i = 0; i < count; ++i) {
      float acc[kRows][2];
#pragma unroll
      for (int m = 0; m < kRows; ++m) acc[m][0] = acc[m][1] = 0;
      auto multiply = [&](const uint4(&quads)[kUnroll], int group) {
        const int b = begin + group * kUnroll;
#pragma unroll
        for (int u = 0; u < kUnroll; ++u)
          if (kEven || b + u < end)
            multiplyBlock<T, kRows>(quads[u], (b + u) * P::kBlockCols, c, operand, acc);
      };
      for (int group = 0; group < groups; group += 2) {
        multiply(even, group);
        if (group + 2 < groups) load(even, first + i, group + 2);
        if (group + 1 < groups) multiply(odd, group + 1);
        if (group + 3 < groups) load(odd, first + i, group + 3);
      }
      // The next panel's weights, or this block's first ones for more rows, travel during the sums.
      if (i + 1 < count)
        loadFirst(first + i + 1);
      else if (m0 + parts * kRows < rows)
        loadFirst(first);
#pragma unroll
      for (int m = 0; m < kRows; ++m) {
        const float low = sumLanes<4>(acc[m][0]), high = sumLanes<4>(acc[m][1]);
        if (c == 0) {
          partial[i % 2][warp][m][g] = low;
          partial[i % 2][warp][m][g + 8] = high;
        }
      }
      // One barrier a panel: who writes this half of `partial` again has passed the next barrier,
      // and so have its readers.
      __syncthreads();
      if (threadIdx.x < kRows * 8) {
        const int m = threadIdx.x / 8, n = threadIdx.x % 8;
        float low = 0, high = 0, square_sum = 0;
        for (int w = 0; w < kWarps; ++w) {
          low += partial[i % 2][w][m][n];
          high += partial[i % 2][w][m][n + 8];
          if (kScaled) square_sum += square_sums[m][w];
        }
        if (kScaled) {
          const float scale = 1.0f / sqrtf(square_sum / P::kCols + eps);
          low *= scale;
          high *= scale;
        }
        if (m0 + m < rows) finish.store(step, m0 + m, first + i, n, low, high, loaded);
      }
      if (i + 1 < count) loadFinish(m0, first + i + 1);
    }
    __syncthreads();  // the next rows overwrite what was staged and summed
  }
}

/// The rows of the step, spread over the grid's y. `shift`: a layer norm's bias, if it has one.
/// `logits_rows`: which rows, where P gathers.
template <class P, int kRows, bool kStaged, int kPanelsPerBlock, class Finish>
DEVICE void productOfFewRows(const Args& a, const float* x, const float* norm, float eps,
                             const void* weight, Finish finish, const float* shift = nullptr,
                             const int* logits_rows = nullptr) {
  multiplyFewRows<P, kRows, kStaged, kPanelsPerBlock>(*a.step, StepRows<P>{a, x, logits_rows},
                                                      blockIdx.x * kPanelsPerBlock, blockIdx.y,
                                                      gridDim.y, norm, shift, eps, weight, finish);
}

/// y = the product.
template <int kWidth, int kStride>
struct FinishStore {
  float* y;
  struct Loaded {};
  static constexpr bool kAhead = true;
  DEVICE Loaded load(const Step&, int, int, int) const { return {}; }
  DEVICE void store(const Step&, int row, int panel, int g, float low, float high,
                    const Loaded&) const {
    float* to = y + static_cast<i64>(row) * kStride + panel * 16 + g;
    if (panel * 16 + g < kWidth) to[0] = low;
    if (panel * 16 + g + 8 < kWidth) to[8] = high;
  }
};

/// Two elements of a vector that a finish adds; `kHas`: whether there is one.
template <bool kHas>
struct Pair {
  float low, high;
  DEVICE void add(float& a, float& b) const { a += low, b += high; }
};
template <>
struct Pair<false> {
  DEVICE void add(float&, float&) const {}
};
/// v[low] and v[high], as far as they lie below `width`.
template <bool kHas>
DEVICE Pair<kHas> loadPair(const float* v, int low, int high, int width) {
  if constexpr (kHas)
    return {low < width ? v[low] : 0.0f, high < width ? v[high] : 0.0f};
  else
    return {};
}

/// y = f(product + bias), element by element.
template <int kWidth, bool kBias, int kStride, class F>
struct FinishEach {
  const float* bias;
  float* y;
  F f;
  typedef Pair<kBias> Loaded;
  static constexpr bool kAhead = true;
  DEVICE Loaded load(const Step&, int, int panel, int g) const {
    return loadPair<kBias>(bias, panel * 16 + g, panel * 16 + g + 8, kWidth);
  }
  DEVICE void store(const Step&, int row, int panel, int g, float low, float high,
                    const Loaded& loaded) const {
    const int n = panel * 16 + g;
    float* to = y + static_cast<i64>(row) * kStride + n;
    loaded.add(low, high);
    if (n < kWidth) to[0] = f(low);
    if (n + 8 < kWidth) to[8] = f(high);
  }
};
/// What a finish reads that joins the product, and its bias, with another value of the same place.
template <int kWidth, bool kBias, int kOtherStride>
struct OtherAndBias {
  const float* other;
  const float* bias;
  struct Loaded {
    Pair<true> other;
    Pair<kBias> bias;
  };
  static constexpr bool kAhead = false;
  DEVICE Loaded load(const Step&, int row, int panel, int g) const {
    const int n = panel * 16 + g;
    return {loadPair<true>(other + static_cast<i64>(row) * kOtherStride, n, n + 8, kWidth),
            loadPair<kBias>(bias, n, n + 8, kWidth)};
  }
};
/// y = other * f(product + bias): a gate.
template <int kWidth, bool kBias, int kOtherStride, int kStride, class F>
struct FinishGate : OtherAndBias<kWidth, kBias, kOtherStride> {
  float* y;
  F f;
  typedef typename OtherAndBias<kWidth, kBias, kOtherStride>::Loaded Loaded;
  DEVICE void store(const Step&, int row, int panel, int g, float low, float high,
                    const Loaded& loaded) const {
    const int n = panel * 16 + g;
    float* to = y + static_cast<i64>(row) * kStride + n;
    loaded.bias.add(low, high);
    if (n < kWidth) to[0] = loaded.other.low * f(low);
    if (n + 8 < kWidth) to[8] = loaded.other.high * f(high);
  }
};
template <int kKind>
struct Activate {
  DEVICE float operator()(float v) const { return activate<kKind>(v); }
};
/// What becomes of a logit: v * scale, then capped where there is a cap.
struct ScaleAndCap {
  float scale, cap;
  DEVICE float operator()(float v) const { return softcap(v * scale, cap); }
};

/// y = other + scale * (product + bias): a residual.
template <int kWidth, bool kBias, int kOtherStride, int kStride>
struct FinishResidual : OtherAndBias<kWidth, kBias, kOtherStride> {
  float scale;
  float* y;
  typedef typename OtherAndBias<kWidth, kBias, kOtherStride>::Loaded Loaded;
  DEVICE void store(const Step&, int row, int panel, int g, float low, float high,
                    const Loaded& loaded) const {
    const int n = panel * 16 + g;
    float* to = y + static_cast<i64>(row) * kStride + n;
    loaded.bias.add(low, high);
    if (n < kWidth) to[0] = fmaf(scale, low, loaded.other.low);
    if (n + 8 < kWidth) to[8] = fmaf(scale, high, loaded.other.high);
  }
};

/// y = act(gate + bias) * (up + bias): low is gate's row, high up's.
template <int kKind, int kWidth, bool kBias, int kStride>
struct FinishGlu {
  const float* bias;  // gate's, then up's
  float* y;
  typedef Pair<kBias> Loaded;
  static constexpr bool kAhead = true;
  DEVICE Loaded load(const Step&, int, int panel, int g) const {
    const int n = panel * 8 + g;
    return loadPair<kBias>(bias, n, n < kWidth ? kWidth + n : 2 * kWidth, 2 * kWidth);
  }
  DEVICE void store(const Step&, int row, int panel, int g, float low, float high,
                    const Loaded& loaded) const {
    const int n = panel * 8 + g;
    if (n >= kWidth) return;
    loaded.add(low, high);
    y[static_cast<i64>(row) * kStride + n] = activate<kKind>(low) * high;
  }
};

/// y = the product of a matrix in order heads: low is element i of its head, high element i + half.
template <int kHeadDim, int kStride>
struct FinishHeads {
  float* y;
  struct Loaded {};
  static constexpr bool kAhead = true;
  DEVICE Loaded load(const Step&, int, int, int) const { return {}; }
  DEVICE void store(const Step&, int row, int panel, int g, float low, float high,
                    const Loaded&) const {
    constexpr int kHalf = (kHeadDim + 1) / 2, kHeadPanels = ceilDiv(kHeadDim, 16);
    const int i = panel % kHeadPanels * 8 + g;
    if (i >= kHalf) return;
    float* to = y + static_cast<i64>(row) * kStride + panel / kHeadPanels * kHeadDim + i;
    to[0] = low;
    if (kHeadDim % 2 == 0 || i + kHalf < kHeadDim) to[kHalf] = high;
  }
};

/// Heads of q, k and v: low is element i of its head, high element i + half. q goes to a buffer, k
/// and v to the cache.
template <class Pool, int kNumHeads, bool kBias, bool kRope, int kStride, class Rows = CacheRows>
struct FinishQkv {
  Rows rows;
  const float* bias;  // of all heads of q, k and v
  const float* rope;
  void* keys;
  void* values;
  float* q;
  static constexpr int kDim = Pool::kDim, kHalf = (kDim + 1) / 2, kHeadPanels = ceilDiv(kDim, 16);
  /// Where the low output goes: a float of q, an element of the cache.
  struct Loaded {
    i64 to;
    float cos, sin;
    Pair<kBias> bias;
  };
  static constexpr bool kAhead = true;
  template <class AnyStep>
  DEVICE Loaded load(const AnyStep& of, int row, int panel, int g) const {
    const Step& step = of;
    // Without a branch, so that the loads of several rows go out together: what q, k or v has no
    // use for is read all the same.
    const int head = panel / kHeadPanels, at = panel % kHeadPanels * 8 + g,
              i = at < kHalf ? at : kHalf - 1;
    const int pos = readStep(of, rows.pos + row), seq = readStep(of, rows.seq + row),
              slot = Rows::kTrees ? readStep(of, rows.slots() + row) : pos;
    const bool is_query = head < kNumHeads;
    const int kv_head = is_query ? 0 : (head - kNumHeads) % Pool::kHeads;
    const i64 block = readStep(of, Pool::tableAt(step, rows, seq, slot));
    Loaded loaded = {};
    loaded.to = is_query ? static_cast<i64>(row) * kStride + head * kDim + i
                         : Pool::template offsetIn<Pool::kPadded>(block, slot, kv_head) + i;
    if (kRope) {
      const float* const turn = rope + static_cast<i64>(pos) * 2 * kHalf + i;
      loaded.cos = turn[0], loaded.sin = turn[kHalf];
    }
    loaded.bias = loadPair<kBias>(bias, head * kDim + i, head * kDim + i + kHalf,
                                  i + kHalf < kDim ? 1 << 30 : head * kDim + kHalf);
    return loaded;
  }
  DEVICE void store(const Step&, int, int panel, int g, float low, float high,
                    const Loaded& loaded) const {
    const int head = panel / kHeadPanels, i = panel % kHeadPanels * 8 + g;
    if (i >= kHalf) return;
    const bool both = kDim % 2 == 0 || i + kHalf < kDim;
    loaded.bias.add(low, high);
    if (kRope && head < kNumHeads + Pool::kHeads) rotate(loaded.cos, loaded.sin, low, high);
    if (head < kNumHeads) {
      float* const to = q + loaded.to;
      to[0] = low;
      if (both) to[kHalf] = high;
    } else {
      void* const pool = head < kNumHeads + Pool::kHeads ? keys : values;
      auto* const to = static_cast<typename Pool::Element*>(pool) + loaded.to;
      to[0] = Pool::Type::fromFloat(low);
      if (both) to[kHalf] = Pool::Type::fromFloat(high);
    }
  }
};
