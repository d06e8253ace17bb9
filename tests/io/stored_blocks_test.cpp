// Blocks of GGUF files against the values that the gguf package gives them:
// tests/golden/ggml_blocks.gguf.
#include "runtime/io/stored_blocks.h"

#include <gtest/gtest.h>

#include <bit>

#include "runtime/io/float_convert.h"
#include "runtime/io/gguf.h"

namespace llmrt {
namespace {

TEST(StoredBlocks, HaveTheValuesThatGgmlGivesThem) {
  const auto opened = GgufFile::open(GGML_BLOCKS_GOLDEN);
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  int types = 0;
  for (const GgufTensor& stored : (*opened)->tensors()) {
    if (stored.name.ends_with(".values")) continue;
    const GgufTensor* values = (*opened)->findTensor(stored.name + ".values");
    const StoredBlocks* blocks = ggmlBlocks(stored.type);
    ASSERT_TRUE(values && blocks) << stored.name;
    const WeightFormat& format = *blocks->format;
    EXPECT_EQ(format.name, stored.name);
    EXPECT_EQ(blocks->rowBytes(stored.shape[1]) * stored.shape[0],
              static_cast<int64_t>(stored.bytes));
    ++types;
    for (int64_t row = 0; row < stored.shape[0]; ++row) {
      StoredBlock planes;
      blocks->readPlanes(stored.data + row * blocks->bytes, planes.planes);
      float decoded[WeightFormat::kMaxBlock];
      decodeBlock(format, planes.planes, decoded);
      for (int64_t i = 0; i < format.block; ++i) {
        const float expected = loadAsF32(DType::kF32, values->data, row * format.block + i);
        ASSERT_EQ(std::bit_cast<uint32_t>(decoded[i]), std::bit_cast<uint32_t>(expected))
            << stored.name << " block " << row << " value " << i << ": " << decoded[i] << ", not "
            << expected;
      }
    }
  }
  EXPECT_EQ(types, 13);  // every format of quants
}

// 5 % of memory is what taking blocks apart may cost.
TEST(StoredBlocks, TakeAsMuchMemoryAsInTheFile) {
  for (uint32_t type = 0; type < 64; ++type) {
    const StoredBlocks* blocks = ggmlBlocks(type);
    if (!blocks) continue;
    EXPECT_GE(blocks->format->rowBytes(blocks->format->block), blocks->bytes);
    EXPECT_LE(static_cast<double>(blocks->format->rowBytes(blocks->format->block)),
              1.05 * static_cast<double>(blocks->bytes))
        << blocks->format->name;
  }
}

}  // namespace
}  // namespace llmrt
