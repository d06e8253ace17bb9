// Products of many rows on Hopper (sm_90a): wgmma, fed by bulk copies. Weights are operand A, from
// registers: their fragments are those that decoding reads, so they lie on the device once. Rows
// are operand B, tiles in shared memory that packRows has swizzled.
//
// Tiles is told about by
//   void begin(step)           once earlier kernels have ended, before the block's first barrier
//   bool tile(n, &tile)        tile n of the block, in every thread; false: it has no more
//   void finish(step, tile, row, panel, g, low, high)
//   kMany                      whether a block may have more than one, of fewer rows than kTokens
#ifdef LLMC_WGMMA

/// kTokens rows by 8 panels of one matrix.
struct WgmmaTile {
  const u8 *weight, *packed;         // the matrix; row 0's tile
  int first_panel, first_row, rows;  // rows: all that the matrix multiplies
  int group, first_entry;            // of many matrices: which it is, and where its rows begin
};

/// kTokens rows by 128 outputs (8 panels), three warpgroups. One thread of the first copies stages
/// of 64 values of k as their places fall empty; of the others each has 64 outputs, whose sums its
/// threads keep in registers. The order of sums is k's, sixteen at a time; inside sixteen it is the
/// hardware's, of which nothing is known. Of a block with several tiles the copies of the next one
/// are on their way while a tile is finished.
template <class P, int kTokens, class Tiles>
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

  /// f(at, tile) of each tile of the block; `at`: its first stage, of those of all of them. `tile`:
  /// the only one, unless there may be many.
  template <class F>
  static DEVICE void forTiles(const Tiles& tiles, WgmmaTile& tile, F f) {
    if constexpr (!Tiles::kMany) {
      f(0, tile);
    } else {
      int at = 0;
      for (int n = 0; tiles.tile(n, &tile); ++n, at += kSteps) f(at, tile);
    }
  }

  DEVICE void copy(int at, const WgmmaTile& t) const {
    const int panels =
        P::kPanels - t.first_panel < kTilePanels ? P::kPanels - t.first_panel : kTilePanels;
    const int left = ceilDiv(t.rows - t.first_row, 64),
              tiles = left < kTokens / 64 ? left : kTokens / 64;
#pragma unroll 1
    for (int s = 0; s < kSteps; ++s) {
      const int stage = (at + s) % kStages;
      u8* const to = stages + stage * kStageBytes;
      barrierWait(empty + stage, (at + s) / kStages % 2 ^ 1);
      barrierExpect(full + stage, panels * kPanelBytes + tiles * kRowTileBytes);
      for (int p = 0; p < panels; ++p)
        bulkCopy(
            to + p * kPanelBytes,
            t.weight + (static_cast<i64>(t.first_panel + p) * P::kBlocks + s * kStageBlocks) * 512,
            kPanelBytes, full + stage);
      for (int i = 0; i < tiles; ++i)
        bulkCopy(to + kWeightBytes + i * kRowTileBytes,
                 t.packed + (static_cast<i64>(t.first_row / 64 + i) * kSteps + s) * kRowTileBytes,
                 kRowTileBytes, full + stage);
    }
  }

  /// Begins the products of stage `s`. `quads`: operand A, which stays until they have ended.
  template <int kSums>
  DEVICE void begin(int s, int panel, int lane, uint4 (&quads)[kStageBlocks],
                    float (&acc)[kSums]) const {
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

  /// kRows: how many of the tile's rows, from the first on, are multiplied.
  template <int kRows>
  DEVICE void multiply(const Step& step, int at, const WgmmaTile& tile, int panel, int lane,
                       const Tiles& tiles) const {
    float acc[kRows / 2];
#pragma unroll
    for (int i = 0; i < kRows / 2; ++i) acc[i] = 0;
    // Stage s is multiplied while the operands of s + 1 are read: two sets of registers.
    uint4 even[kStageBlocks], odd[kStageBlocks];
    auto release = [&](int s) {
      if (lane == 0) barrierArrive(empty + (at + s) % kStages);
    };
#pragma unroll 1
    for (int s = 0; s + 1 < kSteps; s += 2) {
      begin(at + s, panel, lane, even, acc);
      wgmmaWait<1>();
      if (s > 0) release(s - 1);
      begin(at + s + 1, panel, lane, odd, acc);
      wgmmaWait<1>();
      release(s);
    }
    if (kSteps % 2 == 1) {
      // ptxas does not see that `even` is free here, and without this would wait after every
      // product.
      wgmmaWait<0>();
      if (Tiles::kMany && kSteps > 1) release(kSteps - 2);
      begin(at + kSteps - 1, panel, lane, even, acc);
    }
    wgmmaWait<0>();
    wgmmaKeep(acc);
    if (Tiles::kMany) release(kSteps - 1);

    // Through shared memory: the finish is compiled once for 32 rows, not for each of them.
    const int g = lane / 4, c = lane % 4;
    float* const turn =
        reinterpret_cast<float*>(stages + kStages * kStageBytes + panel * kTurnBytes);
#pragma unroll
    for (int t = 0; t < kRows / kTurnRows; ++t) {
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
        const int row = tile.first_row + t * kTurnRows + m;
        const float* const sums = turn + m * kStride + n;
        if (row < tile.rows && tile.first_panel + panel < P::kPanels)
          tiles.finish(step, tile, row, tile.first_panel + panel, n, sums[0], sums[8]);
      }
      __syncwarp();
    }
  }

  static DEVICE void run(const Args& a, Tiles tiles) {
    letNextKernelBegin();
    waitForEarlierKernels();
    const Step& step = *a.step;
    tiles.begin(step);
    WgmmaTile tile;
    if constexpr (!Tiles::kMany)
      if (!tiles.tile(0, &tile)) return;
    ProductOnWgmma p;
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
      if (threadIdx.x == 0)
        forTiles(tiles, tile, [&](int at, const WgmmaTile& t) { p.copy(at, t); });
    } else {
      takeRegisters<232>();
      const int panel = (threadIdx.x - 128) / 32, lane = threadIdx.x % 32;
      forTiles(tiles, tile, [&](int at, const WgmmaTile& t) {
        if constexpr (!Tiles::kMany) {
          p.template multiply<kTokens>(step, at, t, panel, lane, tiles);
        } else {
          // As few as hold the tile's rows. None of 64: up to 128 a product waits for its weights
          // anyway, and with a fourth loop ptxas waits after every product.
          static_assert(kTokens == 256);
          const int rows = t.rows - t.first_row;
          if (rows <= 128)
            p.template multiply<128>(step, at, t, panel, lane, tiles);
          else if (rows <= 192)
            p.template multiply<192>(step, at, t, panel, lane, tiles);
          else
            p.template multiply<256>(step, at, t, panel, lane, tiles);
        }
      });
    }
  }
};

/// The rows of the step times one matrix, a tile a block. `packed`: packRows' tiles.
template <class P, int kTokens, class Finish>
struct StepTiles {
  static constexpr bool kMany = false;
  const u8* packed;
  const u8* weight;
  Finish finish_row;
  int rows;
  DEVICE void begin(const Step& step) { rows = P::rows(step); }
  DEVICE bool tile(int, WgmmaTile* to) const {
    // Blocks that share weights are neighbours in time, so weights are read once.
    const int row_tiles = gridDim.y, tile = blockIdx.y * gridDim.x + blockIdx.x;
    *to = {weight, packed, tile / row_tiles * 8, tile % row_tiles * kTokens, rows, 0, 0};
    return to->first_row < rows;
  }
  DEVICE void finish(const Step& step, const WgmmaTile&, int row, int panel, int g, float low,
                     float high) const {
    finish_row(step, row, panel, g, low, high);
  }
};

template <class P, int kTokens, class Finish>
DEVICE void productOnWgmma(const Args& a, const u8* packed, const void* weight, Finish finish) {
  typedef StepTiles<P, kTokens, Finish> Tiles;
  ProductOnWgmma<P, kTokens, Tiles>::run(a,
                                         Tiles{packed, static_cast<const u8*>(weight), finish, 0});
}

#endif  // LLMC_WGMMA
