// Copies rows of checkpoint tensors into packed weights, converting or quantising plain values,
// taking blocks of quantised ones apart, and transposing on the way.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/io/tensor_source.h"
#include "runtime/io/weight_format.h"

namespace llmc {

/// A matrix [rows, cols] (a vector where cols is 1) in a stored tensor.
struct PackedSource {
  const llmrt::Tensor* tensor = nullptr;
  int64_t rows = 0;
  const llmrt::WeightView* view = nullptr;  // null: the tensor as it is
  int64_t expert = 0;                       // of the view
  float plus = 0;                           // added to every element
};

/// One layer (and expert) of one packed weight. Sources of a format of blocks are stored in that
/// format, or plain, and then quantised; either way they begin at a block.
struct PackedTensor {
  const llmrt::WeightFormat* format = llmrt::plainFormat(llmrt::DType::kF32);  // of the result
  int64_t cols = 0;
  std::vector<PackedSource> sources;
  // Where each lane of each panel comes from ([panels * 16]); null for layout rows.
  const std::vector<llmrt::PanelRow>* lanes = nullptr;

  /// Panels, or rows for layout rows: the unit that packing is cut in.
  int64_t units() const;
  /// Of one plane, and of all.
  int64_t unitBytes(int plane) const;
  int64_t unitBytes() const;
};

/// Packs units [begin, end) of every plane p to planes[p], which holds (end - begin) *
/// unitBytes(p). Padding becomes zero. A source with a block whose scale or minimum is not finite,
/// or a value that is to be quantised and is not, is returned; null: all are.
const PackedSource* packUnits(const PackedTensor& tensor, int64_t begin, int64_t end,
                              uint8_t* const* planes);

/// The bytes that packUnits() would read: one range of each source, in `ranges` ([sources]).
void bytesRead(const PackedTensor& tensor, int64_t begin, int64_t end,
               std::span<std::span<const uint8_t>> ranges);

}  // namespace llmc
