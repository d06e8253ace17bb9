// Streams a checkpoint's tensors into the weights file of a plan.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "runtime/io/atomic_file.h"
#include "runtime/io/status.h"
#include "runtime/io/tensor_source.h"
#include "runtime/schema/plan_generated.h"

namespace llmc {

/// Told the bytes of the file that are packed, of so many; false stops with kCancelled.
using PackProgress = std::function<bool(uint64_t done_bytes, uint64_t total_bytes)>;

/// Writes every weight of `plan` to a file that will be called `path`, stores their hashes in the
/// plan and sets has_weights. The file is whole but has not got its name yet: the caller commits
/// it, together with the plan; dropped without that, nothing is left of it.
///
/// Values are rounded from the checkpoint's dtype to the weight's, or quantised (Quantize.h), once.
/// Several threads pack while one writes, in blocks of rows: memory stays below 100 MiB and, of
/// quantised weights, the scales, minimums and high bits of the largest layer of a weight. A tensor
/// that is missing or has another shape is found before anything is written.
llmrt::Result<llmrt::AtomicFile> packWeights(llmrt::schema::PlanT& plan,
                                             const llmrt::TensorSource& source,
                                             const std::string& path,
                                             const PackProgress& progress = {});

}  // namespace llmc
