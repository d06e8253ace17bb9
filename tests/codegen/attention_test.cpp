// kv_write and attention against softmax(q k^T) v in double, over ragged batches, windows and head
// shapes.
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "attention_case.h"
#include "codegen/cpu/KvCache.h"
#include "kernel_harness.h"

namespace llmc::test {
namespace {

using llmrt::DType;

using Case = AttentionCase;

class AttentionTest : public testing::TestWithParam<Case> {};

TEST_P(AttentionTest, EqualsSoftmaxInDoubleWhateverTheBatch) {
  const Case c = GetParam();
  constexpr int64_t kBlock = LLMC_KV_BLOCK_TOKENS, kBlocksPerSeq = 4;
  const auto up = attentionStride;
  const int64_t valueDim = c.valuesOfHead(), width = c.heads * valueDim;
  const int64_t qStride = up(c.heads * c.headDim), stride = up(width);
  const int64_t keyStride = up(c.kvHeads * c.headDim), valueStride = up(c.kvHeads * valueDim);
  const int64_t padded = up(valueDim);
  // Two sequences; blocks are handed out out of order.
  const std::vector<int64_t> lengths = {150, 67};
  std::vector<int32_t> blockTables = {5, 0, 3, 6, 2, 7, 1, 4};
  std::vector<int32_t> positions, sequences;  // of the rows
  for (int32_t seq = 0; seq < 2; ++seq)
    for (int32_t pos = 0; pos < lengths[seq]; ++pos) {
      positions.push_back(pos);
      sequences.push_back(seq);
    }
  const int64_t numRows = int64_t(positions.size());

  std::mt19937 rng(7);
  Buffer q(numRows * qStride * 4), k(numRows * keyStride * 4), v(numRows * valueStride * 4);
  Buffer sinks(up(c.heads) * 4);
  for (int64_t h = 0; h < c.heads; ++h) sinks.floats()[h] = static_cast<float>(h) - 1;
  for (auto [buffer, s] : {std::pair{&q, qStride}, {&k, keyStride}, {&v, valueStride}}) {
    std::vector<float> values = randomFloats(numRows * s, rng);
    for (float& f : values) f *= 3;
    std::copy(values.begin(), values.end(), buffer->floats());
  }
  // What lies between the rows must not matter.
  for (int64_t r = 0; r < numRows; ++r)
    std::fill(q.floats() + r * qStride + c.heads * c.headDim, q.floats() + (r + 1) * qStride,
              std::nanf(""));

  // Of the first target with an order of summation, in prefill.
  std::map<cpu::Bf16Product, std::vector<float>> references;
  for (const cpu::CpuTarget& target : targetsOfTest(c.dtype == DType::kBF16)) {
    SCOPED_TRACE(target.name);
    auto kernels = LoadedKernels::compile(attentionModel(c), target);
    ASSERT_TRUE(kernels);
    const cpu::Bf16Product product = c.dtype == DType::kBF16
                                         ? cpu::cacheProduct(target, cpu::Storage::bf16, c.headDim)
                                         : cpu::Bf16Product::fma;
    const bool rounds = product != cpu::Bf16Product::fma;
    std::vector<float>& reference = references[product];
    const int64_t blockHeads = 8 * c.kvHeads, bytes = llmrt::dtypeBytes(c.dtype);
    const int64_t keyDim = c.dtype == DType::kBF16 ? (c.headDim + 1) / 2 * 2 : c.headDim;
    Buffer keys(blockHeads * keyDim * kBlock * bytes), values(blockHeads * padded * kBlock * bytes);
    const LlmcStep step{.num_rows = numRows, .num_sequences = 2, .blocks_per_seq = kBlocksPerSeq};
    /// The operands of rows from `first` on that have to do with the cache.
    auto cacheOperands = [&](int64_t first) {
      return std::map<std::string, void*>{{"pos", positions.data() + first},
                                          {"seq", sequences.data() + first},
                                          {"block_table", blockTables.data()},
                                          {"keys", keys.data()},
                                          {"values", values.data()}};
    };
    auto write = [&] {
      std::map<std::string, void*> operands = cacheOperands(0);
      operands["k"] = k.data();
      operands["v"] = v.data();
      kernels->run("write_prefill", step, operands, 0, numRows);
    };
    write();

    auto run = [&](const char* symbol, int64_t first, int64_t count, int64_t rowsPerTile) {
      Buffer y(numRows * stride * 4);
      LlmcStep part = step;
      part.num_rows = count;
      int64_t heads = std::min(c.heads / c.kvHeads, llm::kAttentionHeads);  // of a tile
      while (c.heads / c.kvHeads % heads != 0) --heads;
      const int64_t tiles = c.heads / heads * ((count + rowsPerTile - 1) / rowsPerTile);
      std::map<std::string, void*> operands = cacheOperands(first);
      operands["q"] = q.floats() + first * qStride;
      operands["y"] = y.data();
      if (c.sinks) operands["sinks"] = sinks.data();
      kernels->run(symbol, part, operands, 0, tiles / 2);
      kernels->run(symbol, part, operands, tiles / 2, tiles);
      std::vector<float> out;
      for (int64_t m = 0; m < count; ++m)
        out.insert(out.end(), y.floats() + m * stride, y.floats() + m * stride + width);
      return out;
    };
    const std::vector<float> all = run("prefill", 0, numRows, llm::kAttentionRows);
    if (reference.empty()) {
      reference = all;
      for (int64_t r = 0; r < numRows; ++r) {
        const int64_t start = r - positions[r];  // row of position 0 of the sequence
        for (int64_t h = 0; h < c.heads; ++h) {
          const int64_t kvh = h / (c.heads / c.kvHeads);
          const int64_t from = c.window ? std::max<int64_t>(0, positions[r] + 1 - c.window) : 0;
          std::vector<double> p;
          double most = -1e300, sum = 0;
          for (int64_t j = from; j <= positions[r]; ++j) {
            double score = 0;
            for (int64_t d = 0; d < c.headDim; ++d) {
              const float query = q.floats()[r * qStride + h * c.headDim + d];
              score += double(rounds ? rounded(DType::kBF16, query) : query) *
                       rounded(c.dtype, k.floats()[(start + j) * keyStride + kvh * c.headDim + d]);
            }
            score *= 0.25;
            p.push_back(c.softcap ? c.softcap * std::tanh(score / c.softcap) : score);
            most = std::max(most, p.back());
          }
          // A sink takes part in the softmax and gives nothing.
          const double sink = sinks.floats()[h];
          if (c.sinks) most = std::max(most, sink);
          for (double& e : p) sum += e = std::exp(e - most);
          if (c.sinks) sum += std::exp(sink - most);
          for (int64_t d = 0; d < valueDim; ++d) {
            double o = 0;
            for (size_t j = 0; j < p.size(); ++j)
              o +=
                  p[j] * rounded(c.dtype,
                                 v.floats()[(start + from + j) * valueStride + kvh * valueDim + d]);
            o /= sum;
            // Scores up to 9 * head_dim / 4 carry head_dim roundings each; e^s turns that into a
            // relative error of p, which may be rounded to 8 bits. Values are below 3.
            const double tolerance = 3 * (c.headDim * 9 * 0.25 * c.headDim * 0x1p-24 +
                                          200 * 0x1p-24 + (rounds ? 0x1p-9 : 0));
            ASSERT_NEAR(all[r * width + h * valueDim + d], o, tolerance)
                << "row " << r << " head " << h << " d " << d;
          }
        }
      }
    }
    EXPECT_EQ(all, reference) << "not the bits of the first target";
    if (c.dtype == DType::kF16) {
      // A value too large for the cache's type must not reach the rows before it, though they share
      // its block.
      const float kept = v.floats()[149 * valueStride];
      v.floats()[149 * valueStride] = 1e6f;
      write();
      EXPECT_EQ(run("prefill", 0, 150, llm::kAttentionRows)[148 * width], reference[148 * width]);
      v.floats()[149 * valueStride] = kept;
      write();
    }
    // One row at a time in decode, a ragged piece across both sequences in prefill.
    for (int64_t r :
         {int64_t(0), int64_t(63), int64_t(64), int64_t(149), int64_t(150), numRows - 1})
      EXPECT_EQ(run("decode", r, 1, 1), std::vector<float>(reference.begin() + r * width,
                                                           reference.begin() + (r + 1) * width))
          << "row " << r;
    EXPECT_EQ(run("decode", 145, 9, 1),
              std::vector<float>(reference.begin() + 145 * width, reference.begin() + 154 * width));
    EXPECT_EQ(run("prefill", 101, 77, llm::kAttentionRows),
              std::vector<float>(reference.begin() + 101 * width, reference.begin() + 178 * width));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, AttentionTest,
    testing::Values(Case{DType::kF32, 4, 2, 16, 0}, Case{DType::kF16, 8, 1, 24, 0},
                    Case{DType::kBF16, 6, 2, 20, 50}, Case{DType::kF32, 3, 3, 8, 64},
                    Case{DType::kBF16, 4, 1, 64, 0}, Case{DType::kF32, 4, 2, 16, 0, 0, 6.0, false},
                    Case{DType::kBF16, 4, 2, 20, 50, 0, 6.0, true},
                    Case{DType::kF16, 6, 3, 16, 33, 0, 0, true}, Case{DType::kF32, 4, 1, 28, 0, 20},
                    Case{DType::kBF16, 3, 1, 9, 0}, Case{DType::kBF16, 6, 2, 32, 50, 20, 6.0, true},
                    Case{DType::kBF16, 5, 5, 96, 0}, Case{DType::kBF16, 16, 1, 40, 0, 32},
                    Case{DType::kBF16, 24, 1, 32, 0}, Case{DType::kF16, 24, 1, 16, 40}),
    [](const auto& info) { return info.param.name(); });

}  // namespace
}  // namespace llmc::test
