#include "runtime/executor/kv_pool.h"

#include <cstring>

#include "runtime/abi/kernel_abi.h"
#include "runtime/executor/memory.h"
#include "runtime/io/weight_layout.h"
#include "runtime/schema/plan_generated.h"
#include "runtime/schema/same_case.h"

namespace llmrt {

constexpr uint64_t kTokens = LLMC_KV_BLOCK_TOKENS;

KvPool::KvPool(const schema::State& state, int64_t num_blocks)
    : num_layers(state.layers()->size()),
      num_kv_heads(state.num_kv_heads()),
      element_bytes(static_cast<uint32_t>(dtypeBytes(sameCase<DType>(state.dtype())))),
      per_step(state.dtype() == schema::DType::bf16 ? 2 : 1) {
  const uint64_t key_dim = (state.head_dim() + per_step - 1) / per_step * per_step;
  const uint64_t value_dim =
      state.value_dim_padded() ? state.value_dim_padded() : state.head_dim_padded();
  const uint64_t token_bytes = num_kv_heads * uint64_t{element_bytes};
  key_block_bytes = key_dim * kTokens * token_bytes;
  value_block_bytes = value_dim * kTokens * token_bytes;
  key_layer_bytes = alignUp(static_cast<uint64_t>(num_blocks) * key_block_bytes);
  value_layer_bytes = alignUp(static_cast<uint64_t>(num_blocks) * value_block_bytes);
}

void KvPool::clear(uint64_t block, uint64_t first_token) const {
  const uint64_t step_bytes = uint64_t{per_step} * element_bytes;
  const uint64_t key_rows = key_block_bytes / (kTokens * step_bytes);  // of all heads
  const uint64_t value_head_bytes = value_block_bytes / num_kv_heads;
  const uint64_t value_dim = value_head_bytes / (kTokens * element_bytes);
  for (uint32_t l = 0; l < num_layers; ++l) {
    uint8_t* k = keys + l * key_layer_bytes + block * key_block_bytes;
    uint8_t* v = values + l * value_layer_bytes + block * value_block_bytes;
    if (first_token == 0) {
      std::memset(k, 0, key_block_bytes);
      std::memset(v, 0, value_block_bytes);
      continue;
    }
    for (uint64_t row = 0; row < key_rows; ++row)
      std::memset(k + (row * kTokens + first_token) * step_bytes, 0,
                  (kTokens - first_token) * step_bytes);
    for (uint32_t head = 0; head < num_kv_heads; ++head)
      for (uint64_t t = first_token; t < kTokens; ++t)
        for (uint64_t e = 0; e < value_dim; ++e)
          std::memset(v + head * value_head_bytes + (t / per_step * value_dim + e) * step_bytes +
                          t % per_step * element_bytes,
                      0, element_bytes);
  }
}

void KvPool::copy(uint64_t from, uint64_t to) const {
  for (uint32_t l = 0; l < num_layers; ++l) {
    uint8_t* const k = keys + l * key_layer_bytes;
    uint8_t* const v = values + l * value_layer_bytes;
    std::memcpy(k + to * key_block_bytes, k + from * key_block_bytes, key_block_bytes);
    std::memcpy(v + to * value_block_bytes, v + from * value_block_bytes, value_block_bytes);
  }
}

void KvPool::read(uint64_t block, std::span<uint8_t> out) const {
  uint8_t* next = out.data();
  for (uint32_t l = 0; l < num_layers; ++l) {
    std::memcpy(next, keys + l * key_layer_bytes + block * key_block_bytes, key_block_bytes);
    next += key_block_bytes;
    std::memcpy(next, values + l * value_layer_bytes + block * value_block_bytes,
                value_block_bytes);
    next += value_block_bytes;
  }
}

void KvPool::write(uint64_t block, std::span<const uint8_t> from) const {
  const uint8_t* next = from.data();
  for (uint32_t l = 0; l < num_layers; ++l) {
    std::memcpy(keys + l * key_layer_bytes + block * key_block_bytes, next, key_block_bytes);
    next += key_block_bytes;
    std::memcpy(values + l * value_layer_bytes + block * value_block_bytes, next,
                value_block_bytes);
    next += value_block_bytes;
  }
}

SlotPool::SlotPool(const schema::State& state, int64_t num_slots)
    : slot_bytes(state.elements() *
                 static_cast<uint64_t>(dtypeBytes(sameCase<DType>(state.dtype())))),
      layer_bytes(alignUp(static_cast<uint64_t>(num_slots) * slot_bytes)),
      num_layers(state.layers()->size()) {}

}  // namespace llmrt
