// Many products with a matrix each, of many rows, on tensor cores: the experts of a router (on
// sm_90a experts_wgmma.cuh's, for most K), or the heads of latent attention. mma.sync m16n8k16 with
// weights as A and rows as B, as in tensor.cuh; but a group has few rows, so a tile has 64 of them,
// and they are gathered where they lie and rounded to the weights' type on their way to shared
// memory.
//
// Groups is told about by
//   void begin(step)                          once earlier kernels have ended
//   bool tile(t, &group, &first, &count)      tile t: rows [first, first + 64) of `count` of a
//                                             group; false: there are no more
//   int entry(group, m)                       what row m of a group is called
//   const float* row(group, entry)            where it lies
// and a finish (linear.cuh) by
//   Loaded load(group, panel, g)              of all its rows, `panel` in the group
//   void store(step, entry, panel, g, low, high, loaded)

constexpr int kGroupedTileRows = 64, kGroupedStages = 3,
              kGroupedStageBytes = 12 * 1024;  // 8 KB of weights, 4 KB of rows

/// 128 threads make 128 outputs (8 panels) of 64 rows: four warps of 64 x 32. Blocks (8 panels, any
/// number): tiles are taken in turn.
template <class T, int kCols, int kPanels, class Groups, class Finish>
DEVICE void groupedOnTensorCores(const Args& a, Groups groups, const void* weight, Finish finish) {
  constexpr int kStages = kGroupedStages, kBlocks = ceilDiv(kCols, 16),
                kSteps = ceilDiv(kBlocks, 2);
  constexpr int kWeightBytes = kTensorTilePanels * kTensorStageBlocks * 512;
  u8* const shared = dynamicShared();
  letNextKernelBegin();
  waitForEarlierKernels();
  const Step& step = *a.step;
  groups.begin(step);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, c = lane % 4;
  const int first_panel = blockIdx.x * 8;
  const int a_panel = warp % 2 * 4, b_panel = warp / 2 * 2;  // of the warp's 64 x 32

  int group, first, count;
  for (int tile = blockIdx.y; groups.tile(tile, &group, &first, &count); tile += gridDim.y) {
    const u8* const matrix =
        static_cast<const u8*>(weight) + static_cast<i64>(group) * kPanels * kBlocks * 512;
    auto copyWeights = [&](int s) {
      u8* to = shared + s % kStages * kGroupedStageBytes;
#pragma unroll
      for (int i = 0; i < kWeightBytes / 16 / 128; ++i) {
        const int chunk = i * 128 + threadIdx.x;  // of 16 bytes: [panel][block][32]
        const int panel = first_panel + chunk / 64, b = s * 2 + chunk / 32 % 2;
        const bool valid = b < kBlocks && panel < kPanels;
        const u8* from = matrix;
        if (valid) from += (static_cast<i64>(panel) * kBlocks + b) * 512 + chunk % 32 * 16;
        copyAsync16(to + chunk * 16, from, valid);
      }
    };
    // A thread makes quad `lane` of row panel `warp`, of both blocks of a step: rows g and g + 8.
    const float* from[2];
    bool valid[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int m = first + warp * 16 + g + 8 * h;
      valid[h] = m < count;
      from[h] = groups.row(group, groups.entry(group, valid[h] ? m : first));
    }
    float values[2][4][2];  // of the step to come: [block][slot of the quad][pair]
    auto loadRows = [&](int s) {
#pragma unroll
      for (int b = 0; b < 2; ++b)
#pragma unroll
        for (int j = 0; j < 4; ++j)
#pragma unroll
          for (int i = 0; i < 2; ++i) {
            const int k = (s * 2 + b) * 16 + (c + 4 * (j / 2)) * 2 + i;
            values[b][j][i] = valid[j % 2] && k < kCols ? from[j % 2][k] : 0.0f;
          }
    };
    auto storeRows = [&](int s) {
      u8* to = shared + s % kStages * kGroupedStageBytes + kWeightBytes;
#pragma unroll
      for (int b = 0; b < 2; ++b) {
        uint4 quad;
        quad.x = packPair(T(), values[b][0][0], values[b][0][1]);
        quad.y = packPair(T(), values[b][1][0], values[b][1][1]);
        quad.z = packPair(T(), values[b][2][0], values[b][2][1]);
        quad.w = packPair(T(), values[b][3][0], values[b][3][1]);
        reinterpret_cast<uint4*>(to)[(warp * 2 + b) * 32 + lane] = quad;
      }
    };

    // What the finish reads travels during the product.
    const int panel = first_panel + a_panel + lane / 8, n = lane % 8;
    typename Finish::Loaded loaded = {};
    if (panel < kPanels) loaded = finish.load(group, panel, n);
    float acc[4][2][2][4];
    clearTensorSums(acc);
    for (int s = 0; s < kStages - 1; ++s) {
      if (s < kSteps) copyWeights(s);
      commitCopies();
    }
    loadRows(0);
    storeRows(0);
    if (kSteps > 1) loadRows(1);
#pragma unroll 1
    for (int s = 0; s < kSteps; ++s) {
      waitCopies<kStages - 2>();
      __syncthreads();  // stage s is there for every thread, and stage s - 1 is read
      if (s + kStages - 1 < kSteps) copyWeights(s + kStages - 1);
      commitCopies();
      if (s + 1 < kSteps) storeRows(s + 1);
      if (s + 2 < kSteps) loadRows(s + 2);
      multiplyStage<T>(acc, shared + s % kStages * kGroupedStageBytes, a_panel, b_panel);
    }
    // Through shared memory, 16 rows at a time, as productOnTensorCores does.
    constexpr int kStride = kTensorSumStride;
    __syncthreads();  // the last stage has been read
    float* const mine = reinterpret_cast<float*>(shared) + warp * (16 * kStride);
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      storeTensorSums(mine, acc, j);
      __syncwarp();
#pragma unroll 1
      for (int m0 = 0; m0 < 16; m0 += 4) {
        const int row = first + (b_panel + j) * 16 + m0;
        if (row >= count || panel >= kPanels) break;
        int entries[4];
#pragma unroll
        for (int m = 0; m < 4; ++m)
          entries[m] = groups.entry(group, row + m < count ? row + m : row);
#pragma unroll
        for (int m = 0; m < 4; ++m) {
          const float* sums = mine + (m0 + m) * kStride + lane / 8 * 16 + n;
          if (row + m < count) finish.store(step, entries[m], panel, n, sums[0], sums[8], loaded);
        }
      }
      __syncwarp();
    }
    __syncthreads();  // the next tile overwrites what was read
  }
}

/// All rows of the step with each head's matrix.
template <int kHeads, int kCols, int kXStride>
struct HeadGroups {
  const float* x;
  int rows;
  DEVICE void begin(const Step& step) { rows = static_cast<int>(step.num_rows); }
  DEVICE bool tile(int t, int* group, int* first, int* count) const {
    const int tiles = (rows + kGroupedTileRows - 1) / kGroupedTileRows;
    *group = t / tiles;
    *first = t % tiles * kGroupedTileRows;
    *count = rows;
    return t < tiles * kHeads;
  }
  DEVICE int entry(int, int m) const { return m; }
  DEVICE const float* row(int group, int entry) const {
    return x + static_cast<i64>(entry) * kXStride + group * kCols;
  }
};

/// FinishHeads for one head of a group.
template <int kHeadDim, int kStride>
struct FinishHeadGroup {
  float* y;
  struct Loaded {
    int head;
  };
  DEVICE Loaded load(int head, int, int) const { return {head}; }
  DEVICE void store(const Step& step, int row, int panel, int g, float low, float high,
                    const Loaded& of) const {
    FinishHeads<kHeadDim, kStride>{y}.store(step, row, of.head * ceilDiv(kHeadDim, 16) + panel, g,
                                            low, high, {});
  }
};

/// y_h = x_h W_h^T for few rows: a panel of one head a block, rows spread over the grid's y.
template <class P, int kRows, bool kStaged, int kHeadPanels, class Finish>
DEVICE void headProductOfFewRows(const Args& a, const float* x, const void* weight, Finish finish) {
  const int head = blockIdx.x / kHeadPanels;
  multiplyFewRows<P, kRows, kStaged, 1>(*a.step, StepRows<P>{a, x + head * P::kCols}, blockIdx.x,
                                        blockIdx.y, gridDim.y, nullptr, nullptr, 0, weight, finish);
}
