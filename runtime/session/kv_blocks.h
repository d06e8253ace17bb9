// The block table of one state: which blocks of its pools hold which tokens of which sequence.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/abi/kernel_abi.h"

namespace llmrt {

/// Hands out blocks of LLMC_KV_BLOCK_TOKENS tokens to sequences. With a window (0: none), a row at
/// `pos` reads no block that lies wholly before pos - window + 1, and sequences give those back
/// that they have passed. Allocates only when constructed.
class KvBlocks {
 public:
  /// `num_blocks`: fewer than blocksNeeded() are not enough for every mix of sequences, and a
  /// caller asks missing() first.
  KvBlocks(int64_t max_batch, int64_t max_seq_len, int64_t window, int64_t num_blocks);

  /// Blocks that max_batch sequences need at most. `max_rows`: most rows of a step, of all
  /// sequences together.
  static int64_t blocksNeeded(int64_t max_batch, int64_t max_seq_len, int64_t window,
                              int64_t max_rows);

  int64_t numBlocks() const { return static_cast<int64_t>(used_before_.size()); }
  int64_t numFree() const { return static_cast<int64_t>(free_.size()); }
  int64_t blocksPerSeq() const { return blocks_per_seq_; }
  /// [max_batch, blocks_per_seq]; entries of blocks that a sequence does not hold are 0 and never
  /// read.
  const int32_t* tables() const { return tables_.data(); }
  int32_t block(int64_t seq, int64_t pos) const {
    return tables_[entry(seq, pos / LLMC_KV_BLOCK_TOKENS)];
  }

  /// Blocks that grow() would take for a sequence of `tokens` tokens.
  int64_t missing(int64_t seq, int64_t tokens) const {
    const int64_t wanted = (tokens + LLMC_KV_BLOCK_TOKENS - 1) / LLMC_KV_BLOCK_TOKENS;
    return wanted > held_[static_cast<size_t>(seq)].end
               ? wanted - held_[static_cast<size_t>(seq)].end
               : 0;
  }

  /// Those of them that it will hold at once, on its way there in steps of at most `rows` rows.
  int64_t missingAtOnce(int64_t seq, int64_t tokens, int64_t rows) const;

  /// Makes room for a sequence's tokens up to `tokens`; missing() blocks are free. Calls
  /// clear(block) for every block that held other tokens before, so that nothing of those (an
  /// infinity, say) can reach these.
  template <typename Clear>
  void grow(int64_t seq, int64_t tokens, Clear&& clear) {
    const int64_t wanted = (tokens + LLMC_KV_BLOCK_TOKENS - 1) / LLMC_KV_BLOCK_TOKENS;
    int64_t& end = held_[static_cast<size_t>(seq)].end;
    for (; end < wanted; ++end) {
      const int32_t block = free_.back();
      free_.pop_back();
      if (used_before_[static_cast<size_t>(block)]) clear(block);
      used_before_[static_cast<size_t>(block)] = 1;
      tables_[entry(seq, end)] = block;
    }
  }

  /// Gives back the blocks behind a sequence's first `tokens` tokens; of 0 tokens all.
  void shrink(int64_t seq, int64_t tokens);

  /// Gives back the blocks that a sequence of `tokens` tokens has passed: all but the one next to
  /// the window, so that a few tokens can still be taken back.
  void pass(int64_t seq, int64_t tokens);

  /// Whether the sequence has all that a row at pos `tokens` reads.
  bool holds(int64_t seq, int64_t tokens) const;

 private:
  struct Held {
    int64_t begin = 0, end = 0;  // blocks of the sequence
  };
  size_t entry(int64_t seq, int64_t block) const {
    return static_cast<size_t>(seq * blocks_per_seq_ + block);
  }
  /// The first block that a row at `pos` reads.
  int64_t firstRead(int64_t pos) const;
  void giveBack(int32_t& block);

  int64_t window_, blocks_per_seq_;
  std::vector<int32_t> tables_;
  std::vector<int32_t> free_;  // a stack; lowest numbers on top at first
  std::vector<Held> held_;     // per sequence
  std::vector<uint8_t> used_before_;
};

}  // namespace llmrt
