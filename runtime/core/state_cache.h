// What sequences carry from step to step: the blocks and slots of a plan's states.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "runtime/core/kv_blocks.h"
#include "runtime/core/kv_pool.h"
#include "runtime/io/status.h"

namespace llmrt {

class DeviceSession;
template <typename Address>
struct StatePlace;
namespace schema {
struct Plan;
}

struct StateCacheOptions {
  int64_t max_batch = 1;
  int64_t max_seq_len = 0;
  int64_t max_rows = 0;  // most rows of a step
};

/// Knows of sequences how many tokens they have, and nothing of what those are. Allocates only when
/// constructed, but for snapshots. Its memory is a device's where there is one, else it is given to
/// place().
class StateCache {
 public:
  struct Bytes {
    double kv = 0, recurrent = 0;  // kept rows too; as doubles, since hostile plans have any
    double blocks = 0;             // the most of one state
  };
  /// Memory on CPUs.
  static Bytes bytesNeeded(const schema::Plan& plan, const StateCacheOptions& options);

  StateCache(const schema::Plan& plan, const StateCacheOptions& options);

  /// Takes bytesNeeded() of zeroes from `next` on, which it moves behind them.
  void place(uint8_t*& next);
  /// Slots lie on this device.
  void setDevice(DeviceSession* device) { device_ = device; }
  std::vector<StatePlace<uint8_t*>> places() const;

  int64_t blocksPerSeq() const { return blocks_per_seq_; }
  std::vector<int64_t> numBlocks() const;  // of each state; 0 of others than keys and values
  bool hasRecurrent() const { return !slots_.empty(); }
  /// Of each state, its block table [max_batch, blocksPerSeq()] or its slots [max_batch].
  std::span<const int32_t* const> tables() const { return tables_; }
  const KvPool& kvPool(uint32_t state) const { return *states_[state].kv; }
  int32_t block(uint32_t state, int32_t seq, int64_t pos) const {
    return states_[state].blocks->block(seq, pos);
  }

  /// Before rows of a sequence of `now` tokens run: room for its tokens up to `tokens`; zero slots
  /// before its first.
  Status begin(int32_t seq, int64_t now, int64_t tokens);
  /// After a step that has succeeded: gives back the blocks that a sequence of `tokens` has passed.
  void pass(int32_t seq, int64_t tokens);
  /// Undoes what lies behind a sequence's first `tokens` tokens: blocks, and what may have been
  /// written (an infinity, say) behind the tokens that stay. Slots cannot go back.
  void drop(int32_t seq, int64_t tokens);
  /// Whether a sequence that has `now` tokens could go on behind its first `tokens`.
  bool holds(int32_t seq, int64_t tokens, int64_t now) const;
  /// The same, but for slots, which a snapshot may bring back.
  bool holdsKeys(int32_t seq, int64_t tokens) const;
  void reset(int32_t seq);

  /// The slots of one sequence, all states and layers one after another.
  uint64_t slotsBytes() const { return slots_bytes_; }
  Status readSlots(int32_t seq, std::span<uint8_t> out) const;
  Status writeSlots(int32_t seq, std::span<const uint8_t> from);

 private:
  struct State {
    std::optional<KvPool> kv;
    std::optional<KvBlocks> blocks;
    std::optional<SlotPool> recurrent;
    std::optional<SlotPool> kept;

    SlotPool* slots() { return recurrent ? &*recurrent : kept ? &*kept : nullptr; }
    const SlotPool* slots() const { return const_cast<State*>(this)->slots(); }
  };
  Status clearSlots(int32_t seq);
  /// body(slot, bytes) of each slot of a sequence.
  template <typename Body>
  void forSlots(int32_t seq, Body&& body) const;

  int64_t blocks_per_seq_;
  std::vector<State> states_;
  std::vector<int32_t> slots_;  // [max_batch] of every recurrent state; a sequence's is its own
  std::vector<const int32_t*> tables_;
  std::vector<uint8_t> is_used_;  // per sequence: slots may not be zero
  uint64_t slots_bytes_ = 0;
  DeviceSession* device_ = nullptr;
};

}  // namespace llmrt
