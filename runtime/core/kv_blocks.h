// Block tables of the KV cache: which blocks of the pools hold which tokens of which sequence.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/abi/kernel_abi.h"

namespace llmrt {

/// Hands out blocks of LLMC_KV_BLOCK_TOKENS tokens to sequences, for all KV groups alike. There are
/// as many blocks as every sequence at full length needs, so one is always free. Allocates only
/// when constructed.
class KvBlocks {
 public:
  KvBlocks(int64_t max_batch, int64_t max_seq_len);

  int64_t numBlocks() const { return max_batch_ * blocks_per_seq_; }
  int64_t blocksPerSeq() const { return blocks_per_seq_; }
  /// [max_batch, blocks_per_seq]; entries past a sequence's length are 0 and never read.
  const int32_t* tables() const { return tables_.data(); }

  /// Makes room for a sequence's first `tokens` tokens. Calls clear(block) for every block that
  /// held another sequence before, so that nothing of that one (an infinity, say) can reach this
  /// one.
  template <typename Clear>
  void grow(int64_t seq, int64_t tokens, Clear&& clear) {
    const int64_t wanted = (tokens + LLMC_KV_BLOCK_TOKENS - 1) / LLMC_KV_BLOCK_TOKENS;
    int64_t& held = held_[static_cast<size_t>(seq)];
    for (; held < wanted; ++held) {
      const int32_t block = free_.back();
      free_.pop_back();
      if (used_before_[static_cast<size_t>(block)]) clear(block);
      used_before_[static_cast<size_t>(block)] = 1;
      tables_[static_cast<size_t>(seq * blocks_per_seq_ + held)] = block;
    }
  }

  /// Gives back the blocks of a sequence that its first `tokens` tokens do not need.
  void shrink(int64_t seq, int64_t tokens);

 private:
  int64_t max_batch_, blocks_per_seq_;
  std::vector<int32_t> tables_;
  std::vector<int32_t> free_;  // a stack; lowest numbers on top at first
  std::vector<int64_t> held_;  // per sequence
  std::vector<uint8_t> used_before_;
};

}  // namespace llmrt
