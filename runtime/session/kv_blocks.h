// The block table of one state: which blocks of its pools hold which tokens of which sequence.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/abi/kernel_abi.h"
#include "runtime/io/status.h"

namespace llmrt {

/// Hands out blocks of LLMC_KV_BLOCK_TOKENS tokens to sequences, several of which may hold one
/// block. With a window (0: none), a row at `pos` reads no block that lies wholly before
/// pos - window + 1, and sequences give those back that they have passed.
///
/// A cache may lay claim to the first tokens of a block, for sequences to come. A block that has no
/// other use is then idle: it keeps its tokens until it is wanted, the longest idle first.
///
/// Of a block at most one sequence is the writer, and what others hold of it, or a cache claims,
/// are tokens that the writer has behind it. So a writer appends in place. A sequence that was
/// given a part of another's block, or went back into a block that others hold, is none: it must
/// own() the block before it appends. Allocates only when constructed.
class KvBlocks {
 public:
  /// `num_blocks`: fewer than blocksNeeded() are not enough for every mix of sequences, and a
  /// caller asks missing() first.
  KvBlocks(int64_t max_batch, int64_t max_seq_len, int64_t window, int64_t num_blocks);

  /// Blocks that max_batch sequences need at most. `max_rows`: most rows of a step, of all
  /// sequences together.
  static int64_t blocksNeeded(int64_t max_batch, int64_t max_seq_len, int64_t window,
                              int64_t max_rows);

  int64_t numBlocks() const { return static_cast<int64_t>(blocks_.size()); }
  /// Those that nobody wants.
  int64_t numFree() const { return static_cast<int64_t>(free_.size()); }
  /// Those that sequences can have: free and idle ones.
  int64_t numObtainable() const { return numFree() + num_idle_; }
  int64_t blocksPerSeq() const { return blocks_per_seq_; }
  bool hasWindow() const { return window_ != 0; }
  /// [max_batch, blocks_per_seq]; entries of blocks that a sequence does not hold are 0 and never
  /// read.
  const int32_t* tables() const { return tables_.data(); }
  int32_t block(int64_t seq, int64_t pos) const {
    return tables_[entry(seq, pos / LLMC_KV_BLOCK_TOKENS)];
  }
  /// The i-th block of a sequence's tokens; -1: it does not hold it.
  int32_t heldBlock(int64_t seq, int64_t i) const {
    const Held& held = held_[static_cast<size_t>(seq)];
    return i >= held.begin && i < held.end ? tables_[entry(seq, i)] : -1;
  }

  /// Blocks that own() and grow() would take for a sequence that has `now` tokens to have `tokens`.
  int64_t missing(int64_t seq, int64_t now, int64_t tokens) const {
    return (tokens > now && mustCopy(seq, now)) + missingTo(seq, tokens);
  }
  /// Those of them that it will hold at once, on its way there in steps of at most `rows` rows.
  int64_t missingAtOnce(int64_t seq, int64_t now, int64_t tokens, int64_t rows) const;

  /// Whether what the last block of a sequence holds behind its `now` tokens is another's, so that
  /// own() comes before it appends.
  bool isForeign(int64_t seq, int64_t now) const {
    return now % LLMC_KV_BLOCK_TOKENS != 0 && held_[static_cast<size_t>(seq)].is_foreign;
  }
  /// Whether others want what lies there, so that own() takes a block.
  bool mustCopy(int64_t seq, int64_t now) const {
    return isForeign(seq, now) && isWanted(block(seq, now), now % LLMC_KV_BLOCK_TOKENS);
  }
  /// Whether of those others a cache is the only one.
  bool isClaimedAlone(int64_t seq, int64_t now) const {
    return mustCopy(seq, now) && at(block(seq, now)).holders == 1;
  }

  /// Makes a sequence the writer of its last block, if it is not. Where others want the block it
  /// takes one, which obtainable ones must leave, and copy(from, to) fills it in; a status that is
  /// not ok ends it, with nothing changed. Then clear(block, first) is called for tokens
  /// [first, LLMC_KV_BLOCK_TOKENS) of a block, which are other ones'. evict(block) as in grow().
  template <typename Evict, typename Copy, typename Clear>
  Status own(int64_t seq, int64_t now, Evict&& evict, Copy&& copy, Clear&& clear) {
    if (!isForeign(seq, now)) return {};
    int32_t& last = tables_[entry(seq, now / LLMC_KV_BLOCK_TOKENS)];
    if (mustCopy(seq, now)) {
      int32_t to = take(evict);
      at(to).was_used = true;
      if (Status s = copy(last, to); !s.ok()) {
        giveBack(to);
        return s;
      }
      giveBack(last);
      last = to;
    }
    held_[static_cast<size_t>(seq)].is_foreign = false;
    clear(last, now % LLMC_KV_BLOCK_TOKENS);
    return {};
  }

  /// Makes room for a sequence's tokens up to `tokens`; missing() blocks are obtainable. Calls
  /// evict(block) for an idle block, to which the cache must then give up its claim, and
  /// clear(block) for every block that held other tokens before, so that nothing of those (an
  /// infinity, say) can reach these.
  template <typename Evict, typename Clear>
  void grow(int64_t seq, int64_t tokens, Evict&& evict, Clear&& clear) {
    const int64_t wanted = (tokens + LLMC_KV_BLOCK_TOKENS - 1) / LLMC_KV_BLOCK_TOKENS;
    for (int64_t& end = held_[static_cast<size_t>(seq)].end; end < wanted; ++end) {
      const int32_t block = take(evict);
      if (at(block).was_used) clear(block);
      at(block).was_used = true;
      tables_[entry(seq, end)] = block;
    }
  }

  /// Gives a sequence that holds nothing its first `tokens` tokens, in blocks that are claimed or
  /// held: blockOf(i), for i from firstRead(tokens) on.
  template <typename BlockOf>
  void share(int64_t seq, int64_t tokens, BlockOf&& blockOf) {
    Held& held = held_[static_cast<size_t>(seq)];
    held.begin = firstRead(tokens);
    held.end = (tokens + LLMC_KV_BLOCK_TOKENS - 1) / LLMC_KV_BLOCK_TOKENS;
    held.is_foreign = tokens % LLMC_KV_BLOCK_TOKENS != 0;
    for (int64_t i = held.begin; i < held.end; ++i) hold(tables_[entry(seq, i)] = blockOf(i));
  }
  /// The first block that a row at `pos` reads.
  int64_t firstRead(int64_t pos) const;

  /// Undoes what lies behind a sequence's `tokens` tokens, of which it had no fewer: gives back the
  /// blocks there. Whether the rest of its last block is its own to clear.
  bool undo(int64_t seq, int64_t tokens);
  /// Gives back the blocks behind a sequence's first `tokens` tokens; of 0 tokens all. Whether the
  /// rest of its last block is its own to clear: others may hold it by now.
  bool shrink(int64_t seq, int64_t tokens);

  /// Gives back the blocks that a sequence of `tokens` tokens has passed: all but the one next to
  /// the window, so that a few tokens can still be taken back.
  void pass(int64_t seq, int64_t tokens);

  /// Whether the sequence has all that a row at pos `tokens` reads.
  bool holds(int64_t seq, int64_t tokens) const;

  /// A block that nobody has, held for as long as a cache fills it in; one is obtainable. evict()
  /// as in grow().
  template <typename Evict>
  int32_t takeForCache(Evict&& evict) {
    const int32_t block = take(evict);
    at(block).was_used = true;
    return block;
  }
  /// Holds a block that is held or claimed, so that it stays.
  void pin(int32_t block) { hold(block); }
  /// Ends pin() and takeForCache().
  void unpin(int32_t block) { giveBack(block); }

  /// A cache claims the first `tokens` tokens (0: none any more) of a block that is held or
  /// claimed.
  void claim(int32_t block, int64_t tokens);

 private:
  struct Block {
    int32_t holders = 0;               // sequences
    int32_t earlier = -1, later = -1;  // idle blocks, by when they became so
    int8_t claimed = 0;                // tokens
    bool was_used = false;
  };
  struct Held {
    int64_t begin = 0, end = 0;  // blocks of the sequence
    bool is_foreign = false;     // it is not the writer of the last, which it fills in part
  };
  Block& at(int32_t block) { return blocks_[static_cast<size_t>(block)]; }
  const Block& at(int32_t block) const { return blocks_[static_cast<size_t>(block)]; }
  size_t entry(int64_t seq, int64_t block) const {
    return static_cast<size_t>(seq * blocks_per_seq_ + block);
  }
  int64_t missingTo(int64_t seq, int64_t tokens) const {
    const int64_t wanted = (tokens + LLMC_KV_BLOCK_TOKENS - 1) / LLMC_KV_BLOCK_TOKENS;
    const int64_t end = held_[static_cast<size_t>(seq)].end;
    return wanted > end ? wanted - end : 0;
  }
  /// Whether anybody but one of its holders wants tokens of a block from `first` on.
  bool isWanted(int32_t block, int64_t first) const {
    return at(block).holders > 1 || at(block).claimed > first;
  }
  /// A block that nobody has, for one sequence.
  template <typename Evict>
  int32_t take(Evict&& evict) {
    if (free_.empty()) evict(longest_idle_);
    const int32_t block = free_.back();
    free_.pop_back();
    at(block).holders = 1;
    return block;
  }
  void hold(int32_t block);
  void giveBack(int32_t& block);
  void setIdle(int32_t block);
  void unsetIdle(int32_t block);

  int64_t window_, blocks_per_seq_;
  std::vector<int32_t> tables_;
  std::vector<Held> held_;  // per sequence
  std::vector<Block> blocks_;
  std::vector<int32_t> free_;  // a stack; lowest numbers on top at first
  int32_t longest_idle_ = -1, last_idle_ = -1;
  int64_t num_idle_ = 0;
};

}  // namespace llmrt
