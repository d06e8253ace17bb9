// The memory of a plan's states on CPUs: pools of blocks and slots.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "runtime/executor/kv_pool.h"
#include "runtime/executor/operand_address.h"

namespace llmrt {

/// Knows neither sequences' lengths nor which blocks they hold.
class StateMemory {
 public:
  struct Bytes {
    double kv = 0, recurrent = 0;  // kept rows too; as doubles, since hostile plans have any
  };
  /// `num_blocks`: of each state; not looked at where a state has none.
  static Bytes bytesNeeded(const schema::Plan& plan, int64_t max_batch,
                           std::span<const int64_t> num_blocks);

  /// Takes bytesNeeded() of zeroes from `next` on, which it moves behind them.
  StateMemory(const schema::Plan& plan, int64_t max_batch, std::span<const int64_t> num_blocks,
              uint8_t*& next);

  /// `tables`: of each state, its block table or its sequences' slots.
  std::vector<StatePlace<uint8_t*>> places(std::span<const int32_t* const> tables) const;
  /// Of a state of keys and values.
  const KvPool& kvPool(uint32_t state) const { return *states_[state].kv; }

  /// The slots of sequence `seq`, of all recurrent states and layers, one after another.
  void readSlots(int32_t seq, std::span<uint8_t> out) const;
  void writeSlots(int32_t seq, std::span<const uint8_t> from);
  void clearSlots(int32_t seq);

 private:
  struct State {
    std::optional<KvPool> kv;
    std::optional<SlotPool> slots;  // or kept rows
    bool is_kept = false;
  };
  /// body(slot, bytes) of each slot of a sequence.
  template <typename Body>
  void forSlots(int32_t seq, Body&& body) const;

  std::vector<State> states_;
};

}  // namespace llmrt
