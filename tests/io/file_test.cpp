#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "runtime/io/atomic_file.h"
#include "runtime/io/mapped_file.h"
#include "runtime/io/mapped_file_fault.h"
#include "runtime/io/model_file.h"
#include "runtime/io/printable.h"
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

/// What a program says, and how it ends, whose mapped file of 3 pages is cut to `bytes` before it
/// reads the last of them.
std::string cutShort(const std::string& path, int bytes, int* status) {
  int pipes[2];
  EXPECT_EQ(::pipe(pipes), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(pipes[1], STDERR_FILENO);
    explainLostMappings("program");
    auto file = MappedFile::open(path);
    if (::truncate(path.c_str(), bytes) != 0) ::_exit(3);
    ::_exit(file->data()[3 * 4096 - 1] == 'x' ? 0 : 2);
  }
  ::close(pipes[1]);
  std::string said;
  char buffer[512];
  for (ssize_t n; (n = ::read(pipes[0], buffer, sizeof buffer)) > 0;)
    said.append(buffer, static_cast<size_t>(n));
  ::close(pipes[0]);
  ::waitpid(child, status, 0);
  return said;
}

TEST(MappedFile, ThatIsCutShortIsNamedInOneLine) {
  TemporaryDirectory dir;
  const std::string page(4096, 'x');
  int status = 0;
  EXPECT_EQ(cutShort(dir.write("whole", page + page + page), 3 * 4096, &status), "");
  EXPECT_EQ(WEXITSTATUS(status), 0);
  for (const char* name : {"weights", "gr\u00fcn", "a\x1b[2J\u009b b"}) {
    const std::string said = cutShort(dir.write(name, page + page + page), 100, &status);
    ASSERT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
    EXPECT_EQ(WEXITSTATUS(status), 1);
    EXPECT_THAT(said, testing::StartsWith("program: error: "));
    EXPECT_THAT(said, HasSubstr(": was cut short or replaced while it was in use"));
    EXPECT_EQ(printableLine(said.substr(0, said.size() - 1)) + "\n", said);
    EXPECT_EQ(said.find(dir.path(name)) != std::string::npos, *name != 'a');
  }
}

TEST(MappedFile, OtherBusErrorsEndTheProgramAsBefore) {
  const pid_t child = ::fork();
  if (child == 0) {
    explainLostMappings("program");
    ::kill(::getpid(), SIGBUS);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGBUS);
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
  ASSERT_TRUE(file->commit().ok());
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

TEST(AtomicFile, WritesWhereADanglingLinkLeads) {
  TemporaryDirectory dir;
  std::filesystem::create_directory(dir.path("there"));
  std::filesystem::create_symlink("there/target", dir.path("inner"));  // relative to its own place
  std::filesystem::create_symlink(dir.path("inner"), dir.path("outer"));
  auto file = AtomicFile::create(dir.path("outer"));
  ASSERT_TRUE(file.ok()) << file.status().message();
  ASSERT_TRUE(file->write("new", 3).ok());
  ASSERT_TRUE(file->commit().ok());
  EXPECT_TRUE(std::filesystem::is_symlink(dir.path("inner")));
  EXPECT_TRUE(std::filesystem::is_symlink(dir.path("outer")));
  EXPECT_EQ(contents(dir.path("there/target")), "new");
}

TEST(AtomicFile, AChainOfLinksThatNeverEndsIsAnError) {
  TemporaryDirectory dir;
  std::filesystem::create_symlink("b", dir.path("a"));
  std::filesystem::create_symlink("a", dir.path("b"));
  EXPECT_THAT(AtomicFile::create(dir.path("a")).status().message(),
              HasSubstr("/a: is not a regular file"));
  EXPECT_EQ(dir.entries(), 2u);
}

TEST(AtomicFile, OverwritesWhatWasWrittenBefore) {
  TemporaryDirectory dir;
  auto file = AtomicFile::create(dir.path("out"));
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(file->write("abcdef", 6).ok());
  ASSERT_TRUE(file->overwrite(1, "XY", 2).ok());
  ASSERT_TRUE(file->write("g", 1).ok());
  EXPECT_FALSE(file->overwrite(6, "too far", 7).ok());
  ASSERT_TRUE(file->commit().ok());
  EXPECT_EQ(contents(dir.path("out")), "aXYdefg");
}

/// Ends a child by SIGKILL when it has written, before it has named its file.
void writeAndDie(Result<AtomicFile> (*create)(const std::string&), const std::string& path) {
  const pid_t child = ::fork();
  if (child == 0) {
    auto file = create(path);
    const std::string large(3 << 20, 'x');
    (void)file->write(large.data(), large.size());
    ::kill(::getpid(), SIGKILL);
  }
  ::waitpid(child, nullptr, 0);
}

TEST(AtomicFile, AProcessThatIsKilledLeavesNothing) {
  TemporaryDirectory dir;
  const int fd = ::open(dir.path().c_str(), O_WRONLY | O_TMPFILE, 0600);
  if (fd < 0) GTEST_SKIP() << "this file system knows no files without a name";
  ::close(fd);
  writeAndDie(AtomicFile::create, dir.path("out"));
  EXPECT_EQ(dir.entries(), 0u);
}

TEST(AtomicFile, WhereItsFileHasANameTheNextOneRemovesIt) {
  TemporaryDirectory dir;
  writeAndDie(AtomicFile::createNamed, dir.path("out"));
  EXPECT_EQ(dir.entries(), 1u);
  // Of another output, and of a name that is no temporary's.
  const std::string others[] = {dir.write("out2.tmp-1-0", ""), dir.write("out.tmp-copy", "")};
  {
    auto living = AtomicFile::createNamed(dir.path("out"));
    ASSERT_TRUE(living.ok());
    EXPECT_EQ(dir.entries(), 3u);
    // It is held by one that lives, though by this process itself.
    auto file = AtomicFile::create(dir.path("out"));
    ASSERT_TRUE(file.ok());
    EXPECT_EQ(dir.entries(), 3u);
    ASSERT_TRUE(living->write("1", 1).ok() && living->commit().ok());
    ASSERT_TRUE(file->write("2", 1).ok() && file->commit().ok());
  }
  EXPECT_EQ(contents(dir.path("out")), "2");
  for (const std::string& other : others) EXPECT_TRUE(std::filesystem::exists(other));
  EXPECT_EQ(dir.entries(), 3u);
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
