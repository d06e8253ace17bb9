// Left operands rounded to int8, and their products with weights of quants: sums of integers.
//
// A row of x is rounded in groups of A values, A being the block of the format (the last group of a
// row may be partial). With m the largest |x| of the group, each operation rounded to f32:
//   (of a NaN m is NaN, and so is all that follows from its group)
//   m at least 2^-110:   x_scale = m / 127,  q = x * (127 / m) to the nearest integer, ties to even
//   otherwise:           x_scale = 0,        q = 0
// A group of weights adds to an output, in ascending order of groups:
//   sum   = of sub-blocks, sub_scale * (of values, weight's quant * q)         exact in int32
//   acc   = fma(float(sum), scale * x_scale, acc)
// and then, where the format has minimums,
//   acc   = fma(min, x_scale * float(of values, q), acc)                       without sub-minimums
//   acc   = fma(float(of sub-blocks, sub_min * (of values, q)), min * x_scale, acc)           with
// Sums of integers have no order: every target, any rows and any tiles give the same bits.
#pragma once

#include "codegen/cpu/Multiply.h"

namespace llmc::cpu {

/// How the rounded rows of a product lie: [K in whole groups] int8, then numbers of its groups.
struct Int8Layout {
  Int8Layout() = default;
  Int8Layout(const CpuTarget& target, const llmrt::WeightFormat& format, int64_t cols);

  int64_t group = 0;     // values that share a scale; 0: rows are not of int8
  int64_t period = 0;    // values of a sub-block
  int64_t scalesAt = 0;  // bytes to x_scale of the first group
  int64_t sumsAt = 0;    // bytes to what the sums of q are needed for
  int64_t bytes = 0;     // of a row

  /// What is kept of the sums of q.
  enum class Sums {
    none,
    offsets,  // i32 of each sub-block: -offset * sum, at which a sum of the weights' bytes begins
    plain,    // i32 of each sub-block
    pairs,    // i16 of each sub-block, two of which make a word (KernelBuilder::dotPairs())
    scaled,   // f32 of each group: x_scale * float(sum)
  };
  Sums sums = Sums::none;
  int32_t offset = 0;  // of the weights' bytes from their quants

  /// Rounds `cols` floats from `from` on, to a row at `to`.
  void roundRow(KernelBuilder& k, Value from, Value to, int64_t cols) const;

  /// Of one of those sums.
  int64_t sumBytes() const { return sums == Sums::pairs ? 2 : 4; }

 private:
  void roundGroup(KernelBuilder& k, Value index, int64_t count, Value from, Value to) const;
};

/// multiply() (Multiply.h) with rows of int8. b.firstK and kCount begin and end whole groups, but
/// for the end of K. `each` is called with every multiple of the period, `eachGroup` with the first
/// value of every group.
Values multiplyInt8(KernelBuilder& k, const Rows& a, const Int8Layout& layout, const Panels& b,
                    int64_t rows, int64_t panels, int64_t kCount, Values acc,
                    const std::function<void(Value)>& each,
                    const std::function<void(Value)>& eachGroup = {});

}  // namespace llmc::cpu
