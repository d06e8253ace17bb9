// Where each packed weight lies in the weights file.
#pragma once

#include <cstdint>

#include "runtime/schema/plan_generated.h"

namespace llmc {

/// Fills cols, panels, bytes, offset_bytes and layer_stride_bytes of every weight, and
/// plan.weights_bytes, from the weights' sources, layout and layers. Weights lie in the order of
/// the table, but those of the same layers lie layer by layer, so that a step reads the file from
/// front to back. Tensors are aligned to 64 bytes, those of at least 2 MiB to 2 MiB, where a huge
/// page can hold them.
void layOutWeights(llmrt::schema::PlanT& plan);

/// xxh3 over everything that determines the weights file: two plans of one id can share it.
uint64_t planId(const llmrt::schema::PlanT& plan);

}  // namespace llmc
