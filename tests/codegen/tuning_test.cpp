// Whatever a tuning says, a product has the bits that it has without: over several pieces of K,
// joined tiles of which a call has some, register tiles of any size.
#include <gtest/gtest.h>

#include <cstring>

#include "kernel_harness.h"
#include "runtime/io/float_convert.h"
#include "runtime/io/weight_format.h"
#include "tests/sampling.h"

namespace llmc::test {
namespace {

using llmrt::PlaneRole;
using llmrt::WeightFormat;

struct Product {
  const char* format;
  bool int8 = false;
};

// Nine panels: two tiles and a part. Of K, more than four pieces, and a rest.
constexpr int64_t kOutputs = 131, kInputs = 1100, kTiles = 3;
constexpr int64_t kXStride = 1104, kYStride = 144, kRows = 101;

std::string model(const Product& p, const WeightFormat& format) {
  const std::string x = "tensor<?x1100xf32>", y = "tensor<?x131xf32>";
  const std::string type =
      format.isPlain() ? std::string(format.name) : "!llm.q<" + std::string(format.name) + ">";
  std::string text =
      "llm.model @m architecture \"llama\" hidden_size 64 intermediate_size 64 num_heads 4 "
      "num_kv_heads 2 head_dim 16 num_layers 1 vocab_size 64 max_seq_len 256 max_batch 1 " +
      std::string(p.int8 ? "attributes {llm.activations = \"int8\"} " : "") +
      "{\n  llm.weight @w matrix \"w\" : tensor<131x1100x" + type + ">\n";
  for (const char* kind : {"decode", "prefill"})
    text += "  llm.kernel @" + std::string(kind) + " " + kind + " max_rows " +
            (kind[0] == 'd' ? "16" : "101") + " row_strides [1104, 144] {\n  ^bb0(%x: " + x +
            "):\n    %y = llm.linear %x, @w : " + x + " -> " + y + "\n    llm.yield %y : " + y +
            "\n  }\n";
  return text + "}\n";
}

/// Panels of random quants, or of values; scales are numbers of both signs.
Buffer randomWeights(const WeightFormat& format, std::mt19937& rng) {
  llmrt::PlaneExtent planes[WeightFormat::kMaxPlanes];
  EXPECT_TRUE(
      llmrt::layOutPlanes(format, /*in_panels=*/true, (kOutputs + 15) / 16, kInputs, 1, planes));
  const llmrt::PlaneExtent& last = planes[format.num_planes - 1];
  Buffer out(last.offset_bytes + last.bytes);
  auto* const bytes = static_cast<uint8_t*>(out.data());
  for (int p = 0; p < format.num_planes; ++p) {
    const llmrt::FormatPlane& plane = format.planes[p];
    uint8_t* const to = bytes + planes[p].offset_bytes;
    const PlaneRole role = plane.role;
    const bool numbers =
        role == PlaneRole::kValues || role == PlaneRole::kScales || role == PlaneRole::kMins;
    if (!numbers) {
      for (uint64_t i = 0; i < planes[p].bytes; ++i) to[i] = static_cast<uint8_t>(rng() >> 8);
      continue;
    }
    const auto count = static_cast<int64_t>(planes[p].bytes) / llmrt::dtypeBytes(plane.dtype);
    for (int64_t i = 0; i < count; ++i)
      llmrt::storeFromF32(plane.dtype, to, i,
                          static_cast<float>(static_cast<int32_t>(rng())) * 0x1p-34f);
  }
  return out;
}

cpu::ProductTuning randomTuning(std::mt19937& rng) {
  cpu::ProductTuning t;
  for (const cpu::TuningField& field : cpu::kTuningFields) {
    if (rng() % 4 == 0) continue;
    int64_t v;
    do {
      // Small ones as often as large ones.
      const int64_t range = int64_t{1} << rng() % 17;
      v = field.least + static_cast<int64_t>(rng()) % range / field.multiple * field.multiple;
    } while (!field.allows(v));
    t.*field.value = v;
  }
  return t;
}

class TuningTest : public testing::TestWithParam<Product> {};

TEST_P(TuningTest, ChangesNoBit) {
  const Product& tested = GetParam();
  const WeightFormat& format = *llmrt::findWeightFormat(tested.format);
  std::mt19937 rng(20261130);
  Buffer weights = randomWeights(format, rng);
  const std::vector<float> values = randomFloats(kRows * kXStride, rng);
  Buffer x(values.size() * 4);
  std::memcpy(x.data(), values.data(), values.size() * 4);
  for (const cpu::CpuTarget& target : targetsOfTest(std::string(tested.format) == "bf16")) {
    SCOPED_TRACE(target.name);
    std::vector<float> expected;
    for (int i = -1; i < (llmc_tests::fullTests() ? 12 : 3); ++i) {
      cpu::CpuTuning tuning;
      for (const auto rows : {cpu::ProductRows::few, cpu::ProductRows::many})
        tuning.products.push_back({.key = {.op = "linear",
                                           .outputs = kOutputs,
                                           .inputs = kInputs,
                                           .weights = tested.format,
                                           .int8 = tested.int8,
                                           .rows = rows},
                                   .tuning = randomTuning(rng)});
      SCOPED_TRACE(tuning.products[0].text() + "; " + tuning.products[1].text());
      auto kernels =
          LoadedKernels::compile(model(tested, format), target, i < 0 ? nullptr : &tuning);
      ASSERT_TRUE(kernels);
      const auto run = [&](const char* symbol, int64_t rows, int64_t pieces) {
        Buffer y(kRows * kYStride * 4);
        LlmcStep step{};
        step.num_rows = rows;
        for (int64_t p = 0; p < pieces; ++p)
          kernels->run(symbol, step, {{"x", x.data()}, {"weight", weights.data()}, {"y", y.data()}},
                       kTiles * p / pieces, kTiles * (p + 1) / pieces);
        return std::vector<float>(y.floats(), y.floats() + rows * kYStride);
      };
      const std::vector<float> prefill = run("prefill", kRows, 1);
      if (i < 0) {
        expected = prefill;
        continue;
      }
      EXPECT_EQ(prefill, expected);
      EXPECT_EQ(run("prefill", kRows, 2), expected) << "in two calls";
      for (const int64_t rows : {1, 2, 3, 7, 13, 16})
        for (const int64_t pieces : {1, 2, 3})
          EXPECT_EQ(run("decode", rows, pieces),
                    std::vector<float>(expected.begin(), expected.begin() + rows * kYStride))
              << rows << " rows in " << pieces << " calls";
    }
  }
}

std::string nameOf(const testing::TestParamInfo<Product>& info) {
  return std::string(info.param.format) + (info.param.int8 ? "_int8" : "");
}

INSTANTIATE_TEST_SUITE_P(, TuningTest,
                         testing::Values(Product{"bf16"}, Product{"f16"}, Product{"q4_k", true}),
                         nameOf);
INSTANTIATE_TEST_SUITE_P(Full, TuningTest,
                         testing::Values(Product{"f32"}, Product{"q4_k"}, Product{"q8_0", true},
                                         Product{"q4_1", true}, Product{"q6_k", true},
                                         Product{"iq4_nl", true}),
                         nameOf);

}  // namespace
}  // namespace llmc::test
