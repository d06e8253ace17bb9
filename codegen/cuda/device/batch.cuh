// Products of 5 rows and more, as batches and trees have them: y = x W^T with the bits that
// linear.cuh's have, and weights that are read once for up to 16 rows. More rows are groups of so
// many: blocks that read the same weights for different groups are neighbours in the grid, so they
// run at once and all but one read from the L2. packBatch lays the rows out, normalised; a block of
// productOfBatch then brings weights and rows through shared memory side by side.

constexpr int kBatchRows = 16;  // that are packed, of a group; past the last they are zeros
constexpr int kBatchWarps = 8;

/// Rows as packBatch leaves them: by blocks of k as weights have them, [kBlocks][kBatchRows], and
/// in a block the values that a lane multiplies (words c and c + 4) side by side. Behind them the
/// scale of each row's rms norm.
template <class P>
struct PackedBatch {
  static constexpr int kPer = P::Weight::kPerWord, kLaneFloats = 2 * kPer;
  static constexpr int kScales = P::kBlocks * kBatchRows * P::kBlockCols;     // where they begin
  static constexpr int kFloats = kScales + kBatchRows, kBytes = kFloats * 4;  // of a group
  static DEVICE int at(int m, int k) {
    const int word = k / kPer % 8;
    return (k / P::kBlockCols * kBatchRows + m) * P::kBlockCols + word % 4 * kLaneFloats +
           word / 4 * kPer + k % kPer;
  }
};

/// Block (row of kBatchRows, group), 256 threads: a norm's sums are those of multiplyFewRows, in
/// its order. `shift`: a layer norm's bias, if it has one. `logits_rows`: which rows, where P
/// gathers. kGroups: whether there may be several groups.
template <class P, bool kGroups = false>
DEVICE void packBatch(const Args& a, const float* x, const float* norm, float eps, float* packed,
                      const float* shift = nullptr, const int* logits_rows = nullptr) {
  typedef PackedBatch<P> To;
  constexpr bool kScaled = P::kNorm && !P::kLayer;
  constexpr int kWidth = P::kCols % 4 == 0 && P::kXStride % 4 == 0 ? 4 : 1;
  constexpr int kPieces = P::kPaddedCols / kWidth, kEach = ceilDiv(kPieces, 256),
                kTogether = kEach < 8 ? kEach : 8;
  __shared__ float partial[1][kBatchWarps];
  const StepRows<P> source{a, x, logits_rows};
  const int m = blockIdx.x, rows = source.count();
  const int row = kGroups ? blockIdx.y * kBatchRows + m : m;
  source.wait();
  if (kGroups) packed += static_cast<i64>(blockIdx.y) * To::kFloats;
  const bool valid = row < rows;
  const float* const from[1] = {source.row(valid ? row : 0)};
  float mean[1] = {}, inverse[1] = {};
  if (P::kLayer) layerNormOfRows<1, P::kCols>(from, eps, partial, mean, inverse);
  auto inside = [&](int k) { return valid && (P::kPaddedCols == P::kCols || k < P::kCols); };
  float squares = 0;
#pragma unroll 1
  for (int begin = threadIdx.x; begin < kPieces; begin += kTogether * 256) {
    float values[kTogether][kWidth] = {}, weights[kTogether][kWidth] = {},
          shifts[kTogether][kWidth] = {};
    forPieces<kPieces, kTogether>(begin, [&](int i, int piece) {
      if (!inside(piece * kWidth)) return;
      loadFloats(from[0] + piece * kWidth, values[i]);
      if (P::kNorm) loadFloats(norm + piece * kWidth, weights[i]);
      if (P::kLayer && shift) loadFloats(shift + piece * kWidth, shifts[i]);
    });
    forPieces<kPieces, kTogether>(begin, [&](int i, int piece) {
#pragma unroll
      for (int e = 0; e < kWidth; ++e) {
        float v = values[i][e];
        if (kScaled) {
          squares = fmaf(v, v, squares);
          v *= weights[i][e];
        } else if (P::kLayer && inside(piece * kWidth)) {
          v = layerNormed(v, mean[0], inverse[0], weights[i][e], shifts[i][e]);
        }
        packed[To::at(m, piece * kWidth + e)] = v;
      }
    });
  }
  if (!kScaled) return;
  const float sum = sumLanes<32>(squares);
  if (threadIdx.x % 32 == 0) partial[0][threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x > 0) return;
  float square_sum = 0;
  for (int w = 0; w < kBatchWarps; ++w) square_sum += partial[0][w];
  packed[To::kScales + m] = 1.0f / sqrtf(square_sum / P::kCols + eps);
}

/// Block (kAtOnce panels), 256 threads, of at most kRows rows; with kGroups, of one of the grid's y
/// groups of rows. A warp multiplies its eighth of k, block by block in ascending order, as in
/// multiplyFewRows; of kStages blocks the weights and rows are on their way to shared memory that
/// is the warp's own. Two panels at once, where there are enough of them, halve what is read of the
/// rows and from shared memory.
template <class P, int kRows, int kAtOnce, bool kGroups = false>
struct BatchProduct {
  typedef typename P::Weight T;
  typedef PackedBatch<P> Rows;
  static constexpr int kStages = kAtOnce == 2 ? 5 : 7;
  static constexpr int kWeightBytes = kAtOnce * 512, kRowBytes = P::kBlockCols * 4,
                       kStageBytes = kWeightBytes + kRows * kRowBytes;
  static constexpr int kSharedBytes = kBatchWarps * kStages * kStageBytes;
  static_assert(kAtOnce * kRows * 8 <= kBatchWarps * 32, "a thread finishes one pair");

  /// acc += one block, of which this lane has words c and c + 4.
  static DEVICE void multiply(const u8* stage, int lane, float (&acc)[kAtOnce][kRows][2]) {
    constexpr int kPer = T::kPerWord;
    float low[kAtOnce][2][kPer], high[kAtOnce][2][kPer];
#pragma unroll
    for (int p = 0; p < kAtOnce; ++p) {
      const uint4 quad = *reinterpret_cast<const uint4*>(stage + p * 512 + lane * 16);
      T::unpack(quad.x, low[p][0]);
      T::unpack(quad.y, high[p][0]);
      T::unpack(quad.z, low[p][1]);
      T::unpack(quad.w, high[p][1]);
    }
    const float* const x =
        reinterpret_cast<const float*>(stage + kWeightBytes) + lane % 4 * Rows::kLaneFloats;
#pragma unroll
    for (int m = 0; m < kRows; ++m) {
      float values[Rows::kLaneFloats];
      loadFloats(x + m * P::kBlockCols, values);
#pragma unroll
      for (int p = 0; p < kAtOnce; ++p)
#pragma unroll
        for (int i = 0; i < Rows::kLaneFloats; ++i) {
          acc[p][m][0] = fmaf(low[p][i / kPer][i % kPer], values[i], acc[p][m][0]);
          acc[p][m][1] = fmaf(high[p][i / kPer][i % kPer], values[i], acc[p][m][1]);
        }
    }
  }

  /// The sum over this lane and the one whose number differs by `bit`: of a, or of b where `is_b`.
  static DEVICE float sumOfPair(float a, float b, bool is_b, int bit) {
    return (is_b ? b : a) + __shfl_xor_sync(~0u, is_b ? a : b, bit);
  }

  template <class Finish>
  static DEVICE void run(const Args& a, const float* packed, const void* weight, Finish finish) {
    __shared__ float partial[kBatchWarps][kAtOnce][kRows][16];
    const Step& step = *a.step;
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, c = lane % 4;
    // The groups of one block's panels come one after another.
    const int block = kGroups ? blockIdx.y * gridDim.x + blockIdx.x : blockIdx.x;
    const int group = kGroups ? block % gridDim.y : 0,
              first = (kGroups ? block / gridDim.y : block) * kAtOnce;
    if (kGroups) packed += static_cast<i64>(group) * Rows::kFloats;
    const int begin = P::kBlocks * warp / kBatchWarps, end = P::kBlocks * (warp + 1) / kBatchWarps;
    u8* const ring = dynamicShared() + warp * kStages * kStageBytes;
    // One place, and so two registers, for all panels; where the last one lacks its neighbour, it
    // is read twice.
    const u8* const weights =
        static_cast<const u8*>(weight) + static_cast<i64>(first) * P::kBlocks * 512 + lane * 16;
    auto copyWeights = [&](int b, u8* stage) {
#pragma unroll
      for (int p = 0; p < kAtOnce; ++p) {
        const bool there = P::kPanels % kAtOnce == 0 || first + p < P::kPanels;
        copyAsyncOnce16(stage + p * 512 + lane * 16,
                        weights + ((there ? p : 0) * P::kBlocks + b) * 512);
      }
    };
    auto copyRows = [&](int b, u8* stage) {
      const u8* const from =
          reinterpret_cast<const u8*>(packed) + static_cast<i64>(b) * kBatchRows * kRowBytes;
#pragma unroll
      for (int i = 0; i < kRows * kRowBytes; i += 512)
        if (i + lane * 16 < kRows * kRowBytes)
          copyAsync16(stage + kWeightBytes + i + lane * 16, from + i + lane * 16, true);
    };
    // As in multiplyFewRows, weights do not wait for earlier kernels, nor do what of a finish can.
#pragma unroll
    for (int s = 0; s < kStages - 1; ++s)
      if (begin + s < end) copyWeights(begin + s, ring + s * kStageBytes);
    // Of a thread: the pair of outputs that it finishes.
    const int item = threadIdx.x, p = item / (kRows * 8), m = item / 8 % kRows, n = item % 8;
    const int rows = P::rows(step), panel = first + p, row = group * kBatchRows + m;
    const bool finishes = item < kAtOnce * kRows * 8 && row < rows && panel < P::kPanels;
    typename Finish::Loaded loaded = {};
    if (Finish::kAhead && finishes) loaded = finish.load(EarlyStep{step}, row, panel, n);
    letNextKernelBegin();
    waitForEarlierKernels();
#pragma unroll
    for (int s = 0; s < kStages - 1; ++s) {
      if (begin + s < end) copyRows(begin + s, ring + s * kStageBytes);
      commitCopies();
    }
    if (!Finish::kAhead && finishes) loaded = finish.load(step, row, panel, n);
    const float scale = P::kNorm && !P::kLayer ? packed[Rows::kScales + m] : 1.0f;

    float acc[kAtOnce][kRows][2] = {};
    // Places in the ring; pointers would take twice the registers, and there is none to spare.
    int stage = 0, last = (kStages - 1) * kStageBytes;  // the one multiplied before
#pragma unroll 1
    for (int b = begin; b < end; ++b) {
      waitCopies<kStages - 2>();
      __syncwarp();  // all lanes' have come, and all have read the stage that is filled next
      if (b + kStages - 1 < end) {
        copyWeights(b + kStages - 1, ring + last);
        copyRows(b + kStages - 1, ring + last);
      }
      commitCopies();
      multiply(ring + stage, lane, acc);
      last = stage;
      stage = stage == (kStages - 1) * kStageBytes ? 0 : stage + kStageBytes;
    }
    // sumLanes<4> of all of them, of which each lane ends up with a quarter.
    const int odd = c % 2, second = c / 2;
#pragma unroll
    for (int q = 0; q < kAtOnce; ++q)
#pragma unroll
      for (int r = 0; r < kRows; r += 2) {
        const float even_row = sumOfPair(acc[q][r][0], acc[q][r][1], odd, 1),
                    odd_row = sumOfPair(acc[q][r + 1][0], acc[q][r + 1][1], odd, 1);
        partial[warp][q][r + second][g + 8 * odd] = sumOfPair(even_row, odd_row, second, 2);
      }
    __syncthreads();
    if (!finishes) return;
    float low = 0, high = 0;
    for (int w = 0; w < kBatchWarps; ++w) {
      low += partial[w][p][m][n];
      high += partial[w][p][m][n + 8];
    }
    if (P::kNorm && !P::kLayer) {
      low *= scale;
      high *= scale;
    }
    finish.store(step, row, panel, n, low, high, loaded);
  }
};
