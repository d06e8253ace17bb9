// The memory of one state of a session on CPUs.
#pragma once

#include <cstdint>
#include <span>

namespace llmrt {

namespace schema {
struct State;
}

/// The pools of a state of keys and values, in its dtype: of each layer, the keys of all blocks and
/// the values of all blocks. plan.fbs: State says how they lie in a block.
struct KvPool {
  uint8_t* keys = nullptr;  // of the state's first layer
  uint8_t* values = nullptr;
  uint64_t key_block_bytes = 0, value_block_bytes = 0;
  uint64_t key_layer_bytes = 0, value_layer_bytes = 0;  // multiples of kAlignment
  uint32_t num_layers = 0, num_kv_heads = 0;
  uint32_t element_bytes = 0;
  uint32_t per_step = 1;  // elements of keys, tokens of values that lie side by side: 2 of bf16

  /// Sizes for `num_blocks`; pointers stay null.
  KvPool(const schema::State& state, int64_t num_blocks);

  uint64_t bytes() const { return num_layers * (key_layer_bytes + value_layer_bytes); }
  /// Zeroes tokens [first_token, LLMC_KV_BLOCK_TOKENS) of `block` in all layers.
  void clear(uint64_t block, uint64_t first_token) const;
  /// Fills block `to` with what `from` holds, in all layers.
  void copy(uint64_t from, uint64_t to) const;
  /// What a block holds: of each layer its keys, then its values.
  void read(uint64_t block, std::span<uint8_t> out) const;
  void write(uint64_t block, std::span<const uint8_t> from) const;
};

/// The slots of a recurrent state: of each layer, those of all sequences. Or kept rows, one a slot.
struct SlotPool {
  uint8_t* slots = nullptr;  // of the state's first layer
  uint64_t slot_bytes = 0;
  uint64_t layer_bytes = 0;  // a multiple of kAlignment
  uint32_t num_layers = 0;

  SlotPool(const schema::State& state, int64_t num_slots);

  uint64_t bytes() const { return num_layers * layer_bytes; }
};

}  // namespace llmrt
