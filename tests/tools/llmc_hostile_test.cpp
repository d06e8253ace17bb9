// llmc where the machine or the files are against it: killed at any moment, a small stack, names
// that a terminal would obey.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "runtime/executor/plan.h"
#include "runtime/executor/weights.h"
#include "runtime/io/printable.h"
#include "tests/tools/run_program.h"
#include "tests/tools/tiny_model.h"

namespace llmc_tests {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class LlmcHostile : public ::testing::Test {
 protected:
  LlmcHostile() { fs::create_directory(dir_.path("out")); }

  Ran llmc(std::vector<std::string> arguments, Limits limits = {}) {
    arguments.insert(arguments.begin(), LLMC_PROGRAM);
    return runProgram(std::move(arguments), dir_.path(), limits);
  }
  std::string model(const std::string& name, const nlohmann::json& config,
                    const std::string& weights) {
    fs::create_directory(dir_.path(name));
    dir_.write(name + "/config.json", config.dump());
    if (!weights.empty()) dir_.write(name + "/model.safetensors", weights);
    return dir_.path(name);
  }
  std::vector<std::string> compile(const std::string& model) {
    return {"compile",  model,       "-o",          dir_.path("out/p.fb"),
            "--target", "x86-64-v3", "--tokenizer", "none"};
  }
  /// The last line of the program, without its end: one line that a terminal shows as it is.
  static std::string onlyLine(const Ran& ran) {
    EXPECT_EQ(ran.errLines(), 1u) << ran.err;
    const std::string line = ran.err.substr(0, ran.err.size() - 1);
    EXPECT_EQ(llmrt::printableLine(line), line);
    return line;
  }

  TemporaryDirectory dir_;
};

// Both models have the same shapes, so that the layout of their weights does not tell them apart.
TEST_F(LlmcHostile, KilledAtAnyMomentItLeavesAPairThatWorks) {
  std::string numbers = tinySafetensors(tinyShapes());
  const std::string models[] = {model("a", tinyConfig(), numbers), [&] {
                                  for (size_t i = numbers.size() - 4000; i < numbers.size(); i += 4)
                                    std::swap(numbers[i], numbers[i - 800]);
                                  return model("b", tinyConfig(), numbers);
                                }()};
  const auto start = std::chrono::steady_clock::now();
  ASSERT_EQ(llmc(compile(models[0])).status, 0);
  const auto whole = std::chrono::steady_clock::now() - start;
  const char* const rounds = std::getenv("LLMC_KILL_ROUNDS");  // by hand: more of them
  std::mt19937 random(20260401);
  for (int round = 0; round < (rounds ? std::atoi(rounds) : 6); ++round) {
    const pid_t child = ::fork();
    if (child == 0) {
      std::vector<std::string> command = compile(models[round % 2 == 0]);
      command.insert(command.begin(), LLMC_PROGRAM);
      std::vector<char*> argv;
      for (std::string& argument : command) argv.push_back(argument.data());
      argv.push_back(nullptr);
      std::freopen("/dev/null", "w", stdout);
      ::execv(argv[0], argv.data());
      ::_exit(126);
    }
    // The second half, where files are written.
    std::this_thread::sleep_for(whole / 2 + whole * (random() % 1000) / 1000);
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    auto plan = llmrt::Plan::open(dir_.path("out/p.fb"));
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    auto weights = llmrt::Weights::map(**plan);
    ASSERT_TRUE(weights.ok()) << weights.status().message();
    EXPECT_TRUE((*weights)->verifyHashes().ok());
    size_t left = 0;
    for ([[maybe_unused]] const auto& entry : fs::directory_iterator(dir_.path("out"))) ++left;
    EXPECT_LE(left, 4u);
  }
  ASSERT_EQ(llmc(compile(models[0])).status, 0);
  for (const auto& entry : fs::directory_iterator(dir_.path("out")))
    EXPECT_TRUE(entry.path().filename() == "p.fb" || entry.path().filename() == "p.weights")
        << entry.path();
}

TEST_F(LlmcHostile, ASmallStackIsEnough) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "what a sanitizer runs before main() needs more";
#endif
  const std::string tiny = model("a", tinyConfig(), tinySafetensors(tinyShapes()));
  const Ran ran = llmc(compile(tiny), {.stack_bytes = 64 << 10});
  EXPECT_EQ(ran.status, 0) << ran.err;
  EXPECT_EQ(ran.err, "");
}

TEST_F(LlmcHostile, NoPlaceForTemporaryFilesIsNamed) {
  const std::string tiny = model("a", tinyConfig(), tinySafetensors(tinyShapes()));
  const std::string nowhere = dir_.path("nowhere");
  dir_.write("nowhere", "");  // a file: nothing can lie in it
  std::vector<std::string> command = compile(tiny);
  command.insert(command.begin(), {"/usr/bin/env", "TMPDIR=" + nowhere, LLMC_PROGRAM});
  const Ran ran = runProgram(command, dir_.path());
  EXPECT_EQ(ran.status, 1);
  EXPECT_THAT(onlyLine(ran), testing::AllOf(HasSubstr(nowhere), HasSubstr("TMPDIR")));
  EXPECT_TRUE(fs::is_empty(dir_.path("out")));
}

TEST_F(LlmcHostile, NoNameReachesTheTerminalAsItIs) {
  const std::string evil =
      "x\x1b[2J\x1b]0;t\x07\r\n\xc2\x9b"
      "31m\xff";
  // JSON holds no byte that is not UTF-8: the library would refuse to write one.
  const std::string in_json =
      "x\x1b[2J\x1b]0;t\x07\r\n\xc2\x9b"
      "31m";
  std::vector<std::vector<std::string>> commands;
  nlohmann::json config = tinyConfig();
  config["model_type"] = in_json;
  commands.push_back(compile(model("type", config, tinySafetensors(tinyShapes()))));
  config = tinyConfig();
  config["hidden_act"] = in_json;
  commands.push_back(compile(model("act", config, tinySafetensors(tinyShapes()))));
  config = tinyConfig();
  config["rope_scaling"] = {{"rope_type", in_json}, {"factor", 2.0}};
  commands.push_back(compile(model("rope", config, tinySafetensors(tinyShapes()))));
  // An index that leads nowhere, by name of a tensor and of a file.
  const std::string index = model("index", tinyConfig(), "");
  dir_.write("index/model.safetensors.index.json",
             nlohmann::json({{"weight_map", {{"lm_head.weight", in_json}}}}).dump());
  commands.push_back(compile(index));
  auto shapes = tinyShapes();
  shapes.erase("lm_head.weight");
  shapes[in_json] = {40, 32};
  commands.push_back(compile(model("tensor", tinyConfig(), tinySafetensors(shapes))));
  std::string header = "{\"" + std::string("a\\u001b[2J\\u009b") +
                       "\":{\"dtype\":\"Q\\u001b7\",\"shape\":[1],\"data_offsets\":[0,4]}}";
  commands.push_back(
      compile(model("dtype", tinyConfig(), safetensorsFile(header, std::string(4, '\0')))));
  // Paths, and what is no path.
  commands.push_back(compile(dir_.path(evil)));
  commands.push_back(compile(dir_.write(evil, "{}")));
  commands.push_back({"inspect", dir_.path(evil)});
  for (const auto& command : commands) {
    const Ran ran = llmc(command);
    EXPECT_EQ(ran.status, 1) << command[1];
    EXPECT_THAT(onlyLine(ran), StartsWith("llmc: error: "));
  }
  const Ran usage = llmc({"compile", "a", "-o", "b", evil});
  EXPECT_EQ(usage.status, 2);
  onlyLine(usage);
}

TEST_F(LlmcHostile, InspectShowsWhatAModelIsCalled) {
  const std::string name =
      "m\x1b[2J\xc2\x9b"
      "31m";
  const std::string tiny = model(name, tinyConfig(), tinySafetensors(tinyShapes()));
  const Ran compiled = llmc(compile(tiny));
  ASSERT_EQ(compiled.status, 0) << compiled.err;
  for (const std::vector<std::string>& flags :
       {std::vector<std::string>{}, {"--json"}, {"--ir"}, {"--json", "--ir"}}) {
    std::vector<std::string> command = {"inspect", dir_.path("out/p.fb"), "--bandwidth", "10"};
    command.insert(command.end(), flags.begin(), flags.end());
    const Ran ran = llmc(command);
    EXPECT_EQ(ran.status, 0) << ran.err;
    EXPECT_EQ(llmrt::printableLines(ran.out), ran.out);
  }
  EXPECT_EQ(llmrt::printableLines(compiled.out), compiled.out);
}

}  // namespace
}  // namespace llmc_tests
