// Real vocabularies against vectors that others made: llama.cpp's, and the golden ids of
// TinyStories-656K.
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

#include "frontend/tokenizer/ImportTokenizer.h"
#include "frontend/tokenizer/OnigurumaRegex.h"
#include "frontend/tokenizer/PreTokenizerNames.h"
#include "frontend/tokenizer/TokenizeFile.h"
#include "runtime/io/json.h"
#include "runtime/schema/tokenizer_generated.h"
#include "runtime/text/utf8.h"
#include "tests/text/tiny_tokenizer.h"

namespace llmc {
namespace {

namespace fs = std::filesystem;
const fs::path kMaterial = LLMC_MATERIAL_DIR;

std::string readFile(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<std::string> splitBy(const std::string& text, const std::string& separator) {
  std::vector<std::string> parts;
  size_t from = 0;
  for (size_t at; (at = text.find(separator, from)) != text.npos; from = at + separator.size()) {
    parts.push_back(text.substr(from, at - from));
  }
  parts.push_back(text.substr(from));
  return parts;
}

std::vector<std::string> vectorTexts(const std::string& vocabulary) {
  fs::path base = kMaterial / "tokenizers/llama.cpp-vocab" / ("ggml-vocab-" + vocabulary + ".gguf");
  return splitBy(readFile(base.string() + ".inp"), "\n__ggml_vocab_test__\n");
}

llmrt::Tokenizer load(const fs::path& model) {
  auto table = importTokenizer(model.string());
  if (!table.ok()) {
    ADD_FAILURE() << table.status().message();
    abort();
  }
  return *makeTokenizer(**table);
}

struct Vectors {
  const char* vocabulary;  // of the .inp and .out files
  const char* model;       // below the material
};

void PrintTo(const Vectors& v, std::ostream* out) { *out << v.model; }

class TokenizerVectors : public ::testing::TestWithParam<Vectors> {
 protected:
  void SetUp() override {
    if (!fs::exists(kMaterial / GetParam().model)) {
      GTEST_SKIP() << "no " << GetParam().model << " in " << kMaterial;
    }
  }
};

TEST_P(TokenizerVectors, EveryVectorMatches) {
  llmrt::Tokenizer tokenizer = load(kMaterial / GetParam().model);
  std::string vocabulary = GetParam().vocabulary;
  auto texts = vectorTexts(vocabulary);
  auto lines = splitBy(readFile(kMaterial / "tokenizers/llama.cpp-vocab" /
                                ("ggml-vocab-" + vocabulary + ".gguf.out")),
                       "\n");
  ASSERT_GE(lines.size(), texts.size());
  ASSERT_GT(texts.size(), 40u);
  for (size_t i = 0; i < texts.size(); ++i) {
    std::istringstream in(lines[i]);
    std::vector<int32_t> expected{std::istream_iterator<int32_t>(in), {}};
    auto ids = tokenizer.encode(texts[i], {.add_bos = false, .parse_special = false});
    ASSERT_TRUE(ids.ok()) << ids.status().message();
    EXPECT_EQ(*ids, expected) << "vector " << i << ": " << texts[i];
    // qwen2 normalizes to NFC, which need not be what was given.
    if (vocabulary != "qwen2") {
      EXPECT_EQ(tokenizer.decode(*ids, false), texts[i]);
    }
    EXPECT_EQ(llmrt::testing::stream(tokenizer, *ids, false), tokenizer.decode(*ids, false));
  }
}

// Any ids at all, so bytes in any order: the stream still adds up, and what it gives is UTF-8.
TEST_P(TokenizerVectors, StreamsOfRandomIdsEqualTheWhole) {
  llmrt::Tokenizer tokenizer = load(kMaterial / GetParam().model);
  std::mt19937 random(11);
  for (int round = 0; round < 300; ++round) {
    std::vector<int32_t> ids(random() % 12);
    for (int32_t& id : ids) {
      // Half of them from the beginning, where the bytes are.
      id = static_cast<int32_t>(
          random() % (random() % 2 ? 260 : static_cast<uint32_t>(tokenizer.vocabSize())));
    }
    for (bool skip : {true, false}) {
      std::string whole = tokenizer.decode(ids, skip);
      EXPECT_EQ(llmrt::testing::stream(tokenizer, ids, skip), whole);
      EXPECT_TRUE(llmrt::isValidUtf8(whole));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Material, TokenizerVectors,
    ::testing::Values(Vectors{"gpt-2", "tokenizers/llama.cpp-vocab/ggml-vocab-gpt-2.gguf"},
                      Vectors{"gpt-2", "tokenizers/gpt2"},
                      Vectors{"llama-spm", "tokenizers/llama.cpp-vocab/ggml-vocab-llama-spm.gguf"},
                      Vectors{"llama-spm", "tokenizers/llama2"},
                      Vectors{"qwen2", "tokenizers/qwen2/tokenizer.reconstructed.json"},
                      Vectors{"phi-3", "tokenizers/llama.cpp-vocab/ggml-vocab-phi-3.gguf"},
                      Vectors{"phi-3", "tokenizers/phi3"},
                      Vectors{"falcon", "tokenizers/llama.cpp-vocab/ggml-vocab-falcon.gguf"}),
    [](const auto& info) {
      std::string name = info.param.model;
      for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
      return name;
    });

// There is no qwen2 GGUF in the material; its pre-tokenizer by name is the one its tokenizer.json
// spells out.
TEST(TokenizerMaterial, Qwen2ByNameIsQwen2ByFile) {
  fs::path file = kMaterial / "tokenizers/qwen2/tokenizer.reconstructed.json";
  if (!fs::exists(file)) GTEST_SKIP() << "no " << file;
  auto table = importTokenizer(file.string());
  ASSERT_TRUE(table.ok()) << table.status().message();
  const NamedPreTokenizer* pre = findPreTokenizer("qwen2");
  ASSERT_EQ((*table)->pre_tokenizer.size(), pre->splits.size());
  EXPECT_EQ((*table)->pre_tokenizer[0]->pattern, *pcreFromOniguruma(pre->splits[0]));
  EXPECT_EQ((*table)->normalizer.size() == 1, pre->nfc);
}

TEST(TokenizerMaterial, Llama2ByFileAndByGgufAgreeOnText) {
  fs::path json = kMaterial / "tokenizers/llama2";
  fs::path gguf = kMaterial / "tokenizers/llama.cpp-vocab/ggml-vocab-llama-spm.gguf";
  fs::path text = kMaterial / "text/tinyshakespeare.txt";
  if (!fs::exists(json) || !fs::exists(gguf) || !fs::exists(text)) GTEST_SKIP() << "no material";
  std::string sample = readFile(text).substr(0, 100000);
  auto from_json = load(json).encode(sample);
  auto from_gguf = load(gguf).encode(sample);
  ASSERT_TRUE(from_json.ok() && from_gguf.ok());
  EXPECT_EQ(*from_json, *from_gguf);
  EXPECT_EQ(from_json->front(), 1) << "BOS";
  EXPECT_EQ(load(json).decode(*from_json), sample);
}

TEST(TokenizerMaterial, Stories260KReadsAGgufOfTraps) {
  fs::path file = kMaterial / "weights/stories260K/stories260Ktok512.gguf";
  if (!fs::exists(file)) GTEST_SKIP() << "no " << file;
  llmrt::Tokenizer tokenizer = load(file);
  EXPECT_EQ(tokenizer.vocabSize(), 512);
  EXPECT_EQ(tokenizer.bosId(), 1);
  EXPECT_EQ(tokenizer.eosId(), 2);
  // llama2.c prints this prompt with its ids: BOS, then the words of "Once upon a time".
  auto ids = tokenizer.encode("Once upon a time");
  ASSERT_TRUE(ids.ok());
  EXPECT_THAT(*ids, ::testing::ElementsAre(1, 403, 407, 261, 378));
  EXPECT_EQ(tokenizer.decode(*ids), "Once upon a time");
}

TEST(TokenizerMaterial, TinyStoriesGoldenPromptsAndTexts) {
  fs::path model = kMaterial / "weights/TinyStories-656K-bf16";
  if (!fs::exists(model)) GTEST_SKIP() << "no " << model;
  llmrt::Tokenizer tokenizer = load(model);
  EXPECT_EQ(tokenizer.bosId(), 1);
  EXPECT_EQ(tokenizer.eosId(), 2);
  for (const char* name : {"greedy_1.json", "greedy_2.json"}) {
    auto golden = llmrt::readJsonFile((model / "golden" / name).string());
    ASSERT_TRUE(golden.ok()) << golden.status().message();
    auto prompt_ids = (*golden)["prompt_ids"].get<std::vector<int32_t>>();
    auto ids = tokenizer.encode((*golden)["prompt"].get<std::string>());
    ASSERT_TRUE(ids.ok());
    EXPECT_EQ(*ids, prompt_ids) << name;
    auto all = prompt_ids;
    for (int32_t id : (*golden)["generated_ids"]) all.push_back(id);
    EXPECT_EQ(tokenizer.decode(all, false), (*golden)["text"].get<std::string>()) << name;
    EXPECT_EQ(llmrt::testing::stream(tokenizer, all, false), tokenizer.decode(all, false)) << name;
  }
}

}  // namespace
}  // namespace llmc
