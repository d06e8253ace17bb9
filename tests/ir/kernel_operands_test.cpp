// The operands of every op's kernel, in the order of the kernel's argument list. Kernels in plans
// are called with them: who changes a line here changes the ABI of that kernel.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "ir/LLM.h"
#include "ir/QkvWeights.h"
#include "mlir/Parser/Parser.h"

namespace llmc {
namespace {

using namespace llm;
using testing::Contains;
using testing::ElementsAreArray;

// Every op twice where it has optional operands: with none of them in @least, with all in @most.
// Those that have others where rows are trees are in @verify and @commit.
constexpr const char* kModel = R"mlir(
llm.model @m architecture "x" hidden_size 8 intermediate_size 12 num_heads 2 num_kv_heads 1 head_dim 4
    num_layers 1 vocab_size 20 max_seq_len 16 max_batch 2 {
  llm.weight @embed matrix "e" : tensor<20x8xf32>
  llm.weight @positions matrix "p" : tensor<16x8xf32>
  llm.weight @w8 matrix "w8" : tensor<8x8xf32>
  llm.weight @w4 matrix "w4" : tensor<4x8xf32>
  llm.weight @w2 matrix "w2" : tensor<2x8xf32>
  llm.weight @w12 matrix "w12" : tensor<12x8xf32>
  llm.weight @w16 matrix "w16" : tensor<16x8xf32>
  llm.weight @heads matrix "h" : tensor<12x4xf32>
  llm.weight @router matrix "r" : tensor<6x8xf32>
  llm.weight @expert matrix "{expert}.x" experts 6 : tensor<6x4x8xf32>
  llm.weight @expert_bias bias "{expert}.xb" experts 6 : tensor<6x4xf32>
  llm.weight @expert_out matrix "{expert}.o" experts 6 : tensor<6x8x4xf32>
  llm.weight @expert_out_bias bias "{expert}.ob" experts 6 : tensor<6x8xf32>
  llm.weight @norm norm "n" : tensor<8xf32>
  llm.weight @one norm "n1" : tensor<1xf32>
  llm.weight @head_norm norm "hn" : tensor<4xf32>
  llm.weight @b8 bias "b8" : tensor<8xf32>
  llm.weight @b4 bias "b4" : tensor<4xf32>
  llm.weight @b12 bias "b12" : tensor<12xf32>
  llm.weight @b6 bias "b6" : tensor<6xf32>
  llm.weight @b2 bias "b2" : tensor<2xf32>
  llm.weight @b20 bias "b20" : tensor<20xf32>
  llm.rope_table @rope [1.0, 0.5]
  llm.weight @conv1d matrix "c" : tensor<4x8xf32>
  llm.state @kv : !llm.kv<1x4xf16> layers 0:1
  llm.state @conv : !llm.recurrent<3x8xf32> layers 0:1
  llm.state @delta : !llm.recurrent<2x1x3xf32> layers 0:1
  llm.state @ssm : !llm.recurrent<2x1x3xf32> layers 0:1
  llm.state @kept : !llm.kept<64x8xf32> layers 0:1
  llm.entry @least(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 1 : tensor<?x8xf32> {
      %rms = llm.rms_norm %h, @norm eps 1.0e-5 : tensor<?x8xf32>
      %ln = llm.layer_norm %h eps 1.0e-5 : tensor<?x8xf32>
      %qn = llm.qk_norm %h, @head_norm eps 1.0e-5 head_dim 4 : tensor<?x8xf32>
      %s = llm.scale %h by 0.5 : tensor<?x8xf32>
      %one = llm.linear %h, @w4 : tensor<?x8xf32> -> tensor<?x4xf32>
      %c = llm.concat %h, %one heads 2 : tensor<?x8xf32>, tensor<?x4xf32> -> tensor<?x12xf32>
      %hl = llm.head_linear %h, @heads heads 2 : tensor<?x8xf32> -> tensor<?x12xf32>
      %b = llm.bias %h, @b8 : tensor<?x8xf32>
      %r = llm.rope %h, %rows, @rope head_dim 4 : tensor<?x8xf32>
      llm.kv_write %one, %one, %rows, @kv : tensor<?x4xf32>, tensor<?x4xf32>
      %a = llm.attention %h, %rows, @kv scale 0.5 : tensor<?x8xf32> -> tensor<?x8xf32>
      %cc = llm.causal_conv %h, %rows, @conv, @conv1d silu : tensor<?x8xf32>
      %two = llm.linear %h, @w2 : tensor<?x8xf32> -> tensor<?x2xf32>
      %gd = llm.gated_delta %cc, %two, %two, %rows, @delta, @b2, @b2 eps 1.0e-6 : tensor<?x8xf32>, tensor<?x2xf32> -> tensor<?x6xf32>
      %sd = llm.ssd %cc, %two, %rows, @ssm, @b2, @b2, @b2 : tensor<?x8xf32>, tensor<?x2xf32> -> tensor<?x6xf32>
      %act = llm.activation %h silu : tensor<?x8xf32>
      %m = llm.mul %h, %a : tensor<?x8xf32>
      %add = llm.add %h, %a : tensor<?x8xf32>
      %l = llm.linear %h, @router : tensor<?x8xf32> -> tensor<?x6xf32>
      %route = llm.route %l top_k 2 softmax : tensor<?x6xf32> -> tensor<?x4xf32>
      %g = llm.expert_glu %h, %route proj @expert, @expert silu : tensor<?x8xf32>, tensor<?x4xf32> -> tensor<?x8xf32>
      %d = llm.expert_down %g, %route, @expert_out : tensor<?x8xf32>, tensor<?x4xf32> -> tensor<?x8xf32>
      %q = llm.norm_qkv %h, %rows, @kv norm @norm eps 1.0e-5 proj @w8, @w4, @w4 : tensor<?x8xf32> -> tensor<?x8xf32>
      %glu = llm.norm_glu %h norm @norm eps 1.0e-5 proj @w12, @w12 silu : tensor<?x8xf32> -> tensor<?x12xf32>
      %nl = llm.norm_linear %h norm @norm eps 1.0e-5 proj @w12 silu : tensor<?x8xf32> -> tensor<?x12xf32>
      %lr = llm.linear_residual %q, %h, @w8 : tensor<?x8xf32> -> tensor<?x8xf32>
      %nr = llm.norm_residual %q, %h norm @norm eps 1.0e-5 : tensor<?x8xf32>
      %w1 = llm.linear %h, @gate_of_one : tensor<?x8xf32> -> tensor<?x1xf32>
      %sr = llm.scale_rows %h, %w1 : tensor<?x8xf32>, tensor<?x1xf32>
      %sb = llm.scale_by %h, @one : tensor<?x8xf32>
      %ls = llm.layer_slice %h : tensor<?x8xf32> -> tensor<?x8xf32>
      %sp = llm.scale_by_pos %h, %rows growth 0.1 every 16 : tensor<?x8xf32>
      %np:2 = llm.norm_projections %h norm @norm eps 1.0e-5 proj [#llm.projection<@w8>, #llm.projection<@w4>] : tensor<?x8xf32> -> tensor<?x8xf32>, tensor<?x4xf32>
      llm.yield %nr : tensor<?x8xf32>
    }
    %early = llm.logits %y, %rows, @embed : tensor<?x8xf32> -> tensor<?x20xf32>
    %z = llm.norm_logits %y, %rows norm @norm eps 1.0e-5, @embed : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %z : tensor<?x20xf32>
  }
  llm.weight @gate_of_one matrix "g1" : tensor<1x8xf32>
  llm.entry @most(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed positions @positions : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 1 : tensor<?x8xf32> {
      %ln = llm.layer_norm %h weight @norm bias @b8 eps 1.0e-5 : tensor<?x8xf32>
      %a = llm.attention %h, %rows, @kv scale 0.5 softcap 50.0 sinks @b2 : tensor<?x8xf32> -> tensor<?x8xf32>
      %l = llm.linear %h, @router : tensor<?x8xf32> -> tensor<?x6xf32>
      %route = llm.route %l top_k 2 softmax bias @b6 : tensor<?x6xf32> -> tensor<?x4xf32>
      %g = llm.expert_glu %h, %route proj @expert, @expert bias @expert_bias, @expert_bias silu limit 7.0 : tensor<?x8xf32>, tensor<?x4xf32> -> tensor<?x8xf32>
      %cc = llm.causal_conv %h, %rows, @conv, @conv1d bias @b8 none times %a : tensor<?x8xf32>, tensor<?x8xf32>
      %two = llm.linear %h, @w2 : tensor<?x8xf32> -> tensor<?x2xf32>
      %six = llm.linear %h, @router : tensor<?x8xf32> -> tensor<?x6xf32>
      %sd = llm.ssd %cc, %two, %rows, @ssm, @b2, @b2, @b2 times %six : tensor<?x8xf32>, tensor<?x2xf32>, tensor<?x6xf32> -> tensor<?x6xf32>
      %d = llm.expert_down %g, %route, @expert_out bias @expert_out_bias : tensor<?x8xf32>, tensor<?x4xf32> -> tensor<?x8xf32>
      %q = llm.norm_qkv %h, %rows, @kv norm @norm shift @b8 layer eps 1.0e-5 proj @w8, @w4, @w4 bias @b8, @b4, @b4 qk_norm @head_norm, @head_norm eps 1.0e-5 rope @rope : tensor<?x8xf32> -> tensor<?x8xf32>
      %glu = llm.norm_glu %h norm @norm shift @b8 layer eps 1.0e-5 proj @w12, @w12 bias @b12, @b12 silu : tensor<?x8xf32> -> tensor<?x12xf32>
      %nl = llm.norm_linear %h norm @norm shift @b8 layer eps 1.0e-5 proj @w12 bias @b12 silu times %glu : tensor<?x8xf32>, tensor<?x12xf32> -> tensor<?x12xf32>
      %np:3 = llm.norm_projections %h norm @norm shift @b8 layer eps 1.0e-5 proj [#llm.projection<@w16>, #llm.projection<@w8 bias @b8 act silu>, #llm.projection<@w4 bias @b4>] : tensor<?x8xf32> -> tensor<?x16xf32>, tensor<?x8xf32>, tensor<?x4xf32>
      %lr = llm.linear_residual %q, %h, @w8 bias @b8 : tensor<?x8xf32> -> tensor<?x8xf32>
      llm.yield %lr : tensor<?x8xf32>
    }
    %early = llm.logits %y, %rows, @embed bias @b20 : tensor<?x8xf32> -> tensor<?x20xf32>
    %z = llm.norm_logits %y, %rows norm @norm shift @b8 layer eps 1.0e-5, @embed bias @b20 : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %z : tensor<?x20xf32>
  }
  llm.entry @verify(%rows: !llm.rows) verify max_rows 64 {
    %x = llm.embed %rows, @embed positions @positions : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 1 : tensor<?x8xf32> {
      %r = llm.rope %h, %rows, @rope head_dim 4 : tensor<?x8xf32>
      %one = llm.linear %h, @w4 : tensor<?x8xf32> -> tensor<?x4xf32>
      llm.kv_write %one, %one, %rows, @kv : tensor<?x4xf32>, tensor<?x4xf32>
      %q = llm.norm_qkv %h, %rows, @kv norm @norm eps 1.0e-5 proj @w8, @w4, @w4 : tensor<?x8xf32> -> tensor<?x8xf32>
      %a = llm.attention %q, %rows, @kv scale 0.5 : tensor<?x8xf32> -> tensor<?x8xf32>
      %cc = llm.causal_conv %h, %rows, @conv, @conv1d silu : tensor<?x8xf32>
      %two = llm.linear %h, @w2 : tensor<?x8xf32> -> tensor<?x2xf32>
      %gd = llm.gated_delta %cc, %two, %two, %rows, @delta, @b2, @b2 eps 1.0e-6 : tensor<?x8xf32>, tensor<?x2xf32> -> tensor<?x6xf32>
      %sd = llm.ssd %cc, %two, %rows, @ssm, @b2, @b2, @b2 : tensor<?x8xf32>, tensor<?x2xf32> -> tensor<?x6xf32>
      llm.keep %h, @kept : tensor<?x8xf32>
      llm.yield %a : tensor<?x8xf32>
    }
    %z = llm.logits %y, %rows, @embed : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %z : tensor<?x20xf32>
  }
  llm.entry @commit(%rows: !llm.rows) commit max_rows 64 {
    llm.layers first 0 count 1 {
      llm.kv_move %rows, @kv
      %kept = llm.kept %rows, @kept : tensor<?x8xf32>
      llm.yield
    }
    llm.return
  }
  llm.state @kv_mtp : !llm.kv<1x4xf16> mtp layers 0:1
  llm.entry @mtp(%rows: !llm.rows) mtp max_rows 8 {
    %h0 = llm.hidden %rows : tensor<?x8xf32>
    %y = llm.layers %h = %h0 first 0 count 1 : tensor<?x8xf32> {
      %q = llm.norm_qkv %h, %rows, @kv_mtp norm @norm eps 1.0e-5 proj @w8, @w4, @w4 : tensor<?x8xf32> -> tensor<?x8xf32>
      llm.yield %q : tensor<?x8xf32>
    }
    %z = llm.logits %y, %rows, @embed : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %z, %y : tensor<?x20xf32>, tensor<?x8xf32>
  }
  llm.weight @quants8 matrix "qs8" : tensor<8x8x!llm.q<q8_0>>
  llm.weight @quants4 matrix "qs4" : tensor<4x8x!llm.q<q8_0>>
  llm.entry @types(%rows: !llm.rows) decode max_rows 8 {
    %x = llm.embed %rows, @embed : tensor<?x8xf32>
    %y = llm.layers %h = %x first 0 count 1 : tensor<?x8xf32> {
      %v = llm.norm_qkv %h, %rows, @kv norm @norm eps 1.0e-5 proj @quants8, @quants4, @w4 : tensor<?x8xf32> -> tensor<?x8xf32>
      %kv = llm.norm_qkv %v, %rows, @kv norm @norm eps 1.0e-5 proj @quants8, @w4, @w4 : tensor<?x8xf32> -> tensor<?x8xf32>
      %all = llm.norm_qkv %kv, %rows, @kv norm @norm eps 1.0e-5 proj @w8, @quants4, @w4 : tensor<?x8xf32> -> tensor<?x8xf32>
      llm.yield %all : tensor<?x8xf32>
    }
    %z = llm.logits %y, %rows, @embed : tensor<?x8xf32> -> tensor<?x20xf32>
    llm.return %z : tensor<?x20xf32>
  }
}
)mlir";

using Lists = std::map<std::string, std::vector<std::string>>;

// "SPACE NAME", with "write" before it where it is not read only.
const Lists kLeast = {
    {"hidden", {"input hidden", "write arena y"}},
    {"embed", {"input token_id", "weights weight", "write arena y"}},
    {"rms_norm", {"arena x", "weights weight", "write arena y"}},
    {"layer_norm", {"arena x", "write arena y"}},
    {"qk_norm", {"arena x", "weights weight", "write arena y"}},
    {"scale", {"arena x", "write arena y"}},
    {"scale_rows", {"arena x", "arena by", "write arena y"}},
    {"scale_by", {"arena x", "weights weight", "write arena y"}},
    {"layer_slice", {"arena x", "write arena y"}},
    {"scale_by_pos", {"arena x", "input pos", "write arena y"}},
    {"norm_projections",
     {"arena x", "weights norm", "weights weight", "weights weight_2", "write arena y",
      "write arena y_2"}},
    {"concat", {"arena a", "arena b", "write arena y"}},
    {"linear", {"arena x", "weights weight", "write arena y"}},
    {"head_linear", {"arena x", "weights weight", "write arena y"}},
    {"bias", {"arena x", "weights weight", "write arena y"}},
    {"rope", {"arena x", "input pos", "rope table", "write arena y"}},
    {"kv_write",
     {"arena k", "arena v", "input pos", "input seq", "block_table block_table", "write keys keys",
      "write values values"}},
    {"attention",
     {"arena q", "input pos", "input seq", "block_table block_table", "keys keys", "values values",
      "write arena y"}},
    {"causal_conv",
     {"arena x", "weights weight", "input seq", "slots slots", "read_write recurrent state",
      "write arena y"}},
    {"gated_delta",
     {"arena qkv", "arena gate", "arena beta", "weights a_log", "weights dt_bias", "input seq",
      "slots slots", "read_write recurrent state", "write arena y"}},
    {"ssd",
     {"arena xbc", "arena dt", "weights a", "weights dt_bias", "weights d", "input seq",
      "slots slots", "read_write recurrent state", "write arena y"}},
    {"activation", {"arena x", "write arena y"}},
    {"mul", {"arena a", "arena b", "write arena y"}},
    {"add", {"arena a", "arena b", "write arena y"}},
    {"route", {"arena x", "write arena y"}},
    {"expert_glu", {"arena x", "arena route", "weights weight", "write arena y"}},
    {"expert_down", {"arena x", "arena route", "weights weight", "write arena y"}},
    {"logits", {"arena x", "weights weight", "input logits_rows", "write arena y"}},
    {"norm_qkv",
     {"arena x", "weights norm", "weights weight", "input pos", "input seq",
      "block_table block_table", "write keys keys", "write values values", "write arena q"}},
    {"norm_glu", {"arena x", "weights norm", "weights weight", "write arena y"}},
    {"norm_linear", {"arena x", "weights norm", "weights weight", "write arena y"}},
    {"linear_residual", {"arena x", "arena residual", "weights weight", "write arena y"}},
    {"norm_residual", {"arena x", "arena residual", "weights norm", "write arena y"}},
    {"norm_logits",
     {"arena x", "weights norm", "weights weight", "input logits_rows", "write arena y"}},
};

const Lists kMost = {
    {"embed",
     {"input token_id", "weights weight", "input pos", "weights positions", "write arena y"}},
    {"layer_norm", {"arena x", "weights weight", "weights bias", "write arena y"}},
    {"attention",
     {"arena q", "input pos", "input seq", "block_table block_table", "keys keys", "values values",
      "weights sinks", "write arena y"}},
    {"causal_conv",
     {"arena x", "arena gate", "weights weight", "weights bias", "input seq", "slots slots",
      "read_write recurrent state", "write arena y"}},
    {"ssd",
     {"arena xbc", "arena dt", "arena gate", "weights a", "weights dt_bias", "weights d",
      "input seq", "slots slots", "read_write recurrent state", "write arena y"}},
    {"route", {"arena x", "weights bias", "write arena y"}},
    {"expert_glu",
     {"arena x", "arena route", "weights weight", "weights gate_bias", "weights up_bias",
      "write arena y"}},
    {"expert_down", {"arena x", "arena route", "weights weight", "weights bias", "write arena y"}},
    {"logits", {"arena x", "weights weight", "weights bias", "input logits_rows", "write arena y"}},
    {"norm_qkv",
     {"arena x", "weights norm", "weights norm_bias", "weights weight", "weights bias",
      "weights q_norm", "weights k_norm", "rope rope", "input pos", "input seq",
      "block_table block_table", "write keys keys", "write values values", "write arena q"}},
    {"norm_glu",
     {"arena x", "weights norm", "weights norm_bias", "weights weight", "weights bias",
      "write arena y"}},
    {"norm_linear",
     {"arena x", "arena gated", "weights norm", "weights norm_bias", "weights weight",
      "weights bias", "write arena y"}},
    {"norm_projections",
     {"arena x", "weights norm", "weights norm_bias", "weights weight", "weights weight_3",
      "weights bias_2", "weights bias_3", "write arena y", "write arena y_2", "write arena y_3"}},
    {"linear_residual",
     {"arena x", "arena residual", "weights weight", "weights bias", "write arena y"}},
    {"norm_logits",
     {"arena x", "weights norm", "weights norm_bias", "weights weight", "weights bias",
      "input logits_rows", "write arena y"}},
};

const Lists kTrees = {
    {"embed",
     {"input token_id", "weights weight", "input pos", "weights positions", "write arena y"}},
    {"kv_write",
     {"arena k", "arena v", "input slot", "input seq", "block_table block_table", "write keys keys",
      "write values values"}},
    {"norm_qkv",
     {"arena x", "weights norm", "weights weight", "input pos", "input slot", "input seq",
      "block_table block_table", "write keys keys", "write values values", "write arena q"}},
    {"attention",
     {"arena q", "input parent", "input pos", "input slot", "input seq", "block_table block_table",
      "keys keys", "values values", "write arena y"}},
    {"causal_conv",
     {"arena x", "weights weight", "input parent", "input seq", "slots slots", "recurrent state",
      "write arena y"}},
    {"gated_delta",
     {"arena qkv", "arena gate", "arena beta", "weights a_log", "weights dt_bias", "input parent",
      "input seq", "slots slots", "recurrent state", "write arena y"}},
    {"ssd",
     {"arena xbc", "arena dt", "weights a", "weights dt_bias", "weights d", "input parent",
      "input seq", "slots slots", "recurrent state", "write arena y"}},
    {"keep", {"arena x", "write kept kept"}},
    {"kept", {"input kept_row", "kept kept", "write arena y"}},
    {"kv_move",
     {"input pos", "input slot", "input seq", "block_table block_table", "read_write keys keys",
      "read_write values values"}},
};

std::vector<std::string> described(KernelOpInterface op) {
  std::vector<std::string> list;
  for (const KernelOperand& o : op.getKernelOperands()) {
    std::string access;
    if (o.access != Access::read) access = stringifyAccess(o.access).str() + " ";
    list.push_back(access + stringifySpace(o.space).str() + " " + o.name.str());
  }
  return list;
}

class KernelOperands : public testing::Test {
 protected:
  void SetUp() override {
    context_.getOrLoadDialect<LLMDialect>();
    module_ = mlir::parseSourceString<mlir::ModuleOp>(kModel, &context_);
    ASSERT_TRUE(module_);
  }
  static std::string nameOf(KernelOpInterface op) { return op->getName().stripDialect().str(); }
  void walk(llvm::StringRef entry, llvm::function_ref<void(KernelOpInterface)> visit) {
    ModelOp model = *module_->getOps<ModelOp>().begin();
    mlir::SymbolTable::lookupSymbolIn(model, entry)->walk(visit);
  }

  mlir::MLIRContext context_;
  mlir::OwningOpRef<mlir::ModuleOp> module_;
};

TEST_F(KernelOperands, LieInTheOrderThatPlansHave) {
  walk("least", [](KernelOpInterface op) {
    auto expected = kLeast.find(nameOf(op));
    ASSERT_NE(expected, kLeast.end()) << nameOf(op);
    EXPECT_THAT(described(op), ElementsAreArray(expected->second)) << nameOf(op);
  });
  walk("mtp", [](KernelOpInterface op) {
    EXPECT_THAT(described(op), ElementsAreArray(kLeast.at(nameOf(op)))) << nameOf(op);
  });
  walk("most", [](KernelOpInterface op) {
    const Lists& lists = kMost.contains(nameOf(op)) ? kMost : kLeast;
    EXPECT_THAT(described(op), ElementsAreArray(lists.at(nameOf(op)))) << nameOf(op);
  });
  for (const char* entry : {"verify", "commit"})
    walk(entry, [](KernelOpInterface op) {
      const Lists& lists = kTrees.contains(nameOf(op)) ? kTrees : kLeast;
      EXPECT_THAT(described(op), ElementsAreArray(lists.at(nameOf(op)))) << nameOf(op);
    });
}

// Projections side by side of one type are one weight, and a tile is a head whatever its weight.
TEST_F(KernelOperands, NormQkvHasAWeightForEachRunOfOneType) {
  std::vector<std::vector<std::string>> names;
  std::vector<std::vector<int64_t>> heads;
  walk("types", [&](KernelOpInterface op) {
    auto qkv = llvm::dyn_cast<NormQkvOp>(op.getOperation());
    if (!qkv) return;
    names.emplace_back();
    heads.emplace_back();
    for (const KernelOperand& o : op.getKernelOperands())
      if (o.layout == Layout::panels) names.back().push_back(o.name.str());
    for (const QkvWeight& weight : qkvWeightsOf(qkv)) heads.back().push_back(weight.heads);
    EXPECT_EQ(op.getTiling(StepKind::decode).tiles, 4);
  });
  using List = std::vector<std::vector<std::string>>;
  EXPECT_EQ(
      names,
      (List{{"weight", "v_weight"}, {"weight", "k_weight"}, {"weight", "k_weight", "v_weight"}}));
  EXPECT_EQ(heads, (std::vector<std::vector<int64_t>>{{3, 1}, {2, 2}, {2, 1, 1}}));
}

TEST_F(KernelOperands, AreListedHereForEveryOpOfTheDialect) {
  std::set<std::string> seen;
  for (const char* entry : {"least", "verify", "commit", "mtp"})
    walk(entry, [&](KernelOpInterface op) { seen.insert(nameOf(op)); });
  for (mlir::RegisteredOperationName name : context_.getRegisteredOperations())
    if (name.hasInterface<KernelOpInterface>()) {
      EXPECT_THAT(seen, Contains(name.stripDialect().str()));
    }
  EXPECT_EQ(seen.size(),
            kLeast.size() + 3);  // keep, kept and kv_move are in no other kind of step
}

// What code generators, the scheduler and the plan writer rely on.
TEST_F(KernelOperands, HaveUniqueNamesAndSayWhatTheyAre) {
  std::set<std::string> inputs;
  for (const StepInput& input : kStepInputs) {
    EXPECT_TRUE(inputs.insert(input.name.str()).second) << input.name.str() << " twice";
    EXPECT_EQ(input.width, input.name == "hidden" ? 0 : 1);
  }
  for (const char* entry : {"least", "most", "verify", "commit", "mtp"}) {
    walk(entry, [&](KernelOpInterface op) {
      SCOPED_TRACE(nameOf(op));
      std::set<llvm::StringRef> names;
      std::vector<mlir::Value> tensors;
      for (const KernelOperand& o : op.getKernelOperands()) {
        SCOPED_TRACE(o.name.str());
        EXPECT_TRUE(names.insert(o.name).second) << "twice";
        EXPECT_EQ(o.space == Space::arena, static_cast<bool>(o.value));
        EXPECT_EQ(o.space == Space::arena, o.symbols.empty());
        if (o.space == Space::arena) tensors.push_back(o.value);
        if (o.space == Space::input) {
          EXPECT_THAT(inputs, Contains(o.symbols.front().getValue().str()));
        } else if (o.space == Space::keys || o.space == Space::values ||
                   o.space == Space::block_table || o.space == Space::slots ||
                   o.space == Space::recurrent || o.space == Space::kept) {
          EXPECT_TRUE(lookupState(op, o.symbols.front()));
        }
      }
      // The tensors are the op's own, in its order: row strides are counted by them.
      std::vector<mlir::Value> own;
      for (mlir::Value v : op->getOperands())
        if (llvm::isa<mlir::RankedTensorType>(v.getType())) own.push_back(v);
      own.insert(own.end(), op->result_begin(), op->result_end());
      EXPECT_TRUE(tensors == own);
    });
  }
}

}  // namespace
}  // namespace llmc
