// The walk of a team of threads over the phases of a step, and whether it ended well.
#include <fmt/format.h>

#include <chrono>

#include "runtime/executor/cpu_executor.h"
#include "runtime/executor/finite_check.h"
#include "runtime/executor/profile.h"
#include "runtime/io/printable.h"
#include "runtime/schema/plan_generated.h"

namespace llmrt {

Status CpuExecutor::execute(uint32_t entry_point, const Step& step) {
  fillRopeTables(step.kv_len);
  failure_.store(0, std::memory_order_relaxed);
  finite_.store(true, std::memory_order_relaxed);
  team_->run([](void* self, int worker) { static_cast<CpuExecutor*>(self)->runPhases(worker); },
             this);
  if (const uint64_t failure = failure_.load(std::memory_order_relaxed)) {
    const BoundPhase& bound = schedules_[entry_point].phases()[failure >> 32];
    const schema::Phase& phase =
        *entry().sections()->Get(bound.section)->phases()->Get(bound.phase);
    const schema::Kernel& kernel = *plan_.schema().kernels()->Get(phase.kernel());
    return internalError(fmt::format("{}: kernel {} of layer {} returned {}", plan_.path(),
                                     quotedName(kernel.symbol()->string_view()), bound.layer,
                                     static_cast<int32_t>(failure)));
  }
  return finite_.load(std::memory_order_relaxed) ? Status() : explainNotFinite();
}

void CpuExecutor::runPhases(int worker) {
  using Clock = std::chrono::steady_clock;
  const std::vector<BoundPhase>& phases = schedules_[running()].phases();
  void* const scratch = scratch_ + static_cast<uint64_t>(worker) * scratch_stride_;
  const bool timed = options_.profile && worker == 0;
  Clock::time_point start;
  if (timed) start = Clock::now();
  for (size_t i = 0; i < phases.size(); ++i) {
    const BoundPhase& phase = phases[i];
    const int64_t tiles = phase.numTiles(counts());
    if (tiles == 0) continue;  // for every thread alike
    tile_shares_.forEach(
        tiles, phase.leastTiles(counts()), worker, [&](int64_t begin, int64_t end) {
          if (failure_.load(std::memory_order_relaxed) != 0) return;
          const int32_t status = phase.kernel(&counts(), phase.operands, begin, end, scratch);
          if (status != 0) {
            uint64_t none = 0;
            failure_.compare_exchange_strong(none,
                                             uint64_t{i} << 32 | static_cast<uint32_t>(status));
          }
        });
    // The next phase reads what other threads wrote in this one.
    team_->barrier();
    if (looks_for_not_finite_) {
      if (worker == 0 && i < first_not_finite_ && !wroteFinite(phase)) first_not_finite_ = i;
      team_->barrier();  // the next phase may write over what is looked at
    }
    if (timed) {
      const Clock::time_point now = Clock::now();
      options_.profile->addTime(running(), i, now - start);
      start = now;
    }
  }
  if (!looks_for_not_finite_ && !logitsAreFinite(worker))
    finite_.store(false, std::memory_order_relaxed);
}

bool CpuExecutor::logitsAreFinite(int worker) const {
  const int64_t begin = plan_.vocabSize() * worker / team_->size(),
                end = plan_.vocabSize() * (worker + 1) / team_->size();
  for (int64_t row = 0; row < logitsRows(); ++row) {
    if (!allFinite(
            logitsRow(row).subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin))))
      return false;
  }
  return true;
}

}  // namespace llmrt
