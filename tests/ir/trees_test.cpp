// What steps over trees of tokens mean to the evaluator: each row of a verify step is the last of
// its branch decoded alone, and a commit step leaves the cache that decoding the branch leaves.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <stdexcept>

#include "mlir/Parser/Parser.h"
#include "tests/ir/Evaluator.h"

namespace llmc::test {
namespace {

using namespace llm;
using testing::HasSubstr;
using testing::ThrowsMessage;

std::string layers() {
  return R"mlir(
    %x = llm.embed %rows, @embed_tokens : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 1 : tensor<?x8xf32> {
      %q = llm.norm_qkv %h, %rows, @local norm @norm eps 1.0e-5 proj @q_proj, @k_proj, @v_proj rope @rope
        : tensor<?x8xf32> -> tensor<?x16xf32>
      %a = llm.attention %q, %rows, @local scale 0.5 : tensor<?x16xf32> -> tensor<?x16xf32>
      %z = llm.linear_residual %a, %h, @o_proj : tensor<?x16xf32> -> tensor<?x8xf32>
      llm.yield %z : tensor<?x8xf32>
    }
    %w = llm.layers %h = %y first 1 count 1 : tensor<?x8xf32> {
      %q = llm.linear %h, @q_proj : tensor<?x8xf32> -> tensor<?x16xf32>
      %k = llm.linear %h, @k_proj : tensor<?x8xf32> -> tensor<?x8xf32>
      %r = llm.rope %k, %rows, @rope head_dim 4 : tensor<?x8xf32>
      llm.kv_write %r, %k, %rows, @global : tensor<?x8xf32>, tensor<?x8xf32>
      %a = llm.attention %q, %rows, @global scale 0.5 : tensor<?x16xf32> -> tensor<?x16xf32>
      %z = llm.linear_residual %a, %h, @o_proj : tensor<?x16xf32> -> tensor<?x8xf32>
      llm.yield %z : tensor<?x8xf32>
    }
    %l = llm.logits %w, %rows, @embed_tokens : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %l : tensor<?x20xf32>
  }
)mlir";
}

std::string model() {
  return R"mlir(
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
  llm.entry @decode(%rows: !llm.rows) decode max_rows 16 {)mlir" +
         layers() + "llm.entry @verify(%rows: !llm.rows) verify max_rows 64 {" + layers() + R"mlir(
  llm.entry @commit(%rows: !llm.rows) commit max_rows 64 {
    llm.layers first 0 count 1 {
      llm.kv_move %rows, @local
      llm.yield
    }
    llm.layers first 1 count 1 {
      llm.kv_move %rows, @global
      llm.yield
    }
    llm.return
  }
  llm.kernel @k_local commit max_rows 64 row_strides [] {
  ^bb0(%rows: !llm.rows):
    llm.kv_move %rows, @local
    llm.yield
  }
  llm.kernel @k_global commit max_rows 64 row_strides [] {
  ^bb0(%rows: !llm.rows):
    llm.kv_move %rows, @global
    llm.yield
  }
  llm.schedule @scheduled_commit commit max_rows 64 max_logits_rows 0 arena_bytes 0 {
    llm.repeat first_layer 0 num_layers 1 {
      llm.phase @k_local tiles 2 rows_per_tile 0
        [#llm.operand<read input @pos>, #llm.operand<read input @slot>, #llm.operand<read input @seq>,
         #llm.operand<read block_table @local>, #llm.operand<read_write keys @local>,
         #llm.operand<read_write values @local>]
    }
    llm.repeat first_layer 1 num_layers 1 {
      llm.phase @k_global tiles 2 rows_per_tile 0
        [#llm.operand<read input @pos>, #llm.operand<read input @slot>, #llm.operand<read input @seq>,
         #llm.operand<read block_table @global>, #llm.operand<read_write keys @global>,
         #llm.operand<read_write values @global>]
    }
  }
}
)mlir";
}

// Token and parent of each row; two roots, branches that leave at several depths.
constexpr std::pair<int32_t, int32_t> kTree[] = {{4, -1}, {7, -1}, {9, 0}, {2, 0},
                                                 {5, 2},  {8, 1},  {3, 4}, {6, 2}};

class Trees : public testing::Test {
 protected:
  void SetUp() override {
    context_.getOrLoadDialect<LLMDialect>();
    module_ = mlir::parseSourceString<mlir::ModuleOp>(model(), &context_);
    ASSERT_TRUE(module_);
    evaluator_.emplace(*module_->getOps<ModelOp>().begin(), randomWeights(5));
  }

  /// Sequence `seq` of `length` tokens, decoded.
  void decodePrefix(KvState& kv, int32_t seq, int32_t length) {
    for (int32_t pos = 0; pos < length; ++pos)
      evaluator_->run("decode", {{(seq + 3 * pos) % 20, pos, seq}}, kv);
  }

  /// kTree as rows of sequence `seq`, which has `length` tokens; `first`: its first row in the
  /// step.
  static std::vector<Row> tree(int32_t seq, int32_t length, int32_t first) {
    std::vector<Row> rows;
    for (auto [token, parent] : kTree) {
      const int32_t pos = parent < 0 ? length : rows[parent].pos + 1;
      rows.push_back({token, pos, seq, true, length + static_cast<int32_t>(rows.size()),
                      parent < 0 ? -1 : first + parent});
    }
    return rows;
  }

  /// The rows from the root to row `i` of `rows`.
  static std::vector<Row> branch(const std::vector<Row>& rows, int32_t i) {
    std::vector<Row> path;
    for (; i >= 0; i = rows[i].parent) path.insert(path.begin(), rows[i]);
    return path;
  }

  mlir::MLIRContext context_;
  mlir::OwningOpRef<mlir::ModuleOp> module_;
  std::optional<Evaluator> evaluator_;
};

TEST_F(Trees, ARowIsTheLastOfItsBranchDecodedAlone) {
  for (int32_t length : {0, 1, 5}) {
    KvState kv;
    decodePrefix(kv, 0, length);
    decodePrefix(kv, 1, length + 2);
    std::vector<Row> rows = tree(0, length, 0);
    for (const Row& row : tree(1, length + 2, static_cast<int32_t>(rows.size())))
      rows.push_back(row);
    const Matrix logits = evaluator_->run("verify", rows, kv);
    ASSERT_EQ(logits.rows, static_cast<int64_t>(rows.size()));
    for (size_t i = 0; i < rows.size(); ++i) {
      KvState alone;
      decodePrefix(alone, rows[i].seq, rows[i].seq ? length + 2 : length);
      Matrix last;
      for (const Row& row : branch(rows, static_cast<int32_t>(i)))
        last = evaluator_->run("decode", {row}, alone);
      EXPECT_TRUE(std::equal(last.row(0), last.row(0) + 20, logits.row(i)))
          << "row " << i << " after " << length << " tokens";
    }
  }
}

TEST_F(Trees, ACommitLeavesTheBranchAsIfDecoded) {
  for (const char* commit : {"commit", "scheduled_commit"}) {
    for (int32_t leaf : {1, 5, 6, 7}) {
      KvState kv, alone;
      decodePrefix(kv, 0, 4);
      decodePrefix(alone, 0, 4);
      const std::vector<Row> rows = tree(0, 4, 0), path = branch(rows, leaf);
      evaluator_->run("verify", rows, kv);
      EXPECT_EQ(evaluator_->run(commit, path, kv), Matrix());
      for (const Row& row : path) evaluator_->run("decode", {row}, alone);
      const Row next{11, path.back().pos + 1};
      EXPECT_EQ(evaluator_->run("decode", {next}, kv), evaluator_->run("decode", {next}, alone))
          << commit << " of row " << leaf;
      for (auto [state, layer] : {std::pair{"local", 0}, {"global", 1}}) {
        const std::vector<float>&moved = kv.at(state, layer, 0).keys,
              &decoded = alone.at(state, layer, 0).keys;
        EXPECT_TRUE(std::equal(decoded.begin(), decoded.end(), moved.begin())) << state;
      }
    }
  }
}

TEST_F(Trees, RowsThatDoNotContinueTheirParentsAreRefused) {
  KvState kv;
  decodePrefix(kv, 0, 2);
  std::vector<Row> rows = tree(0, 2, 0);
  rows[4].pos = 3;
  EXPECT_THAT([&] { evaluator_->run("verify", rows, kv); },
              ThrowsMessage<std::invalid_argument>(HasSubstr("row 4 does not continue row 2")));
  EXPECT_THAT(
      [&] {
        evaluator_->run("commit", {Row{0, 3, 0, false, 2}}, kv);
      },
      ThrowsMessage<std::invalid_argument>(HasSubstr("from slot 2 to position 3")));
}

}  // namespace
}  // namespace llmc::test
