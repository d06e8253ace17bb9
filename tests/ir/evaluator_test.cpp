// The oracle itself: each op on numbers worked out by hand, fused against primitive, and a trained
// model end to end.
#include "tests/ir/Evaluator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "frontend/Checkpoint.h"
#include "frontend/import/ImportModel.h"
#include "mlir/Parser/Parser.h"
#include "models/Rope.h"
#include "runtime/io/float_convert.h"
#include "runtime/io/tensor_source.h"
#include "tests/ir/Int8Product.h"

namespace llmc::test {
namespace {

using namespace llm;

// Everything an entry can say, in primitive ops and fused: two layers, grouped queries, biases, a
// window.
constexpr const char* kModel = R"mlir(
llm.model @m architecture "llama" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4
    num_layers 2 vocab_size 20 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @input_norm norm "{layer}.n" : tensor<2x8xf32>
  llm.weight @q_proj matrix "{layer}.q" : tensor<2x16x8xf32>
  llm.weight @k_proj matrix "{layer}.k" : tensor<2x8x8xf32>
  llm.weight @v_proj matrix "{layer}.v" : tensor<2x8x8xf32>
  llm.weight @q_bias bias "{layer}.qb" : tensor<2x16xf32>
  llm.weight @k_bias bias "{layer}.kb" : tensor<2x8xf32>
  llm.weight @v_bias bias "{layer}.vb" : tensor<2x8xf32>
  llm.weight @o_proj matrix "{layer}.o" : tensor<2x8x16xf32>
  llm.weight @o_bias bias "{layer}.ob" : tensor<2x8xf32>
  llm.weight @post_attention_norm norm "{layer}.pn" : tensor<2x8xf32>
  llm.weight @gate_proj matrix "{layer}.g" : tensor<2x12x8xf32>
  llm.weight @up_proj matrix "{layer}.u" : tensor<2x12x8xf32>
  llm.weight @gate_bias bias "{layer}.gb" : tensor<2x12xf32>
  llm.weight @up_bias bias "{layer}.ub" : tensor<2x12xf32>
  llm.weight @down_proj matrix "{layer}.d" : tensor<2x8x12xf32>
  llm.weight @norm norm "n" : tensor<8xf32>
  llm.rope_table @rope [1.0, 0.25]
  llm.state @kv : !llm.kv<2x4xf16> window 5 layers 0:2
  llm.entry @primitive(%rows: !llm.rows) decode max_rows 16 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x8xf32> {
      %n = llm.rms_norm %h, @input_norm eps 1.0e-5 : tensor<?x8xf32>
      %q0 = llm.linear %n, @q_proj : tensor<?x8xf32> -> tensor<?x16xf32>
      %q1 = llm.bias %q0, @q_bias : tensor<?x16xf32>
      %q2 = llm.rope %q1, %rows, @rope head_dim 4 : tensor<?x16xf32>
      %k0 = llm.linear %n, @k_proj : tensor<?x8xf32> -> tensor<?x8xf32>
      %k1 = llm.bias %k0, @k_bias : tensor<?x8xf32>
      %k2 = llm.rope %k1, %rows, @rope head_dim 4 : tensor<?x8xf32>
      %v0 = llm.linear %n, @v_proj : tensor<?x8xf32> -> tensor<?x8xf32>
      %v1 = llm.bias %v0, @v_bias : tensor<?x8xf32>
      llm.kv_write %k2, %v1, %rows, @kv : tensor<?x8xf32>, tensor<?x8xf32>
      %a = llm.attention %q2, %rows, @kv scale 0.5 : tensor<?x16xf32> -> tensor<?x16xf32>
      %o0 = llm.linear %a, @o_proj : tensor<?x16xf32> -> tensor<?x8xf32>
      %o1 = llm.bias %o0, @o_bias : tensor<?x8xf32>
      %r = llm.add %h, %o1 : tensor<?x8xf32>
      %p = llm.rms_norm %r, @post_attention_norm eps 1.0e-5 : tensor<?x8xf32>
      %g0 = llm.linear %p, @gate_proj : tensor<?x8xf32> -> tensor<?x12xf32>
      %g1 = llm.bias %g0, @gate_bias : tensor<?x12xf32>
      %g2 = llm.activation %g1 gelu_tanh : tensor<?x12xf32>
      %u0 = llm.linear %p, @up_proj : tensor<?x8xf32> -> tensor<?x12xf32>
      %u1 = llm.bias %u0, @up_bias : tensor<?x12xf32>
      %m = llm.mul %g2, %u1 : tensor<?x12xf32>
      %d = llm.linear %m, @down_proj : tensor<?x12xf32> -> tensor<?x8xf32>
      %z = llm.add %d, %r : tensor<?x8xf32>
      llm.yield %z : tensor<?x8xf32>
    }
    %e = llm.rms_norm %y, @norm eps 1.0e-5 : tensor<?x8xf32>
    %l = llm.logits %e, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
  llm.entry @fused(%rows: !llm.rows) decode max_rows 16 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 2 : tensor<?x8xf32> {
      %q = llm.norm_qkv %h, %rows, @kv norm @input_norm eps 1.0e-5 proj @q_proj, @k_proj, @v_proj
        bias @q_bias, @k_bias, @v_bias rope @rope : tensor<?x8xf32> -> tensor<?x16xf32>
      %a = llm.attention %q, %rows, @kv scale 0.5 : tensor<?x16xf32> -> tensor<?x16xf32>
      %r = llm.linear_residual %a, %h, @o_proj bias @o_bias : tensor<?x16xf32> -> tensor<?x8xf32>
      %g = llm.norm_glu %r norm @post_attention_norm eps 1.0e-5 proj @gate_proj, @up_proj
        bias @gate_bias, @up_bias gelu_tanh : tensor<?x8xf32> -> tensor<?x12xf32>
      %z = llm.linear_residual %g, %r, @down_proj : tensor<?x12xf32> -> tensor<?x8xf32>
      llm.yield %z : tensor<?x8xf32>
    }
    %l = llm.norm_logits %y, %rows norm @norm eps 1.0e-5, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
  llm.packed_weight @p_embed panels concat of [@embed_tokens] : f32
  llm.weight @other_norm norm "o" : tensor<8xf32>
  llm.packed_weight @p_norm rows concat of [@norm] : f32
  llm.kernel @k_embed decode max_rows 16 row_strides [16] {
  ^bb0(%rows: !llm.rows):
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    llm.yield %x : tensor<?x8xf32>
  }
  llm.kernel @k_logits decode max_rows 16 row_strides [16, 20] {
  ^bb0(%x: tensor<?x8xf32>, %rows: !llm.rows):
    %l = llm.norm_logits %x, %rows norm @other_norm eps 1.0e-5, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.yield %l : tensor<?x20xf32>
  }
  llm.schedule @scheduled decode max_rows 16 max_logits_rows 2 arena_bytes 1280 logits @logits {
    llm.buffer @x offset 0 rows 16 width 8 row_stride 16
    llm.buffer @logits offset 1024 rows 2 width 20 row_stride 20
    llm.phase @k_embed tiles 1 rows_per_tile 1
      [#llm.operand<read input @token_id>, #llm.operand<read weights @p_embed>, #llm.operand<write arena @x>]
    llm.phase @k_logits tiles 1 rows_per_tile 0
      [#llm.operand<read arena @x>, #llm.operand<read weights @p_norm>, #llm.operand<read weights @p_embed>,
       #llm.operand<read input @logits_rows>, #llm.operand<write arena @logits>]
  }
  llm.entry @no_layers(%rows: !llm.rows) decode max_rows 16 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %l = llm.norm_logits %x, %rows norm @norm eps 1.0e-5, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
}
)mlir";

class EvaluatorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    context_.getOrLoadDialect<LLMDialect>();
    module_ = mlir::parseSourceString<mlir::ModuleOp>(kModel, &context_);
    ASSERT_TRUE(module_);
    model_ = *module_->getOps<ModelOp>().begin();
  }
  /// The first op of this kind in entry `entry`.
  template <typename Op>
  Op first(llvm::StringRef entry = "primitive") {
    Op found;
    mlir::SymbolTable::lookupSymbolIn(model_, entry)->walk([&](Op op) {
      if (!found) found = op;
    });
    return found;
  }
  static std::vector<Row> rowsOf(std::vector<int32_t> ids, int32_t begin, int32_t seq = 0) {
    std::vector<Row> rows;
    for (int32_t id : ids) rows.push_back({id, begin++, seq, true});
    return rows;
  }

  mlir::MLIRContext context_;
  mlir::OwningOpRef<mlir::ModuleOp> module_;
  ModelOp model_;
};

const std::vector<int32_t> kIds = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3};

TEST_F(EvaluatorTest, FusedOpsGiveTheBitsOfTheirParts) {
  for (Accumulate accumulate : {Accumulate::kFloat, Accumulate::kDouble}) {
    Evaluator evaluator(model_, randomWeights(1), accumulate);
    KvState a, b;
    Matrix primitive = evaluator.run("primitive", rowsOf(kIds, 0), a);
    EXPECT_EQ(primitive.rows, 10);
    EXPECT_EQ(primitive.cols, 20);
    EXPECT_EQ(primitive, evaluator.run("fused", rowsOf(kIds, 0), b));
    EXPECT_EQ(a.at("kv", 1, 0).keys, b.at("kv", 1, 0).keys);
  }
}

TEST_F(EvaluatorTest, PrefillEqualsDecodesAndSequencesDoNotMix) {
  Evaluator evaluator(model_, randomWeights(2));
  KvState whole, stepwise;
  Matrix expected = evaluator.run("primitive", rowsOf(kIds, 0), whole);
  for (size_t i = 0; i < kIds.size(); ++i) {
    // A row of another sequence beside each.
    std::vector<Row> rows = {{7, static_cast<int32_t>(i), 1, false},
                             {kIds[i], static_cast<int32_t>(i), 0, true}};
    Matrix logits = evaluator.run("primitive", rows, stepwise);
    ASSERT_EQ(logits.rows, 1);
    EXPECT_TRUE(std::equal(logits.row(0), logits.row(0) + 20, expected.row(i))) << "position " << i;
  }
}

TEST_F(EvaluatorTest, SumsInFloatAndDoubleAgree) {
  KvState a, b;
  Matrix f =
      Evaluator(model_, randomWeights(3), Accumulate::kFloat).run("primitive", rowsOf(kIds, 0), a);
  Matrix d =
      Evaluator(model_, randomWeights(3), Accumulate::kDouble).run("primitive", rowsOf(kIds, 0), b);
  // Sums of at most 16 terms of size 1 in f32, through about 30 ops; the cache rounds to f16 on
  // both sides, and a value that falls on the other side of a tie moves by 2^-11.
  for (size_t i = 0; i < f.values.size(); ++i) EXPECT_NEAR(f.values[i], d.values[i], 1e-3) << i;
  EXPECT_NE(f, d);
}

// @k_logits names @other_norm; its phase has @norm, and that is what counts.
TEST_F(EvaluatorTest, AScheduleRunsItsPhasesInTheArena) {
  Evaluator evaluator(model_, randomWeights(4));
  std::vector<Row> rows = rowsOf({3, 1, 4}, 0);
  rows[1].wanted = false;
  KvState kv;
  Matrix expected = evaluator.run("no_layers", rows, kv);
  EXPECT_EQ(expected.rows, 2);
  EXPECT_EQ(evaluator.run("scheduled", rows, kv), expected);
  rows[1].wanted = true;
  EXPECT_THROW(evaluator.run("scheduled", rows, kv), std::invalid_argument);
}

TEST_F(EvaluatorTest, RmsNormByHand) {
  Evaluator evaluator(model_,
                      [](WeightOp, int64_t) { return std::vector<float>{1, 1, 1, 1, 2, 2, 2, 2}; });
  Matrix x(1, 8);
  x.values = {3, -3, 3, -3, 3, -3, 3, -3};  // mean square 9
  KvState kv;
  Matrix y = evaluator.evaluateOp(first<RmsNormOp>(), {x}, {Row{}}, kv, 0);
  EXPECT_FLOAT_EQ(y.values[0], 3 / std::sqrt(9 + 1e-5));
  EXPECT_FLOAT_EQ(y.values[5], -6 / std::sqrt(9 + 1e-5));
}

TEST_F(EvaluatorTest, RopeRotatesHalvesOfAHead) {
  Evaluator evaluator(model_, randomWeights(5));
  Matrix x(2, 16);
  for (int64_t r = 0; r < 2; ++r) x.row(r)[4] = 1;  // head 1, dimension 0: paired with 2
  KvState kv;
  Matrix y = evaluator.evaluateOp(first<RopeOp>(), {x}, {Row{0, 0}, Row{0, 3}}, kv, 0);
  EXPECT_EQ(y.row(0)[4], 1);
  EXPECT_EQ(y.row(0)[6], 0);
  EXPECT_FLOAT_EQ(y.row(1)[4], std::cos(3.0));  // inv_freq[0] is 1
  EXPECT_FLOAT_EQ(y.row(1)[6], std::sin(3.0));
}

TEST_F(EvaluatorTest, AttentionAveragesWhatTheWindowShows) {
  Evaluator evaluator(model_, randomWeights(6));
  KvState kv;
  std::vector<Row> rows = rowsOf({0, 0, 0, 0, 0, 0, 0}, 0);
  Matrix keys(7, 8), values(7, 8), q(7, 16);  // keys and queries are zero: equal weights
  for (int64_t t = 0; t < 7; ++t) values.row(t)[4] = static_cast<float>(t);  // KV head 1
  evaluator.evaluateOp(first<KvWriteOp>(), {keys, values}, rows, kv, 0);
  Matrix y = evaluator.evaluateOp(first<AttentionOp>(), {q}, rows, kv, 0);
  EXPECT_FLOAT_EQ(y.row(3)[8], 1.5);  // 0..3; query heads 2 and 3 read KV head 1
  EXPECT_FLOAT_EQ(y.row(3)[12], 1.5);
  EXPECT_FLOAT_EQ(y.row(3)[0], 0);
  EXPECT_FLOAT_EQ(y.row(6)[8], 4);  // window 5: 2..6
}

TEST_F(EvaluatorTest, TheCacheRoundsToItsType) {
  Evaluator evaluator(model_, randomWeights(7));
  KvState kv;
  Matrix k(1, 8), v(1, 8);
  k.values[0] = 1.0f + 0x1p-13f;  // f16 has 10 bits
  v.values[0] = 1.0f + 0x1p-10f;
  evaluator.evaluateOp(first<KvWriteOp>(), {k, v}, {Row{}}, kv, 1);
  EXPECT_EQ(kv.at("kv", 1, 0).keys[0], 1.0f);
  EXPECT_EQ(kv.at("kv", 1, 0).values[0], 1.0f + 0x1p-10f);
  EXPECT_TRUE(kv.at("kv", 0, 0).keys.empty());
}

TEST_F(EvaluatorTest, ActivationsByHand) {
  Evaluator evaluator(model_, randomWeights(8));
  KvState kv;
  auto value = [&](ActivationKind kind, float x) {
    auto op = first<ActivationOp>();
    op.setKind(kind);
    Matrix m(1, 12);
    m.values[0] = x;
    return evaluator.evaluateOp(op, {m}, {Row{}}, kv, 0).values[0];
  };
  EXPECT_FLOAT_EQ(value(ActivationKind::silu, 1), 0.7310586f);
  EXPECT_FLOAT_EQ(value(ActivationKind::gelu, 1), 0.8413447f);
  EXPECT_FLOAT_EQ(value(ActivationKind::gelu_tanh, 1), 0.8411920f);
  EXPECT_FLOAT_EQ(value(ActivationKind::relu, -1), 0);
}

/// Stores a scale or a minimum.
void storeHalf(StoredQuants& w, llmrt::PlaneRole role, float v) {
  const int p = w.format->plane(role);
  llmrt::storeFromF32(w.format->planes[p].dtype, w.at(p, 0, 0), 0, v);
}

TEST(Int8ProductTest, ByHand) {
  // The largest becomes 127, a half of it 63.5 and so 64, the even one; x_scale is 2 / 127.
  std::vector<float> x(256, 0.0f);
  x[0] = 2;
  x[1] = -1;
  const Int8Row row({x.data(), 2}, 32);
  EXPECT_EQ(row.q[0], 127);
  EXPECT_EQ(row.q[1], -64);
  EXPECT_EQ(row.scales, std::vector<float>{2.0f / 127});

  // Quants 3 and 5 at 0.5, minimum -0.25: 0.5 (3 * 127 - 5 * 64) - 0.25 (127 - 64), times 2 / 127.
  StoredQuants plain(*llmrt::findWeightFormat("q4_1"), 1, 2);
  plain.at(0, 0, 0)[0] = 3;
  plain.at(0, 0, 0)[1] = 5;
  storeHalf(plain, llmrt::PlaneRole::kScales, 0.5f);
  storeHalf(plain, llmrt::PlaneRole::kMins, -0.25f);
  EXPECT_NEAR(int8Product(plain, 0, row), (61 - 31.5) / 127, 1e-6);

  // The second value in a sub-block of its own, sub-scales 3 and 2, sub-minimums 4 and 1:
  // 0.5 (3 * 3 * 127 - 2 * 5 * 64) - 0.25 (4 * 127 - 64), times 2 / 127.
  std::swap(x[1], x[32]);
  StoredQuants nested(*llmrt::findWeightFormat("q4_k"), 1, 256);
  nested.at(0, 0, 0)[0] = 3;
  nested.at(0, 0, 0)[16] = 5;
  nested.at(1, 0, 0)[0] = 3;
  nested.at(1, 0, 0)[1] = 2;
  nested.at(2, 0, 0)[0] = 4;
  nested.at(2, 0, 0)[1] = 1;
  storeHalf(nested, llmrt::PlaneRole::kScales, 0.5f);
  storeHalf(nested, llmrt::PlaneRole::kMins, -0.25f);
  EXPECT_NEAR(int8Product(nested, 0, Int8Row(x, 256)), (503 - 222) / 127.0, 1e-6);
}

TEST_F(EvaluatorTest, MisuseIsAnException) {
  Evaluator evaluator(model_, randomWeights(9));
  KvState kv;
  EXPECT_THROW(evaluator.run("missing", rowsOf({1}, 0), kv), std::invalid_argument);
  EXPECT_THROW(evaluator.run("primitive", {}, kv), std::invalid_argument);
  EXPECT_THROW(evaluator.run("primitive", rowsOf({20}, 0), kv), std::invalid_argument);
  EXPECT_THROW(evaluator.evaluateOp(first<AttentionOp>(), {Matrix(1, 16)}, {Row{}}, kv, 0),
               std::invalid_argument);
  EXPECT_THROW(evaluator.evaluateOp(first<AttentionOp>(), {Matrix(1, 8)}, {Row{}}, kv, 0),
               std::invalid_argument);
  // Positions 1 to 4 were never written.
  EXPECT_TRUE(std::isnan(evaluator.run("primitive", rowsOf({1}, 5), kv).values[0]));
}

// A trained model: the IR's meaning is the model's, before any code is generated.
class TinyStories : public ::testing::TestWithParam<const char*> {};

TEST_P(TinyStories, GreedyIdsAndLogitsEqualTheGoldenOnes) {
  const std::string directory = std::string(LLMC_MATERIAL_DIR) + "/weights/TinyStories-656K-bf16";
  if (!std::filesystem::exists(directory)) GTEST_SKIP() << "no test material at " << directory;
  auto golden = nlohmann::json::parse(std::ifstream(directory + "/golden/" + GetParam()));
  auto checkpoint = openCheckpoint(directory);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();

  mlir::MLIRContext context;
  auto module =
      importModel(context, checkpoint->spec, {.maxSeqLen = 512, .dtype = llmrt::DType::kF32});
  ASSERT_TRUE(module);
  auto weights = [&](WeightOp weight, int64_t layer) {
    std::string name = weight.getSource().str();
    if (weight.isPerLayer()) name.replace(name.find("{layer}"), 7, std::to_string(layer));
    std::vector<float> values;
    auto tensor = checkpoint->weights->find(name);
    if (!tensor.ok() || !*tensor) return values;
    const llmrt::Tensor& t = **tensor;
    values.resize(t.bytes / llmrt::dtypeBytes(t.dtype));
    for (size_t i = 0; i < values.size(); ++i) values[i] = llmrt::loadAsF32(t.dtype, t.data, i);
    return values;
  };
  Evaluator evaluator(*module->getOps<ModelOp>().begin(), weights);

  KvState kv;
  std::vector<Row> rows;
  int32_t pos = 0;
  for (int32_t id : golden["prompt_ids"]) rows.push_back({id, pos++, 0, false});
  rows.back().wanted = true;
  double worst = 0;
  for (size_t step = 0; step < 12; ++step) {
    Matrix logits = evaluator.run(step == 0 ? "prefill" : "decode", rows, kv);
    ASSERT_EQ(logits.rows, 1);
    if (step < golden["first5_top5_logits"].size())
      for (const auto& [id, value] :
           golden["first5_top5_logits"][step].get<std::vector<std::pair<int, double>>>())
        worst = std::max(worst, std::abs(logits.values[id] - value));
    auto best = std::max_element(logits.values.begin(), logits.values.end());
    int32_t id = static_cast<int32_t>(best - logits.values.begin());
    ASSERT_EQ(id, golden["generated_ids"][step].get<int32_t>()) << "step " << step;
    rows = {{id, pos++, 0, true}};
  }
  // The golden logits (up to 18) are printed with six decimals; ours round to f32 after each of
  // some 20 ops in sequence, each time by at most 2^-24 of values of that size: 20 * 18 * 2^-24 =
  // 2e-5.
  EXPECT_LT(worst, 3e-5);
}

INSTANTIATE_TEST_SUITE_P(Goldens, TinyStories, ::testing::Values("greedy_1.json", "greedy_2.json"),
                         [](const auto& info) { return std::string(info.param).substr(0, 8); });

}  // namespace
}  // namespace llmc::test
