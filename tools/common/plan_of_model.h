// A model in place of a plan: compiled by the llmc beside this program, once.
#pragma once

#include <string>

#include "runtime/io/status.h"
#include "tools/common/load_model.h"

namespace llmrt {

/// A plan, and the folder that goes with the object where the plan was asked for without the cache.
/// What is mapped from there stays.
class PlanOfModel {
 public:
  explicit PlanOfModel(std::string plan, std::string folder = "")
      : plan_(std::move(plan)), folder_(std::move(folder)) {}
  PlanOfModel(PlanOfModel&& other) noexcept;
  PlanOfModel& operator=(PlanOfModel&&) = delete;
  ~PlanOfModel();

  const std::string& plan() const { return plan_; }

 private:
  std::string plan_, folder_;  // empty: none
};

/// options.plan_path where that is a plan; else the plan of the model there, compiled for this
/// machine's CPUs, or for options.cpu_target, with options.weights_path as the model's weights. A
/// failure that llmc has printed has no message (runProgram() prints none then).
Result<PlanOfModel> planOf(const ModelOptions& options);

}  // namespace llmrt
