// Steps on this machine's CPUs: one allocation, one team of threads, kernels bound to memory once.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "runtime/executor/executor.h"
#include "runtime/executor/memory.h"
#include "runtime/executor/schedule.h"
#include "runtime/executor/state_memory.h"
#include "runtime/executor/thread_team.h"
#include "runtime/executor/tile_shares.h"
#include "runtime/executor/weights.h"

namespace llmrt {

namespace schema {
struct Buffer;
struct Operand;
}  // namespace schema

/// What is allocated.
struct ExecutorMemory {
  uint64_t activation_bytes = 0;  // arena and scratch
  uint64_t kv_bytes = 0;
  uint64_t recurrent_bytes = 0;
  uint64_t rope_bytes = 0;
  uint64_t total() const { return activation_bytes + kv_bytes + recurrent_bytes + rope_bytes; }
};

class CpuExecutor : public Executor {
 public:
  /// What create() would allocate, for a verified plan. `scratch_bytes`: the target's.
  static Result<ExecutorMemory> memory(const schema::Plan& plan, uint64_t scratch_bytes,
                                       const ExecutorOptions& options);
  /// `plan` and `weights` must outlive the executor.
  static Result<std::unique_ptr<Executor>> create(const Plan& plan, const Weights& weights,
                                                  const ExecutorOptions& options);

  /// For tests/gpu/compare_ops, which runs phases one by one.
  const Schedule& schedule(uint32_t entry_point) const { return schedules_[entry_point]; }

  void clearBlock(uint32_t state, int32_t block, int64_t first_token) override;
  Status copyBlock(uint32_t state, int32_t from, int32_t to) override;
  Status readBlock(uint32_t state, int32_t block, std::span<uint8_t> out) override;
  Status writeBlock(uint32_t state, int32_t block, std::span<const uint8_t> from) override;
  Status readSlots(int32_t seq, std::span<uint8_t> out) override;
  Status writeSlots(int32_t seq, std::span<const uint8_t> from) override;
  Status clearSlots(int32_t seq) override;

 private:
  CpuExecutor(const Plan& plan, const ExecutorOptions& options)
      : Executor(plan), options_(options), tile_shares_(options.threads) {}
  void bind(const Weights& weights);
  /// What steps of so many positions rotate by: filled in as texts grow, since all that a long
  /// context may need takes a while.
  void fillRopeTables(int64_t positions);
  Status execute(uint32_t entry_point, const Step& step) override;
  const uint8_t* outputData(uint32_t index) const override;
  void runPhases(int worker);
  /// A worker's part of the wanted logits.
  bool logitsAreFinite(int worker) const;
  /// Runs the step in progress once more and looks at what each phase wrote.
  Status explainNotFinite();
  bool wroteFinite(const BoundPhase& bound) const;
  bool wroteFiniteRows(const schema::Buffer& buffer, const BoundPhase& bound, uint32_t k) const;
  bool wroteFiniteKeys(const schema::Operand& operand, const BoundPhase& bound, uint32_t k) const;
  /// The i32 input of this name that the step in progress is given; null: its entry point has none.
  const int32_t* input(std::string_view name) const;

  const ExecutorOptions options_;
  AnonymousMemory memory_;
  std::unique_ptr<ThreadTeam> team_;
  TileShares tile_shares_;
  std::vector<Schedule> schedules_;  // one per entry point
  std::unique_ptr<StateMemory> states_;
  std::vector<uint8_t*> rope_tables_;
  int64_t rope_positions_ = 0;  // that are filled in
  uint8_t* arena_ = nullptr;
  uint8_t* scratch_ = nullptr;
  uint64_t scratch_stride_ = 0;

  // The step in progress.
  std::atomic<uint64_t> failure_{
      0};  // (phase << 32 | status of the kernel) of the first failure seen
  std::atomic<bool> finite_{true};  // the wanted logits
  bool looks_for_not_finite_ = false;
  size_t first_not_finite_ = 0;  // phase; as many as there are: none
};

}  // namespace llmrt
