// llmc on models that compile.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "runtime/core/cpu_features.h"
#include "runtime/core/plan_verify.h"
#include "runtime/schema/plan_generated.h"
#include "tests/tools/run_program.h"
#include "tests/tools/tiny_model.h"

namespace llmc_tests {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

const std::string kMaterial = LLMC_MATERIAL_DIR;
const std::string kSource = LLMC_SOURCE_DIR;

class LlmcCompile : public ::testing::Test {
 protected:
  Ran llmc(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), LLMC_PROGRAM);
    return runProgram(std::move(arguments), dir_.path());
  }
  /// Runs, expects success and silence on stderr.
  std::string succeed(std::vector<std::string> arguments) {
    const Ran ran = llmc(std::move(arguments));
    EXPECT_EQ(ran.status, 0) << ran.err;
    EXPECT_EQ(ran.err, "");
    return ran.out;
  }
  /// An HF directory of the tiny model.
  std::string tinyModel() {
    fs::create_directory(dir_.path("hf"));
    dir_.write("hf/config.json", tinyConfig().dump());
    dir_.write("hf/model.safetensors", tinySafetensors(tinyShapes()));
    return dir_.path("hf");
  }
  nlohmann::json inspect(const std::string& plan) {
    return nlohmann::json::parse(succeed({"inspect", plan, "--json", "--bandwidth", "10"}));
  }

  TemporaryDirectory dir_;
};

TEST_F(LlmcCompile, ARealConfigGivesASmallCodeOnlyPlan) {
  const std::string out = succeed({"compile", kSource + "/models/mistral.json", "--target",
                                   "x86-64-v3", "-o", dir_.path("m.fb")});
  EXPECT_THAT(out, HasSubstr("7.24 B parameters"));
  EXPECT_LT(fs::file_size(dir_.path("m.fb")), 1000u * 1000);
  EXPECT_FALSE(fs::exists(dir_.path("m.weights")));

  const nlohmann::json json = inspect(dir_.path("m.fb"));
  EXPECT_EQ(json["model"]["num_parameters"], 7241732096u);
  EXPECT_EQ(json["has_weights"], false);
  // Every matrix but the embedding once, in bf16, and a row of that; norms in f32.
  const uint64_t layer = 4096 * (4096 * 2 + 1024 * 2 + 3 * uint64_t{14336});
  EXPECT_EQ(json["decode"]["weight_bytes"],
            2 * (32 * layer + 4096 * uint64_t{32000} + 4096) + 4 * 4096 * (2 * 32 + 1));
  EXPECT_EQ(json["decode"]["kv_bytes"], uint64_t{32} * 2 * 8 * 128 * 2 * 4096);
}

TEST_F(LlmcCompile, AnHFDirectoryGivesPlanAndWeightsThatBelongTogether) {
  succeed({"compile", tinyModel(), "-o", dir_.path("t.fb"), "--target", "x86-64-v3,aarch64"});
  const std::string bytes = readWhole(dir_.path("t.fb")),
                    weights = readWhole(dir_.path("t.weights"));
  auto plan = llmrt::verifyPlan({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()});
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  EXPECT_TRUE((*plan)->has_weights());
  EXPECT_EQ((*plan)->weights_bytes(), weights.size());
  EXPECT_EQ((*plan)->targets()->size(), 2u);
  for (const auto* w : *(*plan)->weights()) EXPECT_NE(w->hash(), 0u) << w->name()->str();
  uint64_t id = 0;
  std::memcpy(&id, weights.data() + 16, sizeof id);
  EXPECT_EQ(id, (*plan)->id());
}

TEST_F(LlmcCompile, TheSameInputGivesTheSameBytes) {
  const std::string model = tinyModel();
  for (const char* name : {"a.fb", "b.fb"})
    succeed({"compile", model, "-o", dir_.path(name), "--target", "x86-64-v3"});
  EXPECT_EQ(readWhole(dir_.path("a.fb")), readWhole(dir_.path("b.fb")));
  EXPECT_EQ(readWhole(dir_.path("a.weights")), readWhole(dir_.path("b.weights")));
}

TEST_F(LlmcCompile, PackMakesTheWeightsThatCompileWouldHaveMade) {
  const std::string model = tinyModel();
  succeed({"compile", model, "-o", dir_.path("whole.fb"), "--target", "x86-64-v3"});
  succeed({"compile", model, "--no-weights", "-o", dir_.path("code.fb"), "--target", "x86-64-v3"});
  EXPECT_FALSE(fs::exists(dir_.path("code.weights")));
  succeed({"pack", dir_.path("code.fb"), "--weights", model});
  EXPECT_EQ(readWhole(dir_.path("code.weights")), readWhole(dir_.path("whole.weights")));
  EXPECT_EQ(readWhole(dir_.path("code.fb")), readWhole(dir_.path("whole.fb")));
}

TEST_F(LlmcCompile, DTypesAndBoundsAreAsAsked) {
  succeed({"compile", tinyModel(), "-o", dir_.path("t.fb"), "--target", "x86-64-v3", "--dtype",
           "f16", "--kv-dtype", "f32", "--max-seq-len", "48", "--max-batch", "3", "--prefill-chunk",
           "7"});
  const nlohmann::json json = inspect(dir_.path("t.fb"));
  EXPECT_EQ(json["model"]["dtype"], "f16");
  EXPECT_EQ(json["kv_groups"][0]["dtype"], "f32");
  EXPECT_EQ(json["model"]["max_seq_len"], 48);
  EXPECT_EQ(json["model"]["max_batch"], 3);
  const std::string bytes = readWhole(dir_.path("t.fb"));
  const auto* plan = llmrt::schema::GetPlan(bytes.data());
  for (const auto* entry : *plan->entry_points())
    EXPECT_EQ(entry->max_rows(), entry->name()->str() == "prefill" ? 7u : 16u);
}

TEST_F(LlmcCompile, MoreContextThanTheModelWasTrainedForIsAWarning) {
  const Ran ran = llmc({"compile", tinyModel(), "-o", dir_.path("t.fb"), "--target", "x86-64-v3",
                        "--max-seq-len", "100"});
  EXPECT_EQ(ran.status, 0);
  EXPECT_EQ(ran.errLines(), 1u);
  EXPECT_THAT(ran.err, HasSubstr("warning: --max-seq-len 100"));
}

// Transformers turns to other frequencies as a text grows; keys that lie in a cache cannot.
TEST_F(LlmcCompile, WarnsThatDynamicFrequenciesAreFixed) {
  nlohmann::json config = tinyConfig();
  config["rope_scaling"] = {{"type", "dynamic"}, {"factor", 2.0}};
  dir_.write("config.json", config.dump());
  const auto warnings = [&](const char* max_seq_len) {
    const Ran ran = llmc({"compile", dir_.path("config.json"), "--no-weights", "--emit", "ir",
                          "--max-seq-len", max_seq_len});
    EXPECT_EQ(ran.status, 0) << ran.err;
    return ran.err;
  };
  EXPECT_THAT(warnings("100"), HasSubstr("rope_scaling dynamic: sessions of more than 64 tokens "
                                         "use the frequencies of 100"));
  EXPECT_EQ(warnings("64"), "");
}

TEST_F(LlmcCompile, EmitPrintsEachStageAndWritesNoPlan) {
  const std::string model = tinyModel();
  const size_t before = dir_.entries();
  const auto emit = [&](const std::string& stage) {
    return succeed({"compile", model, "--emit", stage, "--target", "x86-64-v3"});
  };
  EXPECT_THAT(emit("ir"), HasSubstr("llm.rms_norm"));
  EXPECT_THAT(emit("fused"), HasSubstr("llm.norm_qkv"));
  EXPECT_THAT(emit("scheduled"), HasSubstr("llm.phase"));
  EXPECT_THAT(emit("llvm"), HasSubstr("define "));
  EXPECT_THAT(emit("asm"), HasSubstr(".text"));
  EXPECT_EQ(dir_.entries(), before);
}

TEST_F(LlmcCompile, ADisabledPassLeavesItsOpsUnfusedAndWhatThenCannotBeFusedIsSaid) {
  const Ran ran =
      llmc({"compile", tinyModel(), "--emit", "fused", "--disable-pass", "llm-fuse-norm-glu"});
  EXPECT_EQ(ran.status, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("llm.activation"));
  EXPECT_THAT(ran.out, HasSubstr("llm.norm_qkv"));
  EXPECT_EQ(ran.err, "llmc: note: norm_linear not fused: @post_attention_norm has another use\n");
}

TEST_F(LlmcCompile, DumpIrShowsThePassAskedFor) {
  const Ran ran = llmc({"compile", tinyModel(), "--emit", "fused", "--dump-ir=llm-fuse-norm-glu"});
  EXPECT_EQ(ran.status, 0);
  EXPECT_THAT(ran.err, HasSubstr("llm.norm_glu"));
}

TEST_F(LlmcCompile, InspectNamesEveryOpKernelAndTheIR) {
  succeed({"compile", tinyModel(), "-o", dir_.path("t.fb"), "--target", "x86-64-v3"});
  const std::string text = succeed({"inspect", dir_.path("t.fb"), "--bandwidth", "10"});
  for (const char* part :
       {"norm_qkv", "attention", "linear_residual", "norm_glu", "norm_logits", "memory at most"})
    EXPECT_THAT(text, HasSubstr(part));
  EXPECT_THAT(succeed({"inspect", dir_.path("t.fb"), "--ir"}), HasSubstr("llm.norm_qkv"));
  const nlohmann::json json = inspect(dir_.path("t.fb"));
  double share = 0;
  for (const auto& op : json["decode"]["ops"]) share += op["share"].get<double>();
  EXPECT_NEAR(share, 1.0, 1e-9);
  for (const auto& kernel : json["kernels"])
    EXPECT_GT(kernel["code_bytes"]["x86-64-v3"], 0) << kernel["symbol"];
}

TEST_F(LlmcCompile, AGgufFileAndATokenizer) {
  const std::string gguf = kMaterial + "/weights/stories260K/stories260Ktok512.gguf";
  if (!fs::exists(gguf)) GTEST_SKIP() << gguf << " is not here";
  succeed({"compile", gguf, "-o", dir_.path("s.fb"), "--target", "x86-64-v3"});
  EXPECT_TRUE(fs::exists(dir_.path("s.weights")));
  dir_.write("text", "Once upon a time");
  const std::string ids = succeed({"tokenize", gguf, dir_.path("text")});
  EXPECT_EQ(ids, "1 403 407 261 378\n");  // llama2.c's ids, BOS first
  EXPECT_EQ(succeed({"tokenize", dir_.path("s.fb"), dir_.path("text")}), ids);
}

TEST_F(LlmcCompile, TargetsListsWhatCompiles) {
  const std::string out = succeed({"targets"});
  for (const std::string& name : llmrt::knownCpuTargets()) EXPECT_THAT(out, HasSubstr(name));
}

}  // namespace
}  // namespace llmc_tests
