#include "tests/plan/hybrid_model.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "codegen/plan/PlanFile.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "passes/Pipeline.h"

namespace llmc::test {
namespace {

/// Layers 0 and 1 have linear attention, layer 2 attends to the last 16 tokens.
std::string entry(const std::string& kind, int64_t maxRows) {
  const bool verifies = kind == "verify";
  const std::string keeps = verifies ? R"(
      llm.keep %qkv, @kept_qkv : tensor<?x48xf32>
      llm.keep %gate, @kept_gate : tensor<?x4xf32>
      llm.keep %beta, @kept_beta : tensor<?x4xf32>)"
                                     : "";
  return "  llm.entry @" + kind + "(%rows: !llm.rows) " + kind + " max_rows " +
         std::to_string(maxRows) + R"( {
    %x = llm.embed %rows, @embed_tokens : tensor<?x32xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x32xf32> {
      %qkv = llm.linear %h, @in_qkv : tensor<?x32xf32> -> tensor<?x48xf32>
      %gate = llm.linear %h, @in_gate : tensor<?x32xf32> -> tensor<?x4xf32>
      %beta = llm.linear %h, @in_beta : tensor<?x32xf32> -> tensor<?x4xf32>)" +
         keeps + R"(
      %c = llm.causal_conv %qkv, %rows, @conv, @conv1d silu : tensor<?x48xf32>
      %d = llm.gated_delta %c, %gate, %beta, %rows, @delta, @a_log, @dt_bias eps 1.0e-6
        : tensor<?x48xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
      %n = llm.rms_norm %d, @delta_norm eps 1.0e-6 : tensor<?x32xf32>
      %r = llm.add %h, %n : tensor<?x32xf32>
      %m = llm.linear %r, @mix : tensor<?x32xf32> -> tensor<?x32xf32>
      llm.yield %m : tensor<?x32xf32>
    }
    %z = llm.layers %h = %y first 2 count 1 : tensor<?x32xf32> {
      %q = llm.linear %h, @q_proj : tensor<?x32xf32> -> tensor<?x32xf32>
      %k = llm.linear %h, @k_proj : tensor<?x32xf32> -> tensor<?x16xf32>
      %v = llm.linear %h, @v_proj : tensor<?x32xf32> -> tensor<?x16xf32>
      llm.kv_write %k, %v, %rows, @kv : tensor<?x16xf32>, tensor<?x16xf32>
      %a = llm.attention %q, %rows, @kv scale 0.35 : tensor<?x32xf32> -> tensor<?x32xf32>
      %r = llm.add %h, %a : tensor<?x32xf32>
      %m = llm.linear %r, @mix : tensor<?x32xf32> -> tensor<?x32xf32>
      llm.yield %m : tensor<?x32xf32>
    }
    %l = llm.logits %z, %rows, @lm_head : tensor<?x32xf32> -> tensor<?x50xf32>
    llm.return %l : tensor<?x50xf32>
  }
)";
}

}  // namespace

std::string hybridText() {
  return R"(
llm.model @hybrid architecture "hybrid" hidden_size 32 intermediate_size 48 num_heads 4 num_kv_heads 2 head_dim 8
    num_layers 3 vocab_size 50 max_seq_len 200 max_batch 3 {
  llm.weight @embed_tokens matrix "embed" : tensor<50x32xbf16>
  llm.weight @lm_head matrix "head" : tensor<50x32xbf16>
  llm.weight @in_qkv matrix "{layer}.qkv" : tensor<2x48x32xbf16>
  llm.weight @in_gate matrix "{layer}.a" : tensor<2x4x32xbf16>
  llm.weight @in_beta matrix "{layer}.b" : tensor<2x4x32xbf16>
  llm.weight @conv1d matrix "{layer}.conv1d" : tensor<2x4x48xbf16>
  llm.weight @a_log bias "{layer}.A_log" : tensor<2x4xf32>
  llm.weight @dt_bias bias "{layer}.dt_bias" : tensor<2x4xf32>
  llm.weight @delta_norm norm "{layer}.norm" : tensor<2x32xf32>
  llm.weight @mix matrix "{layer}.mix" : tensor<3x32x32xbf16>
  llm.weight @q_proj matrix "{layer}.q" first_layer 2 : tensor<1x32x32xbf16>
  llm.weight @k_proj matrix "{layer}.k" first_layer 2 : tensor<1x16x32xbf16>
  llm.weight @v_proj matrix "{layer}.v" first_layer 2 : tensor<1x16x32xbf16>
  llm.state @kv : !llm.kv<2x8xbf16> window 16 layers 2:3
  llm.state @conv : !llm.recurrent<3x48xf32> layers 0:2
  llm.state @delta : !llm.recurrent<4x4x8xf32> layers 0:2
  llm.state @kept_qkv : !llm.kept<20x48xf32> layers 0:2
  llm.state @kept_gate : !llm.kept<20x4xf32> layers 0:2
  llm.state @kept_beta : !llm.kept<20x4xf32> layers 0:2
)" + entry("decode", 8) +
         entry("prefill", 32) + entry("verify", kHybridTreeRows) + R"(
  llm.entry @commit(%rows: !llm.rows) commit max_rows 20 {
    llm.layers first 0 count 2 {
      %qkv = llm.kept %rows, @kept_qkv : tensor<?x48xf32>
      %gate = llm.kept %rows, @kept_gate : tensor<?x4xf32>
      %beta = llm.kept %rows, @kept_beta : tensor<?x4xf32>
      %c = llm.causal_conv %qkv, %rows, @conv, @conv1d silu : tensor<?x48xf32>
      %d = llm.gated_delta %c, %gate, %beta, %rows, @delta, @a_log, @dt_bias eps 1.0e-6
        : tensor<?x48xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
      llm.yield
    }
    llm.layers first 2 count 1 {
      llm.kv_move %rows, @kv
      llm.yield
    }
    llm.return
  }
}
)";
}

std::string hybridPlan(const std::function<bool(llm::ModelOp, PlanParts&)>& addCode) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  context.getOrLoadDialect<llm::LLMDialect>();
  mlir::OwningOpRef<mlir::ModuleOp> module =
      mlir::parseSourceString<mlir::ModuleOp>(hybridText(), &context);
  EXPECT_TRUE(module);
  if (!module) return "";
  mlir::PassManager passes(&context);
  buildPipeline(passes, {});
  const bool scheduled = mlir::succeeded(passes.run(*module));
  EXPECT_TRUE(scheduled);
  if (!scheduled) return "";
  llm::ModelOp model = *module->getOps<llm::ModelOp>().begin();
  PlanParts parts;
  if (!addCode(model, parts)) return "";
  ModelSpec spec;
  spec.name = spec.architecture = "hybrid";
  spec.hidden_size = 32, spec.intermediate_size = 48, spec.num_layers = 3, spec.num_heads = 4;
  spec.num_kv_heads = 2, spec.head_dim = 8, spec.vocab_size = kHybridVocab;
  spec.max_position_embeddings = 200;
  auto plan = buildPlan(model, spec, std::move(parts));
  EXPECT_TRUE(plan.ok()) << plan.status().message();
  if (!plan.ok()) return "";
  auto bytes = serializePlan(*plan);
  EXPECT_TRUE(bytes.ok()) << bytes.status().message();
  if (!bytes.ok()) return "";
  const std::string path =
      std::filesystem::temp_directory_path() / ("llmc_hybrid_" + std::to_string(getpid()) + ".fb");
  std::FILE* file = std::fopen(path.c_str(), "wb");
  std::fwrite(bytes->data(), 1, bytes->size(), file);
  std::fclose(file);
  return path;
}

}  // namespace llmc::test
