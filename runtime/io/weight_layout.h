// Which row of a checkpoint's tensors each lane of a packed weight is: the one place that knows the
// layouts. A panel holds 16 outputs (rows n of a [N, K] tensor) side by side, so that one vector
// load gives one k of sixteen outputs. Where a value lies in it is its format's matter
// (weight_format.h).
#pragma once

#include <cstdint>
#include <vector>

namespace llmrt {

/// schema::DType's values, and those that only scales have. Weights and KV caches are of the first
/// three.
enum class DType : uint8_t {
  kF32 = 0,
  kF16 = 1,
  kBF16 = 2,
  kI32 = 3,
  kI8 = 4,
  kU8 = 5,
  // Scales: byte b is 2^(b - 128), half of what E8M0 means by it (OCP's microscaling formats), as
  // codes of FP4 are counted in halves.
  kHalfE8M0 = 6,
};
constexpr int64_t dtypeBytes(DType t) {
  constexpr int64_t kBytes[] = {4, 2, 2, 4, 1, 1, 1};
  return kBytes[static_cast<uint8_t>(t)];
}
const char* dtypeName(DType t);  // "f32", "f16", "bf16", ...

constexpr int64_t kPanelLanes = 16;

enum class PanelOrder : uint8_t { kConcat = 0, kInterleave = 1, kHeads = 2 };  // schema's values

/// A row of a source tensor, or none (padding, whose weights are zero).
struct PanelRow {
  int32_t source = -1;  // index in the weight's sources
  int64_t row = 0;
};

/// Maps every lane of every panel to its row in the sources.
/// `source_rows`: N of each source; `head_rows`: rows of a head for kHeads, ignored otherwise.
/// kInterleave needs two sources of equal N. Result: [panels * 16].
std::vector<PanelRow> panelRows(const std::vector<int64_t>& source_rows, PanelOrder order,
                                int64_t head_rows);

/// Panels that panelRows() gives: the sum over sources (or heads) of ceil(rows / 16).
int64_t panelCount(const std::vector<int64_t>& source_rows, PanelOrder order, int64_t head_rows);

/// Where a weight lies in a stored tensor of another shape: schema::WeightView, which says what the
/// members mean.
struct WeightView {
  std::vector<int64_t> stored;
  int64_t begin = 0, run = 0, outer = 0, inner = 0, col = 0, expert = 0, pair_begin = 0,
          pair_size = 0;

  /// The stored element of (row, 0) of expert `e`. Defined where isInside() holds.
  int64_t element(int64_t e, int64_t row) const;
  /// Every element of `experts` weights of [rows, cols] lies in the stored tensor, and no sum on
  /// the way to it overflows. Any values are allowed.
  bool isInside(int64_t rows, int64_t cols, int64_t experts) const;
  /// Rows of `cols` are whole blocks of `block` values of the stored rows.
  bool takesWholeBlocks(int64_t cols, int64_t block) const;
};

}  // namespace llmrt
