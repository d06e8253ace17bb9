// What sequences carry from step to step: which blocks and slots of a plan's states are theirs.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "runtime/io/status.h"
#include "runtime/session/kv_blocks.h"
#include "runtime/session/prefix_index.h"

namespace llmrt {

class Executor;
class PrefixStore;
namespace schema {
struct Plan;
}

struct StateCacheOptions {
  int64_t max_batch = 1;
  int64_t max_seq_len = 0;
  int64_t max_rows = 0;   // most rows of a step
  int64_t kv_tokens = 0;  // most tokens of all sequences together; 0: any mix of sequences fits
};

/// Which blocks and slots are whose, and which of them hold tokens that sequences to come may begin
/// with: those that keep() was told of, until their place is wanted. Allocates only when
/// constructed, but for snapshots and share(). The memory is an executor's.
class StateCache {
 public:
  /// Of each state; 0 where it has none.
  static std::vector<int64_t> blocksNeeded(const schema::Plan& plan,
                                           const StateCacheOptions& options);

  StateCache(const schema::Plan& plan, const StateCacheOptions& options);
  StateCache(const StateCache&) = delete;
  StateCache& operator=(const StateCache&) = delete;

  /// Whose memory it is: made for tables() and blocksNeeded(). Before all that follows.
  void setExecutor(Executor* executor) { executor_ = executor; }

  int64_t blocksPerSeq() const { return blocks_per_seq_; }
  bool hasRecurrent() const { return !slots_.empty(); }
  /// Of each state, its block table [max_batch, blocksPerSeq()] or its slots [max_batch].
  std::span<const int32_t* const> tables() const { return tables_; }

  /// Forgets what planRows() has counted.
  void planStep();
  /// Whether there are blocks for a sequence of `now` tokens to have `tokens` beside what was
  /// planned since planStep(); then they count as planned too.
  bool planRows(int32_t seq, int64_t now, int64_t tokens);
  /// The same of the blocks that the sequence will hold at once, on its way there in steps of at
  /// most `rows` rows.
  bool planSequence(int32_t seq, int64_t now, int64_t tokens, int64_t rows);

  /// Before rows of a sequence of `now` tokens run: room for its tokens up to `tokens`, in blocks
  /// that are its own to write; zero slots before its first. Out of memory, and nothing changed,
  /// where no block is free.
  Status begin(int32_t seq, int64_t now, int64_t tokens);
  /// After a step that has succeeded: gives back the blocks that a sequence of `tokens` has passed.
  void pass(int32_t seq, int64_t tokens);
  /// After a step that has failed: undoes what lies behind a sequence's `tokens` tokens, blocks and
  /// what may have been written (an infinity, say) in the last of those that stay. Slots cannot go
  /// back.
  void undo(int32_t seq, int64_t tokens);
  /// Takes a sequence back to its first `tokens` tokens. Slots cannot go back.
  void truncate(int32_t seq, int64_t tokens);
  /// Whether a sequence that has `now` tokens could go on behind its first `tokens`.
  bool holds(int32_t seq, int64_t tokens, int64_t now) const;
  /// The same, but for slots, which a snapshot may bring back.
  bool holdsKeys(int32_t seq, int64_t tokens) const;
  void reset(int32_t seq);

  struct Shared {
    int64_t tokens = 0;  // of a text's first ones, those that a sequence has been given
    int64_t known = 0;   // those that some sequence has had: not fewer
  };
  /// Gives a sequence without tokens as many of a text's first ones as the cache still holds, at
  /// most `most`: blocks of others, and a snapshot's slots. It copies a block when it appends to
  /// what others want.
  Result<Shared> share(int32_t seq, std::span<const int32_t> text, int64_t most);
  /// What a sequence has are these tokens: whole blocks can be shared from now on, and stay there
  /// after it has gone.
  void keep(int32_t seq, std::span<const int32_t> tokens) { index_.add(seq, tokens); }
  /// The same with the last, unfilled block, and a snapshot of its slots as they are now, where one
  /// pays.
  Status keepAll(int32_t seq, std::span<const int32_t> tokens);
  /// Whether a snapshot behind so many tokens would be kept: it takes no more bytes than they do.
  bool snapshotPays(int64_t tokens) const {
    return hasRecurrent() && static_cast<double>(slots_bytes_) <= kvBytes(tokens);
  }
  /// What is kept is stored there too, and comes back from there. Before all that follows; outlives
  /// it.
  void setStore(PrefixStore* store);
  /// Hands over to the store what it has room for. Whether more is left.
  bool store();
  /// Forgets what was kept.
  void forgetKept() { index_.clear(); }
  /// Of all states, blocks that sequences hold or that are kept.
  int64_t numUsedBlocks() const;
  const PrefixIndex& index() const { return index_; }

  /// The slots of one sequence, all states and layers one after another.
  uint64_t slotsBytes() const { return slots_bytes_; }
  Status readSlots(int32_t seq, std::span<uint8_t> out) const;
  Status writeSlots(int32_t seq, std::span<const uint8_t> from);

 private:
  template <typename Missing>
  bool plan(Missing&& missing);
  /// Of the blocks that a sequence would go on in, those that only the index wants besides: the
  /// index gives them up. Whether there were any.
  bool giveUpClaims(int32_t seq, int64_t now);
  /// Whether all that a row at pos `tokens` reads is there.
  bool isThere(const PrefixIndex::Match& match, int64_t tokens) const;
  /// Of a sequence's keys and values.
  double kvBytes(int64_t tokens) const;
  struct Place {
    int64_t tokens = 0;
    const PrefixIndex::Snapshot* snapshot = nullptr;  // where there are recurrent states
  };
  /// The longest beginning of a match of which all is there; the nodes of the match become those
  /// that have it.
  Place findPlace(PrefixIndex::Match& match, int64_t most);
  size_t mostOnPath(int64_t tokens) const;
  /// A beginning that the store has.
  struct Stored {
    int64_t tokens = 0;
    std::vector<uint64_t> hashes;  // of its blocks
  };
  /// The longest that has more than `have` tokens, and at most `text`.
  Stored findStored(std::span<const int32_t> text, int64_t have) const;
  /// Brings it back, as far as there is room, for a sequence that has no tokens yet.
  void load(int32_t seq, std::span<const int32_t> text, const Stored& stored);
  /// The node of one more block of it. kNone: it is not there.
  int32_t loadBlock(int32_t seq, int32_t parent, std::span<const int32_t> text,
                    std::span<const int32_t> block, uint64_t hash, int64_t all_tokens,
                    std::vector<std::pair<size_t, int32_t>>& pinned);
  void storeBlocks(int32_t node, std::span<const int32_t> text, uint64_t hash, uint64_t before);

  int64_t blocks_per_seq_;
  std::vector<std::optional<KvBlocks>> blocks_;  // of each state that has them
  std::vector<double> block_bytes_;              // of each state, all layers
  std::vector<int32_t> slots_;  // [max_batch] of every recurrent state; a sequence's is its own
  std::vector<const int32_t*> tables_;
  std::vector<int64_t> planned_;  // blocks of each state
  std::vector<uint8_t> is_used_;  // per sequence: slots may not be zero
  uint64_t slots_bytes_ = 0;
  size_t most_snapshots_ = 0;
  Executor* executor_ = nullptr;
  PrefixStore* store_ = nullptr;
  PrefixIndex index_;  // of blocks_
};

}  // namespace llmrt
