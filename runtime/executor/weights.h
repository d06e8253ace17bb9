// The weights of a plan: mapped from its weights file, or made up in memory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "runtime/executor/memory.h"
#include "runtime/executor/plan.h"
#include "runtime/io/mapped_file.h"
#include "runtime/io/status.h"

namespace llmrt {

class ThreadTeam;

/// Immutable once made; sessions may share it. Must outlive its sessions.
class Weights {
 public:
  /// Maps `path` and checks that it belongs to the plan. Reads only its header. Empty:
  /// defaultWeightsPath(), or the weights that wait beside it (waitingWeightsPath()) where only
  /// those belong.
  static Result<std::unique_ptr<Weights>> map(const Plan& plan, const std::string& path = "");

  /// Random weights for a plan without any: every value is a hash of (seed, the tensor's name, its
  /// index in the checkpoint's order), whatever the layout. Matrices: uniform with variance 1/K;
  /// norms: 1 +- 0.1; biases: +- 0.01; rounded to the weight's dtype.
  static Result<std::unique_ptr<Weights>> synthesize(const Plan& plan, uint64_t seed,
                                                     ThreadTeam& team);

  /// Compares each tensor's bytes with the hash in the plan: reads the whole file.
  Status verifyHashes() const;

  /// A number that other weights of the plan do not have.
  uint64_t identity() const { return identity_; }

  /// Start of plane `plane` of weight `index` for `layer` (ignored for a weight that is not per
  /// layer).
  const uint8_t* data(uint32_t index, uint32_t layer, uint32_t plane = 0) const;

 private:
  explicit Weights(const Plan& plan) : plan_(plan) {}
  static Result<std::unique_ptr<Weights>> mapFile(const Plan& plan, const std::string& path);

  const Plan& plan_;
  MappedFile file_;
  AnonymousMemory memory_;
  uint64_t identity_ = 0;
  const uint8_t* base_ = nullptr;  // offset 0 of the weights file
};

/// plan.fb -> plan.weights; another name gets ".weights" appended.
std::string defaultWeightsPath(const std::string& plan_path);

namespace synthetic {
/// What synthesize() makes, one by one. The value of logical element `index` (row * cols + col) of
/// a tensor. kind: WeightSource.kind.
float value(uint64_t seed, const std::string& tensor_name, uint64_t index, uint64_t cols, int kind);
}  // namespace synthetic

}  // namespace llmrt
