// How a user steers the pipeline: switching passes off, looking between them, reading what they
// report.
#include "passes/Pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ir/LLM.h"
#include "llvm/Support/raw_ostream.h"
#include "passes/Remarks.h"
#include "passes/ScheduleToPlan.h"
#include "tests/passes/decoder_ir.h"

namespace llmc::test {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::Pair;

namespace schema = llmrt::schema;

TEST(DisablePass, TakesAListOfNames) {
  auto disabled = parseDisabledPasses("llm-fuse-norm-qkv,llm-plan-memory");
  ASSERT_TRUE(disabled.ok());
  EXPECT_THAT(*disabled, ElementsAre("llm-fuse-norm-qkv", "llm-plan-memory"));
  EXPECT_TRUE(parseDisabledPasses("").ok());
}

TEST(DisablePass, RefusesUnknownAndNeededPassesAndListsTheOthers) {
  auto unknown = parseDisabledPasses("llm-fuse-everything");
  ASSERT_FALSE(unknown.ok());
  EXPECT_THAT(unknown.status().message(), HasSubstr("there is no pass 'llm-fuse-everything'"));
  EXPECT_THAT(unknown.status().message(), HasSubstr("llm-fuse-norm-glu"));
  auto needed = parseDisabledPasses("llm-schedule");
  ASSERT_FALSE(needed.ok());
  EXPECT_THAT(needed.status().message(), HasSubstr("'llm-schedule' is needed"));
}

TEST(DumpIr, PrintsAfterTheNamedPassOnly) {
  mlir::MLIRContext context;
  auto module = decoderModule(context, {});
  mlir::PassManager pm(&context);
  buildFusionPipeline(pm, {});
  std::string text;
  llvm::raw_string_ostream os(text);
  ASSERT_TRUE(printIrAfter(pm, "llm-fuse-norm-qkv", os).ok());
  ASSERT_TRUE(mlir::succeeded(pm.run(*module)));
  EXPECT_THAT(text, HasSubstr("llm.norm_qkv"));
  EXPECT_THAT(text, HasSubstr("llm.activation"));
  EXPECT_THAT(text, Not(HasSubstr("llm.norm_glu")));
}

TEST(DumpIr, PrintsAfterEveryPassAndRefusesUnknownOnes) {
  mlir::MLIRContext context;
  auto module = decoderModule(context, {});
  mlir::PassManager pm(&context);
  buildPipeline(pm, {});
  std::string text;
  llvm::raw_string_ostream os(text);
  auto unknown = printIrAfter(pm, "llm-fuse-everything", os);
  EXPECT_THAT(unknown.message(), HasSubstr("llm-check-schedule"));
  ASSERT_TRUE(printIrAfter(pm, "all", os).ok());
  ASSERT_TRUE(mlir::succeeded(pm.run(*module)));
  for (const char* pass : {"(canonicalize)", "(llm-fuse-norm-logits)", "(llm-check-schedule)"})
    EXPECT_THAT(text, HasSubstr(pass));
}

TEST(Remarks, TellWhatWasDoneAndWhatTheMemoryIs) {
  mlir::MLIRContext context;
  auto module = decoderModule(context, {});
  RemarkCollector collector(&context);
  mlir::PassManager pm(&context);
  buildPipeline(pm, {});
  ASSERT_TRUE(mlir::succeeded(pm.run(*module)));
  EXPECT_THAT(collector.remarks(), Contains("linear_residual: fused @o_proj, add").Times(2));
  EXPECT_THAT(collector.remarks(), Contains(HasSubstr("memory plan of @prefill: ")));
}

// What codegen and the plan writer rely on.
TEST(Schedule, IsAnEntryPointOfThePlan) {
  mlir::MLIRContext context;
  auto module = decoderModule(context, {.tied = true});
  mlir::PassManager pm(&context);
  buildPipeline(pm, {});
  ASSERT_TRUE(mlir::succeeded(pm.run(*module)));
  llm::ModelOp model = *module->getOps<llm::ModelOp>().begin();
  const PlanIndex index(model);
  auto prefill = toEntryPoint(*std::next(model.getBody().getOps<llm::ScheduleOp>().begin()), index);
  ASSERT_TRUE(mlir::succeeded(prefill));
  EXPECT_EQ(prefill->name, "prefill");
  EXPECT_EQ(prefill->max_rows, 20u);
  EXPECT_EQ(prefill->max_logits_rows, 20u);  // at most 64 are held for scoring
  ASSERT_EQ(prefill->sections.size(), 3u);
  EXPECT_FALSE(prefill->sections[0]->is_layers);
  EXPECT_TRUE(prefill->sections[1]->is_layers);
  EXPECT_EQ(prefill->sections[1]->num_layers, 2u);
  std::vector<std::string> ops;
  for (const auto& phase : prefill->sections[1]->phases) ops.push_back(phase->op);
  EXPECT_THAT(
      ops, ElementsAre("norm_qkv", "attention", "linear_residual", "norm_glu", "linear_residual"));
  // 3 x 24 outputs of 24 inputs in bf16, and the norm in f32.
  EXPECT_EQ(prefill->sections[1]->phases[0]->weight_bytes, 3u * 24 * 24 * 2 + 24 * 4);
  EXPECT_EQ(prefill->sections[2]->phases[0]->axis, schema::Axis::logits_row);
  EXPECT_EQ(prefill->sections[1]->phases[0]->axis, schema::Axis::row);
  ASSERT_EQ(prefill->outputs.size(), 1u);
  EXPECT_EQ(prefill->outputs[0]->name, "logits");
  EXPECT_EQ(prefill->outputs[0]->axis, schema::Axis::logits_row);
  EXPECT_EQ(prefill->buffers[prefill->outputs[0]->buffer]->rows, 20u);
  EXPECT_EQ(prefill->kind, schema::StepKind::prefill);
}

// Each input once, whatever the number of phases that ask for it; operands name it by its index.
TEST(Schedule, ListsTheInputsOfItsSteps) {
  mlir::MLIRContext context;
  auto module = decoderModule(context, {});
  mlir::PassManager pm(&context);
  buildPipeline(pm, {});
  ASSERT_TRUE(mlir::succeeded(pm.run(*module)));
  llm::ModelOp model = *module->getOps<llm::ModelOp>().begin();
  auto decode = toEntryPoint(*model.getBody().getOps<llm::ScheduleOp>().begin(), PlanIndex(model));
  ASSERT_TRUE(mlir::succeeded(decode));
  EXPECT_EQ(decode->kind, schema::StepKind::decode);
  std::vector<std::string> names;
  for (const auto& input : decode->inputs) {
    names.push_back(input->name);
    EXPECT_EQ(input->dtype, schema::DType::i32);
    EXPECT_EQ(input->width, 1u);
    EXPECT_EQ(input->axis,
              input->name == "logits_rows" ? schema::Axis::logits_row : schema::Axis::row);
  }
  EXPECT_THAT(names, ElementsAre("token_id", "pos", "seq", "logits_rows"));
  const schema::PhaseT& attention = *decode->sections[1]->phases[1];
  std::vector<std::pair<schema::Space, uint32_t>> operands;
  for (const auto& o : attention.operands) operands.emplace_back(o->space, o->index);
  using schema::Space;
  EXPECT_THAT(operands,
              ElementsAre(Pair(Space::arena, 1), Pair(Space::input, 1), Pair(Space::input, 2),
                          Pair(Space::block_table, 0), Pair(Space::keys, 0), Pair(Space::values, 0),
                          Pair(Space::arena, 2)));
}

// Attention with a window has a kernel of its own, and phases name the state of their layers.
TEST(Schedule, PhasesNameTheStateOfTheirLayers) {
  mlir::MLIRContext context;
  auto module = decoderModule(context, {.window = 4, .windowedLayers = 1});
  mlir::PassManager pm(&context);
  buildPipeline(pm, {});
  ASSERT_TRUE(mlir::succeeded(pm.run(*module)));
  std::vector<std::string> states;
  std::set<std::string> kernels;
  module->walk([&](llm::PhaseOp phase) {
    for (mlir::Attribute attr : phase.getOperands()) {
      auto operand = llvm::cast<llm::OperandAttr>(attr);
      if (operand.getSpace() != llm::Space::keys) continue;
      states.push_back(operand.getSymbol().getValue().str());
      kernels.insert(phase.getKernel().str());
    }
  });
  // norm_qkv and attention, in each of two layers, in each of two schedules.
  EXPECT_THAT(states, ElementsAre("kv_window4", "kv_window4", "kv", "kv", "kv_window4",
                                  "kv_window4", "kv", "kv"));
  EXPECT_THAT(kernels, Contains("attention_3x3x8_window4_kvbf16_decode"));
  EXPECT_THAT(kernels, Contains("attention_3x3x8_kvbf16_decode"));
}

TEST(Schedule, KernelNamesAreUniqueCIdentifiers) {
  mlir::MLIRContext context;
  auto module = decoderModule(context, {.attentionBias = true});
  mlir::PassManager pm(&context);
  buildPipeline(pm, {});
  ASSERT_TRUE(mlir::succeeded(pm.run(*module)));
  std::set<std::string> names;
  module->walk([&](llm::KernelOp kernel) {
    EXPECT_THAT(kernel.getSymName().str(), testing::MatchesRegex("[a-z][a-z0-9_]*"));
    EXPECT_TRUE(names.insert(kernel.getSymName().str()).second);
  });
  EXPECT_THAT(names, Contains("norm_qkv_72x24_bf16_kvbf16_decode"));
  EXPECT_THAT(names, Contains("attention_3x3x8_kvbf16_prefill"));
}

}  // namespace
}  // namespace llmc::test
