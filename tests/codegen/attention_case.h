// The kernels of attention over one KV cache, as text.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>

#include "runtime/io/weight_layout.h"

namespace llmc::test {

struct AttentionCase {
  llmrt::DType dtype;
  int64_t heads, kvHeads, headDim, window;
  int64_t valueDim = 0;  // 0: headDim
  double softcap = 0;    // 0: none
  bool sinks = false;

  int64_t valuesOfHead() const { return valueDim ? valueDim : headDim; }
  std::string name() const;
};
inline void PrintTo(const AttentionCase& c, std::ostream* os) { *os << c.name(); }

/// Floats from one row of a buffer to the next.
constexpr int64_t attentionStride(int64_t width) { return (width + 15) / 16 * 16; }

/// A model with the kernels @write_prefill, @write_decode and @write_verify (kv_write), @prefill,
/// @decode and @verify (attention), and @move (kv_move).
std::string attentionModel(const AttentionCase& c);

}  // namespace llmc::test
