// Every number of a plan's file, wherever it stands: found through the schema itself, so that a
// field that is added is among them.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace llmrt::example {

struct PlanField {
  std::string path;   // "entry_points[0].sections[1].phases[0].tiles"
  size_t offset = 0;  // of its bytes in the file
  size_t bytes = 0;
  bool is_float = false;
};

/// The same plan with every field in the file, also those that FlatBuffers leaves out as they have
/// their default. Contracts and hash stay right.
std::vector<uint8_t> withAllFields(std::span<const uint8_t> file);

/// Every scalar of the file, and of each list of scalars the first and the last.
std::vector<PlanField> fieldsOf(std::span<const uint8_t> file);

/// The values that a field is set to: its bytes, each as 64 bits of which the low ones count.
std::vector<uint64_t> hostileValues(const PlanField& field, std::span<const uint8_t> file);

}  // namespace llmrt::example
