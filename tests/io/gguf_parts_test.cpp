// Models that are split into several GGUF files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "runtime/io/float_convert.h"
#include "runtime/io/gguf.h"
#include "runtime/io/gguf_tensors.h"
#include "tests/io/checkpoint_files.h"

namespace llmrt {
namespace {

using llmc_tests::GgufWriter;
using llmc_tests::rawBytes;
using llmc_tests::TemporaryDirectory;
using testing::ElementsAre;
using testing::HasSubstr;

GgufWriter part(uint16_t index, uint16_t count, int32_t tensors) {
  GgufWriter writer;
  if (index == 0) writer.addString("general.architecture", "qwen2");
  writer.value("split.no", 2, rawBytes(index))
      .value("split.count", 2, rawBytes(count))
      .value("split.tensors.count", 5, rawBytes(tensors));
  return writer;
}
void addTensor(GgufWriter& writer, const std::string& name, float value) {
  writer.tensor(name, 0, {1}, rawBytes(value));
}

class GgufParts : public ::testing::Test {
 protected:
  // Three parts, the first of metadata alone, as gguf-split --no-tensor-first-split writes them.
  GgufParts() {
    dir_.write(kFirst, part(0, 3, 3).bytes());
    GgufWriter second = part(1, 3, 3), third = part(2, 3, 3);
    addTensor(second, "output_norm.weight", 1);
    addTensor(second, "b", 2);
    addTensor(third, "a", 3);
    dir_.write(kSecond, second.bytes());
    dir_.write(kThird, third.bytes());
  }

  std::string error(const std::string& name) {
    auto file = GgufFile::open(dir_.path(name));
    EXPECT_FALSE(file.ok());
    if (file.ok()) return "";
    EXPECT_EQ(file.status().message().find('\n'), std::string::npos);
    return file.status().message();
  }

  static constexpr const char* kFirst = "m-00001-of-00003.gguf";
  static constexpr const char* kSecond = "m-00002-of-00003.gguf";
  static constexpr const char* kThird = "m-00003-of-00003.gguf";
  TemporaryDirectory dir_;
};

TEST_F(GgufParts, AnyPartOpensAll) {
  for (const char* name : {kFirst, kSecond, kThird}) {
    auto file = GgufFile::open(dir_.path(name));
    ASSERT_TRUE(file.ok()) << file.status().message();
    EXPECT_EQ((*file)->path(), dir_.path(kFirst));
    EXPECT_EQ((*file)->tensors().size(), 3u);
    ASSERT_TRUE((*file)->findTensor("a"));
    auto source = ggufTensors(*std::move(file));
    ASSERT_TRUE(source.ok()) << source.status().message();
    EXPECT_THAT((*source)->names(), ElementsAre("a", "b", "model.norm.weight"));
    for (const auto& [tensor, value] : {std::pair{"model.norm.weight", 1.0f}, {"b", 2}, {"a", 3}}) {
      auto found = (*source)->find(tensor);
      ASSERT_TRUE(found.ok() && *found);
      EXPECT_EQ(loadAsF32(DType::kF32, (*found)->data, 0), value);
    }
  }
}

TEST_F(GgufParts, AMissingPartIsNamed) {
  std::filesystem::remove(dir_.path(kThird));
  EXPECT_THAT(error(kFirst), HasSubstr("m-00003-of-00003.gguf: no such file"));
  EXPECT_THAT(error(kFirst), HasSubstr("part 3 of 3 is missing"));
  std::filesystem::remove(dir_.path(kFirst));
  EXPECT_THAT(error(kSecond), HasSubstr("m-00001-of-00003.gguf: no such file"));
}

TEST_F(GgufParts, PartsThatDisagreeAreRefused) {
  const auto third = [&](GgufWriter writer, const char* name = "a") {
    addTensor(writer, name, 3);
    dir_.write(kThird, writer.bytes());
    return error(kFirst);
  };
  EXPECT_THAT(third(part(1, 3, 3)), HasSubstr("named part 3 of 3, but its metadata says part 2"));
  EXPECT_THAT(third(part(2, 4, 3)), HasSubstr("but its metadata says part 3 of 4"));
  EXPECT_THAT(third(GgufWriter()), HasSubstr("but its metadata says part 1 of 0"));
  EXPECT_THAT(third(part(2, 3, 4)), HasSubstr("'split.tensors.count' differs"));
  EXPECT_THAT(third(part(2, 3, 3).addString("general.architecture", "llama")),
              HasSubstr("'general.architecture' differs"));
  EXPECT_THAT(third(part(2, 3, 3), "b"), HasSubstr("tensor 'b' is in another part"));
  EXPECT_THAT(third(part(2, 3, -1)), HasSubstr("'split.tensors.count' is -1"));
  GgufWriter more = part(2, 3, 3);
  addTensor(more, "c", 4);
  EXPECT_THAT(third(more), HasSubstr("hold 4 tensors, metadata 'split.tensors.count' says 3"));
}

TEST_F(GgufParts, TheNameMustSayWhichPartItIs) {
  for (const char* name : {"m.gguf", "m-00001-of-00004.gguf", "m-00002-of-00003x.gguf",
                           "m-1-of-3.gguf", "00001-of-00003.gguf"}) {
    std::filesystem::copy_file(dir_.path(kFirst), dir_.path(name));
    EXPECT_THAT(error(name), HasSubstr("is part 1 of 3 of a split model"));
    EXPECT_THAT(error(name), HasSubstr("NAME-00001-of-00003.gguf"));
  }
}

TEST_F(GgufParts, ASplitIntoOneIsAWhole) {
  GgufWriter one = part(0, 1, 1);
  addTensor(one, "a", 1);
  EXPECT_TRUE(GgufFile::open(dir_.write("any.gguf", one.bytes())).ok());
}

TEST_F(GgufParts, AFolderOfOneModelMeansIt) {
  const auto resolved = [&](const std::string& path) {
    auto result = resolveGgufFolder(path);
    return result.ok() ? *result : result.status().message();
  };
  dir_.write("mmproj-f16.gguf", "");
  EXPECT_EQ(resolved(dir_.path()), dir_.path(kFirst));
  EXPECT_EQ(resolved(dir_.path(kSecond)), dir_.path(kSecond));
  EXPECT_EQ(resolved("none"), "none");
  dir_.write("other.gguf", "");
  EXPECT_THAT(resolved(dir_.path()), HasSubstr("holds several models, 'm-00001-of-00003.gguf' and "
                                               "'other.gguf': name one"));
  dir_.write("config.json", "{}");
  EXPECT_EQ(resolved(dir_.path()), dir_.path());
}

TEST(GgufPartName, IsWhatGgufSplitWrites) {
  const auto name = parseGgufPartName("/a/b-c-00012-of-00100.gguf");
  ASSERT_TRUE(name);
  EXPECT_EQ(name->prefix, "/a/b-c");
  EXPECT_EQ(name->number, 12);
  EXPECT_EQ(name->count, 100);
  EXPECT_EQ(name->path(7), "/a/b-c-00007-of-00100.gguf");
  for (const char* other : {"a.gguf", "a-00003-of-00002.gguf", "a-00000-of-00002.gguf",
                            "a-00001-of-00002", "a--0001-of-00002.gguf", "a-00001-of-99999.gguf"})
    EXPECT_FALSE(parseGgufPartName(other)) << other;
}

}  // namespace
}  // namespace llmrt
