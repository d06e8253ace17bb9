#include "runtime/io/other_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/io/safetensors.h"
#include "tests/io/checkpoint_files.h"

namespace llmrt {
namespace {

using llmc_tests::rawBytes;
using llmc_tests::safetensorsFile;
using llmc_tests::TemporaryDirectory;
using testing::HasSubstr;

std::string openError(const std::string& path) {
  auto source = openSafetensors(path);
  return source.ok() ? "" : source.status().message();
}

TEST(OtherWeights, ADirectorySaysWhatItHoldsInstead) {
  const std::pair<const char*, const char*> cases[] = {
      {"pytorch_model.bin", "PyTorch's ('pytorch_model.bin'), which are not read: convert them"},
      {"pytorch_model.bin.index.json", "save_pretrained(DIR, safe_serialization=True)"},
      {"model.pth", "PyTorch's ('model.pth')"},
      {"consolidated.safetensors", "take the Hugging Face version"},
      {"consolidated.00.pth", "take the Hugging Face version"},
      {"tf_model.h5", "TensorFlow's or Flax's"},
      {"m.gguf", "it holds 'm.gguf', a model of its own: name that file"},
      {"model-00001-of-00002.safetensors", "not the index that lists the shards"},
      {"other.safetensors", "give --weights that file"},
      {"a\x1b[2J.pth", R"('a\x1b[2J.pth')"},
  };
  for (const auto& [name, message] : cases) {
    TemporaryDirectory dir;
    dir.write(name, "x");
    dir.write("config.json", "{}");
    EXPECT_THAT(openError(dir.path()),
                HasSubstr("holds neither model.safetensors nor model.safetensors.index.json; "));
    EXPECT_THAT(openError(dir.path()), HasSubstr(message));
  }
}

TEST(OtherWeights, PyTorchFilesAreCalledThat) {
  TemporaryDirectory dir;
  const std::string zip("PK\x03\x04\x00\x00\x08\x08\x00\x00", 10);
  const std::string pickle("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15);
  for (const std::string& bytes : {zip, pickle})
    EXPECT_THAT(openError(dir.write("w.bin", bytes)), HasSubstr("w.bin: holds PyTorch's weights"));
  EXPECT_THAT(openError(dir.write("i.json", R"({"weight_map": {"a": "pytorch_model-1.bin"}})")),
              HasSubstr("i.json: holds PyTorch's weights"));
  // A header of 640 bytes begins as a pickle does.
  EXPECT_EQ(
      openError(dir.write("x.safetensors", safetensorsFile("{}" + std::string(638, ' '), ""))), "");
}

TEST(OtherWeights, AGitLfsPointerIsNoTruncatedFile) {
  TemporaryDirectory dir;
  const std::string pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
  dir.write("model.safetensors", pointer);
  EXPECT_THAT(openError(dir.path()), HasSubstr("model.safetensors: is a Git LFS pointer"));
}

}  // namespace
}  // namespace llmrt
