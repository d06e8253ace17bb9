// How far two texts are the same.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

namespace llmrt {

/// Tokens that both begin with.
inline int64_t commonPrefix(std::span<const int32_t> a, std::span<const int32_t> b) {
  const size_t n = std::min(a.size(), b.size());
  return std::mismatch(a.begin(), a.begin() + static_cast<ptrdiff_t>(n), b.begin()).first -
         a.begin();
}

}  // namespace llmrt
