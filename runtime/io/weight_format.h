// How the values of a weight are stored: one table, which types, verifiers, the packer, synthetic
// weights, the evaluator, costs and code generators ask. Nobody else knows what a format's bytes
// are.
//
// Along K, `block` values of one output share what a block holds. A format has planes, which lie
// one after another: the quants of all outputs, then the scales of all. An element of a plane is a
// whole number of bytes; quants of fewer bits lie several to an element. Where an element lies in
// its plane follows from the weight's layout:
//   rows:    [N, elements of a row]
//   panels:  element i of lane n of a panel of 16 outputs at (i / group) * 16 * group + n * group +
//            i % group, so that one vector load gives `group` elements of sixteen outputs. bf16: 2,
//            the order of AMX's B tile; int8: 4, the order of its int8 tile and of VNNI.
// The last block of a row is whole: what is beyond K is zero.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "runtime/io/weight_layout.h"

namespace llmrt {

/// How the elements of a block make its values. One case is one step in each code generator.
enum class FormatScheme : uint8_t {
  kPlain,   // the elements of the only plane
  kScaled,  // of a quant and its block's scale: float(quant) * float(scale), rounded to f32
};

struct FormatPlane {
  std::string_view name;
  DType dtype = DType::kF32;
  int64_t per_block = 1;  // elements of a block of one output
  int64_t group = 1;      // elements of one output side by side in a panel
};

struct WeightFormat {
  static constexpr int kMaxPlanes = 4;
  static constexpr int64_t kMaxBlock = 256;  // of block and per_block

  std::string_view name;  // in IR, plans and messages
  FormatScheme scheme = FormatScheme::kPlain;
  int64_t block = 1;
  int num_planes = 1;
  FormatPlane planes[kMaxPlanes];

  constexpr bool isPlain() const { return scheme == FormatScheme::kPlain; }
  constexpr int64_t blocks(int64_t cols) const { return (cols + block - 1) / block; }
  /// Elements and bytes of one output of `cols` columns.
  constexpr int64_t rowElements(int plane, int64_t cols) const {
    return blocks(cols) * planes[plane].per_block;
  }
  constexpr int64_t rowBytes(int64_t cols) const {
    int64_t bytes = 0;
    for (int p = 0; p < num_planes; ++p)
      bytes += rowElements(p, cols) * dtypeBytes(planes[p].dtype);
    return bytes;
  }
  /// Elements of a panel in a plane, and where element `i` of a lane lies among them.
  constexpr int64_t panelElements(int plane, int64_t cols) const {
    const int64_t group = planes[plane].group;
    return (rowElements(plane, cols) + group - 1) / group * group * kPanelLanes;
  }
  constexpr int64_t panelOffset(int plane, int64_t lane, int64_t i) const {
    const int64_t group = planes[plane].group;
    return i / group * group * kPanelLanes + lane * group + i % group;
  }
  /// Bytes of a panel, or of a row, in a plane.
  constexpr int64_t unitBytes(int plane, bool in_panels, int64_t cols) const {
    return (in_panels ? panelElements(plane, cols) : rowElements(plane, cols)) *
           dtypeBytes(planes[plane].dtype);
  }
};

/// The table. A format more is an entry here and, where no scheme says how its planes make a value,
/// a scheme: weight_format.cpp, codegen/cpu/Multiply.cpp, codegen/cuda/KernelText.h.
inline constexpr WeightFormat kWeightFormats[] = {
    {"f32", FormatScheme::kPlain, 1, 1, {{"values", DType::kF32}}},
    {"f16", FormatScheme::kPlain, 1, 1, {{"values", DType::kF16}}},
    {"bf16", FormatScheme::kPlain, 1, 1, {{"values", DType::kBF16, 1, 2}}},
    // No frontend makes it: what tests show blocks, scales and planes with.
    {"i8_block32",
     FormatScheme::kScaled,
     32,
     2,
     {{"quants", DType::kI8, 32, 4}, {"scales", DType::kF16, 1, 1}}},
};

/// Null where the table has no such name.
const WeightFormat* findWeightFormat(std::string_view name);
/// The format of plain values of `dtype`; null where weights are not stored so.
constexpr const WeightFormat* plainFormat(DType dtype) {
  for (const WeightFormat& format : kWeightFormats)
    if (format.isPlain() && format.planes[0].dtype == dtype) return &format;
  return nullptr;
}
/// A weight's, as its plan says it: `name`, or plain values of `dtype` where that is empty. Null
/// where there is none.
const WeightFormat* findWeightFormat(DType dtype, std::string_view name);
/// "f32, f16, ...", for messages.
std::string weightFormatNames();

constexpr int64_t panelElements(DType t, int64_t cols) {
  return plainFormat(t)->panelElements(0, cols);
}
constexpr int64_t panelOffset(DType t, int64_t lane, int64_t k) {
  return plainFormat(t)->panelOffset(0, lane, k);
}

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

/// Room for the elements of one block of any format.
struct StoredBlock {
  uint8_t bytes[WeightFormat::kMaxPlanes][WeightFormat::kMaxBlock * 4];
  uint8_t* planes[WeightFormat::kMaxPlanes];

  StoredBlock() {
    for (int p = 0; p < WeightFormat::kMaxPlanes; ++p) planes[p] = bytes[p];
  }
  StoredBlock(const StoredBlock&) = delete;
  StoredBlock& operator=(const StoredBlock&) = delete;
};

/// The values of a block of one output. planes[p]: its planes[p].per_block elements, one after
/// another. values: [block].
void decodeBlock(const WeightFormat& format, const uint8_t* const* planes, float* values);
/// The nearest that the format holds, as synthetic weights and quantisation make it.
void encodeBlock(const WeightFormat& format, const float* values, uint8_t* const* planes);
/// Makes `values`, rows of `cols`, what they are once they are stored.
void roundToFormat(const WeightFormat& format, std::span<float> values, int64_t cols);

//===----------------------------------------------------------------------===//
// Planes of a weight
//===----------------------------------------------------------------------===//

struct PlaneExtent {
  uint64_t offset_bytes = 0;  // from the layer's first byte; a multiple of 64
  uint64_t bytes = 0;
};

/// Where the planes of one layer of a weight lie: `units` panels (or rows) of `cols` columns, of
/// each of `experts` experts, expert after expert in each plane. False where that is more than
/// 2^50 bytes; any values are allowed that are not negative.
bool layOutPlanes(const WeightFormat& format, bool in_panels, uint64_t units, int64_t cols,
                  uint64_t experts, PlaneExtent (&planes)[WeightFormat::kMaxPlanes]);

}  // namespace llmrt
