// Products of many rows on tensor cores: mma.sync m16n8k16, weights as A and rows as B, sums in
// f32. Rows are rounded to the weights' type once, by packRows, into fragments of 16 rows: then
// both operands are whole 16-byte quads per lane, read without bank conflicts, and a tile is
// contiguous bytes.

DEVICE void mma(BF16, float (&d)[4], const uint4& a, u32 b0, u32 b1) { mmaBf16(d, a, b0, b1); }
DEVICE void mma(F16, float (&d)[4], const uint4& a, u32 b0, u32 b1) { mmaF16(d, a, b0, b1); }

DEVICE u32 packPair(BF16, float low, float high) { return packBf16(low, high); }
DEVICE u32 packPair(F16, float low, float high) {
  return packHalf(F16::saturate(low), F16::saturate(high));
}

/// v[j] of lane i (of four adjacent ones; `c` is this one's number) becomes v[i] of lane j.
DEVICE void transposeFour(u32 (&v)[4], int c) {
#pragma unroll
  for (int bit = 1; bit < 4; bit *= 2)
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (j & bit) continue;
      const bool upper = c & bit;
      const u32 other = __shfl_xor_sync(~0u, upper ? v[j] : v[j | bit], bit);
      v[j] = upper ? other : v[j];
      v[j | bit] = upper ? v[j | bit] : other;
    }
}

/// The sum over a row of f(sum so far, element), by a warp whose lanes take four elements in turn.
template <int kCols, int kWidth, class F>
DEVICE float sumOfRow(const float* x, F f) {
  float sum = 0;
#pragma unroll 8
  for (int piece = threadIdx.x % 32; piece < kCols / kWidth; piece += 32) {
    float v[kWidth];
    loadFloats(x + piece * kWidth, v);
#pragma unroll
    for (int e = 0; e < kWidth; ++e) sum = f(sum, v[e]);
  }
  return sumLanes<32>(sum);
}

/// Rows, normalised where P says so (`shift`: a layer norm's bias, if it has one), as fragments
/// [ceil(rows / 16)][kBlocks][512 bytes] at `packed`; rows past the last are zeros. By 256 threads:
/// part `part` of `parts` of k of rows [first, first + 16). kTiles: as tiles for productOnWgmma,
/// [row tiles][kCols / 64][64 rows of 128 bytes], row m as row place(m) of them all.
template <class P, bool kTiles, class Rows>
DEVICE void packRowsOf(Rows source, int first, int part, int parts, const float* norm, float eps,
                       u8* packed, const float* shift) {
  typedef typename P::Weight T;
  __shared__ float means[16], scales[16];
  const int rows = source.count();
  source.wait();
  if (first >= rows) return;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, c = lane % 4;
  if (P::kNorm) {
    for (int m = warp; m < 16; m += 8) {
      float mean = 0, sum = 0;
      if (first + m < rows) {
        constexpr int kWidth = P::kCols % 4 == 0 && P::kXStride % 4 == 0 ? 4 : 1;
        const float* from = source.row(first + m);
        if (P::kLayer) {
          mean = sumOfRow<P::kCols, kWidth>(from, [](float s, float v) { return s + v; });
          mean /= P::kCols;
        }
        sum = sumOfRow<P::kCols, kWidth>(
            from, [mean](float s, float v) { return fmaf(v - mean, v - mean, s); });
      }
      if (lane == 0) {
        means[m] = mean;
        scales[m] = 1.0f / sqrtf(sum / P::kCols + eps);
      }
    }
    __syncthreads();
  }
  const float* from[2];
  bool valid[2];
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    valid[h] = first + g + 8 * h < rows;
    from[h] = source.row(valid[h] ? first + g + 8 * h : first);
  }
  // Of tiles, a lane writes one of its two rows.
  const u32 place = kTiles ? source.place(first + g + 8 * (c % 2)) : 0;
  // A warp has the values of kUnroll blocks on their way at once.
  constexpr int kUnroll = 4, kPair = P::kCols % 2 == 0 && P::kXStride % 2 == 0 ? 2 : 1;
  const int end = P::kBlocks * (part + 1) / parts;
  // Quad slot j of a block: row g + 8 (j % 2), word c + 4 (j / 2).
  auto colOf = [&](int b, int j) { return b * 16 + (c + 4 * (j / 2)) * 2; };
  auto inside = [&](int k) { return P::kPaddedCols == P::kCols || k < P::kCols; };
#pragma unroll 1
  for (int base = P::kBlocks * part / parts + warp; base < end; base += 8 * kUnroll) {
    float values[kUnroll][4][2];
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      if (base + 8 * u >= end) break;
#pragma unroll
      for (int j = 0; j < 4; ++j)
#pragma unroll
        for (int i = 0; i < 2; i += kPair) {
          const int k = colOf(base + 8 * u, j) + i;
          float v[kPair] = {};
          if (valid[j % 2] && inside(k)) loadFloats(from[j % 2] + k, v);
          values[u][j][i] = v[0];
          if (kPair == 2) values[u][j][1] = v[kPair - 1];
        }
    }
#pragma unroll
    for (int u = 0; u < kUnroll; ++u) {
      const int b = base + 8 * u;
      if (b >= end) break;
      u32 words[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int h = j % 2, k = colOf(b, j);
        u32 word = 0;
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          if (!valid[h] || !inside(k + i)) continue;
          float v = values[u][j][i];
          if (P::kLayer) v -= means[g + 8 * h];
          if (P::kNorm) v = v * scales[g + 8 * h] * norm[k + i];
          if (P::kLayer && shift) v += shift[k + i];
          word |= static_cast<u32>(T::fromFloat(v)) << (16 * i);
        }
        words[j] = word;
      }
      i64 at = (static_cast<i64>(first / 16) * P::kBlocks + b) * 512 + lane * 16;
      if (kTiles) {
        // Four lanes have 16 words of each of two rows; each takes 16 bytes of one.
        transposeFour(words, c);
        at = (static_cast<i64>(place / 64) * (P::kBlocks / 4) + b / 4) * 8192 + place % 64 * 128 +
             ((b % 4 * 2 + c / 2) ^ place % 8) * 16;
      }
      uint4 quad;
      quad.x = words[0], quad.y = words[1], quad.z = words[2], quad.w = words[3];
      *reinterpret_cast<uint4*>(packed + at) = quad;
    }
  }
}

/// The rows of the step; where P gathers, those that `logits_rows` has. Block (part of k, 16 rows).
template <class P, bool kTiles = false>
DEVICE void packRows(const Args& a, const float* x, const float* norm, float eps, u8* packed,
                     const float* shift = nullptr, const int* logits_rows = nullptr) {
  packRowsOf<P, kTiles>(StepRows<P>{a, x, logits_rows}, static_cast<int>(blockIdx.y) * 16,
                        static_cast<int>(blockIdx.x), static_cast<int>(gridDim.x), norm, eps,
                        packed, shift);
}

constexpr int kTensorStages = 3, kTensorTilePanels = 8, kTensorStageBlocks = 2,
              kTensorStageBytes = 2 * kTensorTilePanels * kTensorStageBlocks * 512,
              kTensorSharedBytes = kTensorStages * kTensorStageBytes;

// A warp's sums of 64 outputs (four panels) of 16 kRowPanels rows: of panel i and row panel j, rows
// 8 h + 2 c and 8 h + 2 c + 1 of outputs g, then of outputs g + 8.

template <int kRowPanels>
DEVICE void clearTensorSums(float (&sums)[4][kRowPanels][2][4]) {
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int j = 0; j < kRowPanels; ++j)
#pragma unroll
      for (int h = 0; h < 2; ++h)
#pragma unroll
        for (int e = 0; e < 4; ++e) sums[i][j][h][e] = 0;
}

/// sums += the products of a stage in shared memory, [panels of outputs, then of rows]
/// [kTensorStageBlocks][512 bytes]: panels from `a_panel` on with row panels from `b_panel` on.
template <class T, int kRowPanels>
DEVICE void multiplyStage(float (&sums)[4][kRowPanels][2][4], const u8* stage, int a_panel,
                          int b_panel) {
  constexpr int kBlocks = kTensorStageBlocks;
  const uint4* const quads = reinterpret_cast<const uint4*>(stage);
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int b = 0; b < kBlocks; ++b) {
    uint4 weights[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) weights[i] = quads[((a_panel + i) * kBlocks + b) * 32 + lane];
#pragma unroll
    for (int j = 0; j < kRowPanels; ++j) {
      const uint4 x = quads[((kTensorTilePanels + b_panel + j) * kBlocks + b) * 32 + lane];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        mma(T(), sums[i][j][0], weights[i], x.x, x.z);
        mma(T(), sums[i][j][1], weights[i], x.y, x.w);
      }
    }
  }
}

/// 68 floats put the rows that a warp stores at once into different banks.
constexpr int kTensorSumStride = 68;
/// The sums of row panel `j`, [16 rows][kTensorSumStride] at `to`.
template <int kRowPanels>
DEVICE void storeTensorSums(float* to, const float (&sums)[4][kRowPanels][2][4], int j) {
  const int g = threadIdx.x % 32 / 4, c = threadIdx.x % 4;
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int h = 0; h < 2; ++h)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        to[(h * 8 + 2 * c + e % 2) * kTensorSumStride + i * 16 + g + e / 2 * 8] = sums[i][j][h][e];
}

/// 128 threads make 128 outputs (8 panels) of 128 rows: four warps of 64 x 64, whose 128 sums a
/// thread keeps in registers. Stages of 32 values of k (16 KB) are copied two ahead of their use;
/// three of them are 48 KB, so two blocks fit on every processor from sm_80 on. Blocks that share
/// weights are neighbours in time, so weights are read once.
template <class P, class Finish>
DEVICE void productOnTensorCores(const Args& a, const u8* packed, const void* weight,
                                 Finish finish) {
  typedef typename P::Weight T;
  constexpr int kStages = kTensorStages, kTilePanels = kTensorTilePanels,
                kStageBlocks = kTensorStageBlocks, kStageBytes = kTensorStageBytes;
  constexpr int kSteps = ceilDiv(P::kBlocks, kStageBlocks);
  u8* const shared = dynamicShared();
  letNextKernelBegin();
  waitForEarlierKernels();
  const Step& step = *a.step;
  const int rows = P::rows(step);
  const int row_tiles = gridDim.y, tile = blockIdx.y * gridDim.x + blockIdx.x;
  const int first_panel = tile / row_tiles * kTilePanels,
            first_row = tile % row_tiles * (kTilePanels * 16);
  if (first_row >= rows) return;
  const int row_panels = ceilDiv(rows, 16);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int a_panel = warp % 2 * 4, b_panel = warp / 2 * 4;  // of the warp's 64 x 64

  auto copyStage = [&](int s) {
    u8* to = shared + s % kStages * kStageBytes;
    const int block = s * kStageBlocks;
#pragma unroll
    for (int i = 0; i < kStageBytes / 16 / 128; ++i) {
      const int chunk = i * 128 + threadIdx.x;  // of 16 bytes: [operand][panel][block][32]
      const int operand = chunk / (kTilePanels * kStageBlocks * 32),
                panel = chunk / (kStageBlocks * 32) % kTilePanels;
      const int b = block + chunk / 32 % kStageBlocks;
      const int at = operand == 0 ? first_panel + panel : first_row / 16 + panel;
      const bool valid = b < P::kBlocks && at < (operand == 0 ? P::kPanels : row_panels);
      const u8* from = operand == 0 ? static_cast<const u8*>(weight) : packed;
      if (valid) from += (static_cast<i64>(at) * P::kBlocks + b) * 512 + chunk % 32 * 16;
      copyAsync16(to + chunk * 16, from, valid);
    }
  };

  float acc[4][4][2][4];
  clearTensorSums(acc);
  for (int s = 0; s < kStages - 1; ++s) {
    if (s < kSteps) copyStage(s);
    commitCopies();
  }
#pragma unroll 1
  for (int s = 0; s < kSteps; ++s) {
    waitCopies<kStages - 2>();
    __syncthreads();  // stage s has arrived for every thread, and stage s - 1 is read: its place is
                      // free
    if (s + kStages - 1 < kSteps) copyStage(s + kStages - 1);
    commitCopies();
    multiplyStage<T>(acc, shared + s % kStages * kStageBytes, a_panel, b_panel);
  }
  // Through shared memory, 16 rows at a time: a row's 64 outputs are written side by side, and the
  // finish is compiled four times, not sixty-four.
  constexpr int kStride = kTensorSumStride;
  __syncthreads();  // the last stage has been read
  float* const mine = reinterpret_cast<float*>(shared) + warp * (16 * kStride);
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    storeTensorSums(mine, acc, j);
    __syncwarp();
    const int panel = first_panel + a_panel + lane / 8, n = lane % 8;
    // What the finish reads comes for eight rows at once.
#pragma unroll 1
    for (int m0 = 0; m0 < 16; m0 += 8) {
      const int first = first_row + (b_panel + j) * 16 + m0;
      if (first >= rows || panel >= P::kPanels) break;
      typename Finish::Loaded loaded[8];
#pragma unroll
      for (int m = 0; m < 8; ++m)
        loaded[m] = finish.load(step, first + m < rows ? first + m : first, panel, n);
#pragma unroll
      for (int m = 0; m < 8; ++m) {
        const float* sums = mine + (m0 + m) * kStride + lane / 8 * 16 + n;
        if (first + m < rows) finish.store(step, first + m, panel, n, sums[0], sums[8], loaded[m]);
      }
    }
    __syncwarp();
  }
}
