#include "codegen/plan/PanelPacking.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "codegen/plan/Quantize.h"
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
  const uint8_t* scales = nullptr;  // of blocks that have theirs apart

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
  if (tensor.scales) out.scales = tensor.scales + first / tensor.blocks->format->block;
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

/// Of a scale or a minimum.
bool isFinite(DType dtype, const uint8_t* element) {
  constexpr uint8_t kExponent = 0x7c, kNan = 0xff;
  return dtype == DType::kHalfE8M0 ? *element != kNan : (element[1] & kExponent) != kExponent;
}

/// Block `b` of a row as the planes of a format of blocks. False where a scale, a minimum, or a
/// value that is quantised, is not finite.
bool readBlock(const llmrt::WeightFormat& format, const RowData& from, int64_t b,
               uint8_t* const* planes) {
  bool finite = true;
  if (!from.blocks) {
    alignas(64) float values[llmrt::WeightFormat::kMaxBlock];
    convertTo<DType::kF32>(from, b * format.block, format.block,
                           reinterpret_cast<uint8_t*>(values));
    for (int64_t i = 0; i < format.block; ++i) finite &= std::isfinite(values[i]);
    if (finite) quantizeBlock(format, values, planes);
    return finite;
  }
  from.blocks->readPlanes(from.data + b * from.blocks->bytes, planes,
                          from.scales ? from.scales + b : nullptr);
  for (const llmrt::PlaneRole role : {llmrt::PlaneRole::kScales, llmrt::PlaneRole::kMins})
    if (const int p = format.plane(role); p >= 0)
      finite &= isFinite(format.planes[p].dtype, planes[p]);
  return finite;
}

/// Elements of one block of each lane of a panel, of one plane.
using LaneElements = std::array<uint8_t[llmrt::WeightFormat::kMaxBlock], kPanelLanes>;

/// Writes `count` words of each lane, those of one number side by side.
template <typename Word>
void interleave(const LaneElements& lanes, int64_t count, uint8_t* to) {
  for (int64_t i = 0; i < count; ++i)
    for (const uint8_t* lane : lanes) {
      std::memcpy(to, lane + i * static_cast<int64_t>(sizeof(Word)), sizeof(Word));
      to += sizeof(Word);
    }
}

/// The same of words of four bytes, four of four lanes at a time.
void interleaveQuads(const LaneElements& lanes, int64_t count, uint8_t* to) {
  using Quad [[gnu::vector_size(16)]] = uint32_t;
  int64_t i = 0;
  for (; i + 4 <= count; i += 4) {
    for (size_t lane = 0; lane < lanes.size(); lane += 4) {
      Quad rows[4];
      for (size_t r = 0; r < 4; ++r) std::memcpy(&rows[r], lanes[lane + r] + 4 * i, sizeof(Quad));
      const Quad a = __builtin_shufflevector(rows[0], rows[1], 0, 4, 1, 5);
      const Quad b = __builtin_shufflevector(rows[2], rows[3], 0, 4, 1, 5);
      const Quad c = __builtin_shufflevector(rows[0], rows[1], 2, 6, 3, 7);
      const Quad d = __builtin_shufflevector(rows[2], rows[3], 2, 6, 3, 7);
      const Quad columns[4] = {
          __builtin_shufflevector(a, b, 0, 1, 4, 5), __builtin_shufflevector(a, b, 2, 3, 6, 7),
          __builtin_shufflevector(c, d, 0, 1, 4, 5), __builtin_shufflevector(c, d, 2, 3, 6, 7)};
      for (size_t w = 0; w < 4; ++w)
        std::memcpy(to + (w * kPanelLanes + lane) * 4, &columns[w], sizeof(Quad));
    }
    to += 4 * kPanelLanes * 4;
  }
  for (; i < count; ++i)
    for (const uint8_t* lane : lanes) {
      std::memcpy(to, lane + 4 * i, 4);
      to += 4;
    }
}

/// A panel of a format of blocks; out[p] is its part of plane p. Block by block, the lanes of one
/// are taken apart, then put side by side.
const PackedSource* packBlocks(const PackedTensor& t, int64_t panel, uint8_t* const* out) {
  const llmrt::WeightFormat& format = *t.format;
  const PanelRow* lanes = t.lanes->data() + panel * kPanelLanes;
  RowData rows[kPanelLanes];
  for (int64_t lane = 0; lane < kPanelLanes; ++lane)
    if (lanes[lane].source >= 0) rows[lane] = rowData(t, lanes[lane]);
  const PackedSource* corrupt = nullptr;
  // Of lanes without a source they stay zero.
  std::array<LaneElements, llmrt::WeightFormat::kMaxPlanes> elements = {};
  for (int64_t b = 0; b < format.blocks(t.cols); ++b) {
    for (int64_t lane = 0; lane < kPanelLanes; ++lane) {
      if (!rows[lane].data) continue;
      uint8_t* planes[llmrt::WeightFormat::kMaxPlanes];
      for (size_t p = 0; p < elements.size(); ++p) planes[p] = elements[p][lane];
      if (!readBlock(format, rows[lane], b, planes))
        corrupt = &t.sources[static_cast<size_t>(lanes[lane].source)];
    }
    for (int p = 0; p < format.num_planes; ++p) {
      const llmrt::FormatPlane& plane = format.planes[p];
      const int64_t bytes = llmrt::dtypeBytes(plane.dtype), words = plane.per_block / plane.group;
      const LaneElements& from = elements[static_cast<size_t>(p)];
      uint8_t* to = out[p] + format.panelOffset(p, 0, b * plane.per_block) * bytes;
      switch (plane.group * bytes) {
        case 1:
          interleave<uint8_t>(from, words, to);
          break;
        case 2:
          interleave<uint16_t>(from, words, to);
          break;
        case 4:
          interleaveQuads(from, words, to);
          break;
        default:
          llvm_unreachable("elements that lie side by side have up to four bytes");
      }
    }
  }
  return corrupt;
}

/// A row of a format of blocks; out[p] is its part of plane p.
const PackedSource* packRowOfBlocks(const PackedTensor& t, PanelRow row, uint8_t* const* out) {
  const llmrt::WeightFormat& format = *t.format;
  const RowData from = rowData(t, row);
  bool finite = true;
  llmrt::StoredBlock block;
  for (int64_t b = 0; b < format.blocks(t.cols); ++b) {
    finite &= readBlock(format, from, b, block.planes);
    for (int p = 0; p < format.num_planes; ++p) {
      const int64_t bytes = format.planes[p].per_block * llmrt::dtypeBytes(format.planes[p].dtype);
      std::memcpy(out[p] + b * bytes, block.planes[p], static_cast<size_t>(bytes));
    }
  }
  return finite ? nullptr : &t.sources[static_cast<size_t>(row.source)];
}

/// The source and row of row `row` of all sources after one another.
PanelRow concatRow(const PackedTensor& t, int64_t row) {
  int32_t source = 0;
  while (row >= t.sources[static_cast<size_t>(source)].rows)
    row -= t.sources[static_cast<size_t>(source++)].rows;
  return {source, row};
}

/// A panel, or a row, of plain values.
void packPlain(const PackedTensor& t, int64_t unit, uint8_t* out) {
  const DType dtype = t.format->planes[0].dtype;
  if (t.lanes) return packPanel(t, dtype, unit, out);
  const uint8_t* data = elements(rowData(t, concatRow(t, unit)), dtype, 0, t.cols, out);
  if (data != out) std::memcpy(out, data, static_cast<size_t>(t.unitBytes()));
}

}  // namespace

int64_t PackedTensor::units() const {
  if (lanes) return static_cast<int64_t>(lanes->size()) / kPanelLanes;
  int64_t rows = 0;
  for (const PackedSource& source : sources) rows += source.rows;
  return rows;
}

int64_t PackedTensor::unitBytes(int plane) const {
  return format->unitBytes(plane, lanes != nullptr, cols);
}

int64_t PackedTensor::unitBytes() const {
  int64_t bytes = 0;
  for (int p = 0; p < format->num_planes; ++p) bytes += unitBytes(p);
  return bytes;
}

const PackedSource* packUnits(const PackedTensor& t, int64_t begin, int64_t end,
                              uint8_t* const* planes) {
  const PackedSource* corrupt = nullptr;
  uint8_t* out[llmrt::WeightFormat::kMaxPlanes];
  for (int64_t unit = begin; unit < end; ++unit) {
    for (int p = 0; p < t.format->num_planes; ++p)
      out[p] = planes[p] + (unit - begin) * t.unitBytes(p);
    if (t.format->isPlain()) {
      packPlain(t, unit, out[0]);
    } else if (const PackedSource* found = t.lanes ? packBlocks(t, unit, out)
                                                   : packRowOfBlocks(t, concatRow(t, unit), out)) {
      corrupt = found;
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
