#include "runtime/core/kv_pool.h"

#include <cstring>

#include "runtime/abi/kernel_abi.h"
#include "runtime/io/weight_layout.h"
#include "runtime/schema/plan_generated.h"

namespace llmrt {
namespace {

constexpr uint64_t kTokens = LLMC_KV_BLOCK_TOKENS;

uint64_t roundUp(uint64_t n, uint64_t to) { return (n + to - 1) / to * to; }

/// Zeroes each of the rows from `first_byte` on.
void clearTails(uint8_t* rows, uint64_t num_rows, uint64_t row_bytes, uint64_t first_byte) {
  if (first_byte == 0) {
    std::memset(rows, 0, num_rows * row_bytes);
    return;
  }
  for (uint64_t r = 0; r < num_rows; ++r, rows += row_bytes)
    std::memset(rows + first_byte, 0, row_bytes - first_byte);
}

}  // namespace

KvPool::KvPool(const schema::KvGroup& group, int64_t num_blocks)
    : first_layer(group.first_layer()),
      num_layers(group.num_layers()),
      num_kv_heads(group.num_kv_heads()),
      element_bytes(static_cast<uint32_t>(dtypeBytes(static_cast<DType>(group.dtype())))),
      interleaved(group.dtype() == schema::DType::bf16 ? 2 : 1) {
  const uint64_t value_dim =
      group.value_dim_padded() ? group.value_dim_padded() : group.head_dim_padded();
  const uint64_t token_bytes = num_kv_heads * uint64_t{element_bytes};
  key_block_bytes = roundUp(group.head_dim(), interleaved) * kTokens * token_bytes;
  value_block_bytes = value_dim * kTokens * token_bytes;
  key_layer_bytes = roundUp(static_cast<uint64_t>(num_blocks) * key_block_bytes, 64);
  value_layer_bytes = roundUp(static_cast<uint64_t>(num_blocks) * value_block_bytes, 64);
}

void KvPool::clear(uint64_t block, uint64_t first_token) const {
  // A row of keys holds one element, or a pair of them, of all tokens.
  const uint64_t lane_bytes = uint64_t{interleaved} * element_bytes;
  const uint64_t key_row_bytes = kTokens * lane_bytes;
  // A row of values holds all elements of one token, or of a pair.
  const uint64_t value_head_bytes = value_block_bytes / num_kv_heads;
  const uint64_t value_row_bytes = value_head_bytes / (kTokens / interleaved);
  const uint64_t whole_rows = roundUp(first_token, interleaved) / interleaved;
  for (uint32_t l = 0; l < num_layers; ++l) {
    clearTails(keys + l * key_layer_bytes + block * key_block_bytes,
               key_block_bytes / key_row_bytes, key_row_bytes, first_token * lane_bytes);
    uint8_t* head = values + l * value_layer_bytes + block * value_block_bytes;
    for (uint32_t h = 0; h < num_kv_heads; ++h, head += value_head_bytes) {
      clearTails(head, 1, value_head_bytes, whole_rows * value_row_bytes);
      if (first_token % interleaved == 0) continue;
      // The row in which a token that stays has a number in front of each that goes.
      clearTails(head + (whole_rows - 1) * value_row_bytes, value_row_bytes / lane_bytes,
                 lane_bytes, element_bytes);
    }
  }
}

}  // namespace llmrt
