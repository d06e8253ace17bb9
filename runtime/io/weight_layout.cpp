#include "runtime/io/weight_layout.h"

#include <cassert>
#include <cstddef>

namespace llmrt {
namespace {

constexpr int64_t panelsOf(int64_t rows) { return (rows + kPanelLanes - 1) / kPanelLanes; }

// Appends one panel: lanes of rows first.. of `source`, padding from `end` on.
void appendPanel(std::vector<PanelRow>& out, std::size_t source, int64_t first, int64_t end) {
  for (int64_t lane = 0; lane < kPanelLanes; ++lane) {
    if (first + lane < end) {
      out.push_back({static_cast<int32_t>(source), first + lane});
    } else {
      out.push_back({});
    }
  }
}

void appendRows(std::vector<PanelRow>& out, std::size_t source, int64_t first, int64_t end) {
  for (; first < end; first += kPanelLanes) appendPanel(out, source, first, end);
}

}  // namespace

const char* dtypeName(DType t) {
  switch (t) {
    case DType::kF32:
      return "f32";
    case DType::kF16:
      return "f16";
    case DType::kBF16:
      return "bf16";
    case DType::kI32:
      return "i32";
    case DType::kI8:
      return "i8";
    case DType::kU8:
      return "u8";
    case DType::kHalfE8M0:
      return "half_e8m0";
  }
  return "unknown dtype";
}

std::vector<PanelRow> panelRows(const std::vector<int64_t>& source_rows, PanelOrder order,
                                int64_t head_rows) {
  std::vector<PanelRow> out;
  out.reserve(static_cast<std::size_t>(panelCount(source_rows, order, head_rows) * kPanelLanes));
  switch (order) {
    case PanelOrder::kConcat:
      for (std::size_t s = 0; s < source_rows.size(); ++s) appendRows(out, s, 0, source_rows[s]);
      break;
    case PanelOrder::kInterleave:
      assert(source_rows.size() == 2 && source_rows[0] == source_rows[1]);
      for (int64_t first = 0; first < source_rows[0]; first += kPanelLanes) {
        appendPanel(out, 0, first, source_rows[0]);
        appendPanel(out, 1, first, source_rows[1]);
      }
      break;
    case PanelOrder::kHeads:
      assert(head_rows > 0);
      for (std::size_t s = 0; s < source_rows.size(); ++s) {
        assert(source_rows[s] % head_rows == 0);
        for (int64_t head = 0; head < source_rows[s]; head += head_rows)
          appendRows(out, s, head, head + head_rows);
      }
      break;
  }
  return out;
}

int64_t panelCount(const std::vector<int64_t>& source_rows, PanelOrder order, int64_t head_rows) {
  int64_t count = 0;
  for (int64_t rows : source_rows)
    count += order == PanelOrder::kHeads ? rows / head_rows * panelsOf(head_rows) : panelsOf(rows);
  return count;
}

int64_t WeightView::element(int64_t e, int64_t row) const {
  int64_t in_run = row % run;
  if (const int64_t i = in_run - pair_begin; i >= 0 && i < pair_size) {
    const int64_t half = pair_size / 2;
    in_run = pair_begin + (i < half ? 2 * i : 2 * (i - half) + 1);
  }
  return begin + e * expert + row / run * outer + in_run * inner;
}

bool WeightView::isInside(int64_t rows, int64_t cols, int64_t experts) const {
  constexpr int64_t kMost = int64_t{1} << 50;
  const auto inRange = [](int64_t v) { return v >= 0 && v <= kMost; };
  __int128 elements = 1;
  if (stored.empty()) return false;
  for (int64_t size : stored) {
    if (size < 1 || size > kMost || elements > kMost) return false;
    elements *= size;
  }
  for (int64_t v : {begin, run, outer, inner, col, expert, pair_begin, pair_size})
    if (!inRange(v)) return false;
  if (!inRange(rows - 1) || !inRange(cols - 1) || !inRange(experts - 1)) return false;
  if (run < 1 || rows % run != 0 || pair_size % 2 != 0 || pair_begin + pair_size > run)
    return false;
  const __int128 last = begin + __int128{experts - 1} * expert + __int128{rows / run - 1} * outer +
                        __int128{run - 1} * inner + __int128{cols - 1} * col;
  return last < elements;
}

bool WeightView::takesWholeBlocks(int64_t cols, int64_t block) const {
  if (col != 1 || cols % block != 0 || stored.empty() || stored.back() % block != 0) return false;
  for (const int64_t step : {begin, outer, inner, expert})
    if (step % block != 0) return false;
  return true;
}

}  // namespace llmrt
