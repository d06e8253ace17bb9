#include "runtime/io/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>

#include "runtime/io/float_convert.h"
#include "runtime/io/gguf_tensors.h"
#include "runtime/io/stored_blocks.h"
#include "tests/io/checkpoint_files.h"

namespace llmrt {
namespace {

using llmc_tests::GgufWriter;
using llmc_tests::rawBytes;
using llmc_tests::TemporaryDirectory;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Optional;

GgufWriter goodFile(uint32_t version = 3) {
  GgufWriter writer(version);
  writer.addString("general.architecture", "llama")
      .addUint("llama.attention.head_count", 2)
      .addUint("llama.attention.head_count_kv", 1)
      .addFloat("f", 0.5f)
      .value("b", 7, std::string(1, '\1'))
      .value("i8", 1, std::string(1, '\xfe'))
      .value("u64", 10, rawBytes(~uint64_t{0}))
      .value("ints", 9,
             rawBytes(uint32_t{3}) + rawBytes(uint64_t{2}) + rawBytes(int16_t{-1}) +
                 rawBytes(int16_t{9}))
      .addStrings("texts", {"one", "", "three"});
  std::vector<float> values(8 * 3);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  writer.tensor("blk.0.attn_q.weight", 0, {8, 3}, rawBytes(values));
  writer.tensor("output_norm.weight", 0, {3}, rawBytes(std::vector<float>{1, 2, 3}));
  writer.tensor("blk.0.attn_k.weight", 8, {4, 32}, std::string(4 * 34, 'q'));
  writer.tensor("blk.0.attn_v.weight", 16, {1, 256}, std::string(66, 'q'));
  return writer;
}

std::string openError(const std::string& path) {
  auto file = GgufFile::open(path);
  return file.ok() ? "" : file.status().message();
}

TEST(Gguf, ReadsMetadataByKind) {
  TemporaryDirectory dir;
  for (uint32_t version : {2u, 3u}) {
    auto opened = GgufFile::open(dir.write("x", goodFile(version).bytes()));
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    const GgufFile& file = **opened;
    EXPECT_THAT(*file.getString("general.architecture"), Optional(std::string_view("llama")));
    EXPECT_THAT(*file.getInt("llama.attention.head_count"), Optional(2));
    EXPECT_THAT(*file.getInt("i8"), Optional(-2));
    EXPECT_THAT(*file.getFloat("f"), Optional(0.5));
    EXPECT_THAT(*file.getFloat("i8"), Optional(-2.0));
    EXPECT_THAT(*file.getBool("b"), Optional(true));
    EXPECT_THAT(*file.getInts("ints"), Optional(ElementsAre(-1, 9)));
    EXPECT_THAT(*file.getFloats("ints"), Optional(ElementsAre(-1.0, 9.0)));
    EXPECT_THAT(*file.getStrings("texts"), Optional(ElementsAre("one", "", "three")));
    EXPECT_THAT(file.arraySize("texts"), Optional(3u));
    EXPECT_FALSE(file.arraySize("f"));
    EXPECT_TRUE(file.has("f"));
    ASSERT_TRUE(file.getInt("none").ok());
    EXPECT_FALSE(file.getInt("none")->has_value());
    EXPECT_THAT(file.getInt("f").status().message(),
                HasSubstr("metadata 'f' is a float32, expected an integer"));
    EXPECT_THAT(file.getInt("u64").status().message(), HasSubstr("'u64'"));
    EXPECT_THAT(file.getStrings("ints").status().message(), HasSubstr("is an array of int16"));
    EXPECT_FALSE(file.getInt("ints").ok());
    EXPECT_FALSE(file.getInts("texts").ok());
    EXPECT_FALSE(file.getString("b").ok());
  }
}

TEST(Gguf, PresentsTensorsUnderHfNames) {
  TemporaryDirectory dir;
  auto file = GgufFile::open(dir.write("x", goodFile().bytes()));
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ((*file)->tensors().size(), 4u);
  auto source = ggufTensors(*std::move(file));
  ASSERT_TRUE(source.ok()) << source.status().message();
  EXPECT_THAT((*source)->names(),
              ElementsAre("model.layers.0.self_attn.k_proj.weight",
                          "model.layers.0.self_attn.q_proj.weight",
                          "model.layers.0.self_attn.v_proj.weight", "model.norm.weight"));
  auto q = (*source)->find("model.layers.0.self_attn.q_proj.weight");
  ASSERT_TRUE(q.ok() && *q);
  EXPECT_THAT((*q)->shape, ElementsAre(8, 3));
  EXPECT_EQ((*q)->interleaved_heads, 2);
  EXPECT_TRUE((*q)->file_backed);
  // HF's row 2 of the first head (first half, pair 0 of the second half) is stored as row 1.
  EXPECT_EQ(loadAsF32(DType::kF32, (*q)->data, (*q)->storedRow(2) * 3), 3.0f);
  auto norm = (*source)->find("model.norm.weight");
  ASSERT_TRUE(norm.ok() && *norm);
  EXPECT_EQ((*norm)->interleaved_heads, 0);
  EXPECT_EQ(loadAsF32(DType::kF32, (*norm)->data, 2), 3.0f);
  EXPECT_EQ((*norm)->format().name, "f32");
  auto k = (*source)->find("model.layers.0.self_attn.k_proj.weight");
  ASSERT_TRUE(k.ok() && *k);
  EXPECT_EQ((*k)->blocks, ggmlBlocks(8));
  EXPECT_EQ((*k)->format().name, "q8_0");
  EXPECT_EQ((*k)->interleaved_heads, 1);
  // Messages call tensors what the file does, those that it lacks too.
  EXPECT_THAT((*source)->find("model.layers.0.self_attn.v_proj.weight").status().message(),
              HasSubstr("tensor 'blk.0.attn_v.weight' has type iq2_xxs, which is not supported "
                        "(f32, f16, bf16, q8_0, "));
  EXPECT_THAT(missingTensor(**source, "model.layers.1.mlp.up_proj.weight", {2, 3}).message(),
              HasSubstr("tensor 'blk.1.ffn_up.weight' [2, 3] is missing"));
}

// What converters make of linear attention is undone, or presented in the stored shape of others.
TEST(Gguf, PresentsLinearAttention) {
  const std::vector<float> rates = {-1.0f, -0.5f};
  const auto written = [&](const std::vector<float>& a) {
    GgufWriter writer;
    writer.addString("general.architecture", "qwen35")
        .tensor("blk.2.ssm_a", 0, {2}, rawBytes(a))
        .tensor("blk.2.ssm_dt.bias", 0, {2}, rawBytes(rates))
        .tensor("blk.2.ssm_conv1d.weight", 0, {3, 4}, std::string(48, 'x'))
        .tensor("blk.2.attn_qkv.weight", 0, {3, 2}, std::string(24, 'x'));
    return writer.bytes();
  };
  TemporaryDirectory dir;
  auto file = GgufFile::open(dir.write("x", written(rates)));
  ASSERT_TRUE(file.ok()) << file.status().message();
  auto source = ggufTensors(*std::move(file));
  ASSERT_TRUE(source.ok()) << source.status().message();
  EXPECT_THAT((*source)->names(), ElementsAre("model.layers.2.linear_attn.A_log",
                                              "model.layers.2.linear_attn.conv1d.weight",
                                              "model.layers.2.linear_attn.dt_bias",
                                              "model.layers.2.linear_attn.in_proj_qkv.weight"));
  auto a = (*source)->find("model.layers.2.linear_attn.A_log");
  ASSERT_TRUE(a.ok() && *a);
  EXPECT_EQ(loadAsF32(DType::kF32, (*a)->data, 0), 0.0f);
  EXPECT_EQ(loadAsF32(DType::kF32, (*a)->data, 1), std::log(0.5f));
  auto conv = (*source)->find("model.layers.2.linear_attn.conv1d.weight");
  ASSERT_TRUE(conv.ok() && *conv);
  EXPECT_THAT((*conv)->shape, ElementsAre(3, 1, 4));
  EXPECT_THAT(missingTensor(**source, "model.layers.3.linear_attn.A_log", {2}).message(),
              HasSubstr("tensor 'blk.3.ssm_a' [2] is missing"));

  auto bad = GgufFile::open(dir.write("y", written({-1.0f, 0.0f})));
  ASSERT_TRUE(bad.ok()) << bad.status().message();
  EXPECT_THAT(ggufTensors(*std::move(bad)).status().message(),
              HasSubstr("tensor 'blk.2.ssm_a' holds a number that is not below 0, at 1"));
}

// Views: each expert's rows follow the one's before it, in blocks too.
TEST(Gguf, PresentsEachExpertOfALayer) {
  std::vector<float> values(2 * 3 * 2);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  GgufWriter writer;
  writer.addString("general.architecture", "qwen2moe")
      .tensor("blk.1.ffn_up_exps.weight", 0, {2, 3, 2}, rawBytes(values))
      .tensor("blk.1.ffn_down_exps.weight", 8, {2, 1, 32},
              std::string(34, 'a') + std::string(34, 'b'))
      .tensor("blk.1.ffn_gate_inp_shexp.weight", 0, {2}, std::string(8, 'x'));
  TemporaryDirectory dir;
  auto file = GgufFile::open(dir.write("x", writer.bytes()));
  ASSERT_TRUE(file.ok()) << file.status().message();
  auto source = ggufTensors(*std::move(file));
  ASSERT_TRUE(source.ok()) << source.status().message();
  EXPECT_THAT((*source)->names(), ElementsAre("model.layers.1.mlp.experts.0.down_proj.weight",
                                              "model.layers.1.mlp.experts.0.up_proj.weight",
                                              "model.layers.1.mlp.experts.1.down_proj.weight",
                                              "model.layers.1.mlp.experts.1.up_proj.weight",
                                              "model.layers.1.mlp.shared_expert_gate.weight"));
  const std::string up = "model.layers.1.mlp.experts.1.up_proj.weight";
  auto second = (*source)->find(up);
  ASSERT_TRUE(second.ok() && *second);
  EXPECT_THAT((*second)->shape, ElementsAre(3, 2));
  EXPECT_EQ((*second)->bytes, 24u);
  EXPECT_EQ(loadAsF32(DType::kF32, (*second)->data, 5), 11.0f);
  EXPECT_EQ((*source)->storedName(up), "blk.1.ffn_up_exps.weight");
  auto down = (*source)->find("model.layers.1.mlp.experts.1.down_proj.weight");
  ASSERT_TRUE(down.ok() && *down);
  EXPECT_EQ((*down)->bytes, 34u);
  EXPECT_EQ((*down)->data[0], 'b');
  auto gate = (*source)->find("model.layers.1.mlp.shared_expert_gate.weight");
  ASSERT_TRUE(gate.ok() && *gate);
  EXPECT_THAT((*gate)->shape, ElementsAre(1, 2));
  EXPECT_THAT(
      missingTensor(**source, "model.layers.0.mlp.experts.3.gate_proj.weight", {2, 3}).message(),
      HasSubstr("tensor 'blk.0.ffn_gate_exps.weight' [2, 3] is missing"));

  const auto refusal = [&](std::vector<uint64_t> shape, size_t bytes) {
    GgufWriter bad;
    bad.addString("general.architecture", "llama")
        .tensor("blk.0.ffn_up_exps.weight", 0, std::move(shape), std::string(bytes, 'x'));
    auto opened = GgufFile::open(dir.write("y", bad.bytes()));
    EXPECT_TRUE(opened.ok());
    return ggufTensors(*std::move(opened)).status().message();
  };
  EXPECT_THAT(refusal({4}, 16), HasSubstr("'blk.0.ffn_up_exps.weight' has shape [4], expected"));
  EXPECT_THAT(refusal({1025, 1, 1}, 4100), HasSubstr("is of 1025 experts, at most 1024"));
  // Of a type that nobody knows a tensor takes no bytes of the file, and memory here.
  GgufWriter many;
  many.addString("general.architecture", "llama");
  for (int i = 0; i < 129; ++i)
    many.tensor("blk." + std::to_string(i) + ".ffn_up_exps.weight", 99, {1024, 1}, "");
  auto opened = GgufFile::open(dir.write("z", many.bytes()));
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  EXPECT_THAT(ggufTensors(*std::move(opened)).status().message(),
              HasSubstr("'blk.128.ffn_up_exps.weight' and those before it are more than 131072"));
}

TEST(Gguf, NamesMapBothWeightsAndBiases) {
  EXPECT_EQ(hfTensorName("token_embd.weight"), "model.embed_tokens.weight");
  EXPECT_EQ(hfTensorName("output.weight"), "lm_head.weight");
  EXPECT_EQ(hfTensorName("blk.12.attn_k.bias"), "model.layers.12.self_attn.k_proj.bias");
  EXPECT_EQ(hfTensorName("blk.12.attn_output.weight"), "model.layers.12.self_attn.o_proj.weight");
  EXPECT_EQ(hfTensorName("blk.0.ffn_norm.weight"),
            "model.layers.0.post_attention_layernorm.weight");
  EXPECT_EQ(hfTensorName("blk.3.ffn_up.weight"), "model.layers.3.mlp.up_proj.weight");
  EXPECT_EQ(hfTensorName("blk.3.ffn_up.weight", "phi3"), "model.layers.3.mlp.gate_up_proj.weight");
  EXPECT_EQ(hfTensorName("rope_freqs.weight"), "rope_freqs.weight");
  for (const auto& [architecture, name] : {std::pair{"llama", "token_embd.weight"},
                                           {"llama", "blk.12.ffn_norm.weight"},
                                           {"qwen2", "blk.0.attn_k.bias"},
                                           {"phi3", "blk.3.ffn_up.weight"},
                                           {"olmo2", "blk.3.post_attention_norm.weight"}})
    EXPECT_EQ(ggufTensorName(hfTensorName(name, architecture), architecture), name);
  EXPECT_EQ(hfTensorName("blk."), "blk.");
  EXPECT_EQ(hfTensorName("blk.x"), "blk.x");
}

TEST(Gguf, LiesAreErrors) {
  TemporaryDirectory dir;
  auto error = [&](const std::string& bytes) { return openError(dir.write("x", bytes)); };
  const std::string head = "GGUF" + rawBytes(uint32_t{3});
  EXPECT_THAT(error(""), HasSubstr("not a GGUF file"));
  EXPECT_THAT(error("GGUX"), HasSubstr("not a GGUF file"));
  EXPECT_THAT(error("GGUF" + rawBytes(uint32_t{1})), HasSubstr("GGUF version 1 is not supported"));
  EXPECT_THAT(error("GGUF" + rawBytes(uint32_t{0x03000000})), HasSubstr("big-endian"));
  EXPECT_THAT(error(head + rawBytes(uint64_t{0}) + rawBytes(~uint64_t{0})),
              HasSubstr("claims 18446744073709551615 metadata values"));
  EXPECT_THAT(error(head + rawBytes(~uint64_t{0}) + rawBytes(uint64_t{0})),
              HasSubstr("tensors, more than fit"));

  auto one = [&](uint32_t type, const std::string& bytes) {
    return error(GgufWriter().value("k", type, bytes).bytes());
  };
  EXPECT_THAT(one(13, "xxxx"), HasSubstr("metadata 'k' has unknown type 13"));
  EXPECT_THAT(one(8, rawBytes(~uint64_t{0})), HasSubstr("truncated"));
  EXPECT_THAT(one(9, rawBytes(uint32_t{8}) + rawBytes(uint64_t{1} << 60)), HasSubstr("truncated"));
  EXPECT_THAT(one(9, rawBytes(uint32_t{4}) + rawBytes(uint64_t{1} << 62)), HasSubstr("truncated"));
  EXPECT_THAT(one(9, rawBytes(uint32_t{9}) + rawBytes(uint64_t{1})), HasSubstr("arrays of arrays"));
  EXPECT_THAT(error(GgufWriter().addUint("k", 1).addUint("k", 1).bytes()),
              HasSubstr("'k' occurs twice"));
  EXPECT_THAT(error(GgufWriter().addUint("", 1).bytes()), HasSubstr("key is empty"));
  EXPECT_THAT(
      error(GgufWriter().addUint("general.alignment", 24).tensor("t", 0, {1}, "1234").bytes()),
      HasSubstr("general.alignment is 24"));

  auto tensor = [&](uint32_t type, std::vector<uint64_t> shape, uint64_t offset) {
    return error(GgufWriter().tensorAt("t", type, std::move(shape), "1234", offset).bytes());
  };
  EXPECT_EQ(tensor(0, {1}, 0), "");
  EXPECT_THAT(tensor(0, {}, 0), HasSubstr("has 0 dimensions"));
  EXPECT_THAT(tensor(0, {1, 1, 1, 1, 1}, 0), HasSubstr("has 5 dimensions"));
  EXPECT_THAT(tensor(0, {0}, 0), HasSubstr("a dimension of 0"));
  EXPECT_THAT(tensor(0, {uint64_t{1} << 63}, 0), HasSubstr("a dimension of -"));
  EXPECT_THAT(tensor(0, {uint64_t{1} << 40, uint64_t{1} << 40}, 0),
              HasSubstr("more elements than fit"));
  EXPECT_THAT(tensor(0, {uint64_t{1} << 62}, 0), HasSubstr("more bytes than fit"));
  EXPECT_THAT(tensor(0, {1}, 16), HasSubstr("not a multiple of the alignment"));
  EXPECT_THAT(tensor(0, {1}, uint64_t{1} << 60), HasSubstr("truncated"));
  EXPECT_THAT(tensor(0, {9}, 0), HasSubstr("truncated"));
  EXPECT_THAT(tensor(2, {33}, 0), HasSubstr("not a multiple of the 32 of a q4_0 block"));
  EXPECT_EQ(tensor(99, {9}, 0), "");
  EXPECT_THAT(error(GgufWriter().tensor("t", 0, {1}, "1234").tensor("t", 0, {1}, "1234").bytes()),
              HasSubstr("tensor 't' occurs twice"));
  EXPECT_THAT(
      error(GgufWriter().tensor("t", 0, {1}, "1234").tensorAt("u", 0, {1}, "1234", 0).bytes()),
      HasSubstr("overlap"));
}

TEST(Gguf, EveryTruncationIsAnError) {
  TemporaryDirectory dir;
  const std::string good = goodFile().bytes();
  EXPECT_EQ(openError(dir.write("x", good)), "");
  // The padding after the last tensor belongs to nobody.
  for (size_t size = 0; size < good.size() - 30; ++size)
    EXPECT_NE(openError(dir.write("x", good.substr(0, size))), "") << size;
}

TEST(Gguf, FlippedBytesNeverCrash) {
  TemporaryDirectory dir;
  const std::string good = goodFile().bytes();
  for (size_t i = 0; i < good.size(); ++i) {
    for (int mask : {0x01, 0xff}) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ mask);
      auto file = GgufFile::open(dir.write("x", bad));
      if (!file.ok()) continue;
      (void)(*file)->getStrings("texts");
      (void)(*file)->getInts("ints");
      (void)(*file)->getString("general.architecture");
      auto source = ggufTensors(*std::move(file));
      if (!source.ok()) continue;
      for (const std::string& name : (*source)->names()) {
        auto tensor = (*source)->find(name);
        if (!tensor.ok() || !*tensor) continue;
        volatile uint8_t sum = (*tensor)->data[0];
        sum = static_cast<uint8_t>(sum + (*tensor)->data[(*tensor)->bytes - 1]);
        EXPECT_LT((*tensor)->storedRow(0), (*tensor)->shape[0]);
      }
    }
  }
}

TEST(Gguf, MalformedMaterialIsRefusedQuickly) {
  const auto folder = std::filesystem::path(LLMC_MATERIAL_DIR) / "malformed" / "gguf";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no material at " << folder;
  const auto begin = std::chrono::steady_clock::now();
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const std::string message = openError(entry.path().string());
    // A file of metadata alone is well formed.
    EXPECT_EQ(message.empty(), name == "las7_empty.gguf") << name << ": " << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << name;
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

// llama2.c's legacy format: seven int32 of header, then float tensors in this order, q and k with
// interleaved heads, which is the order GGUF has: tensors must be equal as stored, and storedRow()
// must be where HF's row went.
TEST(Gguf, Stories260kHoldsTheTensorsOfItsLlama2cTwin) {
  const auto folder = std::filesystem::path(LLMC_MATERIAL_DIR) / "weights" / "stories260K";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no material at " << folder;
  auto file = GgufFile::open((folder / "stories260Ktok512.gguf").string());
  ASSERT_TRUE(file.ok()) << file.status().message();
  auto source = ggufTensors(*std::move(file));
  ASSERT_TRUE(source.ok()) << source.status().message();
  auto twin = MappedFile::open((folder / "stories260K.bin").string());
  ASSERT_TRUE(twin.ok());
  const int64_t dim = 64, layers = 5, heads = 8, kv_heads = 4, vocab = 512, head_dim = dim / heads;
  int64_t position = 28 / 4;
  auto expectRows = [&](const std::string& name, int64_t rows, int64_t cols,
                        int64_t expected_heads) {
    auto tensor = (*source)->find(name);
    ASSERT_TRUE(tensor.ok() && *tensor) << name;
    ASSERT_EQ((*tensor)->interleaved_heads, expected_heads) << name;
    ASSERT_EQ((*tensor)->bytes, static_cast<uint64_t>(rows * cols * 4)) << name;
    for (int64_t row = 0; row < rows; ++row) {
      // In llama2.c row (head, pair, half) is rotated with its neighbour: HF's row (head, half,
      // pair).
      int64_t hf_row = row;
      if (expected_heads) {
        const int64_t in_head = row % head_dim;
        hf_row = row - in_head + in_head % 2 * (head_dim / 2) + in_head / 2;
      }
      for (int64_t k = 0; k < cols; ++k) {
        ASSERT_EQ(loadAsF32(DType::kF32, twin->data(), position + row * cols + k),
                  loadAsF32(DType::kF32, (*tensor)->data, (*tensor)->storedRow(hf_row) * cols + k))
            << name << " " << row << " " << k;
      }
    }
    position += rows * cols;
  };
  auto expectLayers = [&](const std::string& name, int64_t rows, int64_t cols,
                          int64_t expected_heads) {
    for (int64_t i = 0; i < layers; ++i)
      expectRows("model.layers." + std::to_string(i) + "." + name, rows, cols, expected_heads);
  };
  expectRows("model.embed_tokens.weight", vocab, dim, 0);
  expectLayers("input_layernorm.weight", 1, dim, 0);
  expectLayers("self_attn.q_proj.weight", dim, dim, heads);
  expectLayers("self_attn.k_proj.weight", kv_heads * head_dim, dim, kv_heads);
  expectLayers("self_attn.v_proj.weight", kv_heads * head_dim, dim, 0);
  expectLayers("self_attn.o_proj.weight", dim, dim, 0);
  expectLayers("post_attention_layernorm.weight", 1, dim, 0);
  expectLayers("mlp.gate_proj.weight", 172, dim, 0);
  expectLayers("mlp.down_proj.weight", dim, 172, 0);
  expectLayers("mlp.up_proj.weight", 172, dim, 0);
  expectRows("model.norm.weight", 1, dim, 0);
}

}  // namespace
}  // namespace llmrt
