// What a reader of plans and weights files checks before anything else.
#pragma once

#include <cstdint>

namespace llmrt {

/// Plan.schema_version. Raised when an old reader would misread a new plan; appended fields do not
/// raise it.
constexpr uint32_t kPlanSchemaVersion = 2;

constexpr char kWeightsMagic[8] = {'L', 'L', 'M', 'C', 'W', 'G', 'T', '\0'};
constexpr uint32_t kWeightsVersion = 1;

/// The first 64 bytes of a weights file. Tensors follow at Weight.offset_bytes, counted from the
/// file's start. Little-endian, like everything in the file.
struct WeightsHeader {
  char magic[8];        // kWeightsMagic
  uint32_t version;     // kWeightsVersion
  uint32_t reserved;    // 0
  uint64_t plan_id;     // Plan.id of the plan these weights belong to
  uint64_t bytes;       // size of the whole file: Plan.weights_bytes
  uint8_t padding[32];  // 0
};
static_assert(sizeof(WeightsHeader) == 64, "the weights header is a file format");

}  // namespace llmrt
