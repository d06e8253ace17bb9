// Products and embeddings with quantised weights of any bits that a file may hold, against the
// values that decodeBlock() gives: the same bits in every way to run them.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "kernel_harness.h"
#include "runtime/io/float_convert.h"
#include "runtime/io/weight_format.h"
#include "tests/ir/Int8Product.h"
#include "tests/sampling.h"

namespace llmc::test {
namespace {

using llmrt::PlaneRole;
using llmrt::WeightFormat;

struct Shape {
  int64_t n, k;
};

/// A weight [n, k] of random bits, among its blocks those of the largest and the smallest quants
/// and sub-scales.
StoredQuants randomQuants(const WeightFormat& format, Shape s, std::mt19937& rng) {
  StoredQuants out(format, s.n, s.k);
  for (int p = 0; p < format.num_planes; ++p) {
    const PlaneRole role = format.planes[p].role;
    for (int64_t b = 0; b < s.n * format.blocks(s.k); ++b) {
      uint8_t* const to = out.at(p, 0, b);
      const uint8_t same[] = {0xff, 0x00, 0x80, 0x7f};
      for (int64_t i = 0; i < out.blockBytes(p); ++i)
        to[i] = b % 7 < 4 ? same[b % 7] : static_cast<uint8_t>(rng() >> 8);
      if (role != PlaneRole::kScales && role != PlaneRole::kMins) continue;
      // Zeros, a subnormal number, both signs.
      if (format.planes[p].dtype == llmrt::DType::kHalfE8M0) {
        const uint8_t powers[] = {121, 2, 128, 118, 0, 1};
        to[0] = powers[(b / 3 + p) % 6];
        continue;
      }
      const float scales[] = {0.0f, -0.0078125f, 0.0123f, 2e-7f, 1.0f, -0.33f};
      const uint16_t half = llmrt::f32ToF16(scales[(b / 3 + p) % 6]);
      std::memcpy(to, &half, sizeof half);
    }
  }
  return out;
}

std::unique_ptr<Buffer> packOne(const StoredQuants& w, bool panels) {
  std::vector<llmrt::PanelRow> lanes;
  for (int64_t r = 0; r < w.rows; ++r) lanes.push_back({0, r});
  return packStored({w}, {w.rows}, lanes, panels);
}

std::string modelOf(const WeightFormat& format, Shape s, const std::string& kernels,
                    bool int8 = false) {
  return "llm.model @m architecture \"llama\" hidden_size 64 intermediate_size 64 num_heads 4 "
         "num_kv_heads 2 head_dim 16 num_layers 1 vocab_size " +
         std::to_string(s.n) + " max_seq_len 256 max_batch 1 " +
         (int8 ? "attributes {llm.activations = \"int8\"} " : "") +
         "{\n  llm.weight @w matrix \"w\" : tensor<" + std::to_string(s.n) + "x" +
         std::to_string(s.k) + "x!llm.q<" + std::string(format.name) + ">>\n" + kernels + "}\n";
}
std::string tensor(int64_t width) { return "tensor<?x" + std::to_string(width) + "xf32>"; }
std::string strides(std::initializer_list<int64_t> of) {
  std::string text;
  for (int64_t stride : of) text += (text.empty() ? "" : ", ") + std::to_string(stride);
  return " row_strides [" + text + "] {\n";
}

int64_t xStrideOf(Shape s) { return (s.k + 15) / 16 * 16 + 16; }
int64_t yStrideOf(Shape s) { return (s.n + 15) / 16 * 16; }
/// A kernel of `kind`, say "decode max_rows 16", which its first word is the name of.
std::string linear(Shape s, const std::string& kind) {
  return "  llm.kernel @" + kind.substr(0, kind.find(' ')) + " " + kind +
         strides({xStrideOf(s), yStrideOf(s)}) + "  ^bb0(%x: " + tensor(s.k) +
         "):\n    %y = llm.linear %x, @w : " + tensor(s.k) + " -> " + tensor(s.n) +
         "\n    llm.yield %y : " + tensor(s.n) + "\n  }\n";
}

class QuantsTest : public testing::TestWithParam<std::tuple<const WeightFormat*, Shape>> {};

constexpr int64_t kRows = 37;

/// One number for all that are none.
float comparable(float v) { return std::isnan(v) ? -1e30f : v; }

/// The product of `stored` with [kRows, k] values gives `expected`, to the bit: in prefill, decode
/// and verify, on each of the targets.
void expectProducts(const StoredQuants& stored, const std::vector<float>& values,
                    const std::vector<float>& expected, bool int8,
                    const std::vector<cpu::CpuTarget>& targets) {
  const Shape s{stored.rows, stored.cols};
  const int64_t xStride = xStrideOf(s), yStride = yStrideOf(s);
  // A register tile for each number of rows takes long to compile.
  const bool verify = s.n == 131;
  const int64_t decodeRows = s.n == 52 ? 16 : 2;
  std::string kernels = linear(s, "decode max_rows " + std::to_string(decodeRows)) +
                        linear(s, "prefill max_rows 512");
  if (verify) kernels += linear(s, "verify max_rows 64");
  const std::unique_ptr<Buffer> packed = packOne(stored, /*panels=*/true);
  Buffer x(static_cast<size_t>(kRows * xStride * 4));
  std::fill_n(x.floats(), kRows * xStride, std::nanf(""));
  for (int64_t m = 0; m < kRows; ++m)
    std::copy_n(values.data() + m * s.k, s.k, x.floats() + m * xStride);
  for (const cpu::CpuTarget& target : targets) {
    SCOPED_TRACE(target.name);
    auto loaded = LoadedKernels::compile(modelOf(*stored.format, s, kernels, int8), target);
    ASSERT_TRUE(loaded);
    const int64_t tiles = ((s.n + 15) / 16 + 3) / 4;
    auto run = [&](const char* symbol, int64_t rows) {
      Buffer y(static_cast<size_t>(kRows * yStride * 4));
      LlmcStep step{};
      step.num_rows = rows;
      for (int64_t p = 0; p < 2; ++p)
        loaded->runOn(symbol, step, {{"x", &x}, {"weight", packed.get()}, {"y", &y}}, tiles * p / 2,
                      tiles * (p + 1) / 2);
      std::vector<float> out;
      for (int64_t m = 0; m < rows; ++m)
        out.insert(out.end(), y.floats() + m * yStride, y.floats() + m * yStride + s.n);
      for (float& v : out) v = comparable(v);
      return out;
    };
    auto firstRows = [&](int64_t rows) {
      return std::vector<float>(expected.begin(), expected.begin() + rows * s.n);
    };
    EXPECT_EQ(run("prefill", kRows), expected) << "prefill";
    EXPECT_EQ(run("prefill", 5), firstRows(5)) << "prefill of 5 rows";
    for (int64_t rows : {1, 2, 3, 8, 13, 16})
      if (rows <= decodeRows) {
        EXPECT_EQ(run("decode", rows), firstRows(rows)) << "decode of " << rows << " rows";
      }
    if (verify) {
      EXPECT_EQ(run("verify", kRows), expected) << "verify";
    }
  }
}

TEST_P(QuantsTest, ProductsAreChainsOfFmasOverTheDecodedValues) {
  const auto [format, s] = GetParam();
  std::mt19937 rng(20260101);
  const StoredQuants stored = randomQuants(*format, s, rng);
  const std::vector<float> w = stored.decode();
  const std::vector<float> values = randomFloats(static_cast<size_t>(kRows * s.k), rng);
  std::vector<float> expected;
  for (int64_t m = 0; m < kRows; ++m)
    for (int64_t n = 0; n < s.n; ++n) {
      float sum = 0;
      for (int64_t k = 0; k < s.k; ++k)
        sum = std::fma(w[static_cast<size_t>(n * s.k + k)],
                       values[static_cast<size_t>(m * s.k + k)], sum);
      expected.push_back(sum);
    }
  expectProducts(stored, values, expected, /*int8=*/false, targetsOfTest(false));
}

/// Products of int8 with a weight of random bits are those of the definition, on each target.
void expectInt8Products(const WeightFormat& format, Shape s,
                        const std::vector<cpu::CpuTarget>& targets) {
  std::mt19937 rng(20260103);
  const StoredQuants stored = randomQuants(format, s, rng);
  std::vector<float> values = randomFloats(static_cast<size_t>(kRows * s.k), rng);
  // Rows whose every value is the largest, of one sign and of both; zeros; what is too small.
  for (int64_t k = 0; k < s.k; ++k) {
    const float extremes[] = {3.7f, -3.7f, k % 2 ? 1.0f : -1.0f, 0.0f, k < 40 ? 1e-37f : 1e-33f};
    for (size_t m = 0; m < std::size(extremes); ++m)
      values[m * static_cast<size_t>(s.k) + static_cast<size_t>(k)] = extremes[m];
  }
  values[5 * static_cast<size_t>(s.k) + 3] = std::nanf("");
  std::vector<float> expected;
  for (int64_t m = 0; m < kRows; ++m) {
    const Int8Row x({values.data() + m * s.k, static_cast<size_t>(s.k)}, format.block);
    for (int64_t n = 0; n < s.n; ++n) expected.push_back(comparable(int8Product(stored, n, x)));
  }
  expectProducts(stored, values, expected, /*int8=*/true, targets);
}

TEST_P(QuantsTest, ProductsOfInt8AreTheirSumsOfIntegers) {
  const auto [format, s] = GetParam();
  expectInt8Products(*format, s, targetsOfTest(false));
}

TEST_P(QuantsTest, ProductsOfInt8AreTheirSumsOfIntegersOnArm) {
  const auto [format, s] = GetParam();
  const std::vector<cpu::CpuTarget> targets = emulatedTargets();
  if (targets.empty())
    GTEST_SKIP() << "aarch64-linux-gnu-g++ or qemu-aarch64 was missing when this was configured";
  expectInt8Products(*format, s, targets);
}

TEST_P(QuantsTest, EmbeddingsAreTheDecodedValuesInRowsAndPanels) {
  const auto [format, s] = GetParam();
  const int64_t stride = (s.k + 15) / 16 * 16;
  std::mt19937 rng(20260102);
  const StoredQuants stored = randomQuants(*format, s, rng);
  const std::vector<float> w = stored.decode();
  const std::string yield = "\n    llm.yield %y : ";
  // Tied with the logits' matrix it lies in panels.
  const std::string embed =
      "  llm.kernel @embed prefill max_rows 512" + strides({stride}) +
      "  ^bb0(%rows: !llm.rows):\n    %y = llm.embed %rows, @w scale 1.0 : " + tensor(s.k) + yield +
      tensor(s.k) + "\n  }\n";
  const std::string logits =
      "  llm.kernel @logits decode max_rows 16" + strides({stride, (s.n + 15) / 16 * 16}) +
      "  ^bb0(%x: " + tensor(s.k) +
      ", %rows: !llm.rows):\n    %y = llm.logits %x, %rows, @w : " + tensor(s.k) + " -> " +
      tensor(s.n) + yield + tensor(s.n) + "\n  }\n";
  for (const bool tied : {false, true}) {
    SCOPED_TRACE(tied ? "panels" : "rows");
    const std::unique_ptr<Buffer> packed = packOne(stored, tied);
    for (const cpu::CpuTarget& target : targetsOfTest(false)) {
      SCOPED_TRACE(target.name);
      auto loaded =
          LoadedKernels::compile(modelOf(*format, s, embed + (tied ? logits : "")), target);
      ASSERT_TRUE(loaded);
      Buffer y(static_cast<size_t>(s.n * stride * 4));
      std::vector<int32_t> ids;
      for (int64_t n = 0; n < s.n; ++n) ids.push_back(static_cast<int32_t>(n));
      LlmcStep step{};
      step.num_rows = s.n;
      loaded->run("embed", step,
                  {{"token_id", ids.data()}, {"weight", packed->data()}, {"y", y.data()}}, 0, s.n);
      for (int64_t n = 0; n < s.n; ++n)
        for (int64_t k = 0; k < s.k; ++k)
          ASSERT_EQ(y.floats()[n * stride + k], w[static_cast<size_t>(n * s.k + k)])
              << "row " << n << ", " << k;
    }
  }
}

TEST_P(QuantsTest, OtherCpusHaveCodeForThem) {
  const auto [format, s] = GetParam();
  auto has = [&, format = format, s = s](const char* target, bool int8, const char* instruction) {
    SCOPED_TRACE(target);
    const std::string text = emitAssembly(
        modelOf(*format, s, linear(s, "prefill max_rows 64"), int8), *cpu::findCpuTarget(target));
    EXPECT_NE(text.find(instruction), std::string::npos) << text;
  };
  has("aarch64-i8mm", true, "smmla");
  if (llmc_tests::fullTests() || !format->quant.sub_block) has("sapphirerapids", true, "vpdpbusd");
  if (llmc_tests::fullTests()) {
    has("aarch64", false, format->quant.codebook ? "tbl" : "fmla");
    has("aarch64", true, format->quant.codebook ? "tbl" : "mla");
    has("aarch64-dotprod", true, "sdot");
  }
  if (format->quant.sub_block) has("sapphirerapids", true, "tdpbssd");
}

llmc_tests::Sweep<std::tuple<const WeightFormat*, Shape>> formatsAndShapes() {
  std::vector<const WeightFormat*> formats;
  for (const WeightFormat& format : llmrt::kWeightFormats)
    if (!format.isPlain()) formats.push_back(&format);
  return llmc_tests::diagonal(formats,
                              std::vector<Shape>{{52, 300}, {33, 517}, {131, 96}, {16, 2064}});
}

LLMC_INSTANTIATE_SWEEP(QuantsTest, formatsAndShapes(), [](const auto& info) {
  return std::string(std::get<0>(info.param)->name) + "_N" +
         std::to_string(std::get<1>(info.param).n) + "_K" +
         std::to_string(std::get<1>(info.param).k);
});

}  // namespace
}  // namespace llmc::test
