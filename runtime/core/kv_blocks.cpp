#include "runtime/core/kv_blocks.h"

namespace llmrt {

KvBlocks::KvBlocks(int64_t max_batch, int64_t max_seq_len)
    : max_batch_(max_batch),
      blocks_per_seq_((max_seq_len + LLMC_KV_BLOCK_TOKENS - 1) / LLMC_KV_BLOCK_TOKENS),
      tables_(static_cast<size_t>(max_batch * blocks_per_seq_)),
      held_(static_cast<size_t>(max_batch)),
      used_before_(tables_.size()) {
  free_.reserve(tables_.size());
  for (int64_t block = numBlocks() - 1; block >= 0; --block) {
    free_.push_back(static_cast<int32_t>(block));
  }
}

void KvBlocks::shrink(int64_t seq, int64_t tokens) {
  const int64_t wanted = (tokens + LLMC_KV_BLOCK_TOKENS - 1) / LLMC_KV_BLOCK_TOKENS;
  int64_t& held = held_[static_cast<size_t>(seq)];
  for (; held > wanted; --held) {
    int32_t& entry = tables_[static_cast<size_t>(seq * blocks_per_seq_ + held - 1)];
    free_.push_back(entry);
    entry = 0;
  }
}

}  // namespace llmrt
