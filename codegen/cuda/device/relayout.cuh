// From the weights file's panels (runtime/io/weight_format.h) to fragments, when weights are
// uploaded.

/// runtime/abi/cuda_abi.h: LlmcCudaRelayout. `from` and `to` begin at a panel that begins a group:
/// an even one for interleave, a head's first for heads.
struct Relayout {
  const void* from;
  void* to;
  i64 panels, cols;  // K
  int order;         // PanelOrder: 0 concat, 1 interleave, 2 heads
  int head_rows;     // order heads
};

/// Where output `n` of device panel `panel` lies in the file: its panel, and its lane through
/// `lane`; -1: padding.
DEVICE i64 filePanel(const Relayout& r, i64 panel, int n, int* lane) {
  *lane = n;
  if (r.order == 0) return panel;
  if (r.order == 1) {  // n < 8 is gate's row 8 panel + n, the others up's
    const i64 row = panel * 8 + n % 8;
    *lane = static_cast<int>(row % 16);
    return row / 16 * 2 + n / 8;
  }
  // Element i of the head's first half beside i + half.
  const int head_panels = (r.head_rows + 15) / 16, half = (r.head_rows + 1) / 2;
  const int i = static_cast<int>(panel % head_panels) * 8 + n % 8;
  const int element = n < 8 ? i : i + half;
  if (i >= half || element >= r.head_rows) return -1;
  *lane = element % 16;
  return panel / head_panels * head_panels + element / 16;
}

/// Word `word` of k (one f32, or two values of 16 bits) of a lane of a panel of the file.
struct FileF32 {
  static DEVICE u32 word(const void* panels, i64 panel, int lane, i64 word, i64 cols) {
    return word < cols ? static_cast<const u32*>(panels)[(panel * cols + word) * 16 + lane] : 0u;
  }
};
struct FileF16 {
  static DEVICE u32 word(const void* panels, i64 panel, int lane, i64 word, i64 cols) {
    const u16* p = static_cast<const u16*>(panels) + panel * cols * 16 + lane;
    const u32 low = 2 * word < cols ? p[2 * word * 16] : 0u,
              high = 2 * word + 1 < cols ? p[(2 * word + 1) * 16] : 0u;
    return low | high << 16;
  }
};
struct FileBF16 {
  static DEVICE u32 word(const void* panels, i64 panel, int lane, i64 word, i64 cols) {
    const i64 words = (cols + 1) / 2;
    return word < words ? static_cast<const u32*>(panels)[(panel * words + word) * 16 + lane] : 0u;
  }
};

/// One warp a block of fragments; blocks of 256 threads, any grid.
template <class T, class File>
DEVICE void relayout(const Relayout& r) {
  const int lane = threadIdx.x % 32, g = lane / 4, c = lane % 4;
  const i64 blocks = (r.cols + 8 * T::kPerWord - 1) / (8 * T::kPerWord);
  const i64 warps = static_cast<i64>(gridDim.x) * (blockDim.x / 32);
  for (i64 b = static_cast<i64>(blockIdx.x) * (blockDim.x / 32) + threadIdx.x / 32;
       b < r.panels * blocks; b += warps) {
    u32 words[4];
    for (int j = 0; j < 4; ++j) {
      int from_lane;
      const i64 panel = filePanel(r, b / blocks, g + 8 * (j % 2), &from_lane);
      const i64 word = b % blocks * 8 + c + 4 * (j / 2);
      words[j] = panel < 0 ? 0u : File::word(r.from, panel, from_lane, word, r.cols);
    }
    uint4 quad;
    quad.x = words[0], quad.y = words[1], quad.z = words[2], quad.w = words[3];
    static_cast<uint4*>(r.to)[b * 32 + lane] = quad;
  }
}
