#include "tests/ir/StoredQuants.h"

#include <algorithm>

namespace llmc::test {

using llmrt::WeightFormat;

StoredQuants::StoredQuants(const WeightFormat& f, int64_t numRows, int64_t numCols)
    : format(&f), rows(numRows), cols(numCols) {
  for (int p = 0; p < f.num_planes; ++p)
    planes[p].resize(static_cast<size_t>(rows * f.blocks(cols) * blockBytes(p)));
}

StoredQuants StoredQuants::encode(const WeightFormat& f, std::span<const float> values,
                                  int64_t cols) {
  StoredQuants out(f, static_cast<int64_t>(values.size()) / cols, cols);
  std::vector<float> block(static_cast<size_t>(f.block));
  for (int64_t r = 0; r < out.rows; ++r)
    for (int64_t b = 0; b < f.blocks(cols); ++b) {
      const int64_t first = b * f.block;
      std::ranges::fill(block, 0.0f);
      std::copy_n(values.begin() + r * cols + first, std::min(f.block, cols - first),
                  block.begin());
      uint8_t* to[WeightFormat::kMaxPlanes];
      for (int p = 0; p < f.num_planes; ++p) to[p] = out.at(p, r, b);
      llmrt::encodeBlock(f, block.data(), to);
    }
  return out;
}

std::vector<float> StoredQuants::decode() const {
  std::vector<float> values(static_cast<size_t>(rows * cols));
  std::vector<float> block(static_cast<size_t>(format->block));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t b = 0; b < format->blocks(cols); ++b) {
      const uint8_t* from[WeightFormat::kMaxPlanes];
      for (int p = 0; p < format->num_planes; ++p) from[p] = at(p, r, b);
      llmrt::decodeBlock(*format, from, block.data());
      const int64_t first = b * format->block;
      std::copy_n(block.begin(), std::min(format->block, cols - first),
                  values.begin() + r * cols + first);
    }
  return values;
}

}  // namespace llmc::test
