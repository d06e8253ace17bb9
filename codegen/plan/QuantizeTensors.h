// Plain tensors of a checkpoint, quantised for a plan whose weights are quantised.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "runtime/io/status.h"
#include "runtime/io/tensor_source.h"
#include "runtime/schema/plan_generated.h"

namespace llmc {

/// `source`, in which each plain tensor that the plan wants in a format of quants has that format.
/// Null where there is none. They are kept in a file without a name in the folder of `beside`, not
/// in memory, and made before this returns, on several threads. `progress(done, total)` counts
/// values; false ends it with kCancelled. An error names a tensor with a value that is not finite.
/// `source` must outlive the result.
llmrt::Result<std::unique_ptr<llmrt::TensorSource>> quantizeTensors(
    const llmrt::schema::PlanT& plan, const llmrt::TensorSource& source, const std::string& beside,
    const std::function<bool(uint64_t, uint64_t)>& progress);

}  // namespace llmc
