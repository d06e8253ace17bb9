// Products of many rows on Hopper (sm_90a): wgmma, fed by bulk copies. Weights are operand A, from
// registers: their fragments are those that decoding reads, so they lie on the device once. Rows
// are operand B, tiles in shared memory that packRows has swizzled.
#ifdef LLMC_WGMMA

/// kTokens rows by 128 outputs (8 panels), three warpgroups. One thread of the first copies stages
/// of 64 values of k as their places fall empty; of the others each has 64 outputs, whose sums its
/// threads keep in registers. The order of sums is k's, sixteen at a time; inside sixteen it is the
/// hardware's, of which nothing is known. `packed`: packRows' tiles.
template <class P, int kTokens, class Finish>
struct ProductOnWgmma {
  typedef typename P::Weight T;
  static_assert(P::kCols % 64 == 0, "whole stages");
  static constexpr int kThreads = 384, kTilePanels = 8, kStages = 4, kStageBlocks = 4;
  static constexpr int kSteps = P::kBlocks / kStageBlocks;
  static constexpr int kPanelBytes = kStageBlocks * 512, kRowTileBytes = 64 * 128;
  static constexpr int kWeightBytes = kTilePanels * kPanelBytes,
                       kStageBytes = kWeightBytes + kTokens / 64 * kRowTileBytes;
  // 32 rows by 16 outputs of a warp on their way to the finish. With a stride of 20 floats, what a
  // warp writes at once falls into different banks.
  static constexpr int kTurnRows = 32, kStride = 20, kTurnBytes = kTurnRows * kStride * 4;
  static constexpr int kWarps = 8;  // that multiply
  /// 1024 more, to begin where the swizzle does.
  static constexpr int kSharedBytes =
      1024 + kStages * kStageBytes + kWarps * kTurnBytes + 2 * kStages * 8;

  u8* stages;
  u64 *full, *empty;
  int first_panel, first_row, rows;

  DEVICE void copy(const u8* packed, const u8* weight) const {
    const int panels =
        P::kPanels - first_panel < kTilePanels ? P::kPanels - first_panel : kTilePanels;
    const int left = ceilDiv(rows - first_row, 64),
              tiles = left < kTokens / 64 ? left : kTokens / 64;
#pragma unroll 1
    for (int s = 0; s < kSteps; ++s) {
      const int stage = s % kStages;
      u8* const to = stages + stage * kStageBytes;
      barrierWait(empty + stage, s / kStages % 2 ^ 1);
      barrierExpect(full + stage, panels * kPanelBytes + tiles * kRowTileBytes);
      for (int p = 0; p < panels; ++p)
        bulkCopy(to + p * kPanelBytes,
                 weight + (static_cast<i64>(first_panel + p) * P::kBlocks + s * kStageBlocks) * 512,
                 kPanelBytes, full + stage);
      for (int i = 0; i < tiles; ++i)
        bulkCopy(to + kWeightBytes + i * kRowTileBytes,
                 packed + (static_cast<i64>(first_row / 64 + i) * kSteps + s) * kRowTileBytes,
                 kRowTileBytes, full + stage);
    }
  }

  /// Begins the products of stage `s`. `quads`: operand A, which stays until they have ended.
  DEVICE void begin(int s, int panel, int lane, uint4 (&quads)[kStageBlocks],
                    float (&acc)[kTokens / 2]) const {
    const u8* const from = stages + s % kStages * kStageBytes;
    barrierWait(full + s % kStages, s / kStages % 2);
#pragma unroll
    for (int b = 0; b < kStageBlocks; ++b)
      quads[b] = *reinterpret_cast<const uint4*>(from + panel * kPanelBytes + b * 512 + lane * 16);
    const u64 operand = wgmmaOperand(from + kWeightBytes);
    wgmmaFence();
#pragma unroll
    for (int b = 0; b < kStageBlocks; ++b) wgmma(T(), acc, quads[b], operand + 2 * b);
    wgmmaCommit();
  }

  DEVICE void multiply(const Step& step, int panel, int lane, const Finish& finish) const {
    float acc[kTokens / 2];
#pragma unroll
    for (int i = 0; i < kTokens / 2; ++i) acc[i] = 0;
    // Stage s is multiplied while the operands of s + 1 are read: two sets of registers.
    uint4 even[kStageBlocks], odd[kStageBlocks];
    auto release = [&](int s) {
      if (lane == 0) barrierArrive(empty + s % kStages);
    };
#pragma unroll 1
    for (int s = 0; s + 1 < kSteps; s += 2) {
      begin(s, panel, lane, even, acc);
      wgmmaWait<1>();
      if (s > 0) release(s - 1);
      begin(s + 1, panel, lane, odd, acc);
      wgmmaWait<1>();
      release(s);
    }
    if (kSteps % 2 == 1) {
      // ptxas does not see that `even` is free here, and without this would wait after every
      // product.
      wgmmaWait<0>();
      begin(kSteps - 1, panel, lane, even, acc);
    }
    wgmmaWait<0>();
    wgmmaKeep(acc);

    // Through shared memory: the finish is compiled once for 32 rows, not for each of them.
    const int g = lane / 4, c = lane % 4;
    float* const turn =
        reinterpret_cast<float*>(stages + kStages * kStageBytes + panel * kTurnBytes);
#pragma unroll
    for (int t = 0; t < kTokens / kTurnRows; ++t) {
#pragma unroll
      for (int j = 0; j < kTurnRows / 8; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e)
          turn[(j * 8 + 2 * c + e % 2) * kStride + g + e / 2 * 8] =
              acc[(t * kTurnRows / 8 + j) * 4 + e];
      __syncwarp();
      const int n = lane % 8;
#pragma unroll 1
      for (int m = lane / 8; m < kTurnRows; m += 4) {
        const int row = first_row + t * kTurnRows + m;
        const float* const sums = turn + m * kStride + n;
        if (row < rows && first_panel + panel < P::kPanels)
          finish(step, row, first_panel + panel, n, sums[0], sums[8]);
      }
      __syncwarp();
    }
  }

  static DEVICE void run(const Args& a, const u8* packed, const void* weight,
                         const Finish& finish) {
    letNextKernelBegin();
    waitForEarlierKernels();
    const Step& step = *a.step;
    ProductOnWgmma p;
    p.rows = P::rows(step);
    // Blocks that share weights are neighbours in time, so weights are read once.
    const int row_tiles = gridDim.y, tile = blockIdx.y * gridDim.x + blockIdx.x;
    p.first_panel = tile / row_tiles * kTilePanels;
    p.first_row = tile % row_tiles * kTokens;
    if (p.first_row >= p.rows) return;
    u8* const shared = dynamicShared();
    p.stages = shared + (1024 - reinterpret_cast<u64>(shared) % 1024) % 1024;
    p.full = reinterpret_cast<u64*>(p.stages + kStages * kStageBytes + kWarps * kTurnBytes);
    p.empty = p.full + kStages;
    if (threadIdx.x == 0) {
      for (int s = 0; s < kStages; ++s) {
        barrierInit(p.full + s, 1);
        barrierInit(p.empty + s, kWarps);
      }
      barrierFence();
    }
    __syncthreads();
    // 65536 registers: 40 of the first warpgroup's threads, 232 of the others'.
    if (threadIdx.x < 128) {
      giveRegisters<40>();
      if (threadIdx.x == 0) p.copy(packed, static_cast<const u8*>(weight));
    } else {
      takeRegisters<232>();
      p.multiply(step, (threadIdx.x - 128) / 32, threadIdx.x % 32, finish);
    }
  }
};

template <class P, int kTokens, class Finish>
DEVICE void productOnWgmma(const Args& a, const u8* packed, const void* weight, Finish finish) {
  ProductOnWgmma<P, kTokens, Finish>::run(a, packed, weight, finish);
}

#endif  // LLMC_WGMMA
