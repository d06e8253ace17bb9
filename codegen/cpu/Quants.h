// Values of quantised weights, brought from the planes of a format (runtime/io/weight_format.h) to
// registers: as floats, exactly as decodeBlock() makes them, or as bytes for products of integers.
#pragma once

#include "codegen/cpu/KernelBuilder.h"
#include "runtime/io/weight_format.h"

namespace llmc::cpu {

/// Of a (sub-)block of each output; `min` is null where the format has none.
struct ScaleAndMin {
  Value scale, min;

  /// Of floats: scale * quants + min, each operation rounded.
  Value apply(KernelBuilder& k, Value quants) const {
    Value product = k.mulf(scale, quants);
    return min ? k.addf(product, min) : product;
  }
};

/// The planes of a weight of quants: of panels of 16 outputs, or of one output.
struct QuantPlanes {
  const llmrt::WeightFormat* format = nullptr;               // null: the weight is of plain values
  Value base[llmrt::WeightFormat::kMaxPlanes];               // of the first panel, or of the output
  int64_t panelBytes[llmrt::WeightFormat::kMaxPlanes] = {};  // from one panel to the next
  int64_t outputs = kLanes;                                  // side by side in a plane: 1 in rows
  int64_t lanes = kLanes;  // of them, those that are read: 1 of one output

  explicit operator bool() const { return format != nullptr; }
  QuantPlanes from(KernelBuilder& k, Value panel) const;

  /// Values of k that share a scale.
  int64_t period() const { return format->subBlock(); }
  /// Values of k that are read at once: those whose low bits fill four bytes of an output, which
  /// one load brings for 16 outputs, but at most 8. More were more code and no fewer instructions.
  int64_t perStep() const { return lowBits() == 8 ? 4 : 8; }
  int64_t lowBits() const { return bitsOf(0); }

  // Of panel `panel`, values of k from `at` on, which is a multiple of `aligned`.

  /// Value j of the perStep(), before its scale.
  using Floats = std::function<Value(int64_t j)>;
  Floats floats(KernelBuilder& k, Value at, int64_t aligned, int64_t panel) const;
  /// Of the (sub-)block that value `at` is in.
  ScaleAndMin scaleAndMin(KernelBuilder& k, Value at, int64_t panel) const;

  /// A plane's element `index` of each output, as floats; null: the format has no such plane.
  Value load(KernelBuilder& k, llmrt::PlaneRole role, Value index, int64_t panel) const;

  // For products of integers.

  /// Words of the perStep() quants from `at` + j on, `at` being a multiple of the period: four of
  /// each output in the bytes of a word. A byte less byteOffset() is a quant.
  Values bytes(KernelBuilder& k, Value at, int64_t j, int64_t panel) const;
  bool bytesAreSigned(const CpuTarget& target) const { return areSigned(target, *format); }
  static int32_t byteOffset(const CpuTarget& target, const llmrt::WeightFormat& format);
  /// Of sub-block `sub`, as words; `min` is null where the format has none.
  ScaleAndMin subScaleAndMin(KernelBuilder& k, Value sub, int64_t panel) const;
  /// The minimums of sub-blocks `sub`, which is even, and sub + 1: two i16 in a word of each
  /// output.
  Value subMinPairs(KernelBuilder& k, Value sub, int64_t panel) const;

  /// Values [i, i + count) of the one output; in panels count is 1.
  Value valuesOfOutput(KernelBuilder& k, Value i, int64_t count) const;

 private:
  int64_t bitsOf(int plane) const {
    return format->planes[plane].bits ? format->planes[plane].bits : 8;
  }
  static bool areSigned(const CpuTarget& target, const llmrt::WeightFormat& format);
  Value word(KernelBuilder& k, int plane, Value at, int64_t aligned, int64_t j,
             int64_t panel) const;
  Values rawBytes(KernelBuilder& k, Value at, int64_t aligned, int64_t j, int64_t panel) const;
  Value element(KernelBuilder& k, int plane, Value index, int64_t panel) const;
};

}  // namespace llmc::cpu
