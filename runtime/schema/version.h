// What a reader of plans and weights files checks before anything else.
#pragma once

#include <cstdint>
#include <string>

namespace llmrt {

/// Plan.schema_version. Raised when an old reader would misread a new plan; appended fields do not
/// raise it.
constexpr uint32_t kPlanSchemaVersion = 4;

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
  uint64_t content;     // weightsContent() of the plan's Weight.hash: which numbers these are
  uint8_t padding[24];  // 0
};
static_assert(sizeof(WeightsHeader) == 64, "the weights header is a file format");

/// Where new weights wait while the plan that they belong to takes the place of an older one, whose
/// weights are still at `path`. A process that is killed in between leaves them there.
inline std::string waitingWeightsPath(const std::string& path) { return path + ".new"; }

}  // namespace llmrt
