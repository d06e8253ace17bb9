// What a state means to the evaluator: a cache of its own, in its layers, and what its window
// shows.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "mlir/Parser/Parser.h"
#include "tests/ir/Evaluator.h"

namespace llmc::test {
namespace {

using namespace llm;

// A layer with a window, then one without. @scheduled: its kernels name @a, and the second layer's
// phases give them @b.
constexpr const char* kModel = R"mlir(
llm.model @m architecture "x" hidden_size 8 intermediate_size 12 num_heads 4 num_kv_heads 2 head_dim 4
    num_layers 2 vocab_size 20 max_seq_len 64 max_batch 2 {
  llm.weight @embed_tokens matrix "e" : tensor<20x8xf32>
  llm.weight @norm norm "{layer}.n" : tensor<2x8xf32>
  llm.weight @q_proj matrix "{layer}.q" : tensor<2x16x8xf32>
  llm.weight @k_proj matrix "{layer}.k" : tensor<2x8x8xf32>
  llm.weight @v_proj matrix "{layer}.v" : tensor<2x8x8xf32>
  llm.weight @o_proj matrix "{layer}.o" : tensor<2x8x16xf32>
  llm.rope_table @rope [1.0, 0.25]
  llm.state @local : !llm.kv<2x4xf16> window 3 layers 0:1
  llm.state @global : !llm.kv<2x4xf32> layers 1:2
  llm.entry @two_states(%rows: !llm.rows) decode max_rows 16 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 1 : tensor<?x8xf32> {
      %q = llm.norm_qkv %h, %rows, @local norm @norm eps 1.0e-5 proj @q_proj, @k_proj, @v_proj rope @rope
        : tensor<?x8xf32> -> tensor<?x16xf32>
      %a = llm.attention %q, %rows, @local scale 0.5 : tensor<?x16xf32> -> tensor<?x16xf32>
      %z = llm.linear_residual %a, %h, @o_proj : tensor<?x16xf32> -> tensor<?x8xf32>
      llm.yield %z : tensor<?x8xf32>
    }
    %w = llm.layers %h = %y first 1 count 1 : tensor<?x8xf32> {
      %q = llm.norm_qkv %h, %rows, @global norm @norm eps 1.0e-5 proj @q_proj, @k_proj, @v_proj rope @rope
        : tensor<?x8xf32> -> tensor<?x16xf32>
      %a = llm.attention %q, %rows, @global scale 0.5 : tensor<?x16xf32> -> tensor<?x16xf32>
      %z = llm.linear_residual %a, %h, @o_proj : tensor<?x16xf32> -> tensor<?x8xf32>
      llm.yield %z : tensor<?x8xf32>
    }
    %l = llm.logits %w, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }

  llm.state @a : !llm.kv<2x4xf16> window 2 layers 0:1
  llm.state @b : !llm.kv<2x4xf16> window 2 layers 1:2
  llm.entry @equal_states(%rows: !llm.rows) decode max_rows 16 {
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 1 : tensor<?x8xf32> {
      llm.kv_write %h, %h, %rows, @a : tensor<?x8xf32>, tensor<?x8xf32>
      %z = llm.attention %h, %rows, @a scale 0.5 : tensor<?x8xf32> -> tensor<?x8xf32>
      llm.yield %z : tensor<?x8xf32>
    }
    %w = llm.layers %h = %y first 1 count 1 : tensor<?x8xf32> {
      llm.kv_write %h, %h, %rows, @b : tensor<?x8xf32>, tensor<?x8xf32>
      %z = llm.attention %h, %rows, @b scale 0.5 : tensor<?x8xf32> -> tensor<?x8xf32>
      llm.yield %z : tensor<?x8xf32>
    }
    %l = llm.logits %w, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
  llm.packed_weight @p_embed panels concat of [@embed_tokens] : f32
  llm.kernel @k_embed decode max_rows 16 row_strides [8] {
  ^bb0(%rows: !llm.rows):
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    llm.yield %x : tensor<?x8xf32>
  }
  llm.kernel @k_write decode max_rows 16 row_strides [8, 8] {
  ^bb0(%k: tensor<?x8xf32>, %v: tensor<?x8xf32>, %rows: !llm.rows):
    llm.kv_write %k, %v, %rows, @a : tensor<?x8xf32>, tensor<?x8xf32>
    llm.yield
  }
  llm.kernel @k_attention decode max_rows 16 row_strides [8, 8] {
  ^bb0(%q: tensor<?x8xf32>, %rows: !llm.rows):
    %y = llm.attention %q, %rows, @a scale 0.5 : tensor<?x8xf32> -> tensor<?x8xf32>
    llm.yield %y : tensor<?x8xf32>
  }
  llm.kernel @k_logits decode max_rows 16 row_strides [8, 20] {
  ^bb0(%x: tensor<?x8xf32>, %rows: !llm.rows):
    %l = llm.logits %x, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.yield %l : tensor<?x20xf32>
  }
  llm.schedule @scheduled decode max_rows 16 max_logits_rows 16 arena_bytes 2304 logits @logits {
    llm.buffer @x offset 0 rows 16 width 8 row_stride 8
    llm.buffer @y offset 512 rows 16 width 8 row_stride 8
    llm.buffer @logits offset 1024 rows 16 width 20 row_stride 20
    llm.phase @k_embed tiles 1 rows_per_tile 1
      [#llm.operand<read input @token_id>, #llm.operand<read weights @p_embed>, #llm.operand<write arena @x>]
    llm.repeat first_layer 0 num_layers 1 {
      llm.phase @k_write tiles 1 rows_per_tile 1
        [#llm.operand<read arena @x>, #llm.operand<read arena @x>, #llm.operand<read input @pos>,
         #llm.operand<read input @seq>, #llm.operand<read block_table @a>, #llm.operand<write keys @a>,
         #llm.operand<write values @a>]
      llm.phase @k_attention tiles 2 rows_per_tile 1
        [#llm.operand<read arena @x>, #llm.operand<read input @pos>, #llm.operand<read input @seq>,
         #llm.operand<read block_table @a>, #llm.operand<read keys @a>, #llm.operand<read values @a>,
         #llm.operand<write arena @y>]
    }
    llm.repeat first_layer 1 num_layers 1 {
      llm.phase @k_write tiles 1 rows_per_tile 1
        [#llm.operand<read arena @y>, #llm.operand<read arena @y>, #llm.operand<read input @pos>,
         #llm.operand<read input @seq>, #llm.operand<read block_table @b>, #llm.operand<write keys @b>,
         #llm.operand<write values @b>]
      llm.phase @k_attention tiles 2 rows_per_tile 1
        [#llm.operand<read arena @y>, #llm.operand<read input @pos>, #llm.operand<read input @seq>,
         #llm.operand<read block_table @b>, #llm.operand<read keys @b>, #llm.operand<read values @b>,
         #llm.operand<write arena @x>]
    }
    llm.phase @k_logits tiles 1 rows_per_tile 0
      [#llm.operand<read arena @x>, #llm.operand<read weights @p_embed>, #llm.operand<read input @logits_rows>,
       #llm.operand<write arena @logits>]
  }
}
)mlir";

class States : public testing::Test {
 protected:
  void SetUp() override {
    context_.getOrLoadDialect<LLMDialect>();
    module_ = mlir::parseSourceString<mlir::ModuleOp>(kModel, &context_);
    ASSERT_TRUE(module_);
    model_ = *module_->getOps<ModelOp>().begin();
  }

  mlir::MLIRContext context_;
  mlir::OwningOpRef<mlir::ModuleOp> module_;
  ModelOp model_;
};

/// The prompt of sequence 0, ten tokens.
std::vector<Row> prompt() {
  std::vector<Row> rows;
  for (int32_t id : {3, 1, 4, 1, 5, 9, 2, 6, 5, 3})
    rows.push_back({id, static_cast<int32_t>(rows.size()), 0, true});
  return rows;
}

/// Attention of 4 heads of 4 over 2 KV heads to every token of the sequence, with what the row must
/// not see masked: scores of minus infinity.
Matrix maskedAttention(const Matrix& q, const KvState::Sequence& kv, int64_t window) {
  const auto tokens = static_cast<int64_t>(kv.keys.size()) / 8;
  Matrix y(q.rows, 16);
  for (int64_t row = 0; row < q.rows; ++row) {
    for (int64_t head = 0; head < 4; ++head) {
      std::vector<double> weights(tokens);
      double sum = 0;
      for (int64_t t = 0; t < tokens; ++t) {
        double score = 0;
        for (int64_t d = 0; d < 4; ++d)
          score += 0.5 * q.row(row)[head * 4 + d] * kv.keys[t * 8 + head / 2 * 4 + d];
        const bool masked = t > row || (window && t <= row - window);
        sum += weights[t] = std::exp(masked ? -std::numeric_limits<double>::infinity() : score);
      }
      for (int64_t d = 0; d < 4; ++d) {
        double value = 0;
        for (int64_t t = 0; t < tokens; ++t)
          value += weights[t] / sum * kv.values[t * 8 + head / 2 * 4 + d];
        y.row(row)[head * 4 + d] = static_cast<float>(value);
      }
    }
  }
  return y;
}

TEST_F(States, AWindowIsFullAttentionWithAMask) {
  Evaluator evaluator(model_, randomWeights(1));
  KvState kv;
  std::map<int64_t, Matrix> q, attention;  // of each layer
  evaluator.run("two_states", prompt(), kv,
                [&](mlir::Operation* op, int64_t layer, const Matrix& result) {
                  if (llvm::isa<NormQkvOp>(op)) q[layer] = result;
                  if (llvm::isa<AttentionOp>(op)) attention[layer] = result;
                });
  const Matrix local = maskedAttention(q.at(0), kv.at("local", 0, 0), 3);
  const Matrix global = maskedAttention(q.at(1), kv.at("global", 1, 0), 0);
  // Both sum in double, so they differ where a result is rounded to f32 at most.
  for (size_t i = 0; i < local.values.size(); ++i) {
    EXPECT_FLOAT_EQ(attention.at(0).values[i], local.values[i]) << i;
    EXPECT_FLOAT_EQ(attention.at(1).values[i], global.values[i]) << i;
  }
  // The window hides something: the last row differs from one that sees all.
  EXPECT_GT(std::abs(maskedAttention(q.at(0), kv.at("local", 0, 0), 0).row(9)[0] - local.row(9)[0]),
            1e-3);
}

TEST_F(States, EachHasACacheOfItsOwnTypeInItsLayers) {
  Evaluator evaluator(model_, randomWeights(2));
  KvState kv;
  evaluator.run("two_states", prompt(), kv);
  EXPECT_EQ(kv.at("local", 0, 0).keys.size(), 80u);
  EXPECT_EQ(kv.at("global", 1, 0).keys.size(), 80u);
  EXPECT_TRUE(kv.at("local", 1, 0).keys.empty());
  EXPECT_TRUE(kv.at("global", 0, 0).keys.empty());
  auto isF16 = [](float v) { return static_cast<float>(static_cast<_Float16>(v)) == v; };
  const std::vector<float>&f16 = kv.at("local", 0, 0).keys, &f32 = kv.at("global", 1, 0).keys;
  EXPECT_TRUE(std::all_of(f16.begin(), f16.end(), isF16));
  EXPECT_FALSE(std::all_of(f32.begin(), f32.end(), isF16));
}

TEST_F(States, PrefillEqualsDecodes) {
  Evaluator evaluator(model_, randomWeights(3));
  KvState whole, stepwise;
  const Matrix expected = evaluator.run("two_states", prompt(), whole);
  for (const Row& row : prompt()) {
    // A row of another sequence beside each.
    Matrix logits = evaluator.run("two_states", {{7, row.pos, 1, false}, row}, stepwise);
    ASSERT_EQ(logits.rows, 1);
    EXPECT_TRUE(std::equal(logits.row(0), logits.row(0) + 20, expected.row(row.pos)))
        << "position " << row.pos;
  }
}

TEST_F(States, AKernelServesTheStateThatItsPhaseNames) {
  Evaluator evaluator(model_, randomWeights(4));
  KvState a, b;
  const Matrix expected = evaluator.run("equal_states", prompt(), a);
  EXPECT_EQ(evaluator.run("scheduled", prompt(), b), expected);
  EXPECT_EQ(b.at("a", 0, 0).keys, a.at("a", 0, 0).keys);
  EXPECT_EQ(b.at("b", 1, 0).keys, a.at("b", 1, 0).keys);
  EXPECT_TRUE(b.at("a", 1, 0).keys.empty());
}

}  // namespace
}  // namespace llmc::test
