// What counts as a change of what a plan was made from.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "tests/io/checkpoint_files.h"
#include "tools/llmc/SourceId.h"

namespace llmc_tests {
namespace {

namespace fs = std::filesystem;
using llmc::CompileOptions;

class SourceId : public ::testing::Test {
 protected:
  SourceId() {
    fs::create_directory(dir_.path("hf"));
    dir_.write("hf/config.json", "{}");
    dir_.write("hf/model.safetensors", "weights");
    options_.model = dir_.path("hf");
    options_.command = "--target x86-64-v3";
  }

  uint64_t id() const {
    return llmc::sourceId(options_, {"x86-64-v3"}, {dir_.path("hf/out.json")});
  }
  /// Whether `change` makes another id; it stays that one.
  bool changes(const std::function<void()>& change) {
    const uint64_t before = id();
    change();
    EXPECT_NE(id(), 0u);
    EXPECT_EQ(id(), id());
    return id() != before;
  }
  bool writing(const std::string& name, const std::string& bytes) {
    return changes([&] { dir_.write(name, bytes); });
  }

  TemporaryDirectory dir_;
  CompileOptions options_;
};

TEST_F(SourceId, AnyFileOfTheModelCounts) {
  EXPECT_TRUE(writing("hf/chat_template.jinja", "{{ messages }}"));
  EXPECT_TRUE(writing("hf/chat_template.jinja", "{{ messagez }}"));
  EXPECT_FALSE(writing("hf/chat_template.jinja", "{{ messagez }}"));
  fs::create_directory(dir_.path("hf/additional_chat_templates"));
  EXPECT_TRUE(writing("hf/additional_chat_templates/tool.jinja", "{{ messages }}"));
  EXPECT_TRUE(changes([&] { fs::remove(dir_.path("hf/chat_template.jinja")); }));
  EXPECT_TRUE(writing("hf/generation_config.json", "{}"));
  EXPECT_TRUE(writing("hf/config.json", "{ }"));
  EXPECT_TRUE(writing("hf/model.safetensors", "weightS"));
  EXPECT_TRUE(writing("hf/merges.txt", "a b"));
  EXPECT_TRUE(changes([&] { fs::rename(dir_.path("hf/merges.txt"), dir_.path("hf/vocab.txt")); }));
}

TEST_F(SourceId, WhatNoModelHasDoesNotCount) {
  EXPECT_FALSE(writing("hf/README.md", "mine"));
  EXPECT_FALSE(writing("hf/plan.fb", "ours"));
  EXPECT_FALSE(writing("hf/out.json", "the plan itself, under an odd name"));
  EXPECT_FALSE(writing("elsewhere.json", "{}"));
}

TEST_F(SourceId, EveryOptionCounts) {
  EXPECT_TRUE(changes([&] { options_.command += " --max-batch 2"; }));
  EXPECT_TRUE(changes([&] { options_.tokenizer = "none"; }));
  EXPECT_TRUE(changes([&] { options_.noWeights = true; }));
  // Weights that are not read.
  EXPECT_FALSE(writing("hf/model.safetensors", "other"));
  const uint64_t before = id();
  EXPECT_NE(llmc::sourceId(options_, {"x86-64-v4"}, {}), before);
}

TEST_F(SourceId, TheSameFilesUnderAnotherNameAreAnotherModel) {
  dir_.write("hf/other.json", "{}");
  options_.model = dir_.path("hf/config.json");
  EXPECT_TRUE(changes([&] { options_.model = dir_.path("hf/other.json"); }));
}

TEST_F(SourceId, DoesNotDependOnWhereAModelLiesOrWhoAsks) {
  const uint64_t before = id();
  fs::create_directory(dir_.path("copy"));
  fs::copy(dir_.path("hf"), dir_.path("copy/hf"));
  options_.model = dir_.path("copy/hf/");
  EXPECT_EQ(id(), before);
}

TEST_F(SourceId, FilesOfWeightsAndTokenizerCount) {
  fs::create_directory(dir_.path("w"));
  dir_.write("w/w.safetensors", "weights");
  dir_.write("w/tokenizer.json", "{}");
  options_.weights = dir_.path("w/w.safetensors");
  EXPECT_TRUE(writing("w/w.safetensors", "weightS"));
  EXPECT_FALSE(writing("w/tokenizer.json", "{ }"));
  EXPECT_TRUE(changes([&] { options_.tokenizer = dir_.path("w"); }));
  EXPECT_TRUE(writing("w/tokenizer.json", "{}"));
  EXPECT_TRUE(writing("w/tokenizer_config.json", "{}"));
}

TEST_F(SourceId, ShardsOfAnyNameCount) {
  EXPECT_TRUE(writing("hf/model.safetensors.index.json", R"({"weight_map": {"a": "part1"}})"));
  EXPECT_TRUE(writing("hf/part1", "weights"));
  EXPECT_TRUE(writing("hf/part1", "weightS"));
  EXPECT_FALSE(writing("hf/part2", "weights"));
}

TEST_F(SourceId, AGgufFileIsAloneOrWithItsParts) {
  options_.model = dir_.write("m.gguf", "GGUF1");
  EXPECT_FALSE(writing("config.json", "{}"));
  EXPECT_TRUE(writing("m.gguf", "GGUF2"));
  options_.model = dir_.write("m-00001-of-00002.gguf", "GGUF1");
  EXPECT_TRUE(writing("m-00002-of-00002.gguf", "GGUF1"));
  EXPECT_TRUE(writing("m-00002-of-00002.gguf", "GGUF2"));
  EXPECT_FALSE(writing("other-00002-of-00002.gguf", "GGUF1"));
}

TEST_F(SourceId, AFolderNamedAsPartsAreIsNoPart) {
  fs::create_directory(dir_.path("best-of-3"));
  options_.model = dir_.write("best-of-3/m.gguf", "GGUF1");
  EXPECT_TRUE(writing("best-of-3/m.gguf", "GGUF2"));
}

// Large files are not read: their times tell, and the time of change is nobody's to set.
TEST_F(SourceId, LargeFilesCountByTheirTimes) {
  const std::string path = dir_.path("hf/model.safetensors");
  fs::resize_file(path, uint64_t{65} << 20);
  struct stat before;
  ASSERT_EQ(::stat(path.c_str(), &before), 0);
  EXPECT_TRUE(changes([&] {
    ::usleep(20'000);  // the clock of a file system ticks every few milliseconds
    const int fd = ::open(path.c_str(), O_WRONLY);
    ASSERT_EQ(::pwrite(fd, "x", 1, before.st_size - 1), 1);
    const timespec times[] = {before.st_atim, before.st_mtim};
    ASSERT_EQ(::futimens(fd, times), 0);
    ::close(fd);
  }));
}

TEST_F(SourceId, WhatCannotBeReadIsNotKnown) {
  if (::geteuid() == 0) GTEST_SKIP() << "root reads everything";
  fs::permissions(dir_.path("hf/config.json"), fs::perms::none);
  EXPECT_EQ(id(), 0u);
}

}  // namespace
}  // namespace llmc_tests
