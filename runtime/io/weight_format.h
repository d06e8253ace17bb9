// How the values of a weight are stored: one table, which types, verifiers, the packer, synthetic
// weights, the evaluator, costs and code generators ask. Nobody else knows what a format's bytes
// are.
//
// Along K, `block` values of one output share what a block holds. A format has planes, which lie
// one after another: the quants of all outputs, then the scales of all. An element of a plane is a
// whole number of bytes. Where an element lies in its plane follows from the weight's layout:
//   rows:    [N, elements of a row]
//   panels:  element i of lane n of a panel of 16 outputs at (i / group) * 16 * group + n * group +
//            i % group, so that one vector load gives `group` elements of sixteen outputs. bf16: 2,
//            the order of AMX's B tile; quants: 4, the order of its int8 tile and of VNNI.
// Quants of fewer than 8 bits lie several to an element, which is a byte: of the 32 / bits values
// of four bytes, value v is bits [v / 4 * bits, v / 4 * bits + bits) of byte v % 4. So a vector of
// bytes, shifted and masked, is four values of k of each output, in order. The last block of a row
// is whole: what is beyond K is zero.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "runtime/io/weight_layout.h"

namespace llmrt {

/// How the elements of a block make its values. One case is one step in each code generator.
enum class FormatScheme : uint8_t {
  kPlain,  // the elements of the only plane
  kQuant,  // of quants, scales and minimums (WeightFormat::Quant)
};

/// What the elements of a plane are. A plane of quants comes first.
enum class PlaneRole : uint8_t {
  kValues,     // plain
  kQuants,     // a quant's low bits, or all of them
  kHighBits,   // those above
  kScales,     // floats, one a block, or powers of two
  kMins,       // floats, one a block
  kSubScales,  // int8, one a sub-block
  kSubMins,    // int8, one a sub-block
  kSubPairs,   // of a sub-block: its scale in the low four bits of a byte, its minimum above
};

struct FormatPlane {
  std::string_view name;
  DType dtype = DType::kF32;
  int64_t per_block = 1;  // elements of a block of one output
  int64_t group = 1;      // elements of one output side by side in a panel
  PlaneRole role = PlaneRole::kValues;
  int64_t bits = 0;  // of quants in an element of 8 bits; 0: an element is one value

  constexpr int64_t valuesPerElement() const { return bits ? 8 / bits : 1; }
};

/// The least and the largest quant that quantising makes.
struct QuantRange {
  int32_t least = 0, most = 0;
};

/// Of a sub-block: a value is scale * quant + min.
struct ScaleAndMin {
  float scale = 0, min = 0;
};

struct WeightFormat {
  static constexpr int kMaxPlanes = 6;
  static constexpr int64_t kMaxBlock = 256;  // of block and per_block

  /// A quant q is the int8 of its element, or its bits as an unsigned number, less `offset`; or
  /// what `codebook` has there. In f32, each operation rounded:
  ///   scale = float(scales[block]) * float(sub_scales[sub-block])   without sub-scales: the first
  ///   min   = float(mins[block]) * float(sub_mins[sub-block])       likewise
  ///   value = scale * float(q) + min                                without minimums: the product
  /// ggml subtracts minimums: packing negates them, which is exact.
  struct Quant {
    int64_t sub_block = 0;  // values that share a sub-scale; 0: there are none
    int32_t offset = 0;
    const int8_t* codebook = nullptr;  // of 2^bits entries
  };

  std::string_view name;  // in IR, plans and messages
  FormatScheme scheme = FormatScheme::kPlain;
  int64_t block = 1;
  int num_planes = 1;
  FormatPlane planes[kMaxPlanes];
  Quant quant = {};

  constexpr bool isPlain() const { return scheme == FormatScheme::kPlain; }
  /// The plane of a role; -1: the format has none.
  constexpr int plane(PlaneRole role) const {
    for (int p = 0; p < num_planes; ++p)
      if (planes[p].role == role) return p;
    return -1;
  }
  /// Bits of a quant, low and high.
  constexpr int64_t quantBits() const {
    const int high = plane(PlaneRole::kHighBits);
    return (planes[0].bits ? planes[0].bits : 8) + (high < 0 ? 0 : planes[high].bits);
  }
  constexpr QuantRange quantRange() const {
    const int32_t last = (1 << quantBits()) - 1;
    if (quant.codebook) {
      const auto [least, most] = std::ranges::minmax(std::span(quant.codebook, size_t(last) + 1));
      return {least, most};
    }
    if (quantBits() == 8) return {-127, 127};
    return {-quant.offset, last - quant.offset};
  }
  /// Values that share a scale and a minimum.
  constexpr int64_t subBlock() const { return quant.sub_block ? quant.sub_block : block; }
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
  /// Bits of memory that a value takes in whole blocks.
  constexpr double bitsPerWeight() const {
    return 8.0 * static_cast<double>(rowBytes(block)) / static_cast<double>(block);
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

/// The values that IQ4_NL and IQ4_XS choose from (ggml's kvalues_iq4nl).
inline constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                          1,    13,   25,  38,  53,  69,  89,  113};

/// The values of FP4 (E2M1), in halves.
inline constexpr int8_t kFp4Values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

// Planes of quants, of a block of `block` values.
constexpr FormatPlane quantsPlane(int64_t block, int64_t bits) {
  return {"quants", DType::kI8, block * bits / 8, 4, PlaneRole::kQuants, bits < 8 ? bits : 0};
}
constexpr FormatPlane highBitsPlane(int64_t block, int64_t bits) {
  return {"high_bits", DType::kI8, block * bits / 8, 4, PlaneRole::kHighBits, bits};
}
inline constexpr FormatPlane kScalesPlane{"scales", DType::kF16, 1, 1, PlaneRole::kScales};
inline constexpr FormatPlane kPowersPlane{"scales", DType::kHalfE8M0, 1, 1, PlaneRole::kScales};
inline constexpr FormatPlane kMinsPlane{"mins", DType::kF16, 1, 1, PlaneRole::kMins};
constexpr FormatPlane subPlane(std::string_view name, PlaneRole role, int64_t per_block) {
  return {name, DType::kI8, per_block, 1, role};
}

/// The table. A format more is an entry here and, where no scheme says how its planes make a value,
/// a scheme: weight_format.cpp, codegen/cpu/Multiply.cpp, codegen/cuda/KernelText.h. Those in
/// blocks hold what ggml's types of the same names do, value for value; sub-scales of six bits take
/// eight.
inline constexpr WeightFormat kWeightFormats[] = {
    {"f32", FormatScheme::kPlain, 1, 1, {{"values", DType::kF32}}},
    {"f16", FormatScheme::kPlain, 1, 1, {{"values", DType::kF16}}},
    {"bf16", FormatScheme::kPlain, 1, 1, {{"values", DType::kBF16, 1, 2}}},
    {"q8_0", FormatScheme::kQuant, 32, 2, {quantsPlane(32, 8), kScalesPlane}},
    {"q4_0", FormatScheme::kQuant, 32, 2, {quantsPlane(32, 4), kScalesPlane}, {.offset = 8}},
    {"q4_1", FormatScheme::kQuant, 32, 3, {quantsPlane(32, 4), kScalesPlane, kMinsPlane}},
    {"q5_0",
     FormatScheme::kQuant,
     32,
     3,
     {quantsPlane(32, 4), highBitsPlane(32, 1), kScalesPlane},
     {.offset = 16}},
    {"q5_1",
     FormatScheme::kQuant,
     32,
     4,
     {quantsPlane(32, 4), highBitsPlane(32, 1), kScalesPlane, kMinsPlane}},
    {"q2_k",
     FormatScheme::kQuant,
     256,
     4,
     {quantsPlane(256, 2), subPlane("sub_pairs", PlaneRole::kSubPairs, 16), kScalesPlane,
      kMinsPlane},
     {.sub_block = 16}},
    {"q3_k",
     FormatScheme::kQuant,
     256,
     4,
     {quantsPlane(256, 2), highBitsPlane(256, 1), subPlane("sub_scales", PlaneRole::kSubScales, 16),
      kScalesPlane},
     {.sub_block = 16, .offset = 4}},
    {"q4_k",
     FormatScheme::kQuant,
     256,
     5,
     {quantsPlane(256, 4), subPlane("sub_scales", PlaneRole::kSubScales, 8),
      subPlane("sub_mins", PlaneRole::kSubMins, 8), kScalesPlane, kMinsPlane},
     {.sub_block = 32}},
    {"q5_k",
     FormatScheme::kQuant,
     256,
     6,
     {quantsPlane(256, 4), highBitsPlane(256, 1), subPlane("sub_scales", PlaneRole::kSubScales, 8),
      subPlane("sub_mins", PlaneRole::kSubMins, 8), kScalesPlane, kMinsPlane},
     {.sub_block = 32}},
    {"q6_k",
     FormatScheme::kQuant,
     256,
     4,
     {quantsPlane(256, 4), highBitsPlane(256, 2), subPlane("sub_scales", PlaneRole::kSubScales, 16),
      kScalesPlane},
     {.sub_block = 16, .offset = 32}},
    {"iq4_nl",
     FormatScheme::kQuant,
     32,
     2,
     {quantsPlane(32, 4), kScalesPlane},
     {.codebook = kIq4Values}},
    {"iq4_xs",
     FormatScheme::kQuant,
     256,
     3,
     {quantsPlane(256, 4), subPlane("sub_scales", PlaneRole::kSubScales, 8), kScalesPlane},
     {.sub_block = 32, .codebook = kIq4Values}},
    {"mxfp4",
     FormatScheme::kQuant,
     32,
     2,
     {quantsPlane(32, 4), kPowersPlane},
     {.codebook = kFp4Values}},
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
/// A near one that the format holds, as synthetic weights make it: quants are the nearest for
/// scales chosen by the values' range.
void encodeBlock(const WeightFormat& format, const float* values, uint8_t* const* planes);
/// The same with scales and minimums wanted by sub-blocks, which are stored as near as the format
/// has them; quants are the nearest for what is stored. Minimums of
/// sub-blocks are 0 at most.
void encodeBlock(const WeightFormat& format, const float* values,
                 std::span<const ScaleAndMin> wanted, uint8_t* const* planes);
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
