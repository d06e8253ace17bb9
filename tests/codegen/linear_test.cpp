// The linear kernel against a plain loop in double, at and off tile edges; every way to run it
// gives the same bits.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>

#include "codegen/cpu/KernelBuilder.h"
#include "codegen/cpu/Lower.h"
#include "kernel_harness.h"
#include "mlir/Parser/Parser.h"
#include "tests/sampling.h"

namespace llmc::test {
namespace {

using llmrt::DType;

struct Shape {
  int64_t n, k;
};

std::string linearModel(DType dtype, Shape s, int64_t xStride, int64_t yStride,
                        bool verify = false) {
  const std::string x = "tensor<?x" + std::to_string(s.k) + "xf32>",
                    y = "tensor<?x" + std::to_string(s.n) + "xf32>";
  std::string text =
      "llm.model @m architecture \"llama\" hidden_size 64 intermediate_size 64 num_heads 4 "
      "num_kv_heads 2 head_dim 16 "
      "num_layers 1 vocab_size 64 max_seq_len 256 max_batch 1 {\n  llm.weight @w matrix \"w\" : "
      "tensor<" +
      std::to_string(s.n) + "x" + std::to_string(s.k) + "x" + llmrt::dtypeName(dtype) + ">\n";
  std::vector<const char*> kernels = {"decode max_rows 16", "prefill max_rows 512"};
  if (verify) kernels.push_back("verify max_rows 64");
  for (const char* kernel : kernels)
    text += "  llm.kernel @" + std::string(kernel, std::strchr(kernel, ' ')) + " " + kernel +
            " row_strides [" + std::to_string(xStride) + ", " + std::to_string(yStride) +
            "] {\n  ^bb0(%x: " + x + "):\n    %y = llm.linear %x, @w : " + x + " -> " + y +
            "\n    llm.yield %y : " + y + "\n  }\n";
  return text + "}\n";
}

class LinearTest : public testing::TestWithParam<std::tuple<DType, Shape>> {};

TEST_P(LinearTest, EqualsAPlainLoopWhateverTheRowsTilesAndTarget) {
  const auto [dtype, s] = GetParam();
  const int64_t xStride = (s.k + 15) / 16 * 16 + 16, yStride = (s.n + 15) / 16 * 16;
  // A register tile for each number of rows takes long to compile: off the tiles' edges, over one
  // piece of the weights and over several.
  const bool verify = s.n == 131;
  const int64_t maxRows = 263;  // more than one block of rows, and no multiple of any tile
  std::mt19937 rng(20260101);
  PackedMatrix w = packRandom(dtype, {s.n}, s.k, llmrt::PanelOrder::kConcat, 0, rng);
  std::vector<float> values = randomFloats(maxRows * s.k, rng);
  Buffer x(maxRows * xStride * 4);
  for (int64_t m = 0; m < maxRows; ++m)
    for (int64_t k = 0; k < xStride; ++k)
      // What lies between the rows must not matter.
      x.floats()[m * xStride + k] = k < s.k ? values[m * s.k + k] : std::nanf("");

  // Of the first target with an order of summation, in prefill.
  std::map<cpu::Bf16Product, std::vector<float>> references;
  for (const cpu::CpuTarget& target : targetsOfTest(dtype == DType::kBF16)) {
    SCOPED_TRACE(target.name);
    const cpu::Bf16Product order =
        dtype == DType::kBF16 ? target.bf16Product : cpu::Bf16Product::fma;
    const bool rounds = order != cpu::Bf16Product::fma;
    std::vector<float>& reference = references[order];
    auto kernels = LoadedKernels::compile(linearModel(dtype, s, xStride, yStride, verify), target);
    ASSERT_TRUE(kernels);
    const int64_t tiles = ((s.n + 15) / 16 + 3) / 4;
    auto run = [&](const char* symbol, int64_t rows, int64_t pieces) {
      Buffer y(maxRows * yStride * 4);
      LlmcStep step{};
      step.num_rows = rows;
      for (int64_t p = 0; p < pieces; ++p)
        kernels->run(symbol, step, {{"x", x.data()}, {"weight", w.packed->data()}, {"y", y.data()}},
                     tiles * p / pieces, tiles * (p + 1) / pieces);
      std::vector<float> out;
      for (int64_t m = 0; m < rows; ++m)
        out.insert(out.end(), y.floats() + m * yStride, y.floats() + m * yStride + s.n);
      return out;
    };
    const std::vector<float> all = run("prefill", maxRows, 1);
    if (reference.empty()) {
      reference = all;
      double worst = 0;
      for (int64_t m = 0; m < maxRows; ++m)
        for (int64_t n = 0; n < s.n; ++n) {
          double sum = 0, magnitude = 0;
          for (int64_t k = 0; k < s.k; ++k) {
            const float left = values[m * s.k + k];
            const double product =
                double(rounds ? rounded(DType::kBF16, left) : left) * w.values[n * s.k + k];
            sum += product;
            magnitude += std::abs(product);
          }
          // A chain of K roundings, each at most half an ulp of a partial sum (Higham, 3.1).
          const double tolerance = s.k * 0x1p-24 * magnitude;
          const double error = std::abs(all[m * s.n + n] - sum);
          worst = std::max(worst, error / tolerance);
          ASSERT_LE(error, tolerance)
              << "row " << m << " output " << n << ": " << all[m * s.n + n] << " for " << sum;
        }
      if (order == cpu::Bf16Product::dot) {
        for (int64_t m = 0; m < 8; ++m)
          for (int64_t n = 0; n < s.n; ++n) {
            float sum = 0;
            auto add = [&](int64_t k) {
              if (k < s.k)
                sum = std::fma(rounded(DType::kBF16, values[m * s.k + k]), w.values[n * s.k + k],
                               sum);
            };
            for (int64_t k = 0; k < s.k; k += 2) add(k + 1), add(k);
            ASSERT_EQ(all[m * s.n + n], sum) << "row " << m << " output " << n << ": another order";
          }
      }
      // One product of two bf16 is exact.
      EXPECT_TRUE(worst > 0 || s.k == 1) << "nothing was compared";
    }
    EXPECT_EQ(all, reference) << "not the bits of the first target of this order";
    EXPECT_EQ(run("prefill", maxRows, 3), reference) << "not the bits of one thread";
    auto firstRows = [&](int64_t rows) {
      return std::vector<float>(reference.begin(), reference.begin() + rows * s.n);
    };
    // As many as each register tile, and what two and more blocks of them leave over.
    if (verify) {
      for (int64_t rows : {1, 2, 6, 12, 13, 17, 25, 37, 49, 63, 64})
        EXPECT_EQ(run("verify", rows, 2), firstRows(rows)) << "verify of " << rows << " rows";
    }
    for (int64_t rows = 1; rows <= llm::kDecodeMaxRows; ++rows) {
      const std::vector<float> first = firstRows(rows);
      EXPECT_EQ(run("decode", rows, 2), first) << "decode of " << rows << " rows";
      EXPECT_EQ(run("prefill", rows, 2), first) << "prefill of " << rows << " rows";
    }
  }
}

TEST(LinearCodeTest, MultipliesAndAddsWithOneRounding) {
  // llvm.fmuladd may become a multiplication and an addition: half the speed, and other bits on
  // another target.
  const std::string ir =
      emitLlvm(linearModel(DType::kF32, {64, 64}, 80, 64), runnableTargets().front());
  EXPECT_THAT(ir, testing::HasSubstr("@llvm.fma.v16f32"));
  EXPECT_THAT(ir, testing::Not(testing::HasSubstr("fmuladd")));
}

TEST(KernelBuilderDeathTest, NamesTheOperandThatAnOpLacks) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  context.loadDialect<llm::LLMDialect>();
  cpu::loadKernelDialects(context);
  auto module =
      mlir::parseSourceString<mlir::ModuleOp>(linearModel(DType::kF32, {64, 64}, 80, 64), &context);
  ASSERT_TRUE(module);
  llm::ModelOp model = *module->getOps<llm::ModelOp>().begin();
  mlir::OwningOpRef<mlir::ModuleOp> code = mlir::ModuleOp::create(mlir::UnknownLoc::get(&context));
  cpu::KernelBuilder k(*code, *model.getOps<llm::KernelOp>().begin(), runnableTargets().front());
  EXPECT_EQ(k.rowStride("x"), 80);
  EXPECT_DEATH(k.operand("bias"), "llm.linear has no operand 'bias'");
  EXPECT_DEATH(k.rowStride("weight"), "operand 'weight' of llm.linear has no rows");
}

llmc_tests::Sweep<std::tuple<DType, Shape>> dtypesAndShapes() {
  return llmc_tests::diagonal(
      std::vector<DType>{DType::kF32, DType::kF16, DType::kBF16},
      std::vector<Shape>{
          {64, 64}, {52, 33}, {131, 300}, {16, 517}, {131, 2100}, {7, 1}, {160, 192}});
}

LLMC_INSTANTIATE_SWEEP(LinearTest, dtypesAndShapes(), [](const auto& info) {
  return std::string(llmrt::dtypeName(std::get<0>(info.param))) + "_N" +
         std::to_string(std::get<1>(info.param).n) + "_K" +
         std::to_string(std::get<1>(info.param).k);
});

}  // namespace
}  // namespace llmc::test
