// Where the inputs of an entry point lie.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/abi/kernel_abi.h"

namespace llmrt {

namespace schema {
enum class Axis : int8_t;
struct EntryPoint;
struct Input;
}  // namespace schema

/// How many there are of an axis in a step.
int64_t countOf(schema::Axis axis, const LlmcStep& step);

/// Most elements of an input's axis in any step.
uint64_t mostElements(const schema::Input& input, const schema::EntryPoint& entry,
                      int64_t max_batch);
/// Bytes of one element of its axis.
uint64_t elementBytes(const schema::Input& input);

/// One after another, in memory that is aligned to kAlignment: offsets that are too.
struct InputLayout {
  std::vector<uint64_t> offsets;  // of each input
  uint64_t bytes = 0;

  InputLayout(const schema::EntryPoint& entry, int64_t max_batch);
};

}  // namespace llmrt
