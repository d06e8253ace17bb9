// Products of many rows on Hopper (sm_90a): wgmma, fed by bulk copies. Weights are operand A, from
// registers: their fragments are those that decoding reads, so they lie on the device once. Rows
// are operand B, tiles in shared memory that packRows has swizzled.
//
// Blocks of a cluster make neighbouring outputs of the same rows: each copies a part of these, to
// all of them, so that the L2 is asked once.
//
// Tiles is told about by
//   void begin(step)           once earlier kernels have ended, before the block's first barrier
//   bool tile(n, &tile)        tile n of the block, in every thread; false: it has no more. Those
//                              of a cluster's blocks differ in first_panel alone, which may be one
//                              that there is not
//   kMany                      whether a block may have more than one, of fewer rows than kTokens
// and, of one: load() and store() as a finish has them (linear.cuh); of many:
//   Loaded load(tile, panel, g)  what is the same for all rows of a tile
//   int know(tile, row)          what the finish wants to know of a row
//   void store(step, known, panel, g, low, high, loaded)
#ifdef LLMC_WGMMA

/// kTokens rows by 8 panels of one matrix.
struct WgmmaTile {
  const u8 *weight, *packed;         // the matrix; row 0's tile
  int first_panel, first_row, rows;  // rows: all that the matrix multiplies
  int group, first_entry;            // of many matrices: which it is, and where its rows begin
};

/// kTokens rows by 128 outputs (8 panels), three warpgroups. The first's warps copy stages of 64
/// values of k as their places fall empty, a thread of each its share: one alone takes longer to
/// ask for twelve pieces than the others to multiply them. Of the others each has 64 outputs, whose
/// sums its threads keep in registers. The order of sums is k's, sixteen at a time; inside sixteen
/// it is the hardware's, of which nothing is known. Of a block with several tiles the copies of the
/// next one are on their way while a tile is finished. kCluster: blocks of a cluster.
template <class P, int kTokens, class Tiles, int kCluster = 1>
struct ProductOnWgmma {
  typedef typename P::Weight T;
  static_assert(P::kCols % 64 == 0, "whole stages");
  static constexpr int kThreads = 384, kTilePanels = 8, kStages = 4, kStageBlocks = 4;
  static constexpr int kSteps = P::kBlocks / kStageBlocks;
  static constexpr int kPanelBytes = kStageBlocks * 512, kRowTileBytes = 64 * 128;
  static constexpr int kWeightBytes = kTilePanels * kPanelBytes,
                       kStageBytes = kWeightBytes + kTokens / 64 * kRowTileBytes;
  // 32 rows by 16 outputs of a warp on their way to the finish, where stages are in use. With a
  // stride of 20 floats, what a warp writes at once falls into different banks.
  static constexpr int kTurnRows = 32, kStride = 20, kTurnBytes = kTurnRows * kStride * 4;
  /// Rows of a thread whose operands of a finish travel at once: the L2 takes about as long for the
  /// batch as for one of them.
  static constexpr int kTogether = 8;
  /// The same where a block has many tiles: nothing is read of memory then but what rows share.
  static constexpr int kManyTogether = 4;
  static constexpr int kWarps = 8, kCopyWarps = 4;  // that multiply; that copy
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

  /// A warp's share of the stages: two panels and one of up to four tiles of rows. A cluster's
  /// blocks have their own panels and the rows in common, of which each copies every kCluster-th
  /// tile to all. So a place is empty once the warps of all blocks have read it. However long their
  /// arrivals take, none counts for another's: a warp comes to a place again when it is filled
  /// anew, which some block's barrier has allowed that counted all warps.
  DEVICE void copy(int at, const WgmmaTile& t, int warp) const {
    constexpr int kMost = kTilePanels / kCopyWarps;
    static_assert(kTokens / 64 <= kCopyWarps);
    const int first_panel = t.first_panel + warp * kMost, left = P::kPanels - first_panel,
              panels = left < 0       ? 0
                       : left < kMost ? left
                                      : kMost;
    const bool has_tile = warp < kTokens / 64 && t.first_row + warp * 64 < t.rows,
               sends_tile = has_tile && warp % kCluster == static_cast<int>(blockIdx.x % kCluster);
    const int bytes = panels * kPanelBytes + (has_tile ? kRowTileBytes : 0);
    const u8* const from = t.weight + static_cast<i64>(first_panel) * P::kBlocks * 512;
    const u8* const rows =
        t.packed + static_cast<i64>(t.first_row / 64 + warp) * kSteps * kRowTileBytes;
#pragma unroll 1
    for (int s = 0; s < kSteps; ++s) {
      const int stage = (at + s) % kStages;
      u8* const to = stages + stage * kStageBytes;
      barrierWait(empty + stage, (at + s) / kStages % 2 ^ 1);
      barrierExpect(full + stage, bytes);
#pragma unroll
      for (int p = 0; p < kMost; ++p)
        if (p < panels)
          bulkCopy(to + (warp * kMost + p) * kPanelBytes,
                   from + (static_cast<i64>(p) * P::kBlocks + s * kStageBlocks) * 512, kPanelBytes,
                   full + stage);
      if (sends_tile) {
        u8* const tile = to + kWeightBytes + warp * kRowTileBytes;
        const u8* const tile_from = rows + static_cast<i64>(s) * kRowTileBytes;
        if constexpr (kCluster == 1)
          bulkCopy(tile, tile_from, kRowTileBytes, full + stage);
        else
          bulkCopyToAll<kCluster>(tile, tile_from, kRowTileBytes, full + stage);
      }
    }
  }

  /// Behind the last stage, `end`: until all warps of the cluster have arrived at this block's
  /// barriers for the last time. They may not once it has ended.
  DEVICE void awaitArrivals(int end) const {
    for (int s = end; s < end + kStages; ++s) barrierWait(empty + s % kStages, s / kStages % 2 ^ 1);
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
    // Nobody waits for the last places of a block's only tile, unless others reach into them.
    constexpr bool kReleaseAll = Tiles::kMany || kCluster > 1;
    auto release = [&](int s) {
      u64* const barrier = empty + (at + s) % kStages;
      if constexpr (kCluster == 1) {
        if (lane == 0) barrierArrive(barrier);
      } else {
        if (lane < kCluster) barrierArriveAt(barrier, lane);
      }
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
      if (kReleaseAll && kSteps > 1) release(kSteps - 2);
      begin(at + kSteps - 1, panel, lane, even, acc);
    }
    wgmmaWait<0>();
    wgmmaKeep(acc);
    if (kReleaseAll) release(kSteps - 1);

    // Through shared memory, so that the finish is compiled for a few rows and not for each of
    // them.
    const int at_panel = tile.first_panel + panel;
    if constexpr (Tiles::kMany) {
      // The stages belong to the next tile already.
      float* const turn =
          reinterpret_cast<float*>(stages + kStages * kStageBytes + panel * kTurnBytes);
      const int n = lane % 8;
      typename Tiles::Loaded loaded = {};
      if (at_panel < P::kPanels) loaded = tiles.load(tile, at_panel, n);
#pragma unroll
      for (int t = 0; t < kRows / kTurnRows; ++t) {
        turnSums<kTurnRows>(turn, acc + t * kTurnRows / 2, lane);
        const int first = tile.first_row + t * kTurnRows;
        // Lane l knows of row l what the finish needs to know of it.
        const int known = tiles.know(tile, first + lane < tile.rows ? first + lane : tile.rows - 1);
#pragma unroll 1
        for (int base = lane / 8; base < kTurnRows; base += 4 * kManyTogether) {
          int of_row[kManyTogether];
          float low[kManyTogether], high[kManyTogether];
#pragma unroll
          for (int i = 0; i < kManyTogether; ++i) {
            const float* const sums = turn + (base + 4 * i) * kStride + n;
            of_row[i] = __shfl_sync(~0u, known, base + 4 * i);
            low[i] = sums[0], high[i] = sums[8];
          }
#pragma unroll
          for (int i = 0; i < kManyTogether; ++i)
            if (first + base + 4 * i < tile.rows && at_panel < P::kPanels)
              tiles.store(step, of_row[i], at_panel, n, low[i], high[i], loaded);
        }
        __syncwarp();
      }
    } else {
      // In place of the stages, once every warp's products have read them.
      static_assert(kWarps * kRows * kStride * 4 <= kStages * kStageBytes);
      syncMultipliers();
      float* const turn = reinterpret_cast<float*>(stages) + panel * kRows * kStride;
      turnSums<kRows>(turn, acc, lane);
      if (at_panel >= P::kPanels) return;
      const int n = lane % 8;
#pragma unroll 1
      for (int base = lane / 8; base < kRows; base += 4 * kTogether) {
        const int first = tile.first_row + base;
        if (first >= tile.rows) break;
        typename Tiles::Loaded loaded[kTogether];
#pragma unroll
        for (int i = 0; i < kTogether; ++i)
          loaded[i] =
              tiles.load(step, first + 4 * i < tile.rows ? first + 4 * i : first, at_panel, n);
#pragma unroll
        for (int i = 0; i < kTogether; ++i) {
          const float* const sums = turn + (base + 4 * i) * kStride + n;
          if (first + 4 * i < tile.rows)
            tiles.store(step, first + 4 * i, at_panel, n, sums[0], sums[8], loaded[i]);
        }
      }
    }
  }

  /// A warp's sums of kRows rows to `turn`, [kRows][kStride] in shared memory.
  template <int kRows>
  static DEVICE void turnSums(float* turn, const float* acc, int lane) {
    const int g = lane / 4, c = lane % 4;
#pragma unroll
    for (int j = 0; j < kRows / 8; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        turn[(j * 8 + 2 * c + e % 2) * kStride + g + e / 2 * 8] = acc[j * 4 + e];
    __syncwarp();
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
        barrierInit(p.full + s, kCopyWarps);
        barrierInit(p.empty + s, kCluster * kWarps);
      }
      barrierFence();
    }
    __syncthreads();
    if constexpr (kCluster > 1) syncCluster();
    // 65536 registers: 40 of the first warpgroup's threads, 232 of the others'.
    if (threadIdx.x < 128) {
      giveRegisters<40>();
      const int warp = threadIdx.x / 32;
      if (threadIdx.x % 32 == 0) {
        int end = 0;
        forTiles(tiles, tile, [&](int at, const WgmmaTile& t) {
          p.copy(at, t, warp);
          end = at + kSteps;
        });
        if constexpr (kCluster > 1) p.awaitArrivals(end);
      }
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
template <class P, int kTokens, class Finish, int kCluster>
struct StepTiles {
  static constexpr bool kMany = false;
  const u8* packed;
  const u8* weight;
  Finish finish_row;
  int rows;
  DEVICE void begin(const Step& step) { rows = P::rows(step); }
  DEVICE bool tile(int, WgmmaTile* to) const {
    // Clusters that share weights are neighbours in time, so weights are read once.
    const int row_tiles = gridDim.y, cluster = (blockIdx.y * gridDim.x + blockIdx.x) / kCluster,
              panel_tile = cluster / row_tiles * kCluster + static_cast<int>(blockIdx.x % kCluster);
    *to = {weight, packed, panel_tile * 8, cluster % row_tiles * kTokens, rows, 0, 0};
    return to->first_row < rows;
  }
  typedef typename Finish::Loaded Loaded;
  DEVICE Loaded load(const Step& step, int row, int panel, int g) const {
    return finish_row.load(step, row, panel, g);
  }
  DEVICE void store(const Step& step, int row, int panel, int g, float low, float high,
                    const Loaded& loaded) const {
    finish_row.store(step, row, panel, g, low, high, loaded);
  }
};

template <class P, int kTokens, int kCluster = 1, class Finish>
DEVICE void productOnWgmma(const Args& a, const u8* packed, const void* weight, Finish finish) {
  typedef StepTiles<P, kTokens, Finish, kCluster> Tiles;
  ProductOnWgmma<P, kTokens, Tiles, kCluster>::run(
      a, Tiles{packed, static_cast<const u8*>(weight), finish, 0});
}

#endif  // LLMC_WGMMA
