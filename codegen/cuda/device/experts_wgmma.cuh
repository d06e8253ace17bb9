// Routed experts of many rows on Hopper (sm_90a): the rows of each, packed where a fresh tile
// begins, times its matrices by wgmma.cuh's pipeline.
#ifdef LLMC_WGMMA

/// Which tile of 64 packed rows expert `e`'s begin at, [0, experts] as in `begins`: behind those of
/// the experts before, since floor((b + n) / 64) + 1 >= floor(b / 64) + ceil(n / 64). What is left
/// out between two is less than a tile.
DEVICE int firstTileOf(const int* begins, int e) { return begins[e] / 64 + e; }

/// A step's entries as sortByExpert() left them in `begins`. Rows: ExpertRows.
template <class Routed, class Rows>
struct SortedRows {
  const float* x;
  Routed route;
  const int* begins;
  DEVICE int count() const {
    wait();
    return begins[Routed::kExperts];
  }
  DEVICE void wait() const {
    letNextKernelBegin();
    waitForEarlierKernels();
  }
  DEVICE int entry(int m) const { return begins[Routed::kExperts + 1 + m]; }
  DEVICE const float* row(int m) const { return Rows::rowOf(x, entry(m)); }
  DEVICE u32 place(int m) const {
    // A tile of its own for what fills up the last 16.
    const int all = begins[Routed::kExperts],
              e = m < all ? route.expert(entry(m)) : Routed::kExperts;
    return static_cast<u32>(firstTileOf(begins, e) * 64 + m - begins[e]);
  }
};

/// Rows of entries as tiles for expertsOnWgmma, [entries / 64 + experts + 1] of them. Block (part
/// of k of one of kTopK groups, kTopK groups of 16 entries), 256 threads. P: of one expert.
template <class P, class Rows, class Routed>
DEVICE void packExperts(const Args& a, const float* x, Routed route, const int* begins,
                        u8* packed) {
  const int parts = static_cast<int>(gridDim.x) / Routed::kTopK,
            group =
                static_cast<int>(blockIdx.y) * Routed::kTopK + static_cast<int>(blockIdx.x) / parts;
  packRowsOf<P, true>(SortedRows<Routed, Rows>{x, route, begins}, group * 16,
                      static_cast<int>(blockIdx.x) % parts, parts, nullptr, 0, packed, nullptr);
}

/// Tiles of all experts; a block takes every gridDim.x-th, a cluster's blocks neighbouring ones of
/// the same rows. Those of an expert are neighbours, and among them those that share weights, so
/// weights are read once.
template <class P, int kTokens, int kExperts, class Finish, int kCluster>
struct ExpertTiles {
  static constexpr bool kMany = true;
  static constexpr int kPanelTiles = ceilDiv(P::kPanels, 8 * kCluster);  // of a cluster
  const int* begins;
  const u8* packed;
  const u8* weight;
  Finish finish_entry;
  const int* ends;  // in shared memory: kTokens rows each, of the experts up to one

  DEVICE void begin(const Step&) {
    __shared__ int shared[kExperts];
    ends = shared;
    if (threadIdx.x >= 32) return;
    const int lane = threadIdx.x;
    int before = 0;
    for (int base = 0; base < kExperts; base += 32) {
      const int e = base + lane, rows = e < kExperts ? begins[e + 1] - begins[e] : 0;
      const int through = before + sumOfLanesThrough(ceilDiv(rows, kTokens));
      if (e < kExperts) shared[e] = through;
      before = __shfl_sync(~0u, through, 31);
    }
  }
  DEVICE bool tile(int n, WgmmaTile* to) const {
    const int tile = static_cast<int>(blockIdx.x / kCluster) +
                     n * static_cast<int>(gridDim.x / kCluster),
              row_tile = tile / kPanelTiles;
    if (row_tile >= ends[kExperts - 1]) return false;
    // The first whose end is behind it: one of `left` from `e` on.
    int e = 0;
    for (int left = kExperts; left > 1; left -= left / 2)
      if (ends[e + left / 2 - 1] <= row_tile) e += left / 2;
    const int before = e > 0 ? ends[e - 1] : 0, own = ends[e] - before,
              in_expert = tile - before * kPanelTiles;
    to->weight = weight + static_cast<i64>(e) * P::kPanels * P::kBlocks * 512;
    to->packed = packed + static_cast<i64>(firstTileOf(begins, e)) * (P::kCols * 64 * 2);
    to->first_panel = (in_expert / own * kCluster + static_cast<int>(blockIdx.x % kCluster)) * 8;
    to->first_row = in_expert % own * kTokens;
    to->rows = begins[e + 1] - begins[e];
    to->group = e;
    to->first_entry = begins[e];
    return true;
  }
  /// Its entry.
  DEVICE int know(const WgmmaTile& t, int row) const {
    return begins[kExperts + 1 + t.first_entry + row];
  }
  typedef typename Finish::Loaded Loaded;
  DEVICE Loaded load(const WgmmaTile& t, int panel, int g) const {
    return finish_entry.load(t.group, panel, g);
  }
  DEVICE void store(const Step& step, int entry, int panel, int g, float low, float high,
                    const Loaded& loaded) const {
    finish_entry.store(step, entry, panel, g, low, high, loaded);
  }
};

/// `packed`: packExperts' tiles. Any number of clusters. P: of one expert.
template <class P, int kExperts, int kCluster = 1, class Finish>
DEVICE void expertsOnWgmma(const Args& a, const int* begins, const u8* packed, const void* weight,
                           Finish finish) {
  typedef ExpertTiles<P, 256, kExperts, Finish, kCluster> Tiles;
  ProductOnWgmma<P, 256, Tiles, kCluster>::run(
      a, Tiles{begins, packed, static_cast<const u8*>(weight), finish, nullptr});
}

#endif  // LLMC_WGMMA
