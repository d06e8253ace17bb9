// The command lines of llmrun and llmbench: familiar spellings, suggestions, lists, what is no
// plan.
#include "tools/cli/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "runtime/executor/cpu_features.h"
#include "tests/runtime/example_plan.h"
#include "tests/tools/run_program.h"

namespace llmrt {
namespace {

using example::Model;
using llmc_tests::Ran;
using testing::HasSubstr;
using testing::StartsWith;

class CommandLine : public testing::Test {
 protected:
  Ran run(const char* program, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), program);
    return llmc_tests::runProgram(std::move(arguments), model_.dir / "");
  }
  /// One line of wrong usage.
  std::string usage(std::vector<std::string> arguments, const char* program = LLMRUN) {
    const Ran ran = run(program, std::move(arguments));
    EXPECT_EQ(ran.status, 2);
    EXPECT_EQ(ran.out, "");
    EXPECT_EQ(ran.errLines(), 1u) << ran.err;
    return ran.err;
  }
  std::vector<nlohmann::json> bench(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {model_.path, "--synthetic-weights", "-r", "1", "--json"});
    const Ran ran = run(LLMBENCH, std::move(arguments));
    EXPECT_EQ(ran.status, 0) << ran.err;
    std::vector<nlohmann::json> lines;
    std::istringstream in(ran.out);
    for (std::string line; std::getline(in, line);) lines.push_back(nlohmann::json::parse(line));
    return lines;
  }

  Model model_;
};

TEST_F(CommandLine, FamiliarSpellingsMeanTheSame) {
  const auto ids = [&](std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--synthetic-weights", "--json", "--ignore-eos"});
    const Ran ran = run(LLMRUN, std::move(arguments));
    EXPECT_EQ(ran.status, 0) << ran.err;
    return nlohmann::json::parse(ran.out)["ids"];
  };
  example::writeFile(model_.dir / "prompt", {'a', 'b', 'c'});
  const auto expected = ids({model_.path, "--prompt", "abc", "--max-tokens", "9", "--threads", "1",
                             "--max-seq-len", "64", "--temperature", "1.5", "--seed", "3"});
  EXPECT_EQ(ids({"-m", model_.path, "-p", "abc", "-n", "9", "-t", "1", "-c", "64", "--temp", "1.5",
                 "-s", "3"}),
            expected);
  EXPECT_EQ(ids({"--model=" + model_.path, "-f", model_.dir / "prompt", "--n-predict=9",
                 "--ctx-size", "64", "--temp=1.5", "--seed", "3"}),
            expected);
  EXPECT_NE(ids({"-m", model_.path, "-p", "abc", "-n", "9", "--temp", "0"}), expected);
}

TEST_F(CommandLine, WhatIsCalledOtherwiseHereIsSaid) {
  EXPECT_EQ(usage({model_.path, "-p", "a", "-ngl", "99"}),
            "llmrun: error: -ngl is not a flag here: --device cuda runs a plan on a GPU, all of it "
            "(llmc compile --target cuda:...) (llmrun --help)\n");
  EXPECT_THAT(usage({model_.path, "--repeat-penalty=1.1"}), HasSubstr("--repetition-penalty"));
  EXPECT_THAT(usage({model_.path, "-b", "9"}), HasSubstr("--prefill-chunk"));
  EXPECT_THAT(usage({model_.path, "-ngl", "9"}, LLMBENCH), HasSubstr("--device cuda"));
}

TEST_F(CommandLine, UnknownFlagsAreSuggested) {
  EXPECT_THAT(usage({model_.path, "--temprature", "1"}),
              HasSubstr("there is no flag '--temprature': did you mean --temperature?"));
  EXPECT_THAT(usage({model_.path, "-prompt", "a"}), HasSubstr("--prompt"));
  EXPECT_THAT(usage({model_.path, "--max_tokens", "1"}), HasSubstr("did you mean --max-tokens?"));
  EXPECT_THAT(usage({model_.path, "--decod", "1"}, LLMBENCH), HasSubstr("did you mean --decode?"));
  EXPECT_THAT(usage({model_.path, "hello"}),
              HasSubstr("'hello' is a word too many: the text to continue goes behind --prompt"));
  // The first one, and not what some flag takes.
  EXPECT_THAT(usage({"--aaaa", "--top-k", "x", "--bbbb"}), HasSubstr("--aaaa"));
  EXPECT_THAT(usage({"--prompt", "--aaaa", "--top-k", "x", "--bbbb"}), HasSubstr("--top-k"));
  // Behind --help all is forgiven.
  EXPECT_EQ(run(LLMRUN, {"--help", "--aaaa"}).status, 0);
}

TEST(WithFlags, FieldsOfMessagesBecomeFlagsAndNothingElseDoes) {
  EXPECT_EQ(withFlags("`top_k` -1: must be 0"), "--top-k -1: must be 0");
  EXPECT_EQ(withFlags("a (`max_seq_len`) and `device`"), "a (--max-seq-len) and --device");
  EXPECT_EQ(withFlags("``, `a b`, `Q`, `x"), "``, `a b`, `Q`, `x");
  EXPECT_EQ(withFlags("a ` b `seed`"), "a ` b --seed");
  EXPECT_EQ(withFlags(""), "");
}

TEST_F(CommandLine, ABadNumberIsNamedWithItsFlag) {
  const auto said = [&](const std::string& flag, const std::string& value) {
    return usage({model_.path, "-p", "a", flag + "=" + value});
  };
  EXPECT_EQ(
      said("--max-tokens", "abc"),
      "llmrun: error: --max-tokens: 'abc' is not a number, or out of range (llmrun --help)\n");
  EXPECT_EQ(said("--max-tokens", "-1"),
            "llmrun: error: --max-tokens: -1 is too small (llmrun --help)\n");
  EXPECT_THAT(said("--threads", "0"), HasSubstr("--threads: Value 0 not in range 1 to 1024"));
  EXPECT_THAT(said("--synthetic-weights", "x"), HasSubstr("--synthetic-weights"));
}

TEST_F(CommandLine, VersionNamesTheProgramAndTheCommit) {
  EXPECT_THAT(run(LLMRUN, {"--version"}).out, StartsWith("llmrun "));
  EXPECT_THAT(run(LLMBENCH, {"--version"}).out,
              testing::MatchesRegex("llmbench [0-9.]+ \\(commit ([0-9a-f]+\\+?|unknown)\\)\n"));
}

// For the CPUs it is compiled: llmc_command_test.PlanCache.
TEST_F(CommandLine, AModelInPlaceOfAPlanForAGpuIsNamedWithTheCommandThatCompilesIt) {
  const std::string config = model_.dir / "mistral.json";
  example::writeFile(config, {'{', '}'});
  const Ran ran = run(LLMRUN, {config, "-p", "a", "--device", "cuda"});
  EXPECT_EQ(ran.status, 1);
  EXPECT_EQ(ran.err, "llmrun: error: " + config +
                         ": is a model, not a plan; this compiles it for a GPU: llmc compile " +
                         config +
                         " -o mistral.fb --target host,cuda:sm_90a (llmc targets lists them)\n");
  const std::string gguf = model_.dir / "some.gguf";
  example::writeFile(gguf, {'G', 'G', 'U', 'F', 3, 0, 0, 0});
  EXPECT_THAT(run(LLMBENCH, {gguf, "--device", "cuda:1"}).err,
              HasSubstr("llmc compile " + gguf + " -o some.fb"));
}

TEST_F(CommandLine, CodeForAnotherMachineIsNoneForThisOne) {
  const std::vector<std::string> supported = supportedCpuTargets();
  for (const std::string& name : knownCpuTargets()) {
    if (std::find(supported.begin(), supported.end(), name) != supported.end()) continue;
    const Ran ran = run(LLMRUN, {model_.path, "-p", "a", "--cpu-target", name});
    EXPECT_EQ(ran.status, 1);
    EXPECT_THAT(ran.err, HasSubstr("--cpu-target " + name +
                                   ": is code for another machine, this "
                                   "one runs "));
  }
}

TEST_F(CommandLine, BenchMeasuresEveryCombinationOfLists) {
  const auto lines = bench({"-p", "8,16", "-n", "4", "-t", "1,2", "-d", "0"});
  ASSERT_EQ(lines.size(), 4u);
  std::vector<std::pair<int, int>> cases;
  for (const auto& line : lines) cases.emplace_back(line["threads"], line["prefill"]);
  EXPECT_EQ(cases, (std::vector<std::pair<int, int>>{{1, 8}, {1, 16}, {2, 8}, {2, 16}}));
  for (const auto& line : lines) EXPECT_EQ(line["decode"], 4);
  // Without decoding, depth makes no difference; with neither there is nothing to measure.
  const auto few = bench({"-p", "0,8", "-n", "0,4", "-d", "0,3", "-t", "1"});
  EXPECT_EQ(few.size(), 5u);  // decode at two depths with and without prefill, and prefill alone
  // Each sequence has a session's room of its own.
  const auto batches = bench({"-p", "0", "-n", "4", "--batch", "1,3", "-t", "1"});
  ASSERT_EQ(batches.size(), 2u);
  EXPECT_EQ(batches[1]["batch"], 3);
  // What does not fit is refused before anything is measured.
  const Ran bad = run(LLMBENCH, {model_.path, "--synthetic-weights", "-p", "8,300"});
  EXPECT_EQ(bad.status, 1);
  EXPECT_EQ(bad.out, "");
  EXPECT_THAT(bad.err, HasSubstr("--prefill 300"));
}

TEST_F(CommandLine, BenchPrintsMarkdown) {
  for (const std::vector<std::string>& format :
       std::vector<std::vector<std::string>>{{"-o", "md"}, {"--markdown"}}) {
    std::vector<std::string> arguments = {
        model_.path, "--synthetic-weights", "-p", "8,16", "-n", "4", "-t", "1", "-r", "1"};
    arguments.insert(arguments.end(), format.begin(), format.end());
    const Ran ran = run(LLMBENCH, arguments);
    ASSERT_EQ(ran.status, 0) << ran.err;
    std::istringstream in(ran.out);
    std::vector<std::string> lines;
    for (std::string line; std::getline(in, line);) lines.push_back(line);
    ASSERT_EQ(lines.size(), 4u) << ran.out;
    const auto cells = [](const std::string& line) {
      return std::count(line.begin(), line.end(), '|');
    };
    for (const std::string& line : lines) EXPECT_EQ(cells(line), cells(lines[0])) << line;
    EXPECT_THAT(lines[1], StartsWith("|---|"));
    EXPECT_THAT(lines[2], HasSubstr(model_.path));
  }
}

}  // namespace
}  // namespace llmrt
