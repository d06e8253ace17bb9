#include "codegen/plan/PanelPacking.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/Support/ErrorHandling.h"
#include "runtime/io/float_convert.h"
#include "runtime/io/stored_blocks.h"

namespace llmc {
namespace {

using llmrt::DType;
using llmrt::kPanelLanes;
using llmrt::PanelRow;
using llmrt::Tensor;

// Columns of a row handled at once: the tile of 16 rows, converted and as it is written, stays in
// L1.
constexpr int64_t kTileCols = 64;

/// One row of a source: `step` elements lie from one column to the next, or blocks.
struct RowData {
  const uint8_t* data = nullptr;
  DType dtype = DType::kF32;
  int64_t step = 1;
  float plus = 0;
  const llmrt::StoredBlocks* blocks = nullptr;

  uint64_t bytes(int64_t cols) const {
    return static_cast<uint64_t>(blocks ? blocks->rowBytes(cols)
                                        : ((cols - 1) * step + 1) * llmrt::dtypeBytes(dtype));
  }
};

RowData rowData(const PackedTensor& t, PanelRow row) {
  const PackedSource& source = t.sources[static_cast<size_t>(row.source)];
  const Tensor& tensor = *source.tensor;
  RowData out{tensor.data, tensor.dtype, 1, source.plus, tensor.blocks};
  int64_t first = tensor.storedRow(row.row) * t.cols;
  if (source.view) {
    first = source.view->element(source.expert, row.row);
    out.step = t.cols == 1 ? 1 : source.view->col;
  }
  out.data += tensor.blocks ? first / tensor.blocks->format->block * tensor.blocks->bytes
                            : first * llmrt::dtypeBytes(tensor.dtype);
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

bool hasEmptyLanes(const PanelRow* lanes) {
  return std::any_of(lanes, lanes + kPanelLanes, [](PanelRow r) { return r.source < 0; });
}

/// Plain values of `dtype`.
void packPanel(const PackedTensor& t, DType dtype, int64_t panel, uint8_t* out) {
  const PanelRow* lanes = t.lanes->data() + panel * kPanelLanes;
  const bool padded = hasEmptyLanes(lanes) || (dtype == DType::kBF16 && t.cols % 2);
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

/// body(number of a block, its elements of the tensor's plane) along a row. False where a scale or
/// a minimum is not finite.
bool forBlocks(const PackedTensor& t, PanelRow row,
               llvm::function_ref<void(int64_t, const uint8_t*)> body) {
  const RowData from = rowData(t, row);
  const llmrt::PlaneRole role = t.format->planes[t.plane].role;
  const bool is_float = role == llmrt::PlaneRole::kScales || role == llmrt::PlaneRole::kMins;
  alignas(64) uint8_t elements[llmrt::WeightFormat::kMaxBlock];
  bool finite = true;
  for (int64_t b = 0; b < t.format->blocks(t.cols); ++b) {
    from.blocks->readPlane(from.data + b * from.blocks->bytes, t.plane, elements);
    if (is_float) finite &= std::isfinite(llmrt::loadAsF32(DType::kF16, elements, 0));
    body(b, elements);
  }
  return finite;
}

/// A panel of a plane of a format of blocks.
const PackedSource* packBlocks(const PackedTensor& t, int64_t panel, uint8_t* out) {
  const PanelRow* lanes = t.lanes->data() + panel * kPanelLanes;
  if (hasEmptyLanes(lanes)) std::memset(out, 0, static_cast<size_t>(t.unitBytes()));
  const llmrt::FormatPlane& plane = t.format->planes[t.plane];
  const int64_t bytes = llmrt::dtypeBytes(plane.dtype), word = plane.group * bytes;
  const int64_t words = plane.per_block / plane.group;
  const PackedSource* corrupt = nullptr;
  for (int64_t lane = 0; lane < kPanelLanes; ++lane) {
    if (lanes[lane].source < 0) continue;
    const bool finite = forBlocks(t, lanes[lane], [&](int64_t block, const uint8_t* from) {
      uint8_t* to = out + t.format->panelOffset(t.plane, lane, block * plane.per_block) * bytes;
      switch (word) {
        case 1:
          return scatter<uint8_t>(from, words, to);
        case 2:
          return scatter<uint16_t>(from, words, to);
        case 4:
          return scatter<uint32_t>(from, words, to);
        default:
          llvm_unreachable("elements that lie side by side have up to four bytes");
      }
    });
    if (!finite) corrupt = &t.sources[static_cast<size_t>(lanes[lane].source)];
  }
  return corrupt;
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

const PackedSource* packUnits(const PackedTensor& t, int64_t begin, int64_t end, uint8_t* out) {
  const llmrt::FormatPlane& plane = t.format->planes[t.plane];
  const int64_t block_bytes = plane.per_block * llmrt::dtypeBytes(plane.dtype);
  const PackedSource* corrupt = nullptr;
  for (int64_t unit = begin; unit < end; ++unit, out += t.unitBytes()) {
    if (t.lanes && t.format->isPlain()) {
      packPanel(t, plane.dtype, unit, out);
    } else if (t.lanes) {
      if (const PackedSource* found = packBlocks(t, unit, out)) corrupt = found;
    } else if (const PanelRow row = concatRow(t, unit); t.format->isPlain()) {
      const uint8_t* data = elements(rowData(t, row), plane.dtype, 0, t.cols, out);
      if (data != out) std::memcpy(out, data, static_cast<size_t>(t.unitBytes()));
    } else if (!forBlocks(t, row, [&](int64_t block, const uint8_t* from) {
                 std::memcpy(out + block * block_bytes, from, static_cast<size_t>(block_bytes));
               })) {
      corrupt = &t.sources[static_cast<size_t>(row.source)];
    }
  }
  return corrupt;
}

void bytesRead(const PackedTensor& t, int64_t begin, int64_t end,
               std::span<std::span<const uint8_t>> ranges) {
  std::fill(ranges.begin(), ranges.end(), std::span<const uint8_t>());
  const auto add = [&](PanelRow row) {
    if (row.source < 0) return;
    const RowData from = rowData(t, row);
    const uint8_t* data = from.data;
    const uint8_t* data_end = data + from.bytes(t.cols);
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
