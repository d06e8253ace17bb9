#include "runtime/io/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>

#include "runtime/io/float_convert.h"
#include "runtime/io/stored_blocks.h"
#include "tests/io/checkpoint_files.h"

namespace llmrt {
namespace {

using llmc_tests::rawBytes;
using llmc_tests::safetensorsFile;
using llmc_tests::TemporaryDirectory;
using testing::ElementsAre;
using testing::HasSubstr;

// Header in no order, data of two tensors and a scalar.
std::string goodFile() {
  return safetensorsFile(
      R"({"b":{"dtype":"F32","shape":[],"data_offsets":[12,16]},"__metadata__":{"format":"pt","c":"a"},)"
      R"("a":{"data_offsets":[0,12],"shape":[2,3],"dtype":"BF16"}} )",
      std::string("\x80\x3f\x00\x40\x40\x40\x80\x40\xa0\x40\xc0\x40", 12) + rawBytes(7.0f));
}

std::string openError(const std::string& path) {
  auto source = openSafetensors(path);
  return source.ok() ? "" : source.status().message();
}

TEST(Safetensors, FindsTensorsAndAliases) {
  TemporaryDirectory dir;
  auto source = openSafetensors(dir.write("x.safetensors", goodFile()));
  ASSERT_TRUE(source.ok()) << source.status().message();
  EXPECT_THAT((*source)->names(), ElementsAre("a", "b", "c"));
  auto a = (*source)->find("a");
  ASSERT_TRUE(a.ok() && *a);
  EXPECT_EQ((*a)->dtype, DType::kBF16);
  EXPECT_THAT((*a)->shape, ElementsAre(2, 3));
  EXPECT_EQ((*a)->bytes, 12u);
  EXPECT_TRUE((*a)->file_backed);
  EXPECT_EQ(loadAsF32((*a)->dtype, (*a)->data, 5), 6.0f);
  auto b = (*source)->find("b");
  ASSERT_TRUE(b.ok() && *b);
  EXPECT_THAT((*b)->shape, ElementsAre());
  EXPECT_EQ(loadAsF32((*b)->dtype, (*b)->data, 0), 7.0f);
  auto c = (*source)->find("c");
  ASSERT_TRUE(c.ok() && *c);
  EXPECT_EQ((*c)->data, (*a)->data);
  EXPECT_EQ((*c)->name, "c");
  auto none = (*source)->find("d");
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(*none, nullptr);
}

TEST(Safetensors, MetadataMayBeNull) {
  TemporaryDirectory dir;
  const std::string path = dir.write(
      "x",
      safetensorsFile(
          R"({"__metadata__":null,"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "1234"));
  EXPECT_EQ(openError(path), "");
}

TEST(Safetensors, OtherDtypesAreAnErrorOnlyWhenAskedFor) {
  TemporaryDirectory dir;
  auto source = openSafetensors(
      dir.write("x", safetensorsFile(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
                                     R"("i":{"dtype":"I64","shape":[1],"data_offsets":[4,12]},)"
                                     R"("q":{"dtype":"Q9_Z","shape":[5],"data_offsets":[12,13]}})",
                                     "1234123456789")));
  ASSERT_TRUE(source.ok()) << source.status().message();
  EXPECT_TRUE((*source)->find("a").ok());
  EXPECT_EQ((*source)->find("i").status().code(), StatusCode::kUnsupported);
  EXPECT_THAT((*source)->find("i").status().message(), HasSubstr("tensor 'i' has dtype 'I64'"));
  EXPECT_THAT((*source)->find("q").status().message(), HasSubstr("'Q9_Z'"));
}

// As gpt-oss is published: blocks of 32 codes, and a scale of each.
TEST(Safetensors, BlocksAndScalesOfBytesAreOneTensorInMxfp4) {
  TemporaryDirectory dir;
  const auto open = [&](const std::string& blocks, const std::string& scales) {
    return openSafetensors(dir.write(
        "x", safetensorsFile(R"({"e_blocks":{"dtype":"U8","shape":)" + blocks +
                                 R"(,"data_offsets":[0,64]},"e_scales":{"dtype":"U8","shape":)" +
                                 scales + R"(,"data_offsets":[64,68]}})",
                             "\x21" + std::string(63, '\x70') + "\x7f\x80\x81\x82")));
  };
  const auto source = open("[2,1,2,16]", "[2,1,2]");
  ASSERT_TRUE(source.ok()) << source.status().message();
  const auto found = (*source)->find("e");
  ASSERT_TRUE(found.ok() && *found);
  const Tensor& tensor = **found;
  EXPECT_EQ(tensor.format().name, "mxfp4");
  EXPECT_THAT(tensor.shape, ElementsAre(2, 1, 64));
  StoredBlock planes;
  float values[WeightFormat::kMaxBlock];
  const auto read = [&](int64_t b) {
    tensor.blocks->readPlanes(tensor.data + b * tensor.blocks->bytes, planes.planes,
                              tensor.scales + b);
    decodeBlock(tensor.format(), planes.planes, values);
  };
  read(0);  // the low half of a byte is the first of two values
  EXPECT_EQ(values[0], 0.5f);
  EXPECT_EQ(values[1], 1.0f);
  EXPECT_EQ(values[2], 0.0f);
  EXPECT_EQ(values[3], 6.0f);
  read(3);
  EXPECT_EQ(values[1], 48.0f);
  // What is wrong is an error when it is asked for: other tensors may be called so too.
  const auto errorOf = [&](const std::string& blocks, const std::string& scales) {
    const auto wrong = open(blocks, scales);
    return wrong.ok() ? std::string((*wrong)->find("e").status().message()) : "does not open";
  };
  EXPECT_THAT(errorOf("[2,2,16]", "[4,1]"),
              HasSubstr("tensor 'e_scales' has shape [4, 1], but there are blocks [2, 2]"));
  EXPECT_THAT(errorOf("[2,2,16]", "[4]"), HasSubstr("has shape [4]"));
  EXPECT_THAT(errorOf("[8,8]", "[4]"),
              HasSubstr("tensor 'e_blocks' has shape [8, 8], expected blocks of 16 bytes"));
}

TEST(Safetensors, BlocksOfMoreValuesThanThereAreNumbersAreAnError) {
  TemporaryDirectory dir;
  const auto source = openSafetensors(dir.write(
      "x", safetensorsFile(R"({"e_blocks":{"dtype":"U8","shape":[0,1152921504606846976,16],)"
                           R"("data_offsets":[0,0]},"e_scales":{"dtype":"U8",)"
                           R"("shape":[0,1152921504606846976],"data_offsets":[0,0]}})",
                           "")));
  ASSERT_TRUE(source.ok()) << source.status().message();
  EXPECT_THAT((*source)->find("e").status().message(), HasSubstr("does not fit into 64 bits"));
}

TEST(Safetensors, LiesAreErrors) {
  struct Lie {
    const char* header;
    const char* message;
  };
  const Lie lies[] = {
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})", "its shape needs 4 bytes"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[4,0]}})", "end before they begin"},
      {R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}})", "truncated: tensor 'a'"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
       "4 bytes after the last tensor"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", "a hole of 4 bytes"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
       "overlaps"},
      {R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}})",
       "does not fit"},
      {R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", "a negative number"},
      {R"({"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})", "a fraction"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}})",
       "unexpected a number at 'data_offsets'"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}})", "must be two numbers"},
      {R"({"a":{"dtype":"F32","shape":[2]}})", "lacks dtype, shape or data_offsets"},
      {R"({"a":{"dtype":4,"shape":[2],"data_offsets":[0,8]}})", "a number at 'dtype'"},
      {R"({"a":{"dtype":"F32","shape":[[2]],"data_offsets":[0,8]}})", "an array at 'shape'"},
      {R"({"a":{"dtype":"F32","shape":{},"data_offsets":[0,8]}})", "an object at 'shape'"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
       "'a' occurs twice"},
      {R"({"__metadata__":{"n":1}})", "__metadata__ 'n' is a number"},
      {R"({"a":7})", "'a' is a number, not an object"},
      {R"([])", "the header is an array"},
      {R"({"a)", "malformed JSON"},
      {"", "malformed JSON"},
      {"{} {}", "malformed JSON"},
      {"{\"a\xff\":1}", "malformed JSON"},
  };
  TemporaryDirectory dir;
  for (const Lie& lie : lies) {
    const std::string message = openError(dir.write("x", safetensorsFile(lie.header, "12345678")));
    EXPECT_THAT(message, HasSubstr(lie.message)) << lie.header;
    EXPECT_THAT(message, HasSubstr(dir.path("x")));
  }
  EXPECT_THAT(openError(dir.write("x", "")), HasSubstr("shorter than 8 bytes"));
  EXPECT_THAT(openError(dir.write("x", rawBytes(uint64_t{50}) + "{}")),
              HasSubstr("claims a header of 50 bytes, 2 follow"));
  EXPECT_THAT(openError(dir.write("x", rawBytes(~uint64_t{0}) + "{}")),
              HasSubstr("claims a header of"));
}

TEST(Safetensors, EveryTruncationIsAnError) {
  TemporaryDirectory dir;
  const std::string good = goodFile();
  for (size_t size = 0; size < good.size(); ++size)
    EXPECT_NE(openError(dir.write("x", good.substr(0, size))), "") << size;
  EXPECT_EQ(openError(dir.write("x", good)), "");
}

TEST(Safetensors, FlippedBytesNeverCrash) {
  TemporaryDirectory dir;
  const std::string good = goodFile();
  for (size_t i = 0; i < good.size(); ++i) {
    for (int mask : {0x04, 0xff}) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ mask);
      auto source = openSafetensors(dir.write("x", bad));
      if (!source.ok()) continue;
      for (const std::string& name : (*source)->names()) {
        auto tensor = (*source)->find(name);
        if (tensor.ok() && *tensor && (*tensor)->bytes > 0) {
          // Touch both ends: under ASan a view outside the mapping is an error.
          volatile uint8_t sum = (*tensor)->data[0];
          sum = static_cast<uint8_t>(sum + (*tensor)->data[(*tensor)->bytes - 1]);
        }
      }
    }
  }
}

TEST(Safetensors, OpensAShardedDirectory) {
  TemporaryDirectory dir;
  dir.write(
      "one.safetensors",
      safetensorsFile(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", rawBytes(1.0f)));
  dir.write(
      "two.safetensors",
      safetensorsFile(R"({"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", rawBytes(2.0f)));
  dir.write(
      "model.safetensors.index.json",
      R"({"metadata":{"total_size":8},"weight_map":{"b":"two.safetensors","a":"one.safetensors"}})");
  EXPECT_TRUE(hasSafetensors(dir.path()));
  for (const std::string& path : {dir.path(), dir.path("model.safetensors.index.json")}) {
    auto source = openSafetensors(path);
    ASSERT_TRUE(source.ok()) << source.status().message();
    EXPECT_THAT((*source)->names(), ElementsAre("a", "b"));
    auto b = (*source)->find("b");
    ASSERT_TRUE(b.ok() && *b);
    EXPECT_EQ(loadAsF32(DType::kF32, (*b)->data, 0), 2.0f);
  }
}

TEST(Safetensors, BrokenIndexesAreErrors) {
  TemporaryDirectory dir;
  EXPECT_THAT(openError(dir.path()),
              HasSubstr("holds neither model.safetensors nor model.safetensors.index.json"));
  EXPECT_FALSE(hasSafetensors(dir.path()));
  auto index = [&](const std::string& text) {
    return openError(dir.write("model.safetensors.index.json", text));
  };
  EXPECT_THAT(index("[]"), HasSubstr("is not a JSON object"));
  EXPECT_THAT(index("{}"), HasSubstr("has no object weight_map"));
  EXPECT_THAT(index(R"({"weight_map":{"a":7}})"), HasSubstr("weight_map 'a'"));
  EXPECT_THAT(index(R"({"weight_map":{"a":"../x.safetensors"}})"), HasSubstr("weight_map 'a'"));
  EXPECT_THAT(index(R"({"weight_map":{"a":"none.safetensors"}})"),
              HasSubstr("none.safetensors: no such file, but"));
  EXPECT_THAT(index("{\"weight_map\":{\"a\":\"x\\u001b[2J\"}}"), HasSubstr("weight_map 'a'"));
}

// transformers' load_state_dict: all that is in the files that an index names.
TEST(Safetensors, AnIndexSaysWhichFilesThereAreNotWhatIsInThem) {
  TemporaryDirectory dir;
  const auto shard = [&](const char* file, const std::string& tensor, float value) {
    dir.write(file,
              safetensorsFile(R"({"both":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},")" +
                                  tensor + R"(":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                              rawBytes(value) + rawBytes(value)));
  };
  shard("one.safetensors", "a", 1);
  shard("two.safetensors", "b", 2);
  shard("three.safetensors", "c", 3);
  auto source = openSafetensors(
      dir.write("i.json", R"({"weight_map":{"b":"one.safetensors","mtp":"two.safetensors"}})"));
  ASSERT_TRUE(source.ok()) << source.status().message();
  EXPECT_THAT((*source)->names(), ElementsAre("a", "b", "both"));
  EXPECT_EQ(loadAsF32(DType::kF32, (**(*source)->find("b")).data, 0), 2.0f);
  EXPECT_EQ(loadAsF32(DType::kF32, (**(*source)->find("both")).data, 0), 2.0f)
      << "of a tensor in two files, the last counts";
  EXPECT_EQ(*(*source)->find("mtp"), nullptr);
  EXPECT_THAT(missingTensor(**source, "mtp", {4, 2}).message(),
              HasSubstr("i.json: tensor 'mtp' [4, 2] is missing: it should be in two.safetensors, "
                        "says the index"));
  EXPECT_THAT(missingTensor(**source, "none", {4}).message(), testing::EndsWith("is missing"));
}

TEST(Safetensors, MalformedMaterialIsRefusedQuickly) {
  const std::filesystem::path folder =
      std::filesystem::path(LLMC_MATERIAL_DIR) / "malformed" / "safetensors";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no material at " << folder;
  const auto begin = std::chrono::steady_clock::now();
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const std::string message = openError(entry.path().string());
    EXPECT_EQ(message.empty(), name.starts_with("ok_")) << name << ": " << message;
    EXPECT_LT(message.size(), 600u) << name;
    EXPECT_EQ(message.find('\n'), std::string::npos) << name;
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

TEST(Safetensors, ReadsTheTinyStoriesModel) {
  const auto folder =
      std::filesystem::path(LLMC_MATERIAL_DIR) / "weights" / "TinyStories-656K-bf16";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no material at " << folder;
  auto source = openSafetensors(folder.string());
  ASSERT_TRUE(source.ok()) << source.status().message();
  auto tensor = (*source)->find("model.layers.1.mlp.down_proj.weight");
  ASSERT_TRUE(tensor.ok() && *tensor);
  EXPECT_THAT((*tensor)->shape, ElementsAre(128, 384));
  EXPECT_EQ((*tensor)->dtype, DType::kBF16);
}

}  // namespace
}  // namespace llmrt
