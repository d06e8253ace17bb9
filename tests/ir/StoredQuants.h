// A weight of quants as a file holds it, for tests: its blocks, output after output.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/io/weight_format.h"

namespace llmc::test {

struct StoredQuants {
  const llmrt::WeightFormat* format = nullptr;
  int64_t rows = 0, cols = 0;
  /// Of each plane, blocks of outputs one after another.
  std::vector<uint8_t> planes[llmrt::WeightFormat::kMaxPlanes];

  StoredQuants() = default;
  /// Zeros.
  StoredQuants(const llmrt::WeightFormat& format, int64_t rows, int64_t cols);
  /// What encodeBlock() makes of [rows, cols] values.
  static StoredQuants encode(const llmrt::WeightFormat& format, std::span<const float> values,
                             int64_t cols);
  /// [rows, cols].
  std::vector<float> decode() const;

  int64_t blockBytes(int plane) const {
    return format->planes[plane].per_block * llmrt::dtypeBytes(format->planes[plane].dtype);
  }
  /// The elements of a block of one output.
  uint8_t* at(int plane, int64_t row, int64_t block) {
    return planes[plane].data() + (row * format->blocks(cols) + block) * blockBytes(plane);
  }
  const uint8_t* at(int plane, int64_t row, int64_t block) const {
    return const_cast<StoredQuants*>(this)->at(plane, row, block);
  }
};

}  // namespace llmc::test
