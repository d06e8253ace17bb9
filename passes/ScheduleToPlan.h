// A schedule of the IR as the plan spells it: names become indices.
#pragma once

#include "ir/LLM.h"
#include "llvm/ADT/DenseMap.h"
#include "runtime/schema/plan_generated.h"

namespace llmc {

/// Where the symbols of a model stand in the plan's lists: kernels, packed weights, rope tables and
/// states, each in the order in which the model declares them.
struct PlanIndex {
  llvm::DenseMap<mlir::StringAttr, uint32_t> kernels, weights, ropeTables, states;

  explicit PlanIndex(llm::ModelOp model);
};

/// The entry point that `schedule` describes. Fails with a diagnostic where a symbol is unknown;
/// whether the schedule is right is for checkSchedule() to say.
mlir::FailureOr<llmrt::schema::EntryPointT> toEntryPoint(llm::ScheduleOp schedule,
                                                         const PlanIndex& index);

}  // namespace llmc
