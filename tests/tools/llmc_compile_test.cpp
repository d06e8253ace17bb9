// llmc on models that compile.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "runtime/executor/cpu_features.h"
#include "runtime/executor/plan_verify.h"
#include "runtime/schema/plan_generated.h"
#include "tests/sampling.h"
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
  /// Runs, expects success and silence on stderr; that the tiny model has no tokenizer is not news.
  std::string succeed(std::vector<std::string> arguments) {
    const Ran ran = llmc(std::move(arguments));
    EXPECT_EQ(ran.status, 0) << ran.err;
    if (ran.err.starts_with("llmc: note: the model has no tokenizer")) {
      EXPECT_EQ(ran.errLines(), 1u) << ran.err;
    } else {
      EXPECT_EQ(ran.err, "");
    }
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

/// Bytes of a weights file beside its tensors, of so many.
struct Padding {
  uint64_t padding = 0, bytes = 0, tensors = 0;
};

Padding paddingOf(const std::string& plan_bytes) {
  const llmrt::schema::Plan& plan = *llmrt::schema::GetPlan(plan_bytes.data());
  Padding sum;
  for (const auto* w : *plan.weights()) {
    const uint64_t layers = std::max(1u, w->num_layers());
    sum.bytes += w->bytes() * layers;
    sum.tensors += layers;
  }
  sum.padding = plan.weights_bytes() - sum.bytes;
  return sum;
}

TEST_F(LlmcCompile, AWeightsFileIsPaddedByOnePercentAtMost) {
  // SmolLM2-135M, whose layers are of few megabytes.
  dir_.write("smollm2.json", R"({"model_type": "llama", "hidden_size": 576,
    "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
    "num_key_value_heads": 3, "vocab_size": 49152, "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5, "rope_theta": 100000, "tie_word_embeddings": true,
    "torch_dtype": "bfloat16"})");
  for (const std::string& config : {dir_.path("smollm2.json"), kSource + "/models/mistral.json",
                                    kSource + "/models/llama-3.2-1b.json"}) {
    succeed({"compile", config, "--target", "x86-64-v3", "-o", dir_.path("p.fb")});
    const Padding got = paddingOf(readWhole(dir_.path("p.fb")));
    EXPECT_LE(got.padding, got.bytes / 100) << config << ": of " << got.bytes;
  }
  // Of tiny tensors 64 bytes of alignment are more than 1 %: no tensor has more before it, and the
  // file has a header and the bytes that may be read behind its last tensor.
  for (const char* name : {"qwen3_moe", "gpt2", "llama_gqa_biases", "deepseek_v3", "gemma2"}) {
    if (!fullTests() && name == std::string("deepseek_v3")) break;
    const std::string model = kSource + "/tests/golden/" + name;
    ASSERT_TRUE(fs::exists(model)) << model;
    const Ran ran =
        llmc({"compile", model, "--no-weights", "--target", "x86-64-v3", "-o", dir_.path("g.fb")});
    ASSERT_EQ(ran.status, 0) << ran.err;
    const Padding got = paddingOf(readWhole(dir_.path("g.fb")));
    EXPECT_LE(got.padding, 63 * got.tensors + 64 + 127) << name;
  }
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

/// Names the folder of kept kernels (codegen/cpu/KernelCache.h) for programs that are run from here
/// on; empty: none.
class KernelCacheIs {
 public:
  explicit KernelCacheIs(const std::string& folder) {
    if (const char* before = std::getenv(kName)) before_ = before;
    set(folder);
  }
  ~KernelCacheIs() { set(before_); }
  KernelCacheIs(const KernelCacheIs&) = delete;

 private:
  static void set(const std::string& folder) {
    folder.empty() ? ::unsetenv(kName) : ::setenv(kName, folder.c_str(), 1);
  }
  static constexpr const char* kName = "LLMC_KERNEL_CACHE";
  std::string before_;
};

TEST_F(LlmcCompile, TheSameInputGivesTheSameBytes) {
  const KernelCacheIs none("");
  const std::string model = tinyModel();
  for (const char* name : {"a.fb", "b.fb"})
    succeed({"compile", model, "-o", dir_.path(name), "--target", "x86-64-v3"});
  EXPECT_EQ(readWhole(dir_.path("a.fb")), readWhole(dir_.path("b.fb")));
  EXPECT_EQ(readWhole(dir_.path("a.weights")), readWhole(dir_.path("b.weights")));
}

TEST_F(LlmcCompile, TheSameInputGivesTheSameBytesWithAndWithoutACacheOfKernels) {
  const std::string model = tinyModel(), plan = dir_.path("t.fb"), folder = dir_.path("kernels");
  const auto compile = [&] {
    const Ran ran =
        llmc({"compile", model, "--force", "-o", plan, "--target", "x86-64-v3,x86-64-v4"});
    EXPECT_EQ(ran.status, 0) << ran.err;
    return std::pair(readWhole(plan), ran.err);
  };
  const auto [expected, quiet] = [&] {
    const KernelCacheIs none("");
    return compile();
  }();
  ASSERT_FALSE(expected.empty());

  struct File {
    std::string bytes;
    ino_t inode;  // another one when the file is written again
    bool operator==(const File&) const = default;
  };
  const auto files = [&] {
    std::map<std::string, File> all;
    for (const auto& entry : fs::directory_iterator(folder)) {
      const std::string name = entry.path().filename();
      struct stat s = {};
      EXPECT_EQ(::stat(entry.path().c_str(), &s), 0);
      if (name != "llvmcache.timestamp") all[name] = {readWhole(entry.path()), s.st_ino};
    }
    return all;
  };
  const auto compileWith = [&](const std::string& cache) {
    const KernelCacheIs used(cache);
    return compile();
  };
  EXPECT_TRUE(compileWith(folder) == std::pair(expected, quiet)) << "with an empty cache";
  const std::map<std::string, File> kept = files();
  const nlohmann::json json = inspect(plan);
  EXPECT_EQ(kept.size(), json["kernels"].size() * json["targets"].size())
      << "one object for each kernel of each target";
  EXPECT_TRUE(compileWith(folder) == std::pair(expected, quiet)) << "with a full cache";
  EXPECT_TRUE(files() == kept) << "what is there is not made again";

  // A changed byte, a missing one, nothing, and the whole object of another kernel.
  ASSERT_GE(kept.size(), 5u);
  auto file = kept.begin();
  const auto write = [&](const std::string& bytes) {
    dir_.write("kernels/" + file++->first, bytes);
  };
  std::string changed = file->second.bytes;
  changed[changed.size() / 2] ^= 1;
  write(changed);
  write(file->second.bytes.substr(0, file->second.bytes.size() - 1));
  write("");
  write(kept.rbegin()->second.bytes);
  EXPECT_TRUE(compileWith(folder) == std::pair(expected, quiet)) << "with damaged files";
  for (const auto& [name, again] : files()) EXPECT_TRUE(again.bytes == kept.at(name).bytes) << name;

  // A target's code is the same whichever was compiled before it.
  {
    const std::string alone = dir_.path("alone");
    const KernelCacheIs used(alone);
    succeed({"compile", model, "-o", dir_.path("alone.fb"), "--target", "x86-64-v4"});
    size_t compared = 0;
    for (const auto& [name, file] : kept) {
      if (!fs::exists(alone + '/' + name)) continue;
      EXPECT_TRUE(readWhole(alone + '/' + name) == file.bytes) << name;
      ++compared;
    }
    EXPECT_EQ(compared, json["kernels"].size());
  }

  dir_.write("file", "");
  const auto [bytes, said] = compileWith(dir_.path("file"));
  EXPECT_TRUE(bytes == expected) << "without a usable cache";
  EXPECT_EQ(said, "llmc: warning: LLMC_KERNEL_CACHE=" + dir_.path("file") +
                      ": Not a directory: no kernels are kept\n" + quiet);
}

TEST_F(LlmcCompile, PackMakesTheWeightsThatCompileWouldHaveMade) {
  const std::string model = tinyModel();
  succeed({"compile", model, "-o", dir_.path("whole.fb"), "--target", "x86-64-v3"});
  succeed({"compile", model, "--no-weights", "-o", dir_.path("code.fb"), "--target", "x86-64-v3"});
  EXPECT_FALSE(fs::exists(dir_.path("code.weights")));
  succeed({"pack", dir_.path("code.fb"), "--weights", model});
  EXPECT_EQ(readWhole(dir_.path("code.weights")), readWhole(dir_.path("whole.weights")));
  // But for what compile saw, and pack does not know.
  const auto plan = [&](const std::string& path) {
    const std::string bytes = readWhole(path);
    llmrt::schema::PlanT plan;
    llmrt::schema::GetPlan(bytes.data())->UnPackTo(&plan);
    plan.source_id = plan.hash = 0;
    flatbuffers::FlatBufferBuilder builder;
    builder.Finish(llmrt::schema::Plan::Pack(builder, &plan));
    return std::string(builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize());
  };
  EXPECT_EQ(plan(dir_.path("code.fb")), plan(dir_.path("whole.fb")));
}

TEST_F(LlmcCompile, DTypesAndBoundsAreAsAsked) {
  succeed({"compile", tinyModel(), "-o", dir_.path("t.fb"), "--target", "x86-64-v3", "--dtype",
           "f16", "--kv-dtype", "f32", "--max-seq-len", "48", "--max-batch", "3", "--prefill-chunk",
           "7"});
  const nlohmann::json json = inspect(dir_.path("t.fb"));
  EXPECT_EQ(json["model"]["dtype"], "f16");
  EXPECT_EQ(json["states"][0]["dtype"], "f32");
  EXPECT_EQ(json["model"]["max_seq_len"], 48);
  EXPECT_EQ(json["model"]["max_batch"], 3);
  const std::string bytes = readWhole(dir_.path("t.fb"));
  const auto* plan = llmrt::schema::GetPlan(bytes.data());
  for (const auto* entry : *plan->entry_points())
    EXPECT_EQ(entry->max_rows(), entry->name()->str() == "prefill" ? 7u : 16u);
}

TEST_F(LlmcCompile, ActivationsAreInTheModelThatKernelsAreMadeOf) {
  const auto scheduled = [&](const std::string& activations) {
    return llmc({"compile", tinyModel(), "--target", "x86-64-v3", "--emit", "scheduled",
                 "--quantize", "q8", "--activations", activations})
        .out;
  };
  EXPECT_THAT(scheduled("int8"), testing::HasSubstr("llm.activations = \"int8\""));
  EXPECT_THAT(scheduled("float"), testing::Not(testing::HasSubstr("llm.activations")));
  // Of a model that is not quantised there is nothing to say.
  EXPECT_THAT(succeed({"compile", tinyModel(), "--target", "x86-64-v3", "--emit", "scheduled"}),
              testing::Not(testing::HasSubstr("llm.activations")));
}

TEST_F(LlmcCompile, TreesOfTokensHaveEntryPointsWhereAskedFor) {
  const auto scheduled = [&](const std::vector<std::string>& flags) {
    std::vector<std::string> command = {"compile",   tinyModel(), "--target",
                                        "x86-64-v3", "--emit",    "scheduled"};
    command.insert(command.end(), flags.begin(), flags.end());
    return llmc(command).out;
  };
  const std::string text = scheduled({"--verify", "24"});
  EXPECT_THAT(text, HasSubstr("llm.schedule @verify verify max_rows 24 max_logits_rows 24"));
  EXPECT_THAT(
      text, HasSubstr("llm.schedule @commit commit max_rows 24 max_logits_rows 0 arena_bytes 0 {"));
  EXPECT_THAT(scheduled({}), ::testing::Not(HasSubstr("@verify")));
}

TEST_F(LlmcCompile, MoreContextThanTheModelWasTrainedForIsAWarning) {
  const Ran ran = llmc({"compile", tinyModel(), "-o", dir_.path("t.fb"), "--target", "x86-64-v3",
                        "--tokenizer", "none", "--max-seq-len", "100"});
  EXPECT_EQ(ran.status, 0);
  EXPECT_EQ(ran.errLines(), 1u);
  EXPECT_THAT(ran.err, HasSubstr("warning: --max-seq-len 100"));
}

TEST_F(LlmcCompile, TheSummarySaysHowMuchOfTheContextWasTaken) {
  const auto context = [&](const std::string& max_seq_len) {
    const Ran ran = llmc({"compile", tinyModel(), "-o", dir_.path("t.fb"), "--target", "x86-64-v3",
                          "--max-seq-len", max_seq_len});
    const size_t at = ran.out.find("context");
    return ran.out.substr(at, ran.out.find('\n', at) - at);
  };
  EXPECT_EQ(context("48"),
            "context    48 tokens of the 64 that the model was trained for: --max-seq-len 64 takes "
            "them all");
  EXPECT_EQ(context("64"), "context    64 tokens, what the model was trained for");
  EXPECT_EQ(context("100"), "context    100 tokens, beyond the 64 that the model was trained for");
}

TEST_F(LlmcCompile, AModelWithoutATokenizerIsSaidUnlessItWasMeant) {
  const std::vector<std::string> command = {"compile",         tinyModel(), "-o",
                                            dir_.path("t.fb"), "--target",  "x86-64-v3"};
  const Ran ran = llmc(command);
  EXPECT_EQ(ran.errLines(), 1u) << ran.err;
  EXPECT_THAT(ran.err, HasSubstr("--prompt-ids, not --prompt; --tokenizer PATH"));
  std::vector<std::string> meant = command;
  meant.insert(meant.end(), {"--tokenizer", "none"});
  EXPECT_EQ(llmc(meant).err, "");
}

TEST_F(LlmcCompile, ThePlanIsNamedAfterTheModel) {
  const std::string model = tinyModel();
  dir_.write("small.json", tinyConfig().dump());
  fs::create_directory(dir_.path("work"));
  const auto compile = [&](const std::string& what, const std::string& from) {
    return runProgram({LLMC_PROGRAM, "compile", what, "--target", "x86-64-v3"}, dir_.path(), {},
                      "/dev/null", from);
  };
  EXPECT_EQ(compile(model, dir_.path("work")).status, 0);
  EXPECT_TRUE(fs::exists(dir_.path("work/hf.fb")));
  EXPECT_TRUE(fs::exists(dir_.path("work/hf.weights")));
  EXPECT_EQ(compile(dir_.path("small.json"), dir_.path("work")).status, 0);
  EXPECT_TRUE(fs::exists(dir_.path("work/small.fb")));
  // From within, too.
  EXPECT_EQ(compile(".", model).status, 0);
  EXPECT_TRUE(fs::exists(model + "/hf.fb"));
  // Somebody else's file of that name stays.
  for (const char* name : {"work/hf.fb", "work/hf.weights"}) {
    dir_.write(name, "mine");
    const Ran ran = compile(model, dir_.path("work"));
    EXPECT_EQ(ran.status, 1);
    EXPECT_THAT(ran.err, HasSubstr("name the plan to write with -o"));
    EXPECT_EQ(readWhole(dir_.path(name)), "mine");
    fs::remove(dir_.path(name));
    EXPECT_EQ(compile(model, dir_.path("work")).status, 0);
  }
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

TEST_F(LlmcCompile, EmitPrintsOneKernelByItsName) {
  const std::string model = tinyModel();
  succeed({"compile", model, "-o", dir_.path("t.fb"), "--target", "x86-64-v3"});
  const nlohmann::json kernels = inspect(dir_.path("t.fb"))["kernels"];
  ASSERT_GT(kernels.size(), 2u);
  const std::string wanted = kernels[1]["symbol"], other = kernels[0]["symbol"];
  for (const char* stage : {"llvm", "asm", "cuda"}) {
    const std::string text =
        succeed({"compile", model, "--emit", stage, "--kernel", wanted, "--target", "x86-64-v3"});
    EXPECT_THAT(text, HasSubstr(wanted)) << stage;
    EXPECT_THAT(text, ::testing::Not(HasSubstr(other))) << stage;
  }
  const Ran unknown = llmc({"compile", model, "--emit", "asm", "--kernel", "none"});
  EXPECT_EQ(unknown.status, 1);
  EXPECT_THAT(unknown.err, HasSubstr("--kernel: there is no 'none', this model has "));
  for (const auto& kernel : kernels)
    EXPECT_THAT(unknown.err, HasSubstr(kernel["symbol"].get<std::string>()));
  EXPECT_EQ(llmc({"compile", model, "--emit", "ir", "--kernel", wanted}).status, 2);
}

TEST_F(LlmcCompile, ADisabledPassLeavesItsOpsUnfusedAndWhatThenCannotBeFusedIsSaid) {
  const Ran ran = llmc({"compile", tinyModel(), "--emit", "fused", "--disable-pass",
                        "llm-fuse-norm-glu,llm-fuse-norm-projections"});
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

TEST_F(LlmcCompile, TokenizesAFileAPipeOrATextOfTheCommandLine) {
  const std::string gguf = kMaterial + "/weights/stories260K/stories260Ktok512.gguf";
  if (!fs::exists(gguf)) GTEST_SKIP() << gguf << " is not here";
  const std::string ids = "1 403 407 261 378\n";  // llama2.c's
  const std::string text = dir_.write("text", "Once upon a time");
  EXPECT_EQ(succeed({"tokenize", gguf, "--text", "Once upon a time"}), ids);
  const auto from = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {LLMC_PROGRAM, "tokenize", gguf});
    return runProgram(arguments, dir_.path(), {}, text);
  };
  EXPECT_EQ(from({}).out, ids);
  EXPECT_EQ(from({"-"}).out, ids);
  EXPECT_EQ(from({"/dev/stdin"}).out, ids);
  // A text in a file's place.
  const Ran ran = llmc({"tokenize", gguf, "Once upon a time"});
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.err, HasSubstr("Once upon a time: no such file (--text TEXT"));
}

TEST_F(LlmcCompile, VersionSaysTheCommit) {
  const std::string version = succeed({"--version"});
  EXPECT_THAT(version,
              ::testing::MatchesRegex("llmc [0-9.]+ \\(commit ([0-9a-f]+\\+?|unknown)\\)\n"));
  succeed({"compile", tinyModel(), "-o", dir_.path("t.fb"), "--target", "x86-64-v3"});
  EXPECT_EQ(inspect(dir_.path("t.fb"))["producer"].get<std::string>() + "\n", version);
}

// The example of the documentation.
TEST_F(LlmcCompile, LlmcOptTakesWhatEmitPrints) {
  const std::string ir = dir_.write("ir", succeed({"compile", tinyModel(), "--emit", "ir"}));
  const Ran ran = runProgram({LLMC_OPT_PROGRAM, "--llm-fuse-norm-glu"}, dir_.path(), {}, ir);
  EXPECT_EQ(ran.status, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("llm.norm_glu"));
  const Ran help = runProgram({LLMC_OPT_PROGRAM, "--help"}, dir_.path());
  EXPECT_THAT(help.out, HasSubstr("--llm-fuse-norm-glu"));
  EXPECT_THAT(help.out, ::testing::Not(HasSubstr("--aarch64-")));
  EXPECT_THAT(runProgram({LLMC_OPT_PROGRAM, "--help-hidden"}, dir_.path()).out,
              HasSubstr("--aarch64-"));
}

TEST_F(LlmcCompile, TargetsListsWhatCompiles) {
  const std::string out = succeed({"targets"});
  for (const std::string& name : llmrt::knownCpuTargets()) EXPECT_THAT(out, HasSubstr(name));
}

}  // namespace
}  // namespace llmc_tests
