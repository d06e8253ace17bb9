// The memory of one KV group of a session on CPUs.
#pragma once

#include <cstdint>

namespace llmrt {

namespace schema {
struct KvGroup;
}

/// The pools of one KV group, in its dtype: of each layer, the keys of all blocks and the values of
/// all blocks. plan.fbs: KvGroup says how they lie in a block.
struct KvPool {
  uint8_t* keys = nullptr;  // of the group's first layer
  uint8_t* values = nullptr;
  uint64_t key_block_bytes = 0, value_block_bytes = 0;
  uint64_t key_layer_bytes = 0, value_layer_bytes = 0;  // multiples of kAlignment
  uint32_t first_layer = 0, num_layers = 0, num_kv_heads = 0;
  uint32_t element_bytes = 0;
  uint32_t per_step = 1;  // elements of keys, tokens of values that lie side by side: 2 of bf16

  /// Sizes for `num_blocks`; pointers stay null.
  KvPool(const schema::KvGroup& group, int64_t num_blocks);

  /// Zeroes tokens [first_token, LLMC_KV_BLOCK_TOKENS) of `block` in all layers.
  void clear(uint64_t block, uint64_t first_token) const;
};

}  // namespace llmrt
