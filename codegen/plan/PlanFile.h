// plan.fb: bytes and file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/io/atomic_file.h"
#include "runtime/io/status.h"
#include "runtime/schema/plan_generated.h"

namespace llmc {

/// The plan as the bytes of its file. Runs the schedule checker on them: a plan that fails it is
/// never written.
llmrt::Result<std::vector<uint8_t>> serializePlan(const llmrt::schema::PlanT& plan);

/// Writes `bytes` to a file that will be called `path` once the caller commits it.
llmrt::Result<llmrt::AtomicFile> writePlan(const std::vector<uint8_t>& bytes,
                                           const std::string& path);

/// Gives a plan and the weights it describes (null: code only) their names. On an error neither is
/// replaced, unless the weights alone cannot be: the error then says where those of the new plan
/// are. Killed at any moment it leaves the old plan and its weights or the new ones, which the
/// runtime finds: new weights wait under waitingWeightsPath() while the plan is replaced. What an
/// earlier process left there gets its place, or is removed.
llmrt::Status commitPlanAndWeights(llmrt::AtomicFile& plan, llmrt::AtomicFile* weights);

}  // namespace llmc
