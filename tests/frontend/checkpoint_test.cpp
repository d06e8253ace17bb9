#include "frontend/Checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <map>

#include "runtime/io/float_convert.h"
#include "tests/io/checkpoint_files.h"

namespace llmc {
namespace {

using llmc_tests::GgufWriter;
using llmc_tests::rawBytes;
using llmc_tests::safetensorsFile;
using llmc_tests::TemporaryDirectory;
using llmrt::StatusCode;
using testing::HasSubstr;
using Kind = TokenizerOrigin::Kind;

constexpr const char* kConfig =
    R"({"model_type": "llama", "hidden_size": 4, "intermediate_size": 6, "num_hidden_layers": 1,
        "num_attention_heads": 2, "vocab_size": 3, "tie_word_embeddings": true})";

std::map<std::string, std::vector<int64_t>> smallTensors() {
  ModelSpec spec;
  spec.hidden_size = 4;
  spec.intermediate_size = 6;
  spec.num_layers = 1;
  spec.num_heads = spec.num_kv_heads = 2;
  spec.head_dim = 2;
  spec.vocab_size = 3;
  spec.tie_word_embeddings = true;
  std::map<std::string, std::vector<int64_t>> out;
  for (const TensorNeed& need : requiredTensors(spec)) out[need.name] = need.shape;
  return out;
}

// F32 tensors; every element of the i-th tensor in order of name is i.
std::string safetensorsOf(const std::map<std::string, std::vector<int64_t>>& tensors) {
  std::string header = "{", data;
  float value = 0;
  for (const auto& [name, shape] : tensors) {
    const size_t begin = data.size();
    int64_t count = 1;
    std::string sizes;
    for (int64_t size : shape) {
      count *= size;
      sizes.append(sizes.empty() ? "" : ",").append(std::to_string(size));
    }
    for (int64_t i = 0; i < count; ++i) data += rawBytes(value);
    value += 1;
    header.append(begin ? ",\"" : "\"").append(name);
    header.append("\":{\"dtype\":\"F32\",\"shape\":[").append(sizes).append("],\"data_offsets\":[");
    header.append(std::to_string(begin))
        .append(",")
        .append(std::to_string(data.size()))
        .append("]}");
  }
  return safetensorsFile(header + "}", data);
}

std::string openError(const std::string& path, const CheckpointOptions& options = {}) {
  auto checkpoint = openCheckpoint(path, options);
  if (checkpoint.ok()) return "";
  EXPECT_EQ(checkpoint.status().message().find('\n'), std::string::npos);
  return checkpoint.status().message();
}

float firstValue(const Checkpoint& checkpoint, const char* name) {
  auto tensor = checkpoint.weights->find(name);
  if (!tensor.ok() || !*tensor) {
    ADD_FAILURE() << name << " not found";
    return -1;
  }
  return llmrt::loadAsF32((*tensor)->dtype, (*tensor)->data, 0);
}

TEST(Checkpoint, OpensADirectoryWithAllItsParts) {
  TemporaryDirectory dir;
  dir.write("config.json", kConfig);
  dir.write("model.safetensors", safetensorsOf(smallTensors()));
  dir.write("tokenizer.json", "{}");
  dir.write("tokenizer_config.json", R"({"chat_template": "from config"})");
  dir.write("generation_config.json", R"({"eos_token_id": 0})");
  for (const std::string& path : {dir.path(), dir.path("config.json")}) {
    auto checkpoint = openCheckpoint(path);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
    EXPECT_TRUE(checkpoint->weights);
    EXPECT_EQ(checkpoint->spec.name, std::filesystem::path(dir.path()).filename());
    EXPECT_THAT(checkpoint->spec.eos_token_ids, testing::ElementsAre(0));
    EXPECT_EQ(checkpoint->tokenizer.kind, Kind::kFile);
    EXPECT_EQ(checkpoint->tokenizer.path, dir.path("tokenizer.json"));
    EXPECT_EQ(checkpoint->chat.templates.text, "from config");
  }
  dir.write("chat_template.jinja", "from file");
  EXPECT_EQ(openCheckpoint(dir.path())->chat.templates.text, "from file");
}

// Gemma's sqrt(hidden_size) has the dtype of the weights, whether or not a config says it.
TEST(Checkpoint, TheStoredDtypeStandsInForTheConfigs) {
  for (const std::string dtype : {"", R"("dtype": "bfloat16",)"}) {
    TemporaryDirectory dir;
    dir.write("config.json",
              R"({"model_type": "gemma", "hidden_size": 6, "intermediate_size": 6,)" + dtype +
                  R"("num_hidden_layers": 1, "num_attention_heads": 2,
                                 "num_key_value_heads": 1, "head_dim": 2, "vocab_size": 3})");
    auto code = openCheckpoint(dir.path(), {.no_weights = true});
    ASSERT_TRUE(code.ok()) << code.status().message();
    EXPECT_EQ(code->spec.embeddingScale(), 2.453125);
    std::map<std::string, std::vector<int64_t>> tensors;
    for (const TensorNeed& need : requiredTensors(code->spec)) tensors[need.name] = need.shape;
    dir.write("model.safetensors", safetensorsOf(tensors));
    auto checkpoint = openCheckpoint(dir.path());
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
    EXPECT_EQ(checkpoint->spec.embeddingScale(), dtype.empty() ? std::sqrt(6.0f) : 2.453125);
  }
}

TEST(Checkpoint, NamedTemplatesGiveTheDefault) {
  TemporaryDirectory dir;
  dir.write("config.json", kConfig);
  dir.write(
      "tokenizer_config.json",
      R"({"chat_template": [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]})");
  auto checkpoint = openCheckpoint(dir.path("config.json"));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  EXPECT_EQ(checkpoint->chat.templates.text, "d");
}

TEST(Checkpoint, OfTwoTemplatesOfOneNameTheLastCounts) {
  TemporaryDirectory dir;
  dir.write("config.json", kConfig);
  dir.write("tokenizer_config.json",
            R"({"chat_template": [{"name": "a", "template": "1"}, {"name": "b", "template": "2"},
                                  {"name": "a", "template": "3"}]})");
  auto checkpoint = openCheckpoint(dir.path("config.json"));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  const auto& named = checkpoint->chat.templates.named;
  ASSERT_EQ(named.size(), 2u);
  EXPECT_EQ(named[0].name + named[0].text, "b2");
  EXPECT_EQ(named[1].name + named[1].text, "a3");
}

TEST(Checkpoint, AChatTemplateMayLieInAFileOfItsOwn) {
  TemporaryDirectory dir;
  dir.write("config.json", kConfig);
  dir.write("chat_template.json", R"({"chat_template": "from json"})");
  EXPECT_EQ(openCheckpoint(dir.path("config.json"))->chat.templates.text, "from json");
  dir.write("tokenizer_config.json", R"({"chat_template": "from config"})");
  EXPECT_EQ(openCheckpoint(dir.path("config.json"))->chat.templates.text, "from config");
}

TEST(Checkpoint, ABareConfigIsCodeOnlyAndADirectoryIsNot) {
  TemporaryDirectory dir;
  dir.write("config.json", kConfig);
  auto bare = openCheckpoint(dir.path("config.json"));
  ASSERT_TRUE(bare.ok()) << bare.status().message();
  EXPECT_FALSE(bare->weights);
  EXPECT_EQ(bare->tokenizer.kind, Kind::kNone);
  EXPECT_THAT(openError(dir.path()), HasSubstr("give --weights or --no-weights"));
  CheckpointOptions options;
  options.no_weights = true;
  auto without = openCheckpoint(dir.path(), options);
  ASSERT_TRUE(without.ok()) << without.status().message();
  EXPECT_FALSE(without->weights);
}

TEST(Checkpoint, PartsMayLieElsewhere) {
  TemporaryDirectory model, parts;
  model.write("small.json", kConfig);
  parts.write("w.safetensors", safetensorsOf(smallTensors()));
  parts.write("tokenizer.json", "{}");
  CheckpointOptions options;
  options.weights = parts.path("w.safetensors");
  options.tokenizer = parts.path();
  auto checkpoint = openCheckpoint(model.path("small.json"), options);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  EXPECT_TRUE(checkpoint->weights);
  EXPECT_EQ(checkpoint->spec.name, "small");
  EXPECT_EQ(checkpoint->tokenizer.path, parts.path("tokenizer.json"));
  options.tokenizer = parts.path("tokenizer.json");
  EXPECT_EQ(openCheckpoint(model.path("small.json"), options)->tokenizer.kind, Kind::kFile);
  options.tokenizer = model.path();
  EXPECT_THAT(openError(model.path("small.json"), options), HasSubstr("holds no tokenizer"));
  options.tokenizer = model.path("none");
  EXPECT_THAT(openError(model.path("small.json"), options), HasSubstr("no such file"));
}

TEST(Checkpoint, WhatIsNotAModelSaysSo) {
  TemporaryDirectory dir;
  EXPECT_THAT(openError(dir.path("none")), HasSubstr("none: no such file or directory"));
  EXPECT_THAT(openError(dir.path()), HasSubstr("not a model: holds no config.json"));
  EXPECT_THAT(openError(dir.write("a.json", "[1]")), HasSubstr("is not a JSON object"));
  EXPECT_THAT(openError(dir.write("a.json", "{\"a\": }")),
              HasSubstr("malformed JSON: parse error at line 1, column 7"));
  EXPECT_THAT(openError(dir.write("a.json", "")), HasSubstr("malformed JSON"));
  EXPECT_THAT(openError(dir.write("a.txt", "hello")),
              HasSubstr("neither a config.json nor a GGUF file"));
  EXPECT_THAT(openError(dir.write("a", "")), HasSubstr("neither a config.json nor a GGUF file"));
  EXPECT_THAT(openError(dir.write("a.safetensors", "xxxx")), HasSubstr("holds weights only"));
  EXPECT_THAT(openError(dir.write("a.gguf", "GGUF")), HasSubstr("truncated"));
}

TEST(Checkpoint, AnAdapterIsNoModelAndIsNotForgotten) {
  TemporaryDirectory dir;
  dir.write("adapter_config.json", "{}");
  dir.write("adapter_model.safetensors", safetensorsFile("{}", ""));
  EXPECT_THAT(openError(dir.path()), HasSubstr(": holds a LoRA adapter (adapter_config.json)"));
  dir.write("config.json", kConfig);
  EXPECT_THAT(openError(dir.path()), HasSubstr(": holds a LoRA adapter (adapter_config.json)"));
  dir.write("model.safetensors", safetensorsOf(smallTensors()));
  auto checkpoint = openCheckpoint(dir.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  EXPECT_THAT(checkpoint->warnings,
              testing::ElementsAre(HasSubstr("the LoRA adapter is not applied")));
  std::filesystem::remove(dir.path("adapter_config.json"));
  EXPECT_THAT(openCheckpoint(dir.path())->warnings, testing::IsEmpty());
}

TEST(Checkpoint, WeightsOfOtherFormsAreNamed) {
  TemporaryDirectory dir;
  dir.write("config.json", kConfig);
  const std::string torch =
      dir.write("pytorch_model.bin", std::string("PK\x03\x04\x00\x00\x08\x08", 8));
  EXPECT_THAT(openError(dir.path()), HasSubstr("PyTorch's ('pytorch_model.bin')"));
  EXPECT_THAT(openError(dir.path()), HasSubstr("give --weights or --no-weights"));
  EXPECT_THAT(openError(torch), HasSubstr("pytorch_model.bin: holds PyTorch's weights"));
  CheckpointOptions options;
  options.weights = torch;
  EXPECT_THAT(openError(dir.path(), options), HasSubstr("holds PyTorch's weights"));
  TemporaryDirectory meta;
  meta.write("params.json", "{}");
  EXPECT_THAT(openError(meta.path()), HasSubstr("holds no config.json; params.json is"));
}

TEST(Checkpoint, AGitLfsPointerIsCalledThatWhereverItLies) {
  const std::string pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
  for (const char* name : {"config.json", "model.safetensors", "generation_config.json",
                           "tokenizer_config.json", "chat_template.jinja"}) {
    TemporaryDirectory dir;
    dir.write("config.json", kConfig);
    dir.write("model.safetensors", safetensorsOf(smallTensors()));
    dir.write(name, pointer);
    EXPECT_THAT(openError(dir.path()), HasSubstr(dir.path(name) + ": is a Git LFS pointer"));
  }
  TemporaryDirectory dir;
  EXPECT_THAT(openError(dir.write("m.gguf", pointer)), HasSubstr("m.gguf: is a Git LFS pointer"));
}

TEST(Checkpoint, ANameOfTheHubSaysHowToDownloadIt) {
  EXPECT_THAT(openError("Qwen/Qwen3-0.6B"),
              HasSubstr("hf download Qwen/Qwen3-0.6B --local-dir Qwen3-0.6B"));
}

// The index names a tensor that nobody has, and not the one that is needed.
TEST(Checkpoint, TheFilesOfAnIndexCountNotItsTensors) {
  TemporaryDirectory dir;
  dir.write("config.json", kConfig);
  auto tensors = smallTensors();
  const std::map<std::string, std::vector<int64_t>> norm = {{"model.norm.weight", {4}}};
  tensors.erase("model.norm.weight");
  dir.write("a.safetensors", safetensorsOf(tensors));
  dir.write("b.safetensors", safetensorsOf(norm));
  dir.write("model.safetensors.index.json",
            R"({"weight_map": {"lm_head.weight": "a.safetensors", "mtp": "b.safetensors"}})");
  EXPECT_EQ(openError(dir.path()), "");
  dir.write("model.safetensors.index.json",
            R"({"weight_map": {"a": "a.safetensors", "model.norm.weight": "a.safetensors"}})");
  EXPECT_THAT(openError(dir.path()), HasSubstr("tensor 'model.norm.weight' [4] is missing: it "
                                               "should be in a.safetensors, says the index"));
}

TEST(Checkpoint, TiedEmbeddingsAreFoundWhicheverIsStored) {
  TemporaryDirectory dir;
  dir.write("config.json", kConfig);
  auto tensors = smallTensors();
  dir.write("model.safetensors", safetensorsOf(tensors));
  auto stored = openCheckpoint(dir.path());
  ASSERT_TRUE(stored.ok()) << stored.status().message();
  EXPECT_TRUE(stored->spec.tie_word_embeddings);

  tensors.erase("model.embed_tokens.weight");
  tensors["lm_head.weight"] = {3, 4};  // the first in order of name: its values are 0
  dir.write("model.safetensors", safetensorsOf(tensors));
  auto head_only = openCheckpoint(dir.path());
  ASSERT_TRUE(head_only.ok()) << head_only.status().message();
  EXPECT_TRUE(head_only->spec.tie_word_embeddings);
  EXPECT_EQ(firstValue(*head_only, "model.embed_tokens.weight"), 0.0f);

  tensors["model.embed_tokens.weight"] = {3, 4};
  dir.write("model.safetensors", safetensorsOf(tensors));
  auto both = openCheckpoint(dir.path());
  ASSERT_TRUE(both.ok()) << both.status().message();
  EXPECT_FALSE(both->spec.tie_word_embeddings) << "they differ";
  EXPECT_EQ(firstValue(*both, "model.embed_tokens.weight"), 1.0f);
}

// As models of text and images are stored: by older versions of Transformers, and by newer ones.
TEST(Checkpoint, TheTensorsOfATextModelMayHaveThatsNameInFront) {
  for (const std::string prefix : {"language_model.model.", "model.language_model.", ""}) {
    TemporaryDirectory dir;
    dir.write("config.json", kConfig);
    // What predicts a further token is no part of the model either.
    std::map<std::string, std::vector<int64_t>> tensors = {{"vision_tower.probe", {1}},
                                                           {"mtp.fc.weight", {2, 2}}};
    for (const auto& [name, shape] : smallTensors())
      tensors[prefix + name.substr(std::string("model.").size())] = shape;
    dir.write("model.safetensors", safetensorsOf(tensors));
    auto checkpoint = openCheckpoint(dir.path());
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
    EXPECT_EQ(checkpoint->weights->storedName("model.norm.weight"), prefix + "norm.weight");
    EXPECT_GE(firstValue(*checkpoint, "model.embed_tokens.weight"), 0);
  }
}

TEST(Checkpoint, MissingAndMisshapenTensorsAreNamed) {
  TemporaryDirectory dir;
  dir.write("config.json", kConfig);
  auto tensors = smallTensors();
  tensors.erase("model.layers.0.mlp.up_proj.weight");
  dir.write("model.safetensors", safetensorsOf(tensors));
  EXPECT_THAT(openError(dir.path()),
              HasSubstr("tensor 'model.layers.0.mlp.up_proj.weight' [6, 4] is missing"));
  tensors["model.layers.0.mlp.up_proj.weight"] = {4, 6};
  dir.write("model.safetensors", safetensorsOf(tensors));
  EXPECT_THAT(
      openError(dir.path()),
      HasSubstr("'model.layers.0.mlp.up_proj.weight' has shape [4, 6], the config needs [6, 4]"));
  tensors["model.layers.0.mlp.up_proj.weight"] = {6, 4};
  dir.write("model.safetensors", safetensorsOf(tensors));
  EXPECT_EQ(openError(dir.path()), "");
  std::string untied = kConfig;
  untied.replace(untied.find("true"), 4, "false");
  dir.write("config.json", untied);
  EXPECT_THAT(openError(dir.path()), HasSubstr("tensor 'lm_head.weight' [3, 4] is missing"));
}

TEST(Checkpoint, AVocabularyOnlyGgufHasNoWeights) {
  TemporaryDirectory dir;
  GgufWriter writer;
  writer.addString("general.architecture", "llama")
      .addUint("llama.embedding_length", 4)
      .addUint("llama.feed_forward_length", 6)
      .addUint("llama.block_count", 1)
      .addUint("llama.attention.head_count", 2)
      .addUint("llama.context_length", 9)
      .addFloat("llama.attention.layer_norm_rms_epsilon", 1e-5f)
      .addString("tokenizer.ggml.model", "llama")
      .addString("tokenizer.chat_template", "tmpl")
      .addString("tokenizer.chat_template.tool_use", "tools")
      .addString("tokenizer.chat_template.rag", "documents")
      .addStrings("tokenizer.chat_templates", {"rag", "tool_use", "taken_out"})
      .addUint("tokenizer.ggml.padding_token_id", 2)
      .addUint("tokenizer.ggml.unknown_token_id", 4294967295)
      .addStrings("tokenizer.ggml.tokens", {"a", "b", "c"});
  const std::string path = dir.write("v.gguf", writer.bytes());
  EXPECT_THAT(openError(path), HasSubstr("holds a vocabulary only"));
  EXPECT_THAT(openError(dir.path()), HasSubstr("v.gguf: holds a vocabulary only"))
      << "its folder means it";
  CheckpointOptions options;
  options.no_weights = true;
  auto checkpoint = openCheckpoint(path, options);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  EXPECT_EQ(checkpoint->tokenizer.kind, Kind::kGguf);
  EXPECT_TRUE(checkpoint->tokenizer.gguf);
  const llmrt::ChatTemplates& templates = checkpoint->chat.templates;
  EXPECT_EQ(templates.text, "tmpl");
  EXPECT_EQ(*templates.choose("", false), "tmpl");
  EXPECT_EQ(*templates.choose("", true), "tools");
  EXPECT_EQ(*templates.choose("rag", true), "documents");
  EXPECT_EQ(templates.choose("taken_out", true).status().message(),
            "has no chat template 'taken_out', only: default, rag, tool_use");
  ASSERT_EQ(checkpoint->chat.special.tokens.size(), 1u);
  EXPECT_EQ(checkpoint->chat.special.tokens[0].name, "pad_token");
  EXPECT_EQ(checkpoint->chat.special.tokens[0].text, "c");
}

TEST(Checkpoint, SpecialTokensOfTheWrongKindAreNamed) {
  TemporaryDirectory dir;
  dir.write("config.json", kConfig);
  const auto error = [&](const char* config) {
    dir.write("tokenizer_config.json", config);
    return openError(dir.path("config.json"));
  };
  EXPECT_THAT(error(R"({"bos_token": 5})"),
              HasSubstr("tokenizer_config.json: bos_token is neither"));
  EXPECT_THAT(error(R"({"additional_special_tokens": [5]})"),
              HasSubstr("additional_special_tokens holds what is neither"));
  EXPECT_THAT(error(R"({"extra_special_tokens": {"a": 5}})"),
              HasSubstr("extra_special_tokens.a is"));
  EXPECT_THAT(error(R"({"chat_template": [{"name": "a"}]})"),
              HasSubstr("what is not {name, template}"));
  EXPECT_THAT(error(R"({"chat_template": {"a": 5}})"),
              HasSubstr("chat_template.a is not a string"));
  EXPECT_THAT(error(R"({"chat_template": 5})"), HasSubstr("chat_template is neither"));
}

// As gguf-split cuts it: metadata in the first part, tensors in both.
TEST(Checkpoint, AnyPartOfASplitGgufIsTheModel) {
  TemporaryDirectory dir;
  const auto part = [](uint16_t index) {
    GgufWriter writer;
    writer.value("split.no", 2, rawBytes(index))
        .value("split.count", 2, rawBytes(uint16_t{2}))
        .value("split.tensors.count", 5, rawBytes(int32_t{11}));
    return writer;
  };
  const auto add = [](GgufWriter& writer, const std::string& name, std::vector<uint64_t> shape) {
    uint64_t count = 1;
    for (uint64_t size : shape) count *= size;
    writer.tensor(name, 0, std::move(shape), std::string(count * 4, '\0'));
  };
  GgufWriter first = part(0), second = part(1);
  first.addString("general.architecture", "llama")
      .addUint("llama.embedding_length", 4)
      .addUint("llama.feed_forward_length", 6)
      .addUint("llama.block_count", 1)
      .addUint("llama.attention.head_count", 2)
      .addUint("llama.context_length", 9)
      .addUint("llama.vocab_size", 3)
      .addFloat("llama.attention.layer_norm_rms_epsilon", 1e-5f)
      .addString("tokenizer.ggml.model", "no_vocab");  // which says that there is no tokenizer
  add(first, "token_embd.weight", {3, 4});
  add(first, "blk.0.attn_norm.weight", {4});
  add(first, "blk.0.attn_q.weight", {4, 4});
  add(first, "blk.0.attn_k.weight", {4, 4});
  add(first, "blk.0.attn_v.weight", {4, 4});
  add(second, "blk.0.attn_output.weight", {4, 4});
  add(second, "blk.0.ffn_norm.weight", {4});
  add(second, "blk.0.ffn_gate.weight", {6, 4});
  add(second, "blk.0.ffn_up.weight", {6, 4});
  add(second, "blk.0.ffn_down.weight", {4, 6});
  add(second, "output_norm.weight", {4});
  dir.write("m-00001-of-00002.gguf", first.bytes());
  dir.write("m-00002-of-00002.gguf", second.bytes());
  for (const char* name : {"m-00001-of-00002.gguf", "m-00002-of-00002.gguf", ""}) {
    auto checkpoint = openCheckpoint(dir.path(name));
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
    EXPECT_EQ(checkpoint->spec.name, "m");
    EXPECT_TRUE(checkpoint->weights);
    EXPECT_TRUE(checkpoint->spec.tie_word_embeddings);
    EXPECT_EQ(checkpoint->tokenizer.kind, Kind::kNone);
    EXPECT_TRUE(openWeights(dir.path(name)).ok());
  }
  std::filesystem::remove(dir.path("m-00002-of-00002.gguf"));
  EXPECT_THAT(openError(dir.path()), HasSubstr("part 2 of 2 is missing"));
}

// In blocks both axes of experts lie the other way round: a square matrix does not tell.
TEST(Checkpoint, ExpertsOfOneModelAreInBlocksOrNot) {
  TemporaryDirectory dir;
  dir.write("config.json", R"({"model_type": "gpt_oss", "hidden_size": 32, "intermediate_size": 32,
      "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 3,
      "num_local_experts": 1, "num_experts_per_tok": 1, "sliding_window": 16,
      "quantization_config": {"quant_method": "mxfp4"}})");
  const std::string experts = R"("model.layers.0.mlp.experts.)";
  dir.write("model.safetensors",
            safetensorsFile("{" + experts +
                                R"(gate_up_proj_blocks":{"dtype":"U8","shape":[1,64,1,16],)"
                                R"("data_offsets":[0,1024]},)" +
                                experts +
                                R"(gate_up_proj_scales":{"dtype":"U8","shape":[1,64,1],)"
                                R"("data_offsets":[1024,1088]},)" +
                                experts +
                                R"(down_proj":{"dtype":"BF16","shape":[1,32,32],)"
                                R"("data_offsets":[1088,3136]}})",
                            std::string(3136, '\0')));
  EXPECT_THAT(openError(dir.path()),
              HasSubstr("tensor 'model.layers.0.mlp.experts.down_proj' is of plain values, unlike "
                        "'model.layers.0.mlp.experts.gate_up_proj'"));
}

TEST(Checkpoint, OpensTheTrainedModels) {
  const auto folder = std::filesystem::path(LLMC_MATERIAL_DIR) / "weights";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no material at " << folder;
  auto hf = openCheckpoint((folder / "TinyStories-656K-bf16").string());
  ASSERT_TRUE(hf.ok()) << hf.status().message();
  EXPECT_EQ(hf->spec.name, "TinyStories-656K-bf16");
  EXPECT_TRUE(hf->spec.tie_word_embeddings);
  EXPECT_EQ(hf->spec.dtype, llmrt::DType::kBF16);
  EXPECT_EQ(hf->tokenizer.kind, Kind::kFile);
  EXPECT_TRUE(hf->weights);
  auto gguf = openCheckpoint((folder / "stories260K" / "stories260Ktok512.gguf").string());
  ASSERT_TRUE(gguf.ok()) << gguf.status().message();
  EXPECT_EQ(gguf->spec.name, "stories260Ktok512");
  EXPECT_EQ(gguf->tokenizer.kind, Kind::kGguf);
  EXPECT_TRUE(gguf->weights);
}

}  // namespace
}  // namespace llmc
