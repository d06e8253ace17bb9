// What is kept is made once for the same input, again for any other, and is never seen half made.
#include "tests/cache/test_cache.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

namespace llmc_tests {
namespace {

namespace fs = std::filesystem;

class TestCacheTest : public testing::Test {
 protected:
  TestCacheTest() {
    EXPECT_TRUE(::mkdtemp(dir_.data()));
    write("compiler", "version 1");
    fs::create_directory(dir_ + "/model");
    write("model/config.json", "{}");
    write("model/weights", "0123");
  }
  ~TestCacheTest() override { fs::remove_all(dir_); }

  void write(const std::string& name, const std::string& text) const {
    std::ofstream(dir_ + '/' + name, std::ios::binary) << text;
  }
  static std::string read(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  /// A compiler whose plans are what it and the model were; counts its calls.
  std::string compile(const std::string& flags = "--fast") {
    CacheKey makers, key;
    makers.addContents(dir_ + "/compiler");
    key.addContents(dir_ + "/model");
    key.add(flags);
    const std::string folder = TestCache(dir_ + "/plans", makers)
                                   .folder("model " + flags, key, [&](const std::string& to) {
                                     ++compiled_;
                                     std::ofstream(to + "/plan")
                                         << read(dir_ + "/compiler")
                                         << read(dir_ + "/model/weights") << flags;
                                     return works_;
                                   });
    return folder.empty() ? "" : read(folder + "/plan");
  }

  std::string dir_ = testing::TempDir() + "/llmc-cache-XXXXXX";
  int compiled_ = 0;
  bool works_ = true;
};

TEST_F(TestCacheTest, TheSameIsMadeOnce) {
  for (int i = 0; i < 3; ++i) EXPECT_EQ(compile(), "version 10123--fast");
  EXPECT_EQ(compiled_, 1);
}

TEST_F(TestCacheTest, AnotherCompilerModelOrFlagIsMadeAnew) {
  compile();
  EXPECT_EQ(compile("--slow"), "version 10123--slow");
  // The same size, and the time of before.
  const std::string weights = dir_ + "/model/weights";
  const auto time = fs::last_write_time(weights);
  write("model/weights", "0124");
  fs::last_write_time(weights, time);
  EXPECT_EQ(compile(), "version 10124--fast");
  write("model/tokenizer.json", "");  // an empty file is more than none
  EXPECT_EQ(compile(), "version 10124--fast");
  EXPECT_EQ(compiled_, 4);
  const auto compiler_time = fs::last_write_time(dir_ + "/compiler");
  write("compiler", "version 2");
  fs::last_write_time(dir_ + "/compiler", compiler_time);
  EXPECT_EQ(compile(), "version 20124--fast");
  EXPECT_EQ(compile("--slow"), "version 20124--slow");
  EXPECT_EQ(compiled_, 6);
}

TEST_F(TestCacheTest, WhatACompilerMadeGoesWithIt) {
  compile();
  compile("--slow");
  write("compiler", "version 2");
  compile();
  int plans = 0;
  for (const auto& entry : fs::recursive_directory_iterator(dir_ + "/plans"))
    plans += entry.path().filename() == "plan";
  EXPECT_EQ(plans, 1);
}

TEST_F(TestCacheTest, WhatNobodyAskedForInAWeekGoes) {
  compile();
  compile("--slow");
  for (const auto& entry : fs::recursive_directory_iterator(dir_ + "/plans"))
    fs::last_write_time(entry.path(), fs::file_time_type::clock::now() - std::chrono::days(8));
  compile();  // it is in use again
  EXPECT_EQ(compiled_, 2);
  compile("--other");
  compile();
  EXPECT_EQ(compiled_, 3);
  compile("--slow");
  EXPECT_EQ(compiled_, 4);
}

TEST_F(TestCacheTest, KeysTellNamesFromContentsAndOneStringFromTwo) {
  const auto key = [](const std::vector<std::string>& strings) {
    CacheKey key;
    for (const std::string& s : strings) key.add(s);
    return key.text();
  };
  EXPECT_EQ(key({"ab", "c"}), key({"ab", "c"}));
  EXPECT_NE(key({"ab", "c"}), key({"a", "bc"}));
  EXPECT_NE(key({"ab", ""}), key({"ab"}));
  const auto ofModel = [&] {
    CacheKey key;
    key.addContents(dir_ + "/model");
    return key.text();
  };
  const std::string before = ofModel();
  fs::rename(dir_ + "/model/weights", dir_ + "/model/weights2");
  EXPECT_NE(ofModel(), before);
  fs::rename(dir_ + "/model/weights2", dir_ + "/model/weights");
  EXPECT_EQ(ofModel(), before);
  const auto stamp = [&] {
    CacheKey key;
    key.addStamp(dir_ + "/compiler");
    return key.text();
  };
  const std::string stamp_before = stamp();
  EXPECT_EQ(stamp(), stamp_before);
  write("compiler", "version 10");
  EXPECT_NE(stamp(), stamp_before);
}

TEST_F(TestCacheTest, AFailureIsNotKept) {
  works_ = false;
  EXPECT_EQ(compile(), "");
  EXPECT_EQ(compile(), "");
  works_ = true;
  EXPECT_EQ(compile(), "version 10123--fast");
  EXPECT_EQ(compiled_, 3);
}

// Eight processes at once, the first of which are killed halfway.
TEST_F(TestCacheTest, ProcessesAtOnceShareOneThatIsWhole) {
  const auto child = [&](bool killed) {
    const pid_t pid = ::fork();
    if (pid != 0) return pid;
    CacheKey makers, key;
    const std::string folder =
        TestCache(dir_ + "/shared", makers).folder("plan", key, [&](const std::string& to) {
          std::ofstream(to + "/calls-" + std::to_string(::getpid())) << "";
          std::ofstream(to + "/plan") << "ha";
          if (killed) ::raise(SIGKILL);
          std::this_thread::sleep_for(std::chrono::milliseconds(20));
          std::ofstream(to + "/plan", std::ios::app) << "lf";
          return true;
        });
    int calls = 0;
    for (const auto& entry : fs::directory_iterator(folder))
      calls += entry.path().filename().string().starts_with("calls-");
    ::_exit(read(folder + "/plan") == "half" && calls == 1 ? 0 : 1);
  };
  for (int i = 0; i < 2; ++i) {
    int status = 0;
    ::waitpid(child(true), &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status));
  }
  std::vector<pid_t> children;
  for (int i = 0; i < 8; ++i) children.push_back(child(false));
  for (const pid_t pid : children) {
    int status = -1;
    ::waitpid(pid, &status, 0);
    EXPECT_EQ(status, 0);
  }
}

}  // namespace
}  // namespace llmc_tests
