// What Hugging Face's tokenizers, sentencepiece and tiktoken say of some 380 texts, in each
// family's pipeline; tests/golden/make_tokenizer_goldens.py asked them.
#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "frontend/tokenizer/ImportTokenizer.h"
#include "runtime/io/json.h"
#include "runtime/schema/tokenizer_generated.h"
#include "tests/text/temp_file.h"
#include "tests/text/tiny_tokenizer.h"

namespace llmc {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;
const fs::path kGoldens = LLMC_TOKENIZER_GOLDEN_DIR;
const fs::path kMaterial = LLMC_MATERIAL_DIR;

json readJson(const fs::path& path) {
  auto value = llmrt::readJsonFile(path.string());
  EXPECT_TRUE(value.ok()) << value.status().message();
  return value.ok() ? *value : json();
}

const std::vector<std::string>& texts() {
  static const auto all = readJson(kGoldens / "texts.json").get<std::vector<std::string>>();
  return all;
}

llmrt::Result<llmrt::Tokenizer> load(const std::string& model) {
  LLMRT_ASSIGN_OR_RETURN(auto table, importTokenizer(model));
  return makeTokenizer(*table);
}

/// The tokenizer.json that the script had, put together again: the models are stored once.
llmrt::Result<llmrt::Tokenizer> loadJson(const json& golden) {
  static const json models = readJson(kGoldens / "models.json");
  json whole = golden["tokenizer"];
  json model = models[golden["model"].get<std::string>()];
  if (whole.contains("model")) model.update(whole["model"]);
  whole["model"] = std::move(model);
  testing::TempDir dir;
  return load(dir.write("tokenizer.json", whole.dump()));
}

/// A rank file beside a config of the class that has its regular expression.
llmrt::Result<llmrt::Tokenizer> loadRanks(const std::string& name, const json& golden,
                                          const json& model) {
  json config = {
      {"tokenizer_class", name == "tiktoken_qwen" ? "QWenTokenizer" : "ChatGLM4Tokenizer"}};
  size_t id = model["vocab"].size();
  for (const json& special : golden["specials"]) {
    config["added_tokens_decoder"][std::to_string(id++)] = {{"content", special},
                                                            {"special", true}};
  }
  testing::TempDir dir;
  dir.write("tokenizer_config.json", config.dump());
  fs::copy(kGoldens / "ranks.tiktoken", fs::path(dir.path()) / "tokenizer.model");
  return load(dir.path());
}

llmrt::Result<llmrt::Tokenizer> loadGolden(const std::string& name, const json& golden) {
  std::string why = golden["why"];
  if (why == "tokenizer.json") return loadJson(golden);
  if (why == "tokenizer.model") return load((kGoldens / (name + ".model")).string());
  if (why == "material") return load((kMaterial / golden["path"].get<std::string>()).string());
  return loadRanks(name, golden, readJson(kGoldens / "models.json")["byte_level"]);
}

class TokenizerGolden : public ::testing::TestWithParam<std::string> {};

TEST_P(TokenizerGolden, IdsAndTextsAreTheirs) {
  json golden = readJson(kGoldens / (GetParam() + ".json"));
  bool material = golden["why"] == "material";
  if (material && !fs::exists(kMaterial / golden["path"].get<std::string>())) {
    GTEST_SKIP() << "no " << golden["path"] << " in " << kMaterial;
  }
  auto tokenizer = loadGolden(GetParam(), golden);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  ASSERT_GE(texts().size(), 200u);
  ASSERT_EQ(golden["ids"].size(), texts().size());
  // SentencePiece puts nothing around a text and sees no special tokens in it; Hugging Face does.
  bool sentencepiece = golden["why"] == "tokenizer.model" || GetParam() == "material_llama2_model";
  bool bare = sentencepiece || golden["why"] == "ranks.tiktoken";
  llmrt::EncodeOptions options{.add_bos = !bare, .parse_special = !sentencepiece};
  for (size_t i = 0; i < texts().size(); ++i) {
    auto expected = golden["ids"][i].get<std::vector<int32_t>>();
    auto ids = tokenizer->encode(texts()[i], options);
    ASSERT_TRUE(ids.ok()) << ids.status().message();
    EXPECT_EQ(*ids, expected) << "text " << i << ": " << json(texts()[i]);
    for (bool skip_special : {true, false}) {
      std::string decoded = tokenizer->decode(expected, skip_special);
      EXPECT_EQ(llmrt::testing::stream(*tokenizer, expected, skip_special), decoded);
      const char* field = skip_special ? "text" : "shown";
      if (!golden.contains(field)) continue;
      bool unknown = sentencepiece && skip_special &&
                     std::any_of(expected.begin(), expected.end(),
                                 [&](int32_t id) { return tokenizer->isSpecial(id); });
      if (unknown) continue;  // what stands for an unknown character is each program's own
      std::string key = std::to_string(i);
      std::string text = golden[field].contains(key) ? golden[field][key] : json(texts()[i]);
      EXPECT_EQ(decoded, text) << field << " of text " << i << ": " << json(texts()[i]);
    }
  }
}

std::vector<std::string> goldenNames() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(kGoldens)) {
    std::string name = entry.path().stem().string();
    if (entry.path().extension() == ".json" && name != "texts" && name != "models") {
      names.push_back(name);
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

INSTANTIATE_TEST_SUITE_P(All, TokenizerGolden, ::testing::ValuesIn(goldenNames()),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// GPT-2's two files say the same as its tokenizer.json.
TEST(TokenizerGoldenFiles, VocabAndMergesAreTheTokenizerJson) {
  json golden = readJson(kGoldens / "gpt2.json");
  for (const char* model : {"vocab_merges", "vocab_merges/vocab.json"}) {
    auto tokenizer = load((kGoldens / model).string());
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
    for (size_t i = 0; i < texts().size(); ++i) {
      auto ids = tokenizer->encode(texts()[i]);
      ASSERT_TRUE(ids.ok());
      EXPECT_EQ(*ids, golden["ids"][i].get<std::vector<int32_t>>()) << json(texts()[i]);
    }
    EXPECT_EQ(tokenizer->eosId(), tokenizer->vocabSize() - 1);
  }
}

/// CPU time of one encoding, the least of three: what else runs on the machine hardly counts.
double encodingSeconds(const llmrt::Tokenizer& tokenizer, const std::string& text) {
  double best = 1e9;
  for (int i = 0; i < 3; ++i) {
    std::clock_t begin = std::clock();
    EXPECT_TRUE(tokenizer.encode(text).ok());
    best = std::min(best, static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC);
  }
  return best;
}

// Sixteen times the text takes sixteen times as long; 256 times where something is quadratic. The
// bound of 64 and the 20 ms leave room for caches and the clock, not for that: at these sizes a
// quadratic step takes over a second.
// Cuts whose scores differ by less than a float can tell.
TEST(TokenizerGoldenFiles, TiesOfUnigramModelsAreSentencePieces) {
  const json golden = readJson(kGoldens.parent_path() / "unigram_ties.json");
  for (const char* name : {"spm_unigram_nmt", "spm_unigram_bytes"}) {
    auto tokenizer = load((kGoldens / (std::string(name) + ".model")).string());
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
    for (const json& tie : golden[name]) {
      auto ids = tokenizer->encode(tie[0].get<std::string>(), {.add_bos = false});
      EXPECT_EQ(*ids, tie[1].get<std::vector<int32_t>>()) << name << ": " << tie[0];
    }
  }
}

TEST(TokenizerGoldenFiles, HostileTextsTakeLinearTime) {
  const std::vector<std::string> units = {"a",
                                          "A",
                                          " ",
                                          "\n",
                                          "\t ",
                                          "1",
                                          "'",
                                          "\u0301",
                                          "e\u0301\u0323",
                                          "\u4e2d",
                                          "\U0001F680",
                                          "\u2581",
                                          " \n",
                                          "<|endoftext|",
                                          "aA1 .\u00e9"};
  for (const std::string& name : goldenNames()) {
    json golden = readJson(kGoldens / (name + ".json"));
    if (golden["why"] == "material" || name.starts_with("split_")) continue;
    auto tokenizer = loadGolden(name, golden);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
    for (const std::string& unit : units) {
      std::string small, large;
      while (small.size() < 4000) small += unit;
      while (large.size() < 16 * small.size()) large += small;
      // A letter at the end, which a search for the end of a run must not look for again and again.
      double small_seconds = encodingSeconds(*tokenizer, small + "b");
      double large_seconds = encodingSeconds(*tokenizer, large + "b");
      EXPECT_LT(large_seconds, 64 * small_seconds + 0.02) << name << " with " << json(unit);
    }
  }
}

}  // namespace
}  // namespace llmc
