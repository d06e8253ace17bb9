// From a ModelSpec to a module.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "frontend/import/ImportModel.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"
#include "models/Rope.h"

namespace llmc {
namespace {

using namespace llm;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;

ModelSpec tinySpec() {
  ModelSpec spec;
  spec.architecture = "llama";
  spec.name = "tiny-1.5";
  spec.hidden_size = 32;
  spec.intermediate_size = 48;
  spec.num_layers = 2;
  spec.num_heads = 4;
  spec.num_kv_heads = 2;
  spec.head_dim = 6;  // not hidden_size / num_heads
  spec.vocab_size = 50;
  spec.max_position_embeddings = 64;
  computeInvFreq(spec.rope, spec.head_dim);
  return spec;
}

std::string importedText(const ModelSpec& spec, const ImportOptions& options) {
  mlir::MLIRContext context;
  auto module = importModel(context, spec, options);
  if (!module) return "";
  std::string text;
  llvm::raw_string_ostream os(text);
  module->print(os);
  return text;
}

TEST(ImportModel, WeightsHaveHfNamesAndTheSpecsShapes) {
  std::string text = importedText(tinySpec(), {.dtype = llmrt::DType::kF16});
  EXPECT_THAT(text, HasSubstr("llm.model @tiny_1_5 architecture \"llama\" hidden_size 32"));
  EXPECT_THAT(
      text,
      HasSubstr("llm.weight @q_proj matrix \"model.layers.{layer}.self_attn.q_proj.weight\" : "
                "tensor<2x24x32xf16>"));
  EXPECT_THAT(
      text,
      HasSubstr("llm.weight @o_proj matrix \"model.layers.{layer}.self_attn.o_proj.weight\" : "
                "tensor<2x32x24xf16>"));
  EXPECT_THAT(text, HasSubstr("llm.weight @lm_head matrix \"lm_head.weight\" : tensor<50x32xf16>"));
  EXPECT_THAT(text, HasSubstr("llm.state @kv : !llm.kv<2x6xf16> layers 0:2"));
  EXPECT_THAT(text, Not(HasSubstr("bias")));
}

TEST(ImportModel, EverySourceIsARequiredTensor) {
  ModelSpec spec = tinySpec();
  spec.qkv_bias = spec.o_bias = spec.mlp_bias = true;
  mlir::MLIRContext context;
  auto module = importModel(context, spec, {});
  ASSERT_TRUE(module);
  std::map<std::string, std::vector<int64_t>> sources;
  module->walk([&](WeightOp w) {
    for (int64_t layer = 0; layer < (w.isPerLayer() ? spec.num_layers : 1); ++layer) {
      std::string name = w.getSource().str();
      if (w.isPerLayer()) name.replace(name.find("{layer}"), 7, std::to_string(layer));
      sources[name] = w.getLayerShape().vec();
    }
  });
  std::map<std::string, std::vector<int64_t>> required;
  for (const TensorNeed& need : requiredTensors(spec)) required[need.name] = need.shape;
  EXPECT_EQ(sources, required);
}

TEST(ImportModel, TiedEmbeddingsNeedNoLmHead) {
  ModelSpec spec = tinySpec();
  spec.tie_word_embeddings = true;
  std::string text = importedText(spec, {});
  EXPECT_THAT(text, Not(HasSubstr("lm_head")));
  EXPECT_THAT(text, HasSubstr("llm.logits %norm, %rows, @embed_tokens"));
}

TEST(ImportModel, BiasesFollowTheirProjections) {
  ModelSpec spec = tinySpec();
  spec.qkv_bias = true;
  std::string text = importedText(spec, {});
  EXPECT_THAT(text, HasSubstr("llm.bias %k, @k_proj_bias"));
  EXPECT_THAT(text, Not(HasSubstr("o_proj_bias")));
}

TEST(ImportModel, AWindowThatMasksNothingIsLeftOut) {
  ModelSpec spec = tinySpec();
  spec.sliding_window = 16;
  EXPECT_THAT(importedText(spec, {.maxSeqLen = 17}), HasSubstr("window 16"));
  EXPECT_THAT(importedText(spec, {.maxSeqLen = 16}), Not(HasSubstr("window")));
}

TEST(ImportModel, LayersOfOneWindowShareAState) {
  ModelSpec spec = tinySpec();
  spec.num_layers = 5;
  spec.sliding_window = 16;
  spec.windowed_layers = {true, true, false, true, false};
  mlir::MLIRContext context;
  auto module = importModel(context, spec, {.maxSeqLen = 64});
  ASSERT_TRUE(module);
  std::map<std::string, std::pair<uint64_t, std::vector<int64_t>>> states;  // window and layers
  module->walk([&](StateOp s) {
    llvm::SmallVector<int64_t> layers = s.getLayerNumbers();
    states[s.getSymName().str()] = {s.getWindow(), {layers.begin(), layers.end()}};
  });
  EXPECT_THAT(states, ElementsAre(Pair("kv", Pair(0, ElementsAre(2, 4))),
                                  Pair("kv_window16", Pair(16, ElementsAre(0, 1, 3)))));
  module->walk([&](LayersOp layers) {
    const char* state = spec.windowed_layers[layers.getFirstLayer()] ? "kv_window16" : "kv";
    layers->walk([&](KvWriteOp op) { EXPECT_EQ(op.getState(), state); });
    layers->walk([&](AttentionOp op) { EXPECT_EQ(op.getState(), state); });
  });
}

TEST(ImportModel, EntriesSayWhatTheirStepsAreFor) {
  std::string text = importedText(tinySpec(), {.maxSeqLen = 64, .prefillChunk = 8});
  EXPECT_THAT(text, HasSubstr("llm.entry @decode(%rows: !llm.rows) decode max_rows 16 {"));
  // The kind does not follow from the bound.
  EXPECT_THAT(text, HasSubstr("llm.entry @prefill(%rows: !llm.rows) prefill max_rows 8 {"));
}

TEST(ImportModel, TreesAreVerifiedAndCommittedWhereAskedFor) {
  EXPECT_THAT(importedText(tinySpec(), {.maxSeqLen = 64}), Not(HasSubstr("verify")));
  ModelSpec spec = tinySpec();
  spec.num_layers = 5;
  spec.sliding_window = 16;
  spec.windowed_layers = {true, true, false, true, false};
  std::string text = importedText(spec, {.maxSeqLen = 64, .verifyRows = 24});
  EXPECT_THAT(text, HasSubstr("llm.entry @verify(%rows: !llm.rows) verify max_rows 24 {"));
  const size_t commit = text.find("llm.entry @commit(%rows: !llm.rows) commit max_rows 24 {");
  ASSERT_NE(commit, std::string::npos);
  // A move for each run of layers that share a state, and nothing else.
  text = text.substr(commit);
  for (const char* layers :
       {"llm.layers first 0 count 2 {\n        llm.kv_move %rows, @kv_window16",
        "llm.layers first 2 count 1 {\n        llm.kv_move %rows, @kv\n",
        "llm.layers first 3 count 1 {\n        llm.kv_move %rows, @kv_window16",
        "llm.layers first 4 count 1 {\n        llm.kv_move %rows, @kv\n"})
    EXPECT_THAT(text, HasSubstr(layers));
  EXPECT_THAT(importedText(tinySpec(), {.maxSeqLen = 16, .verifyRows = 24}),
              HasSubstr("commit max_rows 16 {"));
}

TEST(ImportModel, RowsAreBounded) {
  std::string text = importedText(tinySpec(), {.maxSeqLen = 64, .prefillChunk = 512});
  EXPECT_THAT(text, HasSubstr("max_rows 16 {"));
  EXPECT_THAT(text, HasSubstr("max_rows 64 {"));
}

TEST(ImportModel, KvTypeFollowsTheWeights) {
  EXPECT_THAT(importedText(tinySpec(), {.dtype = llmrt::DType::kF32}),
              HasSubstr("!llm.kv<2x6xf32>"));
  EXPECT_THAT(
      importedText(tinySpec(), {.dtype = llmrt::DType::kF32, .kvDtype = llmrt::DType::kBF16}),
      HasSubstr("!llm.kv<2x6xbf16>"));
}

// Layers 0, 1, 2 and 3 of a file whose v_proj and down_proj take turns, as llama.cpp's Q4_K_M.
ModelSpec mixedSpec() {
  ModelSpec spec = tinySpec();
  spec.num_layers = 4;
  spec.tie_word_embeddings = true;
  const auto stored = [&](const std::string& name, const char* format) {
    spec.stored_formats.emplace(name + ".weight", llmrt::findWeightFormat(format));
  };
  stored("model.embed_tokens", "q8_0");
  for (int64_t layer = 0; layer < 4; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    const bool more = layer == 0 || layer == 3;
    for (const char* name : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.o_proj"})
      stored(prefix + name, "q4_k");
    stored(prefix + "self_attn.v_proj", more ? "q6_k" : "q4_k");
    stored(prefix + "mlp.gate_proj", "f16");
    stored(prefix + "mlp.down_proj", more ? "q6_k" : "q4_k");
  }
  return spec;
}

TEST(ImportModel, QuantisedWeightsKeepTheirFormatsAndLayersOfOthersAreTakenApart) {
  const std::string text = importedText(mixedSpec(), {.dtype = llmrt::DType::kBF16});
  const auto weight = [](const char* symbol, const char* kind, const char* source,
                         const char* rest) {
    return HasSubstr(std::string("llm.weight @") + symbol + " " + kind +
                     " \"model.layers.{layer}." + source + ".weight\" " + rest);
  };
  EXPECT_THAT(text, HasSubstr("@embed_tokens matrix \"model.embed_tokens.weight\" : "
                              "tensor<50x32x!llm.q<q8_0>>"));
  EXPECT_THAT(text, weight("v_proj", "matrix", "self_attn.v_proj",
                           ": tensor<1x12x32x!llm.q<q6_k>>"));
  EXPECT_THAT(text, weight("v_proj_1", "matrix", "self_attn.v_proj",
                           "first_layer 1 : tensor<2x12x32x!llm.q<q4_k>>"));
  EXPECT_THAT(text, weight("v_proj_3", "matrix", "self_attn.v_proj",
                           "first_layer 3 : tensor<1x12x32x!llm.q<q6_k>>"));
  // What does not change is cut with it, so that the weights of a layer can be packed together.
  EXPECT_THAT(text, weight("q_proj_1", "matrix", "self_attn.q_proj",
                           "first_layer 1 : tensor<2x24x32x!llm.q<q4_k>>"));
  // Plain weights: as they are stored where that is said, else as asked for.
  EXPECT_THAT(text, weight("gate_proj_3", "matrix", "mlp.gate_proj",
                           "first_layer 3 : tensor<1x48x32xf16>"));
  EXPECT_THAT(text, weight("up_proj", "matrix", "mlp.up_proj", ": tensor<1x48x32xbf16>"));
  EXPECT_THAT(text, weight("input_norm_3", "norm", "input_layernorm",
                           "first_layer 3 : tensor<1x32xbf16>"));
  EXPECT_THAT(text, HasSubstr("llm.layers %h = %y first 1 count 2 : "));
  EXPECT_THAT(text, HasSubstr("llm.layers %h = %y_0 first 3 count 1 : "));
  EXPECT_THAT(text, HasSubstr("%v_proj_3 = llm.linear %norm_2, @v_proj_3 : "));
  EXPECT_THAT(text, HasSubstr("llm.state @kv : !llm.kv<2x6xf16> layers 0:4"));
}

TEST(ImportModel, BoundsMustBePositive) {
  mlir::MLIRContext context;
  std::string message;
  mlir::ScopedDiagnosticHandler handler(&context, [&](mlir::Diagnostic& d) { message = d.str(); });
  EXPECT_FALSE(importModel(context, tinySpec(), {.maxSeqLen = 0}));
  EXPECT_EQ(message, "max_seq_len is 0: it must be positive");
}

}  // namespace
}  // namespace llmc
