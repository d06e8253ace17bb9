// llmrun MODEL: compiled once, kept by content; llmc cache.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <future>
#include <nlohmann/json.hpp>

#include "tests/tools/run_program.h"
#include "tests/tools/tiny_model.h"

namespace llmc_tests {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

class PlanCache : public ::testing::Test {
 protected:
  PlanCache() {
    for (const char* folder : {"hf", "tmp", "work"}) fs::create_directory(dir_.path(folder));
    dir_.write("hf/config.json", tinyConfig().dump());
    dir_.write("hf/model.safetensors", tinySafetensors(tinyShapes()));
  }

  /// A program with the cache and temporary files in this test's folder. `work`: for what it
  /// prints.
  Ran program(std::vector<std::string> command, const std::string& work = "work") {
    command.insert(command.begin(), {"/usr/bin/env", "XDG_CACHE_HOME=" + cache_home_,
                                     "HOME=", "TMPDIR=" + dir_.path("tmp")});
    return runProgram(command, dir_.path(work.c_str()));
  }
  /// llmrun over the tiny model.
  Ran run(const std::vector<std::string>& flags = {}, const std::string& llmrun = LLMRUN_PROGRAM,
          const std::string& work = "work") {
    std::vector<std::string> command = {llmrun, dir_.path("hf"), "--prompt-ids", "1,5,7", "-n",
                                        "4",    "--cpu-target",  "x86-64-v3"};
    command.insert(command.end(), flags.begin(), flags.end());
    return program(command, work);
  }
  Ran cache(std::vector<std::string> words = {}) {
    words.insert(words.begin(), {LLMC_PROGRAM, "cache"});
    return program(words);
  }
  /// How often something was compiled, by what is said of it.
  static size_t compiled(const Ran& ran) {
    size_t count = 0;
    for (size_t at = 0; (at = ran.err.find(", once: kept in ", at)) != std::string::npos; ++at)
      ++count;
    return count;
  }
  /// The plans in the cache.
  std::vector<fs::path> plans() {
    std::vector<fs::path> found;
    std::error_code absent;
    for (const auto& entry : fs::recursive_directory_iterator(dir_.path("cache"), absent))
      if (entry.path().extension() == ".fb") found.push_back(entry.path());
    return found;
  }
  static bool isEmpty(const std::string& folder) { return fs::is_empty(folder); }

  TemporaryDirectory dir_;
  std::string cache_home_ = dir_.path("cache");
};

TEST_F(PlanCache, AModelIsCompiledOnceAndGivesWhatItsPlanGives) {
  const Ran first = run();
  ASSERT_EQ(first.status, 0) << first.err;
  EXPECT_EQ(compiled(first), 1u) << first.err;
  EXPECT_THAT(first.err, HasSubstr("once: kept in " + dir_.path("cache/llmc/plans/hf-")));
  ASSERT_EQ(plans().size(), 1u);
  const auto written = fs::last_write_time(plans()[0]);
  const Ran again = run();
  EXPECT_EQ(again.status, 0);
  EXPECT_EQ(again.err, "");
  EXPECT_EQ(again.out, first.out);
  ASSERT_EQ(plans().size(), 1u);
  EXPECT_EQ(fs::last_write_time(plans()[0]), written);

  const std::string plan = dir_.path("p.fb");
  ASSERT_EQ(
      runProgram({LLMC_PROGRAM, "compile", dir_.path("hf"), "-o", plan, "--target", "x86-64-v3"},
                 dir_.path("work"))
          .status,
      0);
  EXPECT_EQ(
      runProgram({LLMRUN_PROGRAM, plan, "--prompt-ids", "1,5,7", "-n", "4"}, dir_.path("work")).out,
      first.out);
}

TEST_F(PlanCache, AChangedModelTakesThePlaceOfTheOldOne) {
  const Ran first = run();
  ASSERT_EQ(first.status, 0) << first.err;
  nlohmann::json config = tinyConfig();
  config["rms_norm_eps"] = 0.5;
  dir_.write("hf/config.json", config.dump());
  const Ran changed = run();
  EXPECT_EQ(changed.status, 0);
  EXPECT_EQ(compiled(changed), 1u) << changed.err;
  EXPECT_NE(changed.out, first.out);
  EXPECT_EQ(plans().size(), 1u);
  // What is broken there is made again.
  fs::resize_file(plans()[0], fs::file_size(plans()[0]) / 2);
  EXPECT_EQ(run().out, changed.out);
}

// What is asked for in turn stays beside each other.
TEST_F(PlanCache, OtherFlagsAreOtherPlans) {
  EXPECT_EQ(compiled(run()), 1u);
  EXPECT_EQ(compiled(run({"--synthetic-weights"})), 1u);
  EXPECT_EQ(compiled(run()), 0u);
  EXPECT_EQ(compiled(run({"--synthetic-weights"})), 0u);
  EXPECT_EQ(plans().size(), 2u);
}

TEST_F(PlanCache, NothingIsKeptWithoutIt) {
  const Ran first = run({"--no-cache"});
  EXPECT_EQ(first.status, 0) << first.err;
  EXPECT_EQ(compiled(first), 0u) << first.err;
  EXPECT_NE(first.out, "");
  EXPECT_FALSE(fs::exists(dir_.path("cache")));
  EXPECT_TRUE(isEmpty(dir_.path("tmp")));
}

TEST_F(PlanCache, WhatFailsIsOneLineAndLeavesNothing) {
  dir_.write("hf/config.json", R"({"model_type": "nobody's"})");
  for (const std::vector<std::string>& flags : {std::vector<std::string>{}, {"--no-cache"}}) {
    const Ran ran = run(flags);
    EXPECT_EQ(ran.status, 1);
    EXPECT_EQ(ran.out, "");
    EXPECT_EQ(ran.errLines(), 1u) << ran.err;
    EXPECT_THAT(ran.err, HasSubstr("nobody's"));
    EXPECT_TRUE(isEmpty(dir_.path("tmp")));
  }
  EXPECT_TRUE(isEmpty(dir_.path("cache/llmc/plans")));
  cache_home_.clear();
  const Ran nowhere = run();
  EXPECT_EQ(nowhere.status, 1);
  EXPECT_EQ(nowhere.errLines(), 1u) << nowhere.err;
  EXPECT_THAT(nowhere.err, HasSubstr("neither XDG_CACHE_HOME nor HOME"));
}

TEST_F(PlanCache, WithoutACompilerBesideItTheCommandIsNamed) {
  fs::copy_file(LLMRUN_PROGRAM, dir_.path("llmrun"));
  const Ran ran = run({}, dir_.path("llmrun"));
  EXPECT_EQ(ran.status, 1);
  EXPECT_EQ(ran.errLines(), 1u) << ran.err;
  EXPECT_THAT(ran.err, HasSubstr("is a model, not a plan; this compiles it: llmc compile "));
}

TEST_F(PlanCache, TwoAtOnceCompileOnce) {
  fs::create_directory(dir_.path("other"));
  auto other = std::async(std::launch::async, [&] { return run({}, LLMRUN_PROGRAM, "other"); });
  const Ran one = run(), two = other.get();
  EXPECT_EQ(one.status, 0) << one.err;
  EXPECT_EQ(two.status, 0) << two.err;
  EXPECT_EQ(one.out, two.out);
  EXPECT_EQ(compiled(one) + compiled(two), 1u) << one.err << two.err;
}

TEST_F(PlanCache, IsListedAndCleared) {
  EXPECT_THAT(cache().out, HasSubstr("0 plans, 0 B, in " + dir_.path("cache/llmc/plans")));
  ASSERT_EQ(run().status, 0);
  // Somebody else's folder.
  fs::create_directory(dir_.path("cache/llmc/plans/mine"));
  const Ran listed = cache();
  EXPECT_EQ(listed.status, 0);
  const std::string name = plans().at(0).parent_path().filename();
  EXPECT_THAT(listed.out, HasSubstr(name));
  EXPECT_THAT(listed.out, HasSubstr(dir_.path("hf")));
  EXPECT_THAT(listed.out, HasSubstr("1 plan, "));
  EXPECT_THAT(listed.out, Not(HasSubstr("mine")));

  const Ran unknown = cache({"clear", name, "mine"});
  EXPECT_EQ(unknown.status, 1);
  EXPECT_THAT(unknown.err, HasSubstr("mine: is not in the cache"));
  EXPECT_EQ(plans().size(), 1u);
  EXPECT_THAT(cache({"clear", name}).out, HasSubstr("removed 1 plan, "));
  EXPECT_TRUE(plans().empty());
  ASSERT_EQ(run().status, 0);
  EXPECT_EQ(cache({"clear"}).status, 0);
  EXPECT_TRUE(plans().empty());
  EXPECT_TRUE(fs::exists(dir_.path("cache/llmc/plans/mine")));
}

}  // namespace
}  // namespace llmc_tests
