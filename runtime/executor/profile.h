// Where a session's time goes: each op's time beside the bytes and FLOPs it had to move and
// compute.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/executor/cost.h"
#include "runtime/executor/plan.h"

namespace llmrt {

/// One kernel of an op on a device, summed over layers and steps.
struct KernelProfile {
  std::string symbol;
  double seconds = 0;
};

/// One op of one entry point, summed over layers and steps. "sample": a device's choice of tokens.
struct OpProfile {
  std::string entry_point, op;
  int64_t steps = 0;
  double seconds = 0;
  Cost cost;
  std::vector<KernelProfile> kernels;  // of a device; their times add up to `seconds`
};

/// Collects, on CPUs without allocating; read with ops().
class Profile {
 public:
  static constexpr size_t kChoice = SIZE_MAX;  // in place of a phase

  explicit Profile(const Plan& plan);

  /// Phase `phase` of the flat schedule (as Schedule::phases() has them) took `time`, barrier
  /// included.
  void addTime(uint32_t entry_point, size_t phase, std::chrono::steady_clock::duration time);
  /// A device's kernel of phase `phase`, or of the choice of a token, took `seconds`.
  void addKernelTime(uint32_t entry_point, size_t phase, const std::string& symbol, double seconds);
  void addStep(uint32_t entry_point, std::span<const SequenceRows> step);

  /// Forgets all steps so far, those that warmed up caches and page tables.
  void clear();

  /// Ops of entry points that ran, in the order of the plan.
  std::vector<OpProfile> ops() const;

 private:
  struct Entry {
    int64_t steps = 0;
    std::vector<size_t> op_of_phase;  // flat schedule -> ops
    std::vector<OpProfile> ops;
    OpProfile choice;
    std::vector<uint32_t> section, phase;  // of each op in the plan
  };
  const Plan& plan_;
  std::vector<Entry> entries_;
};

}  // namespace llmrt
