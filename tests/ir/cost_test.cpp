// Bytes, FLOPs and tiles of Mistral-7B against numbers worked out by hand: hidden_size 4096,
// intermediate_size 14336, 32 heads, 8 KV heads of 128, 32 layers, vocab_size 32000, weights and KV
// cache in bf16.
#include <gtest/gtest.h>

#include "frontend/Checkpoint.h"
#include "frontend/import/ImportModel.h"
#include "mlir/Parser/Parser.h"

namespace llmc {
namespace {

using namespace llm;

constexpr int64_t kQBytes = 33'554'432;        // 4096 * 4096 * 2
constexpr int64_t kKvBytes = 8'388'608;        // 1024 * 4096 * 2
constexpr int64_t kMlpBytes = 117'440'512;     // 14336 * 4096 * 2
constexpr int64_t kNormBytes = 16'384;         // 4096 * 4: norms are kept in f32
constexpr int64_t kLogitsBytes = 262'144'000;  // 32000 * 4096 * 2

class MistralCost : public ::testing::Test {
 protected:
  void SetUp() override {
    auto checkpoint = openCheckpoint(LLMC_MODELS_DIR "/mistral.json", {.no_weights = true});
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
    module_ = importModel(context_, checkpoint->spec, {});
    ASSERT_TRUE(module_);
    entry_ = llvm::cast<EntryOp>(
        mlir::SymbolTable::lookupSymbolIn(*module_->getOps<ModelOp>().begin(), "decode"));
  }

  /// The linear over `weight`, or the op that names it.
  KernelOpInterface user(llvm::StringRef weight) {
    KernelOpInterface found;
    entry_.walk([&](KernelOpInterface op) {
      auto symbol = op->getAttrOfType<mlir::FlatSymbolRefAttr>("weight");
      if (symbol && symbol.getValue() == weight) found = op;
    });
    return found;
  }
  template <typename Op>
  Op only() {
    Op found;
    entry_.walk([&](Op op) { found = op; });
    return found;
  }

  mlir::MLIRContext context_;
  mlir::OwningOpRef<mlir::ModuleOp> module_;
  EntryOp entry_;
};

TEST_F(MistralCost, LinearReadsItsMatrixOnceAndMultipliesTwiceItsElementsPerRow) {
  EXPECT_EQ(user("q_proj").getCost().weightBytes, kQBytes);
  EXPECT_EQ(user("q_proj").getCost().flopsPerRow, 33'554'432);  // 2 * 4096 * 4096
  EXPECT_EQ(user("k_proj").getCost().weightBytes, kKvBytes);
  EXPECT_EQ(user("down_proj").getCost().weightBytes, kMlpBytes);
  EXPECT_EQ(user("down_proj").getCost().flopsPerRow, 117'440'512);
  EXPECT_EQ(user("lm_head").getCost().weightBytes, kLogitsBytes);
}

TEST_F(MistralCost, NormsAreCountedInF32AndEmbedReadsOneRow) {
  EXPECT_EQ(user("input_norm").getCost().weightBytes, kNormBytes);
  EXPECT_EQ(user("embed_tokens").getCost().weightBytes, 8192);  // 4096 * 2
}

TEST_F(MistralCost, AttentionReadsKeysAndValuesOfEveryToken) {
  Cost cost = only<AttentionOp>().getCost();
  EXPECT_EQ(cost.weightBytes, 0);
  EXPECT_EQ(cost.kvBytesPerToken, 4096);        // 2 * 8 * 128 * 2
  EXPECT_EQ(cost.flopsPerRowPerToken, 16'384);  // q k^T and p v: 2 * 2 * 32 * 128
}

TEST_F(MistralCost, AttentionReadsNoMoreThanTheWindowOfItsState) {
  EXPECT_EQ(only<AttentionOp>().getCost().window, 0);  // max_seq_len is not above it
  lookupState(only<AttentionOp>(), only<AttentionOp>().getStateAttr()).setWindow(1024);
  EXPECT_EQ(only<AttentionOp>().getCost().window, 1024);
}

// 33 outputs of 70 columns: three blocks of 32 quants and a scale of two bytes each.
TEST(Cost, AWeightInBlocksIsReadWithItsScales) {
  mlir::MLIRContext context;
  context.loadDialect<LLMDialect>();
  auto module = mlir::parseSourceString<mlir::ModuleOp>(R"(
    llm.model @m architecture "llama" hidden_size 70 intermediate_size 64 num_heads 4
        num_kv_heads 2 head_dim 16 num_layers 1 vocab_size 33 max_seq_len 256 max_batch 1 {
      llm.weight @w matrix "w" : tensor<33x70x!llm.q<q8_0>>
      llm.kernel @k decode max_rows 8 row_strides [80, 48] {
      ^bb0(%x: tensor<?x70xf32>):
        %y = llm.linear %x, @w : tensor<?x70xf32> -> tensor<?x33xf32>
        llm.yield %y : tensor<?x33xf32>
      }
    })",
                                                        &context);
  ASSERT_TRUE(module);
  ModelOp model = *module->getOps<ModelOp>().begin();
  const Cost cost = (*model.getOps<KernelOp>().begin()).getComputeOp().getCost();
  EXPECT_EQ(cost.weightBytes, 33 * (3 * 32 + 3 * 2));
  EXPECT_EQ(cost.flopsPerRow, 2 * 33 * 70);
}

TEST_F(MistralCost, ALayerAddsUp) {
  int64_t bytes = 0;
  only<LayersOp>().walk([&](KernelOpInterface op) { bytes += op.getCost().weightBytes; });
  EXPECT_EQ(bytes, 436'240'384);  // 2 q + 2 kv + 3 mlp + 2 norms
}

TEST_F(MistralCost, TilesCoverPanelsHeadsOrRows) {
  EXPECT_EQ(user("q_proj").getTiling(StepKind::decode).tiles, 64);  // 4096 / 16 / 4
  EXPECT_EQ(user("q_proj").getTiling(StepKind::decode).rowsPerTile, 0);
  EXPECT_EQ(user("input_norm").getTiling(StepKind::decode).tiles, 1);
  EXPECT_EQ(user("input_norm").getTiling(StepKind::decode).rowsPerTile, 1);
  EXPECT_EQ(only<AttentionOp>().getTiling(StepKind::decode).tiles, 8);
  EXPECT_EQ(only<AttentionOp>().getTiling(StepKind::decode).rowsPerTile, 1);
  EXPECT_EQ(only<AttentionOp>().getTiling(StepKind::prefill).rowsPerTile, 16);
}

TEST_F(MistralCost, FusedOpsCostWhatTheyHold) {
  auto layers = only<LayersOp>();
  mlir::OpBuilder builder(layers.getBody().front().getTerminator());
  auto symbol = [&](llvm::StringRef name) { return mlir::FlatSymbolRefAttr::get(&context_, name); };
  auto eps = builder.getF64FloatAttr(1e-5);
  mlir::Value h = layers.getIterArg();
  auto qkv =
      NormQkvOp::create(builder, layers.getLoc(), h.getType(), h, entry_.getRows(),
                        only<AttentionOp>().getStateAttr(), symbol("input_norm"), nullptr, nullptr,
                        eps, symbol("q_proj"), symbol("k_proj"), symbol("v_proj"), nullptr, nullptr,
                        nullptr, nullptr, nullptr, nullptr, nullptr, symbol("rope"));
  EXPECT_EQ(qkv.getCost().weightBytes, kQBytes + 2 * kKvBytes + kNormBytes);
  EXPECT_EQ(qkv.getCost().flopsPerRow, 50'331'648);      // 2 * 4096 * (4096 + 1024 + 1024)
  EXPECT_EQ(qkv.getTiling(StepKind::decode).tiles, 48);  // a head of q, k or v each

  auto rows = [&](int64_t n) {
    return mlir::RankedTensorType::get({mlir::ShapedType::kDynamic, n}, builder.getF32Type());
  };
  auto glu =
      NormGluOp::create(builder, layers.getLoc(), rows(14336), h, symbol("post_attention_norm"),
                        nullptr, nullptr, eps, symbol("gate_proj"), symbol("up_proj"), nullptr,
                        nullptr, ActivationKindAttr::get(&context_, ActivationKind::silu));
  EXPECT_EQ(glu.getCost().weightBytes, 2 * kMlpBytes + kNormBytes);
  EXPECT_EQ(glu.getTiling(StepKind::decode).tiles, 448);  // 2 * 14336 / 16 / 4

  auto residual =
      LinearResidualOp::create(builder, layers.getLoc(), h.getType(), glu.getY(), h,
                               symbol("down_proj"), nullptr, builder.getF64FloatAttr(1.0));
  EXPECT_EQ(residual.getCost().weightBytes, kMlpBytes);
  EXPECT_TRUE(user("lm_head").onLogitsRows());
  EXPECT_FALSE(qkv.onLogitsRows());
}

}  // namespace
}  // namespace llmc
