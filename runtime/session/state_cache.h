// What sequences carry from step to step: which blocks and slots of a plan's states are theirs.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "runtime/io/status.h"
#include "runtime/session/kv_blocks.h"

namespace llmrt {

class Executor;
namespace schema {
struct Plan;
}

struct StateCacheOptions {
  int64_t max_batch = 1;
  int64_t max_seq_len = 0;
  int64_t max_rows = 0;   // most rows of a step
  int64_t kv_tokens = 0;  // most tokens of all sequences together; 0: any mix of sequences fits
};

/// Knows of sequences how many tokens they have, and nothing of what those are. Allocates only when
/// constructed, but for snapshots. The memory is an executor's.
class StateCache {
 public:
  /// Of each state; 0 where it has none.
  static std::vector<int64_t> blocksNeeded(const schema::Plan& plan,
                                           const StateCacheOptions& options);

  StateCache(const schema::Plan& plan, const StateCacheOptions& options);

  /// Whose memory it is: made for tables() and blocksNeeded(). Before all that follows.
  void setExecutor(Executor* executor) { executor_ = executor; }

  int64_t blocksPerSeq() const { return blocks_per_seq_; }
  bool hasRecurrent() const { return !slots_.empty(); }
  /// Of each state, its block table [max_batch, blocksPerSeq()] or its slots [max_batch].
  std::span<const int32_t* const> tables() const { return tables_; }

  /// Forgets what planRows() has counted.
  void planStep();
  /// Whether there are blocks for a sequence's tokens up to `tokens` beside what was planned since
  /// planStep(); then they count as planned too.
  bool planRows(int32_t seq, int64_t tokens);
  /// The same of the blocks that the sequence will hold at once, on its way there in steps of at
  /// most `rows` rows.
  bool planSequence(int32_t seq, int64_t tokens, int64_t rows);

  /// Before rows of a sequence of `now` tokens run: room for its tokens up to `tokens`; zero slots
  /// before its first. Out of memory, and nothing changed, where no block is free.
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
  template <typename Missing>
  bool plan(Missing&& missing);

  int64_t blocks_per_seq_;
  std::vector<std::optional<KvBlocks>> blocks_;  // of each state that has them
  std::vector<int32_t> slots_;  // [max_batch] of every recurrent state; a sequence's is its own
  std::vector<const int32_t*> tables_;
  std::vector<int64_t> planned_;  // blocks of each state
  std::vector<uint8_t> is_used_;  // per sequence: slots may not be zero
  uint64_t slots_bytes_ = 0;
  Executor* executor_ = nullptr;
};

}  // namespace llmrt
