// What the checkers of a plan share.
#pragma once

#include <fmt/format.h>

#include <cstdint>

#include "runtime/io/status.h"

/// LLMRT_CHECK(condition, "format", args...): returns invalidData from the enclosing function.
#define LLMRT_CHECK(condition, ...)                                          \
  do {                                                                       \
    if (!(condition)) return ::llmrt::invalidData(fmt::format(__VA_ARGS__)); \
  } while (0)

namespace llmrt {

/// The size of a vector or string of a FlatBuffer, which may be absent.
template <typename V>
uint32_t sizeOf(const V* vector) {
  return vector ? vector->size() : 0;
}

}  // namespace llmrt
