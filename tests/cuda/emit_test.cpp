// What codegen/cuda makes of a kernel: its operands by name, its kind of step, and one line where
// it has no CUDA form.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "codegen/cuda/Codegen.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"

namespace llmc::test {
namespace {

using testing::HasSubstr;
using testing::Not;

/// `kernels`: the text behind the device sources; "error: ..." where there is none.
struct Emitted {
  std::string kernels;
  cuda::CudaSource source;
};
/// A model of some weights, a state and these kernels.
Emitted emit(const std::string& kernels) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  context.loadDialect<llm::LLMDialect>();
  const std::string text = R"(
    llm.model @m architecture "llama" hidden_size 64 intermediate_size 64 num_heads 4
        num_kv_heads 2 head_dim 16 num_layers 1 vocab_size 32 max_seq_len 64 max_batch 1 {
      llm.weight @norm norm "{layer}.norm" : tensor<1x64xbf16>
      llm.weight @norm_bias bias "{layer}.norm_bias" : tensor<1x64xbf16>
      llm.weight @q_proj matrix "{layer}.q" : tensor<1x64x64xbf16>
      llm.weight @k_proj matrix "{layer}.k" : tensor<1x32x64xbf16>
      llm.weight @v_proj matrix "{layer}.v" : tensor<1x32x64xbf16>
      llm.weight @q_bias bias "{layer}.q_bias" : tensor<1x64xbf16>
      llm.weight @k_bias bias "{layer}.k_bias" : tensor<1x32xbf16>
      llm.weight @v_bias bias "{layer}.v_bias" : tensor<1x32xbf16>
      llm.weight @q_norm norm "{layer}.q_norm" : tensor<1x16xbf16>
      llm.weight @k_norm norm "{layer}.k_norm" : tensor<1x16xbf16>
      llm.rope_table @rope [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]
      llm.weight @conv1d matrix "{layer}.conv" : tensor<1x4x48xbf16>
      llm.weight @blocks matrix "{layer}.blocks" : tensor<1x64x64x!llm.q<q8_0>>
      llm.weight @a_log bias "{layer}.a" : tensor<1x4xbf16>
      llm.weight @dt_bias bias "{layer}.dt" : tensor<1x4xbf16>
      llm.state @conv : !llm.recurrent<3x48xf32> layers 0:1
      llm.state @delta : !llm.recurrent<4x4x8xf32> layers 0:1
      llm.state @kv : !llm.kv<2x16xbf16> window 24 layers 0:1
)" + kernels + "}";
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  if (!module) return {"does not parse: " + text, {}};
  auto source = cuda::emitCuda(*module->getOps<llm::ModelOp>().begin());
  if (!source) return {"error: " + llvm::toString(source.takeError()), {}};
  return {source->text.substr(source->text.find("\n// ", source->text.find("llmc_sample"))),
          *source};
}

std::string linear(const std::string& kind, int maxRows, const std::string& weight = "q_proj") {
  return "llm.kernel @linear " + kind + " max_rows " + std::to_string(maxRows) +
         R"( row_strides [80, 96] {
      ^bb0(%x: tensor<?x64xf32>):
        %y = llm.linear %x, @)" +
         weight + R"( : tensor<?x64xf32> -> tensor<?x64xf32>
        llm.yield %y : tensor<?x64xf32>
      })";
}
std::string normQkv(const std::string& name, const std::string& options) {
  return "llm.kernel @" + name + R"( decode max_rows 4 row_strides [80, 96] {
      ^bb0(%x: tensor<?x64xf32>, %rows: !llm.rows):
        %q = llm.norm_qkv %x, %rows, @kv norm @norm )" +
         options + R"( : tensor<?x64xf32> -> tensor<?x64xf32>
        llm.yield %q : tensor<?x64xf32>
      })";
}
constexpr char kAllOfQkv[] =
    "shift @norm_bias layer eps 1.0e-5 proj @q_proj, @k_proj, @v_proj bias @q_bias, @k_bias, "
    "@v_bias qk_norm @q_norm, @k_norm eps 1.0e-6 rope @rope";
constexpr char kPlainQkv[] = "eps 1.0e-5 proj @q_proj, @k_proj, @v_proj";

// x, norm, norm_bias, weight, bias, q_norm, k_norm, rope, pos, seq, block_table, keys, values, q.
TEST(CudaEmit, KernelsTakeAsManyOperandsAsTheyHave) {
  const Emitted all = emit(normQkv("all", kAllOfQkv));
  EXPECT_EQ(all.source.operands, 14) << all.kernels;
  EXPECT_TRUE(all.source.text.starts_with("constexpr int kOperands = 14;\n"));
  // The product, then what finishes its heads.
  EXPECT_THAT(all.kernels,
              HasSubstr("static_cast<const float*>(args.operands[0]), "
                        "static_cast<const float*>(args.operands[1]), 9.99999975e-06f, "
                        "args.operands[3], FinishHeads<16, 128>"));
  EXPECT_THAT(all.kernels, HasSubstr(", static_cast<const float*>(args.operands[2]));"));
  EXPECT_THAT(
      all.kernels,
      HasSubstr("static_cast<const float*>(args.operands[4]), "
                "static_cast<const float*>(args.operands[5]), "
                "static_cast<const float*>(args.operands[6]), 9.99999997e-07f, "
                "static_cast<const float*>(args.operands[7]), "
                "CacheRows{static_cast<const int*>(args.operands[8]), static_cast<const "
                "int*>(args.operands[9]), static_cast<const int*>(args.operands[10])}, "
                "args.operands[11], args.operands[12], static_cast<float*>(args.operands[13]));"));
  // Without those that may be absent the others follow upon one another.
  const Emitted plain = emit(normQkv("plain", kPlainQkv));
  EXPECT_EQ(plain.source.operands, 9) << plain.kernels;
  EXPECT_THAT(
      plain.kernels,
      HasSubstr("FinishQkv<KvPool<BF16, 2, 16>, 4, false, false, 96>{CacheRows{static_cast<const "
                "int*>(args.operands[3]), static_cast<const int*>(args.operands[4]), "
                "static_cast<const int*>(args.operands[5])}, nullptr, nullptr, args.operands[6], "
                "args.operands[7], static_cast<float*>(args.operands[8])}"));
  EXPECT_EQ(emit(normQkv("plain", kPlainQkv) + normQkv("all", kAllOfQkv)).source.operands, 14);
}

TEST(CudaEmit, StridesAreThoseOfTheirOperands) {
  EXPECT_THAT(emit(linear("decode", 4)).kernels,
              HasSubstr("Product<BF16, 64, 4, 80, false, false>, 1, true, 1>(args"));
  EXPECT_THAT(emit(linear("decode", 4)).kernels,
              HasSubstr("FinishStore<64, 96>{static_cast<float*>(args.operands[2])}"));
}

TEST(CudaEmit, LinearAttentionTakesTheSlotsOfItsState) {
  const Emitted delta =
      emit(R"(llm.kernel @k_delta prefill max_rows 64 row_strides [64, 16, 32, 48] {
      ^bb0(%qkv: tensor<?x48xf32>, %gate: tensor<?x4xf32>, %beta: tensor<?x4xf32>, %rows: !llm.rows):
        %y = llm.gated_delta %qkv, %gate, %beta, %rows, @delta, @a_log, @dt_bias eps 1.0e-6
          : tensor<?x48xf32>, tensor<?x4xf32> -> tensor<?x32xf32>
        llm.yield %y : tensor<?x32xf32>
      })");
  EXPECT_THAT(delta.kernels, HasSubstr("gatedDelta<2, 4, false, 4, 8, 64, 16, 32, 48>(args"));
  EXPECT_THAT(delta.kernels,
              HasSubstr("SlotRows{static_cast<const int*>(args.operands[5]), static_cast<const "
                        "int*>(args.operands[6])}, args.operands[7], "
                        "static_cast<float*>(args.operands[8]), 9.99999997e-07f);"));
  EXPECT_THAT(emit(R"(llm.kernel @k_conv decode max_rows 4 row_strides [64, 80] {
      ^bb0(%x: tensor<?x48xf32>, %rows: !llm.rows):
        %y = llm.causal_conv %x, %rows, @conv, @conv1d silu : tensor<?x48xf32>
        llm.yield %y : tensor<?x48xf32>
      })")
                  .kernels,
              HasSubstr("causalConv<BF16, 48, 4, kSilu, 64, 80>(args, static_cast<const "
                        "float*>(args.operands[0]), args.operands[1], SlotRows{static_cast<const "
                        "int*>(args.operands[2]), static_cast<const int*>(args.operands[3])}, "
                        "args.operands[4], static_cast<float*>(args.operands[5]));"));
}

TEST(CudaEmit, StateSpacesTakeTheirBoundsAndGates) {
  const Emitted ssd = emit(R"(
      llm.weight @d bias "d" : tensor<4xf32>
      llm.kernel @k_ssd prefill max_rows 64 row_strides [64, 16, 48, 48] {
      ^bb0(%xbc: tensor<?x48xf32>, %dt: tensor<?x4xf32>, %rows: !llm.rows, %g: tensor<?x32xf32>):
        %y = llm.ssd %xbc, %dt, %rows, @delta, @a_log, @dt_bias, @d from 0.5 times %g
          : tensor<?x48xf32>, tensor<?x4xf32>, tensor<?x32xf32> -> tensor<?x32xf32>
        llm.yield %y : tensor<?x32xf32>
      })");
  EXPECT_THAT(ssd.kernels, HasSubstr("stateSpace<4, 2, 4, 8, false, 64, 16, 48, 48>(args"));
  EXPECT_THAT(ssd.kernels, HasSubstr("static_cast<float*>(args.operands[9]), 0.5f, infinity());"));
}

// A chunk of a prompt may be as short as a batch: what it is for decides.
TEST(CudaEmit, TheKindOfStepChoosesTheKernel) {
  const std::string decode = emit(linear("decode", 4)).kernels;
  EXPECT_THAT(decode, HasSubstr("productOfFewRows<"));
  EXPECT_THAT(decode, Not(HasSubstr("productOnTensorCores<")));
  EXPECT_EQ(emit(linear("verify", 4)).kernels, decode) << "verify has decode's kernels";
  for (const int rows : {4, 64}) {
    const std::string prefill = emit(linear("prefill", rows)).kernels;
    EXPECT_THAT(prefill, HasSubstr("productOnTensorCores<"));
    EXPECT_THAT(prefill, Not(HasSubstr("productOfFewRows<")));
  }
}

TEST(CudaEmit, AttentionHasTheWindowOfItsState) {
  EXPECT_THAT(emit(R"(llm.kernel @attention decode max_rows 4 row_strides [80, 96] {
      ^bb0(%q: tensor<?x64xf32>, %rows: !llm.rows):
        %y = llm.attention %q, %rows, @kv scale 0.25 : tensor<?x64xf32> -> tensor<?x64xf32>
        llm.yield %y : tensor<?x64xf32>
      })")
                  .kernels,
              HasSubstr("Attention<KvPool<BF16, 2, 16>, 4, 24, 80, 96>::split(args"));
}

// q and k are rotated by positions, keys and values written at slots.
TEST(CudaEmit, RowsOfTreesHaveSlotsAndParents) {
  const std::string rows =
      "TreeRows{{static_cast<const int*>(args.operands[2]), static_cast<const "
      "int*>(args.operands[4]), static_cast<const int*>(args.operands[5])}, static_cast<const "
      "int*>(args.operands[3]), static_cast<const int*>(args.operands[1])}, args.operands[6], "
      "args.operands[7], ";
  EXPECT_THAT(emit(R"(llm.kernel @attention verify max_rows 4 row_strides [80, 96] {
      ^bb0(%q: tensor<?x64xf32>, %rows: !llm.rows):
        %y = llm.attention %q, %rows, @kv scale 0.25 : tensor<?x64xf32> -> tensor<?x64xf32>
        llm.yield %y : tensor<?x64xf32>
      })")
                  .kernels,
              HasSubstr("::split(args, static_cast<const float*>(args.operands[0]), " + rows));
  EXPECT_THAT(emit(R"(llm.kernel @qkv verify max_rows 4 row_strides [80, 96] {
      ^bb0(%x: tensor<?x64xf32>, %rows: !llm.rows):
        %q = llm.norm_qkv %x, %rows, @kv norm @norm eps 1.0e-5 proj @q_proj, @k_proj, @v_proj
          : tensor<?x64xf32> -> tensor<?x64xf32>
        llm.yield %q : tensor<?x64xf32>
      })")
                  .kernels,
              HasSubstr("FinishQkv<KvPool<BF16, 2, 16>, 4, false, false, 96, TreeRows>{TreeRows{{"
                        "static_cast<const int*>(args.operands[3]), "));
  EXPECT_THAT(emit(R"(llm.kernel @move commit max_rows 4 row_strides [] {
      ^bb0(%rows: !llm.rows):
        llm.kv_move %rows, @kv
        llm.yield
      })")
                  .kernels,
              HasSubstr("kvMove<KvPool<BF16, 2, 16>>(args, TreeRows{{"));
}

TEST(CudaEmit, RecurrentStatesAreReadInTreesAndGoOnInACommit) {
  const auto conv = [](const std::string& kind) {
    return emit("llm.kernel @k_conv " + kind + R"( max_rows 4 row_strides [64, 80] {
      ^bb0(%x: tensor<?x48xf32>, %rows: !llm.rows):
        %y = llm.causal_conv %x, %rows, @conv, @conv1d silu : tensor<?x48xf32>
        llm.yield %y : tensor<?x48xf32>
      })")
        .kernels;
  };
  EXPECT_THAT(conv("verify"), HasSubstr("args.operands[1], TreeSlotRows{{static_cast<const "
                                        "int*>(args.operands[3]), static_cast<const "
                                        "int*>(args.operands[4])}, static_cast<const "
                                        "int*>(args.operands[2])}, args.operands[5], "));
  EXPECT_THAT(conv("commit"), HasSubstr("args.operands[1], SlotRows{static_cast<const int*>("));
  const Emitted kept = emit(R"(
      llm.state @kept : !llm.kept<4x48xf32> layers 0:1
      llm.kernel @keep verify max_rows 4 row_strides [64] {
      ^bb0(%x: tensor<?x48xf32>):
        llm.keep %x, @kept : tensor<?x48xf32>
        llm.yield
      }
      llm.kernel @take commit max_rows 4 row_strides [80] {
      ^bb0(%rows: !llm.rows):
        %y = llm.kept %rows, @kept : tensor<?x48xf32>
        llm.yield %y : tensor<?x48xf32>
      })");
  EXPECT_THAT(kept.kernels, HasSubstr("copyRow<48, 64, 48>(args, static_cast<const "
                                      "float*>(args.operands[0]), nullptr, "
                                      "static_cast<float*>(args.operands[1]));"));
  EXPECT_THAT(kept.kernels,
              HasSubstr("copyRow<48, 48, 80>(args, static_cast<const float*>(args.operands[1]), "
                        "static_cast<const int*>(args.operands[0]), "
                        "static_cast<float*>(args.operands[2]));"));
}

// Up to 16 rows at once, more in groups of 16.
TEST(CudaEmit, ProductsOfManyRowsOfTreesAreBatches) {
  const Emitted product = emit(linear("verify", 64));
  EXPECT_THAT(product.kernels, HasSubstr(", 16, 1>::run(args"));
  EXPECT_THAT(product.kernels, HasSubstr(", 16, 1, true>::run(args"));
  std::string of_rows;
  for (const cuda::Launch& launch : product.source.launches)
    of_rows += std::to_string(launch.minRows) + "-" + std::to_string(launch.maxRows) + " ";
  EXPECT_EQ(of_rows, "1-1 2-4 5-16 5-8 9-16 17-64 17-64 ");
}

TEST(CudaEmit, RefusesByNameWhatHasNoKernel) {
  EXPECT_EQ(emit(linear("embed", 64)).kernels,
            "error: linear: steps of kind embed have no CUDA kernels yet");
  EXPECT_EQ(emit(linear("prefill", 65536)).kernels,
            "error: linear: more than 65535 rows in a step");
  EXPECT_EQ(emit(linear("decode", 4, "blocks")).kernels,
            "error: linear: weights of the format q8_0 have no CUDA kernels yet");
}

}  // namespace
}  // namespace llmc::test
