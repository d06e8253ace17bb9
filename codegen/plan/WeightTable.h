// Where each packed weight lies in the weights file.
#pragma once

#include <cstdint>

#include "runtime/schema/plan_generated.h"

namespace llmc {

/// Fills cols, panels, bytes, offset_bytes and layer_stride_bytes of every weight, and
/// plan.weights_bytes, from the weights' sources, layout and layers. Weights lie in the order of
/// the table, but those of the same layers lie layer by layer, so that a step reads the file from
/// front to back. Tensors are aligned to 64 bytes. Where that pads the file by less than 1 %, those
/// of at least 2 MiB are aligned to 2 MiB, so that a huge page holds parts of one tensor only. No
/// reader needs more than 64 bytes.
void layOutWeights(llmrt::schema::PlanT& plan);

/// xxh3 over everything that determines the weights file: two plans of one id can share it.
uint64_t planId(const llmrt::schema::PlanT& plan);

}  // namespace llmc
