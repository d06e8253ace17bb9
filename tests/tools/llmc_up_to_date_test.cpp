// Compiling again: what is unchanged is not compiled, what has changed is.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/tools/run_program.h"
#include "tests/tools/tiny_model.h"

namespace llmc_tests {
namespace {

namespace fs = std::filesystem;

class LlmcUpToDate : public ::testing::Test {
 protected:
  LlmcUpToDate() {
    fs::create_directory(dir_.path("hf"));
    dir_.write("hf/config.json", tinyConfig().dump());
    dir_.write("hf/model.safetensors", tinySafetensors(tinyShapes()));
  }

  /// Whether `llmc compile` of the tiny model with these flags found nothing to do.
  bool upToDate(std::vector<std::string> flags = {}, const std::string& model = "hf") {
    std::vector<std::string> command = {LLMC_PROGRAM, "compile",    dir_.path(model.c_str()),
                                        "-o",         plan_,        "--target",
                                        "x86-64-v3",  "--tokenizer"};
    if (std::find(flags.begin(), flags.end(), "--tokenizer") != flags.end())
      command.pop_back();
    else
      command.push_back("none");
    command.insert(command.end(), flags.begin(), flags.end());
    const Ran ran = runProgram(command, dir_.path());
    EXPECT_EQ(ran.status, 0) << ran.err;
    return ran.out.find("p.fb: up to date, ") != std::string::npos;
  }

  TemporaryDirectory dir_;
  const std::string plan_ = dir_.path("p.fb"), weights_ = dir_.path("p.weights");
};

TEST_F(LlmcUpToDate, NothingIsDoneTwiceUnlessForced) {
  EXPECT_FALSE(upToDate());
  const std::string plan = readWhole(plan_);
  const auto written = fs::last_write_time(plan_);
  EXPECT_TRUE(upToDate());
  EXPECT_EQ(fs::last_write_time(plan_), written);
  EXPECT_FALSE(upToDate({"--force"}));
  EXPECT_NE(fs::last_write_time(plan_), written);
  EXPECT_EQ(readWhole(plan_), plan);
}

// Each differs from the one before.
TEST_F(LlmcUpToDate, OtherFlagsAreAnotherPlan) {
  const std::vector<std::vector<std::string>> all = {{"--max-seq-len", "48"},
                                                     {"--kv-dtype", "f16"},
                                                     {"--activations", "int8"},
                                                     {"--disable-pass", "llm-fuse-norm-glu"},
                                                     {"--no-weights"}};
  for (const auto& flags : all) EXPECT_FALSE(upToDate(flags)) << flags[0];
  EXPECT_TRUE(upToDate(all.back()));
}

TEST_F(LlmcUpToDate, AChangedModelIsCompiled) {
  EXPECT_FALSE(upToDate());
  dir_.write("hf/chat_template.jinja", "{{ messages }}");
  EXPECT_FALSE(upToDate());
  EXPECT_TRUE(upToDate());
}

TEST_F(LlmcUpToDate, WhatIsNotWholeIsCompiled) {
  EXPECT_FALSE(upToDate());
  const std::string plan = readWhole(plan_), weights = readWhole(weights_);
  fs::resize_file(plan_, plan.size() - 8);
  EXPECT_FALSE(upToDate());
  EXPECT_EQ(readWhole(plan_), plan);
  fs::resize_file(weights_, weights.size() - 1);
  EXPECT_FALSE(upToDate());
  EXPECT_EQ(readWhole(weights_), weights);
  // pack gives a plan weights that compile has not seen.
  ASSERT_EQ(
      runProgram({LLMC_PROGRAM, "pack", plan_, "--weights", dir_.path("hf")}, dir_.path()).status,
      0);
  EXPECT_FALSE(upToDate());
}

// A fine-tuned model has the same plan but for the hashes of its weights.
TEST_F(LlmcUpToDate, WeightsOfAnotherModelAreReplaced) {
  EXPECT_FALSE(upToDate());
  const std::string weights = readWhole(weights_);
  std::string tuned = readWhole(dir_.path("hf/model.safetensors"));
  tuned.back() = static_cast<char>(tuned.back() ^ 1);
  fs::create_directories(dir_.path("tuned/hf"));
  dir_.write("tuned/hf/config.json", tinyConfig().dump());
  dir_.write("tuned/hf/model.safetensors", tuned);
  const Ran ran = runProgram({LLMC_PROGRAM, "compile", dir_.path("tuned/hf"), "-o",
                              dir_.path("t.fb"), "--target", "x86-64-v3", "--tokenizer", "none"},
                             dir_.path());
  ASSERT_EQ(ran.status, 0) << ran.err;
  fs::copy_file(dir_.path("t.weights"), weights_, fs::copy_options::overwrite_existing);
  EXPECT_FALSE(upToDate());
  EXPECT_TRUE(readWhole(weights_) == weights);
}

}  // namespace
}  // namespace llmc_tests
