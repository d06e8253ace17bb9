// --tuning and --tune as users meet them: which file is used, what is refused and how.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "runtime/executor/cpu_features.h"
#include "tests/sampling.h"
#include "tests/tools/run_program.h"
#include "tests/tools/tiny_model.h"

namespace llmc_tests {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class LlmcTuning : public ::testing::Test {
 protected:
  LlmcTuning() {
    dir_.write("config.json", tinyConfig().dump());
    fs::create_directories(dir_.path("config/llmc"));
    ::setenv("XDG_CONFIG_HOME", dir_.path("config").c_str(), 1);
  }
  ~LlmcTuning() override { ::unsetenv("XDG_CONFIG_HOME"); }

  Ran compile(std::vector<std::string> flags) {
    std::vector<std::string> command = {LLMC_PROGRAM, "compile",         dir_.path("config.json"),
                                        "-o",         dir_.path("p.fb"), "--no-weights"};
    command.insert(command.end(), flags.begin(), flags.end());
    return runProgram(command, dir_.path());
  }
  Ran inspect() {
    return runProgram({LLMC_PROGRAM, "inspect", dir_.path("p.fb"), "--bandwidth", "10"},
                      dir_.path());
  }

  /// One that streams so many panels in the products of the tiny model's MLP.
  static std::string tuning(int panels, const std::string& target = "x86-64-v3",
                            const std::string& cpu = "somecpu") {
    return nlohmann::json({{"llmc_tuning", 1},
                           {"cpus",
                            {{{"cpu", cpu},
                              {"model", "Some CPU"},
                              {"target", target},
                              {"threads", 2},
                              {"products",
                               {{{"op", "norm_glu"},
                                 {"outputs", 96},
                                 {"inputs", 32},
                                 {"weights", "f32"},
                                 {"activations", "float"},
                                 {"rows", "few"},
                                 {"stream_panels", panels}}}}}}}})
        .dump();
  }
  void expectOneLine(const Ran& ran, int status, const std::string& says) {
    EXPECT_EQ(ran.status, status) << ran.err;
    EXPECT_EQ(ran.errLines(), 1u) << ran.err;
    EXPECT_THAT(ran.err, HasSubstr(says));
    EXPECT_FALSE(fs::exists(dir_.path("p.fb")));
  }

  TemporaryDirectory dir_;
};

TEST_F(LlmcTuning, AFileIsUsedAndThePlanSaysSo) {
  dir_.write("t.json", tuning(8));
  const std::vector<std::string> flags = {"--target", "x86-64-v3", "--tuning", dir_.path("t.json")};
  Ran ran = compile(flags);
  ASSERT_EQ(ran.status, 0) << ran.err;
  EXPECT_THAT(
      inspect().out,
      AllOf(HasSubstr(", x86-64-v3 tuned by t.json: somecpu (Some CPU), 2 threads --target "),
            HasSubstr("; x86-64-v3: stream_panels 8)\n")));
  // The same file is no other plan, another is.
  EXPECT_THAT(compile(flags).out, HasSubstr("up to date"));
  dir_.write("t.json", tuning(2));
  EXPECT_THAT(compile(flags).out, Not(HasSubstr("up to date")));
  EXPECT_THAT(inspect().out, HasSubstr("; x86-64-v3: stream_panels 2)\n"));
  EXPECT_EQ(compile({"--target", "x86-64-v3", "--tuning", "none"}).status, 0);
  EXPECT_THAT(inspect().out, Not(HasSubstr("tuned")));
}

TEST_F(LlmcTuning, WhatIsBrokenOrForeignIsRefused) {
  const auto with = [&](const std::string& text) {
    dir_.write("t.json", text);
    return compile({"--target", "x86-64-v3", "--tuning", dir_.path("t.json")});
  };
  expectOneLine(compile({"--tuning", dir_.path("absent.json")}), 1, "absent.json: ");
  expectOneLine(with(tuning(8).substr(0, 90)), 1, "t.json: malformed JSON: ");
  expectOneLine(with(tinyConfig().dump()), 1, "t.json: is no file of tunings");
  expectOneLine(
      with(tuning(3)), 1,
      "cpus[0].products[0]: stream_panels is no whole number from 1 to 16, a power of two");
  expectOneLine(with(tuning(8, "aarch64")), 1,
                "t.json: has nothing for target x86-64-v3, but for aarch64");
  expectOneLine(with(std::string(100000, '[')), 1, "nested deeper");
  expectOneLine(with(std::string(17 << 20, ' ')), 1, "too many for a file of tunings");
  // Measured on two CPUs, of which this machine has none.
  nlohmann::json two = nlohmann::json::parse(tuning(8));
  two["cpus"].push_back(nlohmann::json::parse(tuning(2, "x86-64-v3", "other"))["cpus"][0]);
  expectOneLine(with(two.dump()), 1, "measured on somecpu (Some CPU) and other (Some CPU)");
}

TEST_F(LlmcTuning, TheUsersFileIsForTheCpuItWasMeasuredOn) {
  dir_.write("config/llmc/tuning.json", tuning(8));
  ASSERT_EQ(compile({"--target", "x86-64-v3"}).status, 0);
  EXPECT_THAT(inspect().out, Not(HasSubstr("tuned by tuning.json")));
  fs::remove(dir_.path("p.fb"));
  dir_.write("config/llmc/tuning.json", "{}");
  expectOneLine(compile({"--target", "x86-64-v3"}), 1, "(--tuning none compiles without it)");
  EXPECT_EQ(compile({"--target", "x86-64-v3", "--tuning", "none"}).status, 0);
}

TEST_F(LlmcTuning, TuneIsRefusedWhereItMeansNothing) {
  const std::vector<std::string> here = llmrt::supportedCpuTargets();
  const std::string foreign =
      std::find(here.begin(), here.end(), "aarch64") == here.end() ? "aarch64" : "x86-64-v3";
  expectOneLine(compile({"--tune", "--target", foreign}), 1,
                "--tune: this machine does not run code for " + foreign);
  expectOneLine(compile({"--tune", "--target", "cuda:sm_80"}), 1,
                "--tune: this machine does not run code for cuda:sm_80");
  EXPECT_EQ(compile({"--tune", "--tuning", "none"}).status, 2);
  dir_.write("t.json", "[]");
  expectOneLine(compile({"--tune", "--tuning", dir_.path("t.json")}), 1, "is no file of tunings");
  EXPECT_EQ(readWhole(dir_.path("t.json")), "[]");
  expectOneLine(compile({"--tune", "--tuning", dir_.path("absent/t.json")}), 1, "absent");
}

// That it ends, keeps a file which is used, and measures every product; not how fast anything is.
TEST_F(LlmcTuning, TuneKeepsWhatItMeasuresAndCompilesWithIt) {
  // Minutes: some two hundred kernels are compiled, and memory is read for each.
  if (!fullTests()) GTEST_SKIP() << "a test of tools/check --full";
  const std::string target = llmrt::supportedCpuTargets().back();
  const Ran ran = compile({"--tune", "--target", target, "--prefill-chunk", "16"});
  ASSERT_EQ(ran.status, 0) << ran.err;
  EXPECT_THAT(ran.out, AllOf(HasSubstr("tuned " + target + " on "), HasSubstr("kept in "),
                             HasSubstr("  norm_glu 96x32 f32, few rows "),
                             HasSubstr("  norm_glu 96x32 f32, many rows ")));
  const std::string path = dir_.path("config/llmc/tuning.json");
  const auto kept = nlohmann::json::parse(readWhole(path));
  EXPECT_EQ(kept["cpus"][0]["products"].size(), 10u) << "five products, few rows and many";
  EXPECT_EQ(compile({"--target", target, "--prefill-chunk", "16"}).status, 0);
}

}  // namespace
}  // namespace llmc_tests
