// Which numbers of a block clear() zeroes, against the layout that plan.fbs states.
#include "runtime/executor/kv_pool.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "runtime/abi/kernel_abi.h"
#include "runtime/schema/plan_generated.h"

namespace llmrt {
namespace {

constexpr uint64_t kTokens = LLMC_KV_BLOCK_TOKENS, kHeads = 3, kHeadDim = 39, kValueDim = 16;

class KvPoolTest : public testing::TestWithParam<schema::DType> {
 protected:
  /// Of two layers.
  KvPool poolOf(uint64_t blocks) {
    schema::StateT state;
    state.dtype = GetParam();
    state.layers = {1, 4};
    state.num_kv_heads = kHeads;
    state.head_dim = kHeadDim;
    state.head_dim_padded = 48;
    state.value_dim_padded = kValueDim;
    builder_.Finish(schema::State::Pack(builder_, &state));
    return KvPool(*flatbuffers::GetRoot<schema::State>(builder_.GetBufferPointer()), blocks);
  }

 private:
  flatbuffers::FlatBufferBuilder builder_;
};

TEST_P(KvPoolTest, ClearsTheLastTokensOfOneBlock) {
  constexpr uint64_t kBlocks = 3, kBlock = 1;
  KvPool pool = poolOf(kBlocks);
  const bool pairs = GetParam() == schema::DType::bf16;
  const uint64_t bytes = GetParam() == schema::DType::f32 ? 4 : 2;
  const uint64_t key_dim = pairs ? kHeadDim + 1 : kHeadDim;
  ASSERT_EQ(pool.key_block_bytes, kHeads * key_dim * kTokens * bytes);
  ASSERT_EQ(pool.value_block_bytes, kHeads * kValueDim * kTokens * bytes);

  for (const uint64_t first : {0, 1, 2, 37, 62, 63}) {
    std::vector<uint8_t> keys(pool.key_layer_bytes * 2, 0xff);
    std::vector<uint8_t> values(pool.value_layer_bytes * 2, 0xff);
    std::vector<uint8_t> expected_keys = keys, expected_values = values;
    pool.keys = keys.data();
    pool.values = values.data();
    pool.clear(kBlock, first);

    for (uint64_t layer = 0; layer < 2; ++layer)
      for (uint64_t head = 0; head < kHeads; ++head)
        for (uint64_t t = first; t < kTokens; ++t) {
          const uint64_t block_head = kBlock * kHeads + head;
          for (uint64_t e = 0; e < key_dim; ++e) {
            const uint64_t at = pairs ? (e / 2 * kTokens + t) * 2 + e % 2 : e * kTokens + t;
            std::memset(&expected_keys[layer * pool.key_layer_bytes +
                                       (block_head * key_dim * kTokens + at) * bytes],
                        0, bytes);
          }
          for (uint64_t e = 0; e < kValueDim; ++e) {
            const uint64_t at = pairs ? (t / 2 * kValueDim + e) * 2 + t % 2 : t * kValueDim + e;
            std::memset(&expected_values[layer * pool.value_layer_bytes +
                                         (block_head * kValueDim * kTokens + at) * bytes],
                        0, bytes);
          }
        }
    EXPECT_EQ(keys, expected_keys) << "from token " << first;
    EXPECT_EQ(values, expected_values) << "from token " << first;
  }
}

TEST_P(KvPoolTest, CopiesOneBlockOfEachLayer) {
  KvPool pool = poolOf(3);
  std::vector<uint8_t> keys(pool.key_layer_bytes * 2), values(pool.value_layer_bytes * 2);
  for (size_t i = 0; i < keys.size(); ++i) keys[i] = static_cast<uint8_t>(i * 7 + i / 251);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<uint8_t>(i * 5 + i / 241);
  std::vector<uint8_t> expected_keys = keys, expected_values = values;
  pool.keys = keys.data();
  pool.values = values.data();
  pool.copy(2, 0);
  for (size_t layer = 0; layer < 2; ++layer) {
    std::memcpy(&expected_keys[layer * pool.key_layer_bytes],
                &expected_keys[layer * pool.key_layer_bytes + 2 * pool.key_block_bytes],
                pool.key_block_bytes);
    std::memcpy(&expected_values[layer * pool.value_layer_bytes],
                &expected_values[layer * pool.value_layer_bytes + 2 * pool.value_block_bytes],
                pool.value_block_bytes);
  }
  EXPECT_EQ(keys, expected_keys);
  EXPECT_EQ(values, expected_values);
}

INSTANTIATE_TEST_SUITE_P(Types, KvPoolTest,
                         testing::Values(schema::DType::f32, schema::DType::f16,
                                         schema::DType::bf16),
                         [](const auto& info) { return schema::EnumNameDType(info.param); });

}  // namespace
}  // namespace llmrt
