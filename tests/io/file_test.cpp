#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "runtime/io/atomic_file.h"
#include "runtime/io/mapped_file.h"
#include "runtime/io/model_file.h"
#include "tests/io/checkpoint_files.h"

namespace llmrt {
namespace {

using llmc_tests::TemporaryDirectory;
using testing::HasSubstr;

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream out;
  out << file.rdbuf();
  return out.str();
}

TEST(MappedFile, MapsWhatIsThere) {
  TemporaryDirectory dir;
  auto file = MappedFile::open(dir.write("a", "hello"));
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ(file->text(), "hello");
  MappedFile moved = *std::move(file);
  EXPECT_EQ(moved.text(), "hello");
}

TEST(MappedFile, AnEmptyFileIsEmpty) {
  TemporaryDirectory dir;
  auto file = MappedFile::open(dir.write("a", ""));
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ(file->size(), 0u);
  EXPECT_EQ(file->text(), "");
}

TEST(MappedFile, RefusesWhatIsNoFile) {
  TemporaryDirectory dir;
  EXPECT_EQ(MappedFile::open(dir.path("none")).status().code(), StatusCode::kNotFound);
  EXPECT_THAT(MappedFile::open(dir.path("none")).status().message(), HasSubstr("no such file"));
  EXPECT_THAT(MappedFile::open(dir.path()).status().message(), HasSubstr("is a directory"));
  ASSERT_EQ(::mkfifo(dir.path("pipe").c_str(), 0600), 0);
  EXPECT_THAT(MappedFile::open(dir.path("pipe")).status().message(),
              HasSubstr("not a regular file"));
}

TEST(ModelFile, AGitLfsPointerIsCalledThat) {
  TemporaryDirectory dir;
  const std::string pointer =
      "version https://git-lfs.github.com/spec/v1\n"
      "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";
  const Status status = openModelFile(dir.write("m.safetensors", pointer)).status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidData);
  EXPECT_THAT(status.message(), HasSubstr(dir.path("m.safetensors") + ": is a Git LFS pointer"));
  EXPECT_THAT(status.message(), HasSubstr("git lfs pull"));
  EXPECT_TRUE(MappedFile::open(dir.path("m.safetensors")).ok()) << "as a text it is any other";
  EXPECT_TRUE(openModelFile(dir.write("long", pointer + std::string(1000, ' '))).ok())
      << "pointers are shorter";
}

TEST(ModelFile, ANameOfTheHubSaysHowToDownloadIt) {
  const auto message = [](const std::string& path) {
    const Status status = openModelFile(path).status();
    EXPECT_EQ(status.code(), StatusCode::kNotFound);
    return status.message();
  };
  EXPECT_THAT(message("Qwen/Qwen3-0.6B"),
              HasSubstr("Qwen/Qwen3-0.6B: no such file or directory; if it is a model of the "
                        "Hugging Face Hub, download it (hf download Qwen/Qwen3-0.6B --local-dir "
                        "Qwen3-0.6B)"));
  TemporaryDirectory dir;
  for (const std::string& path :
       {std::string("plan.fb"), std::string("no-such-folder/plan.fb"), std::string("/tmp/none"),
        std::string("../a/b"), std::string("a/b/c"), std::string("a/"), std::string("./b"),
        std::string("a/b c"), dir.path("none")})
    EXPECT_EQ(message(path), path + ": no such file or directory");
}

TEST(AtomicFile, AppearsAtCommitAndNotBefore) {
  TemporaryDirectory dir;
  const std::string path = dir.path("out");
  auto file = AtomicFile::create(path);
  ASSERT_TRUE(file.ok()) << file.status().message();
  ASSERT_TRUE(file->write("abc", 3).ok());
  ASSERT_TRUE(file->padTo(64).ok());
  const std::string large(3 << 20, 'x');
  ASSERT_TRUE(file->write(large.data(), large.size()).ok());
  ASSERT_TRUE(file->write("end", 3).ok());
  EXPECT_EQ(file->position(), 64 + large.size() + 3);
  EXPECT_FALSE(std::filesystem::exists(path));
  ASSERT_TRUE(file->commit(/*sync=*/true).ok());
  EXPECT_EQ(contents(path), "abc" + std::string(61, '\0') + large + "end");
  EXPECT_EQ(dir.entries(), 1u);
}

TEST(AtomicFile, WithoutCommitLeavesWhatWasThere) {
  TemporaryDirectory dir;
  const std::string path = dir.write("out", "before");
  {
    auto file = AtomicFile::create(path);
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(file->write("after", 5).ok());
  }
  EXPECT_EQ(contents(path), "before");
  EXPECT_EQ(dir.entries(), 1u);
}

TEST(AtomicFile, FollowsASymbolicLink) {
  TemporaryDirectory dir;
  const std::string target = dir.write("target", "before");
  std::filesystem::create_symlink(target, dir.path("link"));
  auto file = AtomicFile::create(dir.path("link"));
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(file->write("after", 5).ok());
  ASSERT_TRUE(file->commit().ok());
  EXPECT_TRUE(std::filesystem::is_symlink(dir.path("link")));
  EXPECT_EQ(contents(target), "after");
}

TEST(AtomicFile, RefusesDirectoriesDevicesAndMissingDirectories) {
  TemporaryDirectory dir;
  EXPECT_THAT(AtomicFile::create(dir.path()).status().message(), HasSubstr("is a directory"));
  EXPECT_THAT(AtomicFile::create("/dev/full").status().message(), HasSubstr("not a regular file"));
  EXPECT_THAT(AtomicFile::create(dir.path("no/out")).status().message(),
              HasSubstr("No such file or directory"));
}

TEST(AtomicFile, AFullDiskIsOneClearLineAndNoPartialFile) {
  TemporaryDirectory dir;
  rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit tiny = before;
  tiny.rlim_cur = 100000;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tiny), 0);
  const std::string path = dir.path("out");
  Status small_writes, large_write;
  {
    auto file = AtomicFile::create(path);
    const std::string block(1000, 'x');
    for (int i = 0; i < 200 && small_writes.ok(); ++i)
      small_writes = file->write(block.data(), block.size());
    if (small_writes.ok()) small_writes = file->commit();
    EXPECT_EQ(dir.entries(), 0u);
  }
  {
    auto file = AtomicFile::create(path);
    const std::string block(3 << 20, 'x');
    large_write = file->write(block.data(), block.size());
    EXPECT_FALSE(file->commit().ok());
  }
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_EQ(small_writes.code(), StatusCode::kIo);
  EXPECT_EQ(small_writes.message(), path + ": cannot write: File too large");
  EXPECT_EQ(large_write.code(), StatusCode::kIo);
  EXPECT_EQ(dir.entries(), 0u);
}

}  // namespace
}  // namespace llmrt
