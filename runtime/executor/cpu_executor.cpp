#include "runtime/executor/cpu_executor.h"

#include <fmt/format.h>

#include <utility>

#include "runtime/executor/input_layout.h"
#include "runtime/executor/rope_table.h"
#include "runtime/schema/plan_generated.h"

namespace llmrt {
namespace {

uint64_t arenaBytes(const schema::Plan& plan) {
  uint64_t bytes = 0;  // steps follow one another: entry points share one arena
  for (const schema::EntryPoint* e : *plan.entry_points())
    bytes = std::max(bytes, e->arena_bytes());
  return alignUp(bytes);
}

}  // namespace

Result<ExecutorMemory> CpuExecutor::memory(const schema::Plan& p, uint64_t scratch_bytes,
                                           const ExecutorOptions& o) {
  // Verified sizes are far from 64 bits, but not so their products for many sequences: sum in
  // double and refuse early.
  constexpr double kMost = 0x1p50;
  for (const int64_t blocks : o.num_blocks) {
    if (blocks > INT32_MAX) {
      return invalidArgument(
          "max_batch times max_seq_len needs more KV blocks than a block table can number");
    }
  }
  const StateMemory::Bytes states = StateMemory::bytesNeeded(p, o.max_batch, o.num_blocks);
  double rope = 0;
  for (uint32_t i = 0; p.rope_tables() && i < p.rope_tables()->size(); ++i)
    rope += static_cast<double>(alignUp(ropeTableBytes(*p.rope_tables()->Get(i), o.max_seq_len)));
  if (const double total = states.kv + states.recurrent + rope; total > kMost) {
    return outOfMemory(fmt::format("out of memory: the KV cache needs {:.0f} GiB", total / 0x1p30));
  }
  ExecutorMemory memory;
  memory.activation_bytes =
      arenaBytes(p) + static_cast<uint64_t>(o.threads) * alignUp(scratch_bytes);
  memory.kv_bytes = static_cast<uint64_t>(states.kv);
  memory.recurrent_bytes = static_cast<uint64_t>(states.recurrent);
  memory.rope_bytes = static_cast<uint64_t>(rope);
  return memory;
}

Result<std::unique_ptr<Executor>> CpuExecutor::create(const Plan& plan, const Weights& weights,
                                                      const ExecutorOptions& options) {
  LLMRT_ASSIGN_OR_RETURN(const ExecutorMemory bytes,
                         memory(plan.schema(), plan.target().scratch_bytes(), options));
  std::unique_ptr<CpuExecutor> executor(new CpuExecutor(plan, options));
  LLMRT_ASSIGN_OR_RETURN(
      executor->memory_,
      AnonymousMemory::allocate(bytes.total(),
                                fmt::format("{} tokens of context (`max_seq_len` lowers it)",
                                            options.max_batch * options.max_seq_len)));
  LLMRT_ASSIGN_OR_RETURN(executor->team_, ThreadTeam::create(options.threads));
  executor->bind(weights);
  return std::unique_ptr<Executor>(std::move(executor));
}

void CpuExecutor::bind(const Weights& weights) {
  const schema::Plan& p = plan_.schema();
  uint8_t* next = memory_.data();
  const auto take = [&next](uint64_t bytes) { return std::exchange(next, next + bytes); };
  OperandPlaces<uint8_t*> places;
  for (uint32_t e = 0; e < p.entry_points()->size(); ++e) {
    places.inputs.emplace_back();
    // Kernels take all operands as void*; the plan's verifier has seen that inputs are only read.
    auto* const inputs = const_cast<uint8_t*>(options_.inputs[e]);
    for (const uint64_t offset : InputLayout(*p.entry_points()->Get(e), options_.max_batch).offsets)
      places.inputs.back().push_back(inputs + offset);
  }
  places.arena = arena_ = take(arenaBytes(p));
  scratch_stride_ = alignUp(plan_.target().scratch_bytes());
  scratch_ = take(scratch_stride_ * static_cast<uint64_t>(options_.threads));
  for (uint32_t i = 0; p.rope_tables() && i < p.rope_tables()->size(); ++i) {
    uint8_t* const table =
        take(alignUp(ropeTableBytes(*p.rope_tables()->Get(i), options_.max_seq_len)));
    places.rope.push_back(table);
  }
  rope_tables_ = places.rope;
  fillRopeTables(options_.rope_positions);
  states_ = std::make_unique<StateMemory>(p, options_.max_batch, options_.num_blocks, next);
  places.states = states_->places(options_.tables);
  for (uint32_t e = 0; e < p.entry_points()->size(); ++e)
    schedules_.emplace_back(plan_, e, places, weights);
}

void CpuExecutor::fillRopeTables(int64_t positions) {
  constexpr int64_t kAtOnce = 256;  // less than a millisecond
  if (positions <= rope_positions_) return;
  const int64_t end = std::min((positions + kAtOnce - 1) / kAtOnce * kAtOnce, options_.max_seq_len);
  for (uint32_t i = 0; i < rope_tables_.size(); ++i)
    fillRopeTable(plan_.schema(), i, options_.max_seq_len, rope_positions_, end,
                  reinterpret_cast<float*>(rope_tables_[i]));
  rope_positions_ = end;
}

const uint8_t* CpuExecutor::outputData(uint32_t index) const {
  return arena_ + entry().buffers()->Get(entry().outputs()->Get(index)->buffer())->offset_bytes();
}

void CpuExecutor::clearBlock(uint32_t state, int32_t block, int64_t first_token) {
  states_->kvPool(state).clear(static_cast<uint64_t>(block), static_cast<uint64_t>(first_token));
}

Status CpuExecutor::copyBlock(uint32_t state, int32_t from, int32_t to) {
  states_->kvPool(state).copy(static_cast<uint64_t>(from), static_cast<uint64_t>(to));
  return {};
}

Status CpuExecutor::readBlock(uint32_t state, int32_t block, std::span<uint8_t> out) {
  states_->kvPool(state).read(static_cast<uint64_t>(block), out);
  return {};
}

Status CpuExecutor::writeBlock(uint32_t state, int32_t block, std::span<const uint8_t> from) {
  states_->kvPool(state).write(static_cast<uint64_t>(block), from);
  return {};
}

Status CpuExecutor::readSlots(int32_t seq, std::span<uint8_t> out) {
  states_->readSlots(seq, out);
  return {};
}

Status CpuExecutor::writeSlots(int32_t seq, std::span<const uint8_t> from) {
  states_->writeSlots(seq, from);
  return {};
}

Status CpuExecutor::clearSlots(int32_t seq) {
  states_->clearSlots(seq);
  return {};
}

}  // namespace llmrt
