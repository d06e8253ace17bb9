// What llmc says when it cannot do what was asked: one line, exit status 1 (2 for wrong usage), no
// file left.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/tools/run_program.h"
#include "tests/tools/tiny_model.h"

namespace llmc_tests {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::string kMaterial = LLMC_MATERIAL_DIR;

class LlmcErrors : public ::testing::Test {
 protected:
  LlmcErrors() { fs::create_directory(dir_.path("out")); }

  Ran llmc(std::vector<std::string> arguments, Limits limits = {}) {
    arguments.insert(arguments.begin(), LLMC_PROGRAM);
    return runProgram(std::move(arguments), dir_.path(), limits);
  }

  /// Compiling fails with one line that holds `parts`, and leaves nothing.
  void expectFailure(const std::string& model, const std::vector<std::string>& parts,
                     std::vector<std::string> flags = {}, Limits limits = {}) {
    std::vector<std::string> arguments = {"compile",  model,      "-o", dir_.path("out/p.fb"),
                                          "--target", "x86-64-v3"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    const Ran ran = llmc(arguments, limits);
    EXPECT_EQ(ran.status, 1) << model;
    EXPECT_EQ(ran.errLines(), 1u) << ran.err;
    EXPECT_THAT(ran.err, StartsWith("llmc: error: "));
    for (const std::string& part : parts) EXPECT_THAT(ran.err, HasSubstr(part));
    EXPECT_EQ(ran.out, "");
    EXPECT_TRUE(fs::is_empty(dir_.path("out"))) << "left behind by " << model;
  }

  /// An HF directory of this config and these weights (empty: none).
  std::string model(const nlohmann::json& config, const std::string& weights) {
    fs::create_directory(dir_.path("hf"));
    dir_.write("hf/config.json", config.dump());
    if (!weights.empty()) dir_.write("hf/model.safetensors", weights);
    return dir_.path("hf");
  }

  TemporaryDirectory dir_;
};

TEST_F(LlmcErrors, NoSuchFile) {
  expectFailure(dir_.path("none.json"), {"none.json", "no such file"});
}

TEST_F(LlmcErrors, NotAModel) {
  expectFailure(dir_.write("text", "hello"), {"text"});
  expectFailure(dir_.write("list.json", "[1, 2]"), {"list.json"});
  expectFailure(dir_.write("empty.json", ""), {"empty.json"});
}

TEST_F(LlmcErrors, UnknownModelTypeAndUnsupportedFields) {
  nlohmann::json config = tinyConfig();
  config["model_type"] = "mamba";
  expectFailure(model(config, tinySafetensors(tinyShapes())),
                {"config.json", "model_type", "mamba"});
  config = tinyConfig();
  config["rope_scaling"] = {{"rope_type", "mrope"}, {"factor", 4.0}};
  expectFailure(model(config, tinySafetensors(tinyShapes())), {"config.json", "mrope"});
  config = tinyConfig();
  config["hidden_act"] = "xielu";
  expectFailure(model(config, tinySafetensors(tinyShapes())), {"config.json", "hidden_act"});
}

TEST_F(LlmcErrors, ADirectoryWithoutWeightsAsksForThem) {
  expectFailure(model(tinyConfig(), ""), {"--weights", "--no-weights"});
}

// Both would be read, and mean other numbers.
TEST_F(LlmcErrors, NormsThatTheWeightsStoreInAnotherWayThanTheConfigSays) {
  const std::string golden = std::string(LLMC_SOURCE_DIR) + "/tests/golden/";
  const std::string hf = golden + "gemma2", gguf = golden + "gguf/gemma2.gguf";
  expectFailure(hf + "/config.json", {gguf, "norms of gemma2"}, {"--weights", gguf});
  expectFailure(gguf, {hf, "config and weights must be of one kind"},
                {"--weights", hf, "--tokenizer", "none"});
}

TEST_F(LlmcErrors, MissingTensor) {
  auto shapes = tinyShapes();
  shapes.erase("model.layers.1.mlp.up_proj.weight");
  expectFailure(model(tinyConfig(), tinySafetensors(shapes)),
                {"model.safetensors", "model.layers.1.mlp.up_proj.weight", "missing"});
}

TEST_F(LlmcErrors, WrongShape) {
  auto shapes = tinyShapes();
  shapes["model.layers.0.self_attn.k_proj.weight"] = {32, 32};
  expectFailure(model(tinyConfig(), tinySafetensors(shapes)),
                {"model.layers.0.self_attn.k_proj.weight", "[32, 32]", "[16, 32]"});
}

TEST_F(LlmcErrors, TruncatedWeights) {
  std::string file = tinySafetensors(tinyShapes());
  file.resize(file.size() - 1);
  expectFailure(model(tinyConfig(), file), {"model.safetensors"});
  file.resize(100);
  expectFailure(model(tinyConfig(), file), {"model.safetensors"});
}

TEST_F(LlmcErrors, MalformedFiles) {
  if (!fs::exists(kMaterial + "/malformed")) GTEST_SKIP() << kMaterial << "/malformed is not here";
  for (const auto& entry : fs::directory_iterator(kMaterial + "/malformed/gguf"))
    expectFailure(entry.path().string(), {entry.path().filename().string()});
  // Good files of the wrong tensors (ok_*) are refused, too.
  for (const auto& entry : fs::directory_iterator(kMaterial + "/malformed/safetensors"))
    expectFailure(model(tinyConfig(), readWhole(entry.path().string()) + ""), {"hf"});
}

// Between the size of a target's code, which goes through a temporary file, and that of what is
// written.
constexpr rlim_t kFewBytes = 100000;

TEST_F(LlmcErrors, FullDiskWhileWritingTheWeights) {
  nlohmann::json config = tinyConfig();
  config["vocab_size"] = 2000;
  auto shapes = tinyShapes();
  shapes["model.embed_tokens.weight"] = shapes["lm_head.weight"] = {2000, 32};
  expectFailure(model(config, tinySafetensors(shapes)), {"p.weights", "cannot write"}, {},
                {.file_bytes = kFewBytes});
}

TEST_F(LlmcErrors, FullDiskWhileWritingThePlan) {
  const std::string tiny = model(tinyConfig(), tinySafetensors(tinyShapes()));
  expectFailure(tiny, {"p.fb", "cannot write"}, {"--no-weights", "--target", "aarch64"},
                {.file_bytes = kFewBytes});
}

TEST_F(LlmcErrors, FullDiskWhileLinking) {
  const std::string tiny = model(tinyConfig(), tinySafetensors(tinyShapes()));
  expectFailure(tiny, {"x86-64-v3"}, {}, {.file_bytes = 4096});
}

TEST_F(LlmcErrors, AnOldPlanSurvivesAFailure) {
  dir_.write("out/p.fb", "old");
  const std::string tiny = model(tinyConfig(), tinySafetensors(tinyShapes()));
  const Ran ran = llmc({"compile", tiny, "-o", dir_.path("out/p.fb"), "--target", "x86-64-v3"},
                       {.file_bytes = 4096});
  EXPECT_EQ(ran.status, 1);
  EXPECT_EQ(readWhole(dir_.path("out/p.fb")), "old");
}

TEST_F(LlmcErrors, NoPlaceToWrite) {
  const std::string tiny = model(tinyConfig(), tinySafetensors(tinyShapes()));
  const Ran ran = llmc({"compile", tiny, "-o", dir_.path("none/p.fb")});
  EXPECT_EQ(ran.status, 1);
  EXPECT_EQ(ran.errLines(), 1u);
  EXPECT_THAT(ran.err, HasSubstr("none/p"));
}

TEST_F(LlmcErrors, OutOfMemoryIsOneLine) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the sanitizer needs the address space itself";
#endif
  const std::string tiny = model(tinyConfig(), tinySafetensors(tinyShapes()));
  // What loading the program alone needs, to 2 MiB.
  rlim_t low = 0, high = rlim_t{4} << 30;
  while (high - low > (2 << 20)) {
    const rlim_t middle = (low + high) / 2;
    (llmc({"targets"}, {.address_bytes = middle}).status == 0 ? high : low) = middle;
  }
  bool failed = false;
  for (rlim_t extra = 0; extra <= 512; extra += 64) {
    const Ran ran = llmc({"compile", tiny, "-o", dir_.path("out/p.fb"), "--target", "x86-64-v3"},
                         {.address_bytes = high + (extra << 20)});
    if (ran.status == 0) break;
    failed = true;
    EXPECT_EQ(ran.status, 1) << extra << " MiB more: " << ran.err;
    EXPECT_EQ(ran.errLines(), 1u) << ran.err;
    EXPECT_THAT(ran.err, HasSubstr("out of memory"));
    EXPECT_TRUE(fs::is_empty(dir_.path("out")));
  }
  EXPECT_TRUE(failed) << "compiling needs no memory beyond loading the program";
}

TEST_F(LlmcErrors, NothingIsWrittenOverTheModel) {
  const std::string hf = model(tinyConfig(), tinySafetensors(tinyShapes()));
  const std::string config = hf + "/config.json", tensors = hf + "/model.safetensors";
  ASSERT_EQ(llmc({"compile", hf, "--no-weights", "-o", dir_.path("p.fb"), "--target", "x86-64-v3"})
                .status,
            0);
  fs::create_symlink(tensors, dir_.path("p.weights"));
  const std::vector<std::vector<std::string>> commands = {
      {"compile", config, "-o", config},
      {"compile", config, "-o", hf + "/../hf/config.json"},
      {"compile", config, "--emit", "ir", "-o", config},
      {"compile", hf, "--no-weights", "-o", tensors},
      {"compile", config, "--weights", tensors, "-o", dir_.path("p.fb")},
      {"pack", dir_.path("p.fb"), "--weights", tensors},
      {"pack", dir_.path("p.fb"), "--weights", hf},
  };
  const std::string config_before = readWhole(config), tensors_before = readWhole(tensors);
  for (const auto& command : commands) {
    const Ran ran = llmc(command);
    EXPECT_EQ(ran.status, 1) << command[1];
    EXPECT_EQ(ran.errLines(), 1u) << ran.err;
    EXPECT_THAT(ran.err, HasSubstr("is a file of the model"));
    EXPECT_EQ(readWhole(config), config_before);
    EXPECT_EQ(readWhole(tensors), tensors_before);
  }
  // Beside them there is room.
  for (int i = 0; i < 2; ++i)
    EXPECT_EQ(llmc({"compile", hf, "-o", hf + "/plan.fb", "--target", "x86-64-v3"}).status, 0);
}

TEST_F(LlmcErrors, SizesThatMakeNoPlan) {
  nlohmann::json config = tinyConfig();
  config["hidden_size"] = 1 << 20;
  config["head_dim"] = 8;
  config["num_hidden_layers"] = 10000;
  config["vocab_size"] = 1 << 27;
  expectFailure(model(config, ""),
                {"config.json", "hidden_size 1048576", "num_hidden_layers 10000",
                 "vocab_size 134217728", "parameters"},
                {"--no-weights"});
}

TEST_F(LlmcErrors, UnknownNamesAreQuotedAndNamedOnce) {
  const std::string tiny = model(tinyConfig(), tinySafetensors(tinyShapes()));
  const auto said = [&](const std::string& flag) {
    return llmc({"compile", tiny, "-o", dir_.path("out/p.fb"), flag}).err;
  };
  EXPECT_THAT(said("--target=z80"), StartsWith("llmc: --target: there is no target 'z80', use "));
  EXPECT_THAT(said("--disable-pass=z80"),
              StartsWith("llmc: --disable-pass: there is no pass 'z80', use "));
  EXPECT_THAT(said("--dump-ir=z80"), StartsWith("llmc: --dump-ir: there is no pass 'z80', use "));
  EXPECT_THAT(llmc({"compile", tiny, "-o", dir_.path("out/p.fb"), "--target", ""}).err,
              StartsWith("llmc: --target: there is no target '', use "));
}

TEST_F(LlmcErrors, PackNamesWhatIsWrong) {
  const std::string tiny = model(tinyConfig(), tinySafetensors(tinyShapes()));
  ASSERT_EQ(
      llmc({"compile", tiny, "--no-weights", "-o", dir_.path("p.fb"), "--target", "x86-64-v3"})
          .status,
      0);
  auto shapes = tinyShapes();
  shapes.erase("lm_head.weight");
  dir_.write("other.safetensors", tinySafetensors(shapes));
  Ran ran = llmc({"pack", dir_.path("p.fb"), "--weights", dir_.path("other.safetensors")});
  EXPECT_EQ(ran.status, 1);
  EXPECT_EQ(ran.errLines(), 1u);
  EXPECT_THAT(ran.err, HasSubstr("lm_head.weight"));
  EXPECT_FALSE(fs::exists(dir_.path("p.weights")));
  ran = llmc({"pack", tiny + "/config.json", "--weights", tiny});
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(ran.err, HasSubstr("not a plan"));
}

TEST_F(LlmcErrors, InspectRefusesWhatIsNoPlan) {
  for (const std::string& path :
       {dir_.write("text", "hello"), dir_.write("empty", ""), dir_.path("none")}) {
    const Ran ran = llmc({"inspect", path, "--bandwidth", "10"});
    EXPECT_EQ(ran.status, 1);
    EXPECT_EQ(ran.errLines(), 1u);
    EXPECT_THAT(ran.err, HasSubstr(path));
  }
}

TEST_F(LlmcErrors, WrongUsageIsStatus2AndOneLine) {
  const std::string tiny = model(tinyConfig(), tinySafetensors(tinyShapes()));
  const std::string out = dir_.path("out/p.fb");
  const std::vector<std::vector<std::string>> commands = {
      {},
      {"frobnicate"},
      {"compile"},
      {"compile", tiny, "-o", out, "--frobnicate"},
      {"compile", tiny, "-o", out, "--target", "z80"},
      {"compile", tiny, "-o", out, "--dtype", "i4"},
      {"compile", tiny, "-o", out, "--max-seq-len", "0"},
      {"compile", tiny, "-o", out, "--max-seq-len", "many"},
      {"compile", tiny, "-o", out, "--max-batch", "-1"},
      {"compile", tiny, "-o", out, "--verify", "0"},
      {"compile", tiny, "-o", out, "--verify", "65"},
      {"compile", tiny, "-o", out, "--target", ""},
      {"compile", tiny, "-o", out, "--disable-pass", "llm-fuse-everything"},
      {"compile", tiny, "-o", out, "--dump-ir=bogus"},
      {"compile", tiny, "-o", out, "--no-weights", "--weights", tiny},
      {"pack", out},
      {"tokenize", tiny},
  };
  for (const auto& command : commands) {
    const Ran ran = llmc(command);
    EXPECT_EQ(ran.status, 2) << ran.err;
    EXPECT_EQ(ran.errLines(), 1u) << ran.err;
    EXPECT_TRUE(fs::is_empty(dir_.path("out")));
  }
}

TEST_F(LlmcErrors, SaysWhatWasMeant) {
  const auto said = [&](const std::vector<std::string>& command) {
    const Ran ran = llmc(command);
    EXPECT_EQ(ran.status, 2);
    EXPECT_EQ(ran.errLines(), 1u) << ran.err;
    return ran.err;
  };
  EXPECT_EQ(said({"complie", "m"}),
            "llmc: there is no command 'complie': did you mean compile? (llmc --help)\n");
  EXPECT_EQ(said({"frobnicate"}), "llmc: there is no command 'frobnicate' (llmc --help)\n");
  EXPECT_EQ(
      said({"compile", "m", "--max-sequence-len", "7"}),
      "llmc: there is no flag '--max-sequence-len': did you mean --max-seq-len? (llmc compile "
      "--help)\n");
  EXPECT_EQ(said({"compile", "m", "--no_weights"}),
            "llmc: there is no flag '--no_weights': did you mean --no-weights? (llmc compile "
            "--help)\n");
  EXPECT_EQ(said({"compile", "m", "--xyzzy"}),
            "llmc: there is no flag '--xyzzy' (llmc compile --help)\n");
  EXPECT_EQ(said({"compile", "m", "-b", "4"}),
            "llmc: -b is not a flag here: --max-batch N is the most sequences in flight, "
            "--prefill-chunk N the most rows of a step (llmc compile --help)\n");
  EXPECT_EQ(said({"compile", "m", "n"}), "llmc: 'n' is a word too many (llmc compile --help)\n");
  EXPECT_EQ(said({"tokenize", "m", "some", "words"}),
            "llmc: 'words' is a word too many: a text goes behind --text, in quotes (llmc tokenize "
            "--help)\n");
  EXPECT_EQ(said({"tokenize", "m"}),
            "llmc: give FILE, - for standard input, or --text TEXT (llmc tokenize --help)\n");
}

// CLI11 would report what it declared first.
TEST_F(LlmcErrors, TheFirstWrongThingIsReported) {
  const auto said = [&](std::vector<std::string> flags) {
    flags.insert(flags.begin(), {"compile", "m"});
    return llmc(flags).err;
  };
  EXPECT_THAT(said({"--max-batch", "x", "--dtype", "i4"}), HasSubstr("--max-batch"));
  EXPECT_THAT(said({"--dtype", "i4", "--max-batch", "x"}), HasSubstr("--dtype"));
  EXPECT_THAT(said({"--wrong", "--dtype", "i4"}), HasSubstr("--wrong"));
  EXPECT_THAT(said({"--dtype", "i4", "--wrong"}), HasSubstr("--dtype"));
  // What a flag takes is no flag.
  EXPECT_THAT(said({"--tokenizer", "--wrong", "--worse"}), HasSubstr("'--worse'"));
}

TEST_F(LlmcErrors, WhatIsNoPlanIsNamed) {
  const std::string tiny = model(tinyConfig(), tinySafetensors(tinyShapes()));
  ASSERT_EQ(llmc({"compile", tiny, "-o", dir_.path("p.fb"), "--target", "x86-64-v3"}).status, 0);
  EXPECT_THAT(llmc({"inspect", tiny}).err,
              HasSubstr("is a model, not a plan; this compiles it: llmc compile " + tiny +
                        " -o hf.fb; then give hf.fb"));
  EXPECT_THAT(llmc({"inspect", tiny + "/model.safetensors"}).err,
              HasSubstr("llmc compile " + tiny + " -o hf.fb"));
  EXPECT_THAT(llmc({"inspect", dir_.path("p.weights")}).err,
              HasSubstr("give the plan itself, " + dir_.path("p.fb")));
  fs::create_directory(dir_.path("a b"));
  const std::string config = dir_.write("a b/it's.json", tinyConfig().dump());
  EXPECT_THAT(llmc({"inspect", config}).err,
              HasSubstr("llmc compile '" + dir_.path("a b") + "/it'\\''s.json' -o 'it'\\''s.fb'"));
  EXPECT_THAT(llmc({"inspect", dir_.write("m-00001-of-00002.gguf", "GGUF")}).err,
              HasSubstr("-o m.fb"));
  fs::create_directory(dir_.path("nothing"));
  EXPECT_THAT(llmc({"inspect", dir_.path("nothing")}).err, HasSubstr("is a directory, not a plan"));
}

TEST_F(LlmcErrors, HelpIsOnStdoutForEverySubcommand) {
  for (const char* command : {"compile", "pack", "inspect", "tokenize", "targets"}) {
    const Ran ran = llmc({command, "--help"});
    EXPECT_EQ(ran.status, 0);
    EXPECT_EQ(ran.err, "");
    EXPECT_THAT(ran.out, HasSubstr("--help"));
  }
  EXPECT_THAT(llmc({"compile", "--help"}).out, HasSubstr("--ctx-size (--max-seq-len)"));
}

}  // namespace
}  // namespace llmc_tests
