#include <gmock/gmock.h>

#include "frontend/tokenizer/ImportTokenizer.h"
#include "runtime/schema/tokenizer_generated.h"
#include "tests/text/temp_file.h"

namespace llmc {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// A tokenizer.json of a few characters; `top` and `model` are further members, each followed by a
/// comma.
std::string json(const std::string& top, const std::string& model = "",
                 const std::string& merges = R"(["a b"])") {
  return "{" + top +
         R"("added_tokens": [{"id": 3, "content": "<s>", "special": true, "normalized": false}],
    "model": {)" +
         model + R"("type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": )" + merges + "}}";
}

llmrt::Result<llmrt::Tokenizer> load(const std::string& text, const std::string& config = "") {
  testing::TempDir dir;
  dir.write("tokenizer.json", text);
  if (!config.empty()) dir.write("tokenizer_config.json", config);
  LLMRT_ASSIGN_OR_RETURN(auto table, importTokenizer(dir.path()));
  return makeTokenizer(*table);
}

std::string errorOf(const std::string& text) {
  auto tokenizer = load(text);
  return tokenizer.ok() ? "loaded" : tokenizer.status().message();
}

TEST(TokenizerJson, ReadsBothSpellingsOfMerges) {
  for (const char* merges : {R"(["a b"])", R"([["a", "b"]])"}) {
    auto tokenizer = load(json("", "", merges));
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
    EXPECT_THAT(*tokenizer->encode("ab<s>ba"), ElementsAre(2, 3, 1, 0));
    EXPECT_EQ(tokenizer->vocabSize(), 4);
    EXPECT_TRUE(tokenizer->isSpecial(3));
  }
}

TEST(TokenizerJson, ReadsTheTemplateAroundAText) {
  auto tokenizer = load(json(R"("post_processor": {"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
      "special_tokens": {"<s>": {"id": "<s>", "ids": [3], "tokens": ["<s>"]}}},)"));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  EXPECT_THAT(*tokenizer->encode("a"), ElementsAre(3, 0));
  EXPECT_EQ(tokenizer->bosId(), -1) << "only tokenizer_config.json names it";
}

TEST(TokenizerJson, TheConfigNamesBosAndDecidesForLlama) {
  const char* config =
      R"({"bos_token": {"content": "<s>"}, "eos_token": "ab", "add_bos_token": true,
                           "add_eos_token": true, "tokenizer_class": ")";
  auto llama = load(json(""), std::string(config) + "LlamaTokenizerFast\"}");
  ASSERT_TRUE(llama.ok()) << llama.status().message();
  EXPECT_EQ(llama->bosId(), 3);
  EXPECT_EQ(llama->eosId(), 2);
  EXPECT_THAT(*llama->encode("a"), ElementsAre(3, 0, 2));
  auto other = load(json(""), std::string(config) + "PreTrainedTokenizerFast\"}");
  ASSERT_TRUE(other.ok());
  EXPECT_THAT(*other->encode("a"), ElementsAre(0));
}

/// The ids of `text` where the vocabulary is a, b, ab and added_tokens is `added`.
std::vector<int32_t> idsWithAdded(const std::string& added, std::string_view text) {
  auto tokenizer = load(R"({"added_tokens": [)" + added + R"(], "model": {"type": "BPE",
      "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}})");
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  return tokenizer.ok() ? *tokenizer->encode(text) : std::vector<int32_t>();
}

// As tokenizers 0.21 to 0.23 do it, whatever ids the file gives.
TEST(TokenizerJson, AddedTokensAreNumberedOnBehindTheVocabulary) {
  EXPECT_THAT(
      idsWithAdded(R"({"id": 7, "content": "<x>"}, {"id": 9, "content": "<y>"})", "<y>a<x>"),
      ElementsAre(4, 0, 3))
      << "gaps are closed";
  EXPECT_THAT(
      idsWithAdded(R"({"id": 9, "content": "<x>"}, {"id": 3, "content": "<y>"})", "<y>a<x>"),
      ElementsAre(4, 0, 3))
      << "in the order of the file";
  EXPECT_THAT(
      idsWithAdded(R"({"id": 1, "content": "<x>"}, {"id": 1, "content": "<y>"})", "<y>b<x>"),
      ElementsAre(4, 1, 3))
      << "an id of the vocabulary, twice";
  EXPECT_THAT(idsWithAdded(R"({"id": 8, "content": "b"}, {"id": 8, "content": "<x>"})", "ab<x>"),
              ElementsAre(0, 1, 3))
      << "a token of the vocabulary keeps its id and splits the text";
  EXPECT_THAT(idsWithAdded(R"({"id": 3, "content": "<x>", "lstrip": true, "normalized": false},
                              {"id": 4, "content": "<x>", "rstrip": true, "normalized": false},
                              {"id": 5, "content": "<y>"})",
                           "<x> a<y>"),
              ElementsAre(3, 0, 4))
      << "the last flags of a token hold, and it has one id";
  EXPECT_THAT(errorOf(R"({"added_tokens": [{"id": 2, "content": "<x>"}], "model": {"type": "BPE",
      "vocab": {"a": 0, "b": 2}, "merges": []}})"),
              HasSubstr("added token '<x>' gets id 2, which is 'b''s"));
}

// As tokenizers 0.21 to 0.23 do it.
TEST(TokenizerJson, AnUnknownTokenOutsideTheModelIsAnErrorOnlyWhereItIsNeeded) {
  auto absent = load(json("", R"("unk_token": "[UNK]",)"));
  ASSERT_TRUE(absent.ok()) << absent.status().message();
  EXPECT_THAT(*absent->encode("ab<s>b"), ElementsAre(2, 3, 1));
  auto ids = absent->encode("azb");
  ASSERT_FALSE(ids.ok());
  EXPECT_THAT(ids.status().message(), HasSubstr("unk_token"));
  auto added = load(json("", R"("unk_token": "<s>",)"));
  ASSERT_TRUE(added.ok()) << added.status().message();
  EXPECT_THAT(*added->encode("ab<s>b"), ElementsAre(2, 3, 1));
  EXPECT_FALSE(added->encode("azb").ok());
  auto known = load(json("", R"("unk_token": "b",)"));
  ASSERT_TRUE(known.ok()) << known.status().message();
  EXPECT_THAT(*known->encode("bza"), ElementsAre(1, 1, 0));
}

TEST(TokenizerJson, NamesWhatIsMissingHere) {
  EXPECT_THAT(errorOf(R"({"model": {"type": "WordPiece", "vocab": {}}})"),
              HasSubstr("'WordPiece' is not supported"));
  EXPECT_THAT(errorOf(json(R"("normalizer": {"type": "BertNormalizer"},)")),
              HasSubstr("normalizer of type 'BertNormalizer'"));
  EXPECT_THAT(
      errorOf(json(
          R"("pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "UnicodeScripts"}]},)")),
      HasSubstr("pre_tokenizer of type 'UnicodeScripts'"));
  EXPECT_THAT(errorOf(json(R"("decoder": {"type": "CTC"},)")), HasSubstr("decoder of type 'CTC'"));
  EXPECT_THAT(errorOf(json(R"("post_processor": {"type": "BertProcessing"},)")),
              HasSubstr("post_processor of type 'BertProcessing'"));
  EXPECT_THAT(errorOf(json("", R"("dropout": 0.1,)")), HasSubstr("model.dropout"));
  EXPECT_THAT(errorOf(json("", R"("end_of_word_suffix": "</w>",)")),
              HasSubstr("model.end_of_word_suffix"));
}

TEST(TokenizerJson, BrokenFilesAreErrors) {
  EXPECT_THAT(errorOf("{"), HasSubstr("tokenizer.json"));
  EXPECT_THAT(errorOf("[]"), HasSubstr("not a JSON object"));
  EXPECT_THAT(errorOf("{}"), HasSubstr("no model"));
  EXPECT_THAT(errorOf(R"({"model": {"type": "BPE", "vocab": 3, "merges": []}})"),
              HasSubstr("model.vocab"));
  EXPECT_THAT(errorOf(R"({"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}})"),
              HasSubstr("'a'"));
  EXPECT_THAT(errorOf(R"({"model": {"type": "BPE", "vocab": {"a": 2000000000}, "merges": []}})"),
              HasSubstr("out of range"));
  EXPECT_THAT(errorOf(R"({"model": {"type": "BPE", "vocab": {"a": 0, "b": 0}, "merges": []}})"),
              HasSubstr("two tokens"));
  EXPECT_THAT(errorOf(json("", "", R"(["a c"])")), HasSubstr("merge 'a' 'c'"));
  EXPECT_THAT(errorOf(json("", "", R"(["ab"])")), HasSubstr("neither"));
  EXPECT_THAT(errorOf(json("", "", R"([7])")), HasSubstr("neither"));
  EXPECT_THAT(errorOf(json(R"("normalizer": {"type": "Replace", "pattern": 3},)")),
              HasSubstr("pattern"));
}

TEST(ImportTokenizer, SaysWhereThereIsNone) {
  testing::TempDir dir;
  for (const std::string& model :
       {dir.path(), dir.write("config.json", "{}"), dir.path() + "/absent"}) {
    auto table = importTokenizer(model);
    ASSERT_FALSE(table.ok());
    EXPECT_EQ(table.status().code(), llmrt::StatusCode::kNotFound);
    EXPECT_THAT(table.status().message(), HasSubstr(dir.path()));
  }
}

}  // namespace
}  // namespace llmc
