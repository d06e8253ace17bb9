#include "codegen/plan/PanelPacking.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/Support/ErrorHandling.h"
#include "runtime/io/float_convert.h"

namespace llmc {
namespace {

using llmrt::DType;
using llmrt::kPanelLanes;
using llmrt::PanelRow;
using llmrt::Tensor;

// Columns of a row handled at once: the tile of 16 rows, converted and as it is written, stays in
// L1.
constexpr int64_t kTileCols = 64;

/// One row of a source: `step` elements lie from one column to the next.
struct RowData {
  const uint8_t* data = nullptr;
  DType dtype = DType::kF32;
  int64_t step = 1;
  float plus = 0;
};

RowData rowData(const PackedTensor& t, PanelRow row) {
  const PackedSource& source = t.sources[static_cast<size_t>(row.source)];
  const Tensor& tensor = *source.tensor;
  RowData out{tensor.data, tensor.dtype, 1, source.plus};
  int64_t first = tensor.storedRow(row.row) * t.cols;
  if (source.view) {
    first = source.view->element(source.expert, row.row);
    out.step = t.cols == 1 ? 1 : source.view->col;
  }
  out.data += first * llmrt::dtypeBytes(tensor.dtype);
  return out;
}

template <DType From, DType To>
void convertRow(const RowData& from, int64_t col, int64_t count, uint8_t* to) {
  for (int64_t i = 0; i < count; ++i)
    llmrt::storeFromF32(To, to, i,
                        llmrt::loadAsF32(From, from.data, (col + i) * from.step) + from.plus);
}

template <DType To>
void convertTo(const RowData& from, int64_t col, int64_t count, uint8_t* to) {
  switch (from.dtype) {
    case DType::kF32:
      return convertRow<DType::kF32, To>(from, col, count, to);
    case DType::kF16:
      return convertRow<DType::kF16, To>(from, col, count, to);
    case DType::kBF16:
      return convertRow<DType::kBF16, To>(from, col, count, to);
    default:
      llvm_unreachable("tensors of weights are floats");
  }
}

/// `count` elements from column `col` of a row, as `to`: where they lie, or converted into
/// `buffer`.
const uint8_t* elements(const RowData& from, DType to, int64_t col, int64_t count,
                        uint8_t* buffer) {
  if (from.dtype == to && from.step == 1 && from.plus == 0)
    return from.data + col * llmrt::dtypeBytes(to);
  switch (to) {
    case DType::kF32:
      convertTo<DType::kF32>(from, col, count, buffer);
      break;
    case DType::kF16:
      convertTo<DType::kF16>(from, col, count, buffer);
      break;
    case DType::kBF16:
      convertTo<DType::kBF16>(from, col, count, buffer);
      break;
    default:
      llvm_unreachable("plain values are floats");
  }
  return buffer;
}

/// Writes `count` words of one lane, 16 words apart.
template <typename Word>
void scatter(const uint8_t* from, int64_t count, uint8_t* to) {
  for (int64_t i = 0; i < count; ++i) {
    Word word;
    std::memcpy(&word, from + i * static_cast<int64_t>(sizeof(Word)), sizeof(Word));
    std::memcpy(to + i * kPanelLanes * static_cast<int64_t>(sizeof(Word)), &word, sizeof(Word));
  }
}

/// `out`: the start of the panel. `col` is a multiple of kTileCols.
void storeLane(DType dtype, const uint8_t* from, int64_t lane, int64_t col, int64_t count,
               uint8_t* out) {
  uint8_t* to = out + llmrt::panelOffset(dtype, lane, col) * llmrt::dtypeBytes(dtype);
  switch (dtype) {
    case DType::kF32:
      return scatter<uint32_t>(from, count, to);
    case DType::kF16:
      return scatter<uint16_t>(from, count, to);
    case DType::kBF16:
      // A bf16 panel is 16 rows of pairs, transposed; an odd last column has zero beside it.
      scatter<uint32_t>(from, count / 2, to);
      if (count % 2) std::memcpy(to + count / 2 * kPanelLanes * 4, from + (count - 1) * 2, 2);
      return;
    default:
      llvm_unreachable("plain values are floats");
  }
}

/// Plain values of `dtype`.
void packPanel(const PackedTensor& t, DType dtype, int64_t panel, uint8_t* out) {
  const PanelRow* lanes = t.lanes->data() + panel * kPanelLanes;
  const bool padded =
      std::any_of(lanes, lanes + kPanelLanes, [](PanelRow r) { return r.source < 0; }) ||
      (dtype == DType::kBF16 && t.cols % 2);
  if (padded) std::memset(out, 0, static_cast<size_t>(t.unitBytes()));
  RowData rows[kPanelLanes];
  for (int64_t lane = 0; lane < kPanelLanes; ++lane)
    if (lanes[lane].source >= 0) rows[lane] = rowData(t, lanes[lane]);

  alignas(64) uint8_t buffer[kTileCols * sizeof(float)];
  for (int64_t col = 0; col < t.cols; col += kTileCols) {
    const int64_t count = std::min(kTileCols, t.cols - col);
    for (int64_t lane = 0; lane < kPanelLanes; ++lane) {
      if (!rows[lane].data) continue;
      storeLane(dtype, elements(rows[lane], dtype, col, count, buffer), lane, col, count, out);
    }
  }
}

/// body(number of a block, its elements of the tensor's plane) along a row.
void forBlocks(const PackedTensor& t, PanelRow row,
               llvm::function_ref<void(int64_t, const uint8_t*)> body) {
  const llmrt::WeightFormat& format = *t.format;
  const RowData from = rowData(t, row);
  std::array<float, llmrt::WeightFormat::kMaxBlock> values;
  llmrt::StoredBlock stored;
  for (int64_t b = 0; b < format.blocks(t.cols); ++b) {
    const int64_t col = b * format.block, count = std::min(format.block, t.cols - col);
    values.fill(0);
    auto* const to = reinterpret_cast<uint8_t*>(values.data());
    const uint8_t* data = elements(from, DType::kF32, col, count, to);
    if (data != to) std::memcpy(to, data, static_cast<size_t>(count) * sizeof(float));
    llmrt::encodeBlock(format, values.data(), stored.planes);
    body(b, stored.planes[t.plane]);
  }
}

/// A panel of a plane whose values come in blocks.
void packBlocks(const PackedTensor& t, int64_t panel, uint8_t* out) {
  std::memset(out, 0, static_cast<size_t>(t.unitBytes()));
  const llmrt::FormatPlane& plane = t.format->planes[t.plane];
  const int64_t bytes = llmrt::dtypeBytes(plane.dtype);
  for (int64_t lane = 0; lane < kPanelLanes; ++lane) {
    const PanelRow row = (*t.lanes)[static_cast<size_t>(panel * kPanelLanes + lane)];
    if (row.source < 0) continue;
    forBlocks(t, row, [&](int64_t block, const uint8_t* elements) {
      for (int64_t i = 0; i < plane.per_block; ++i)
        std::memcpy(out + t.format->panelOffset(t.plane, lane, block * plane.per_block + i) * bytes,
                    elements + i * bytes, static_cast<size_t>(bytes));
    });
  }
}

/// The source and row of row `row` of all sources after one another.
PanelRow concatRow(const PackedTensor& t, int64_t row) {
  int32_t source = 0;
  while (row >= t.sources[static_cast<size_t>(source)].rows)
    row -= t.sources[static_cast<size_t>(source++)].rows;
  return {source, row};
}

}  // namespace

int64_t PackedTensor::units() const {
  if (lanes) return static_cast<int64_t>(lanes->size()) / kPanelLanes;
  int64_t rows = 0;
  for (const PackedSource& source : sources) rows += source.rows;
  return rows;
}

int64_t PackedTensor::unitBytes() const { return format->unitBytes(plane, lanes != nullptr, cols); }

void packUnits(const PackedTensor& t, int64_t begin, int64_t end, uint8_t* out) {
  const llmrt::FormatPlane& plane = t.format->planes[t.plane];
  for (int64_t unit = begin; unit < end; ++unit, out += t.unitBytes()) {
    if (t.lanes) {
      t.format->isPlain() ? packPanel(t, plane.dtype, unit, out) : packBlocks(t, unit, out);
      continue;
    }
    const PanelRow row = concatRow(t, unit);
    if (!t.format->isPlain()) {
      const int64_t bytes = plane.per_block * llmrt::dtypeBytes(plane.dtype);
      forBlocks(t, row, [&](int64_t block, const uint8_t* elements) {
        std::memcpy(out + block * bytes, elements, static_cast<size_t>(bytes));
      });
      continue;
    }
    const uint8_t* data = elements(rowData(t, row), plane.dtype, 0, t.cols, out);
    if (data != out) std::memcpy(out, data, static_cast<size_t>(t.unitBytes()));
  }
}

void bytesRead(const PackedTensor& t, int64_t begin, int64_t end,
               std::span<std::span<const uint8_t>> ranges) {
  std::fill(ranges.begin(), ranges.end(), std::span<const uint8_t>());
  const auto add = [&](PanelRow row) {
    if (row.source < 0) return;
    const RowData from = rowData(t, row);
    const uint8_t* data = from.data;
    const uint8_t* data_end = data + ((t.cols - 1) * from.step + 1) * llmrt::dtypeBytes(from.dtype);
    std::span<const uint8_t>& range = ranges[static_cast<size_t>(row.source)];
    if (!range.empty()) {
      data = std::min(data, range.data());
      data_end = std::max(data_end, range.data() + range.size());
    }
    range = {data, data_end};
  };
  const int64_t rows_per_unit = t.lanes ? kPanelLanes : 1;
  for (int64_t row = begin * rows_per_unit; row < end * rows_per_unit; ++row)
    add(t.lanes ? (*t.lanes)[static_cast<size_t>(row)] : concatRow(t, row));
}

}  // namespace llmc
