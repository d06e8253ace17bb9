// kv_write and attention against softmax(q k^T) v in double, over ragged batches, windows and head
// shapes.
#include <gtest/gtest.h>

#include <cmath>

#include "kernel_harness.h"

namespace llmc::test {
namespace {

using llmrt::DType;

struct Case {
  DType dtype;
  int64_t heads, kvHeads, headDim, window;
};

std::string attentionModel(const Case& c) {
  const int64_t kvWidth = c.kvHeads * c.headDim, width = c.heads * c.headDim;
  const std::string kv = "!llm.kv_cache<" + std::to_string(c.kvHeads) + "x" +
                         std::to_string(c.headDim) + "x" + typeName(c.dtype) + ">";
  const std::string tk = "tensor<?x" + std::to_string(kvWidth) + "xf32>",
                    tq = "tensor<?x" + std::to_string(width) + "xf32>";
  auto stride = [](int64_t w) { return std::to_string((w + 15) / 16 * 16); };
  std::string text =
      "llm.model @m architecture \"llama\" hidden_size 64 intermediate_size 64 num_heads " +
      std::to_string(c.heads) + " num_kv_heads " + std::to_string(c.kvHeads) + " head_dim " +
      std::to_string(c.headDim) + " num_layers 1 vocab_size 64 max_seq_len 256 max_batch 2 {\n";
  text += "  llm.kernel @write max_rows 512 row_strides [" + stride(kvWidth) + ", " +
          stride(kvWidth) + "] {\n  ^bb0(%k: " + tk + ", %v: " + tk +
          ", %rows: !llm.rows, %kv: " + kv + "):\n    llm.kv_write %k, %v, %rows, %kv : " + tk +
          ", " + kv + "\n    llm.yield\n  }\n";
  for (const char* name : {"decode", "prefill"})
    text += "  llm.kernel @" + std::string(name) + " max_rows " + (name[0] == 'd' ? "16" : "512") +
            " row_strides [" + stride(width) + ", " + stride(width) + "] {\n  ^bb0(%q: " + tq +
            ", %rows: !llm.rows, %kv: " + kv +
            "):\n    %y = llm.attention %q, %rows, %kv scale 0.25" +
            (c.window ? " window " + std::to_string(c.window) : "") + " : " + tq + ", " + kv +
            "\n    llm.yield %y : " + tq + "\n  }\n";
  return text + "}\n";
}

class AttentionTest : public testing::TestWithParam<Case> {};

TEST_P(AttentionTest, EqualsSoftmaxInDoubleWhateverTheBatch) {
  const Case c = GetParam();
  constexpr int64_t kBlock = LLMC_KV_BLOCK_TOKENS, kBlocksPerSeq = 4;
  const int64_t width = c.heads * c.headDim, kvWidth = c.kvHeads * c.headDim;
  const int64_t stride = (width + 15) / 16 * 16, kvStride = (kvWidth + 15) / 16 * 16;
  const int64_t padded = (c.headDim + 15) / 16 * 16;
  // Two sequences; blocks are handed out out of order.
  const std::vector<int64_t> lengths = {150, 67};
  const std::vector<int32_t> blockTables = {5, 0, 3, 6, 2, 7, 1, 4};
  std::vector<LlmcRow> rows;
  for (int32_t seq = 0; seq < 2; ++seq)
    for (int32_t pos = 0; pos < lengths[seq]; ++pos) rows.push_back({0, pos, seq, -1});
  const int64_t numRows = int64_t(rows.size());

  std::mt19937 rng(7);
  Buffer q(numRows * stride * 4), k(numRows * kvStride * 4), v(numRows * kvStride * 4);
  for (auto [buffer, s] : {std::pair{&q, stride}, {&k, kvStride}, {&v, kvStride}}) {
    std::vector<float> values = randomFloats(numRows * s, rng);
    for (float& f : values) f *= 3;
    std::copy(values.begin(), values.end(), buffer->floats());
  }

  std::vector<float> reference;
  for (const cpu::CpuTarget& target : runnableTargets()) {
    SCOPED_TRACE(target.name);
    auto kernels = LoadedKernels::compile(attentionModel(c), target);
    ASSERT_TRUE(kernels);
    const int64_t blockHeads = 8 * c.kvHeads, bytes = llmrt::dtypeBytes(c.dtype);
    Buffer keys(blockHeads * c.headDim * kBlock * bytes),
        values(blockHeads * padded * kBlock * bytes);
    LlmcStep step{};
    step.rows = rows.data();
    step.block_tables = blockTables.data();
    step.blocks_per_seq = kBlocksPerSeq;
    step.num_rows = numRows;
    kernels->run("write", step, {k.data(), v.data(), keys.data(), values.data()}, 0, numRows);

    auto run = [&](const char* symbol, int64_t first, int64_t count, int64_t rowsPerTile) {
      Buffer y(numRows * stride * 4);
      LlmcStep part = step;
      part.rows = rows.data() + first;
      part.num_rows = count;
      const int64_t tiles = c.kvHeads * ((count + rowsPerTile - 1) / rowsPerTile);
      kernels->run(symbol, part,
                   {q.floats() + first * stride, keys.data(), values.data(), y.data()}, 0,
                   tiles / 2);
      kernels->run(symbol, part,
                   {q.floats() + first * stride, keys.data(), values.data(), y.data()}, tiles / 2,
                   tiles);
      std::vector<float> out;
      for (int64_t m = 0; m < count; ++m)
        out.insert(out.end(), y.floats() + m * stride, y.floats() + m * stride + width);
      return out;
    };
    const std::vector<float> all = run("prefill", 0, numRows, llm::kAttentionRows);
    if (reference.empty()) {
      reference = all;
      for (int64_t r = 0; r < numRows; ++r) {
        const int64_t start = r - rows[r].pos;  // row of position 0 of the sequence
        for (int64_t h = 0; h < c.heads; ++h) {
          const int64_t kvh = h / (c.heads / c.kvHeads);
          const int64_t from = c.window ? std::max<int64_t>(0, rows[r].pos + 1 - c.window) : 0;
          std::vector<double> p;
          double most = -1e300, sum = 0;
          for (int64_t j = from; j <= rows[r].pos; ++j) {
            double score = 0;
            for (int64_t d = 0; d < c.headDim; ++d)
              score += double(q.floats()[r * stride + h * c.headDim + d]) *
                       rounded(c.dtype, k.floats()[(start + j) * kvStride + kvh * c.headDim + d]);
            p.push_back(score * 0.25);
            most = std::max(most, p.back());
          }
          for (double& e : p) sum += e = std::exp(e - most);
          for (int64_t d = 0; d < c.headDim; ++d) {
            double o = 0;
            for (size_t j = 0; j < p.size(); ++j)
              o += p[j] * rounded(c.dtype,
                                  v.floats()[(start + from + j) * kvStride + kvh * c.headDim + d]);
            o /= sum;
            // Scores up to 9 * head_dim / 4 carry head_dim roundings each; e^s turns that into a
            // relative error of p.
            const double tolerance =
                3 * (c.headDim * 9 * 0.25 * c.headDim * 0x1p-24 + 200 * 0x1p-24);
            ASSERT_NEAR(all[r * width + h * c.headDim + d], o, tolerance)
                << "row " << r << " head " << h << " d " << d;
          }
        }
      }
    }
    EXPECT_EQ(all, reference) << "not the bits of the first target";
    if (c.dtype == DType::kF16) {
      // A value too large for the cache's type must not reach the rows before it, though they share
      // its block.
      const float kept = v.floats()[149 * kvStride];
      v.floats()[149 * kvStride] = 1e6f;
      kernels->run("write", step, {k.data(), v.data(), keys.data(), values.data()}, 0, numRows);
      EXPECT_EQ(run("prefill", 0, 150, llm::kAttentionRows)[148 * width], reference[148 * width]);
      v.floats()[149 * kvStride] = kept;
      kernels->run("write", step, {k.data(), v.data(), keys.data(), values.data()}, 0, numRows);
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

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionTest,
                         testing::Values(Case{DType::kF32, 4, 2, 16, 0},
                                         Case{DType::kF16, 8, 1, 24, 0},
                                         Case{DType::kBF16, 6, 2, 20, 50},
                                         Case{DType::kF32, 3, 3, 8, 64},
                                         Case{DType::kBF16, 4, 1, 64, 0}),
                         [](const auto& info) {
                           const Case& c = info.param;
                           return std::string(typeName(c.dtype)) + "_h" + std::to_string(c.heads) +
                                  "_kv" + std::to_string(c.kvHeads) + "_d" +
                                  std::to_string(c.headDim) + "_w" + std::to_string(c.window);
                         });

}  // namespace
}  // namespace llmc::test
