// The IR before and after a pass evaluates to the same values: in the evaluator, fused ops round
// where the primitive ops do, so the same bits. Schedules are evaluated in an arena laid out as
// they say.
#include <gtest/gtest.h>

#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassManager.h"
#include "passes/Pipeline.h"
#include "tests/ir/Evaluator.h"
#include "tests/passes/decoder_ir.h"

namespace llmc::test {
namespace {

/// A prefill of two sequences, then decode steps of both, the second after more of the first: the
/// logits of all.
std::vector<Matrix> generate(mlir::ModuleOp module) {
  llm::ModelOp model = *module.getOps<llm::ModelOp>().begin();
  Evaluator evaluator(model, randomWeights(7));
  KvState kv;
  std::vector<Row> prompt;
  for (int32_t pos = 0; pos < 11; ++pos) prompt.push_back({(pos * 7 + 3) % 50, pos, 0, pos == 10});
  for (int32_t pos = 0; pos < 5; ++pos) prompt.push_back({(pos * 5 + 1) % 50, pos, 2, pos == 4});
  std::vector<Matrix> logits = {evaluator.run("prefill", prompt, kv)};
  logits.push_back(evaluator.run("decode", {{4, 11, 0, true}, {9, 12, 0, true}}, kv));
  logits.push_back(evaluator.run("decode", {{17, 13, 0, true}, {33, 5, 2, true}}, kv));
  return logits;
}

void expectSame(const std::vector<Matrix>& got, const std::vector<Matrix>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t step = 0; step < want.size(); ++step) {
    ASSERT_EQ(got[step].rows, want[step].rows) << "step " << step;
    ASSERT_EQ(got[step].cols, want[step].cols) << "step " << step;
    for (size_t i = 0; i < want[step].values.size(); ++i)
      ASSERT_EQ(got[step].values[i], want[step].values[i])
          << "step " << step << ", row " << i / want[step].cols << ", logit "
          << i % want[step].cols;
  }
}

int count(mlir::ModuleOp module, llvm::StringRef op) {
  int n = 0;
  module.walk([&](mlir::Operation* o) { n += o->getName().getStringRef() == op; });
  return n;
}

class Meaning : public testing::TestWithParam<DecoderForm> {};

TEST_P(Meaning, IsKeptByEveryFusionAloneAndByAll) {
  mlir::MLIRContext context;
  auto unfused = decoderModule(context, GetParam());
  ASSERT_TRUE(unfused);
  const std::vector<Matrix> want = generate(*unfused);

  const std::vector<std::string> fusions = {"llm-fuse-norm-qkv", "llm-fuse-norm-glu",
                                            "llm-fuse-residual", "llm-fuse-norm-logits"};
  // Every set of disabled fusions.
  for (unsigned disabled = 0; disabled < 1u << fusions.size(); ++disabled) {
    PipelineOptions options;
    for (size_t i = 0; i < fusions.size(); ++i)
      if (disabled >> i & 1) options.disabledPasses.push_back(fusions[i]);
    SCOPED_TRACE(testing::Message() << "disabled fusions: " << disabled);
    auto module = decoderModule(context, GetParam());
    mlir::PassManager fuse(&context);
    buildFusionPipeline(fuse, options);
    ASSERT_TRUE(mlir::succeeded(fuse.run(*module)));
    ASSERT_TRUE(mlir::succeeded(mlir::verify(*module)));
    // Two entry points; layers are a region, or two, so each op stands once in each.
    const int regions = 2 * GetParam().regions();
    EXPECT_EQ(count(*module, "llm.norm_qkv"), disabled & 1 ? 0 : regions);
    EXPECT_EQ(count(*module, "llm.norm_glu"), disabled & 2 ? 0 : regions);
    EXPECT_EQ(count(*module, "llm.linear_residual"), disabled & 4 ? 0 : 2 * regions);
    EXPECT_EQ(count(*module, "llm.norm_logits"), disabled & 8 ? 0 : 2);
    if (disabled == 0) {
      for (const char* op : {"llm.linear", "llm.bias", "llm.rope", "llm.rms_norm", "llm.add"})
        EXPECT_EQ(count(*module, op), 0) << op;
    }
    expectSame(generate(*module), want);

    mlir::PassManager schedule(&context);
    buildSchedulePipeline(schedule, options);
    ASSERT_TRUE(mlir::succeeded(schedule.run(*module)));
    ASSERT_TRUE(mlir::succeeded(mlir::verify(*module)));
    EXPECT_EQ(count(*module, "llm.entry"), 0);
    expectSame(generate(*module), want);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Forms, Meaning,
    testing::Values(
        DecoderForm{},
        DecoderForm{.name = "grouped_query_f16",
                    .numHeads = 4,
                    .numKvHeads = 2,
                    .type = "f16",
                    .kvType = "f16"},
        DecoderForm{.name = "multi_query_f32",
                    .numHeads = 5,
                    .numKvHeads = 1,
                    .type = "f32",
                    .kvType = "f32"},
        DecoderForm{.name = "attention_bias", .attentionBias = true},
        DecoderForm{
            .name = "all_biases", .attentionBias = true, .mlpBias = true, .outputBias = true},
        DecoderForm{.name = "no_rope", .rope = false}, DecoderForm{.name = "tied", .tied = true},
        DecoderForm{.name = "window", .window = 4},
        DecoderForm{.name = "window_in_one_layer", .window = 4, .windowedLayers = 1},
        DecoderForm{.name = "other_orders",
                    .activation = "gelu_tanh",
                    .residualFirst = false,
                    .swappedGlu = true}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace llmc::test
