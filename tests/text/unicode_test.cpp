// Characters that tokenizers knows otherwise than Unicode 14, through every kind of step;
// tests/golden/make_text_unicode.py asked it.
#include <nlohmann/json.hpp>
#include <set>

#include "frontend/tokenizer/ImportTokenizer.h"
#include "runtime/io/json.h"
#include "runtime/schema/tokenizer_generated.h"
#include "runtime/text/normalizer.h"
#include "runtime/text/pre_tokenizer.h"
#include "runtime/text/stand_ins.h"
#include "runtime/text/utf8.h"
#include "tests/text/temp_file.h"
#include "tests/text/tiny_tokenizer.h"

namespace llmc {
namespace {

using nlohmann::json;

const json& golden() {
  static const json data = *llmrt::readJsonFile(LLMC_TEXT_UNICODE_GOLDEN);
  return data;
}

std::vector<char32_t> charactersOf(const json& ranges) {
  std::vector<char32_t> all;
  for (const json& range : ranges) {
    for (char32_t c = range[0]; c <= range[1].get<char32_t>(); ++c) all.push_back(c);
  }
  return all;
}

std::string spell(char32_t c) {
  std::string text;
  llmrt::appendUtf8(c, text);
  return text;
}

/// The table of a tokenizer.json with these members beside a model of no tokens.
flatbuffers::DetachedBuffer tableOf(const json& members) {
  json whole = {{"model", {{"type", "BPE"}, {"vocab", {{"a", 0}}}, {"merges", json::array()}}},
                {"added_tokens", json::array()}};
  whole.update(members);
  testing::TempDir dir;
  auto table = importTokenizer(dir.write("tokenizer.json", whole.dump()));
  EXPECT_TRUE(table.ok()) << table.status().message();
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(llmrt::schema::Tokenizer::Pack(builder, table->get()));
  return builder.Release();
}

const llmrt::schema::Tokenizer& view(const flatbuffers::DetachedBuffer& buffer) {
  return *flatbuffers::GetRoot<llmrt::schema::Tokenizer>(buffer.data());
}

/// Of the characters asked, those of which `text` becomes other than one word.
std::set<char32_t> splitting(const json& pre_tokenizer, const std::string& around, size_t words) {
  auto buffer = tableOf({{"pre_tokenizer", pre_tokenizer}});
  auto pre = llmrt::PreTokenizer::create(view(buffer));
  EXPECT_TRUE(pre.ok()) << pre.status().message();
  std::set<char32_t> found;
  for (char32_t c : charactersOf(golden()["asked"])) {
    llmrt::PreTokenizer::Words split;
    EXPECT_TRUE(pre->split(around + spell(c) + around, true, split).ok());
    if (split.words.size() != words) found.insert(c);
  }
  return found;
}

void expectSame(const std::set<char32_t>& ours, const json& theirs, const std::string& what) {
  auto expected = charactersOf(theirs);
  std::string differ;
  for (char32_t c : charactersOf(golden()["asked"])) {
    bool in = std::ranges::find(expected, c) != expected.end();
    if (in == ours.contains(c)) continue;
    char text[16];
    std::snprintf(text, sizeof(text), " %c%x", in ? '-' : '+', static_cast<unsigned>(c));
    if (differ.size() < 300) differ += text;
  }
  EXPECT_EQ(differ, "") << what;
}

TEST(TextUnicode, PatternsMatchWhatTheyMatchThere) {
  ASSERT_GT(golden()["patterns"].size(), 50u);
  for (const auto& [pattern, theirs] : golden()["patterns"].items()) {
    json split = {{"type", "Split"},
                  {"pattern", {{"Regex", pattern}}},
                  {"behavior", "Removed"},
                  {"invert", true}};
    expectSame(splitting(split, "", 0), theirs, pattern);
  }
}

TEST(TextUnicode, OtherPreTokenizersSplitWhereTheySplitThere) {
  for (auto [step, name] :
       {std::pair<json, const char*>{{{"type", "Digits"}, {"individual_digits", true}}, "digits"},
        {{{"type", "Punctuation"}, {"behavior", "Isolated"}}, "punctuation"},
        {{{"type", "Whitespace"}}, "whitespace"},
        {{{"type", "WhitespaceSplit"}}, "whitespace_split"}}) {
    expectSame(splitting(step, "a", 1), golden()[name], name);
  }
}

TEST(TextUnicode, WordsAreWordsBesideAnAddedToken) {
  testing::TempDir dir;
  json token = {{"id", 1}, {"content", "<t>"}, {"single_word", true}, {"normalized", false}};
  json whole = {{"model", {{"type", "BPE"}, {"vocab", {{"a", 0}}}, {"merges", json::array()}}},
                {"added_tokens", {token}}};
  auto table = importTokenizer(dir.write("tokenizer.json", whole.dump()));
  ASSERT_TRUE(table.ok()) << table.status().message();
  auto tokenizer = makeTokenizer(**table);
  std::set<char32_t> touching;
  for (char32_t c : charactersOf(golden()["asked"])) {
    if (tokenizer->encode(spell(c) + "<t>")->empty()) touching.insert(c);
  }
  expectSame(touching, golden()["single_word"], "single_word");
}

std::string normalized(const json& normalizer, const std::string& text) {
  static json last;
  static flatbuffers::DetachedBuffer buffer;
  static std::optional<llmrt::Normalizer> made;
  if (normalizer != last) {
    buffer = tableOf({{"normalizer", normalizer}});
    auto vocabulary = llmrt::Vocabulary::create(view(buffer));
    made = *llmrt::Normalizer::create(view(buffer), *vocabulary);
    last = normalizer;
  }
  return *made->normalize(text);
}

TEST(TextUnicode, NormalFormsAreTheirs) {
  for (const char* name : {"NFC", "NFKD"}) {
    ASSERT_GT(golden()[name].size(), 500u);
    for (const json& pair : golden()[name]) {
      EXPECT_EQ(json(normalized({{"type", name}}, pair[0])), pair[1]) << name << " of " << pair[0];
    }
  }
}

TEST(TextUnicode, MarksAndCapitalsAreTheirs) {
  std::set<char32_t> stripped;
  for (char32_t c : charactersOf(golden()["asked"])) {
    std::string text = spell(c);
    if (normalized({{"type", "StripAccents"}}, text).empty()) stripped.insert(c);
  }
  expectSame(stripped, golden()["stripped"], "StripAccents");
  for (char32_t c : charactersOf(golden()["asked"])) {
    char key[16];
    std::snprintf(key, sizeof(key), "0x%x", static_cast<unsigned>(c));
    std::string lower = golden()["lower"].value(key, spell(c));
    EXPECT_EQ(normalized({{"type", "Lowercase"}}, spell(c)), lower) << key;
  }
}

TEST(TextUnicode, ClustersAreTheirs) {
  json xglm = *llmrt::readJsonFile(LLMC_TOKENIZER_GOLDEN_DIR "/xglm.json");
  json map = xglm["tokenizer"]["normalizer"];
  std::set<char32_t> joined;
  std::string alone = normalized(map, "\u00bd");
  for (char32_t c : charactersOf(golden()["asked"])) {
    if (spell(c).size() < 4 && normalized(map, "\u00bd" + spell(c)) == alone) joined.insert(c);
  }
  expectSame(joined, golden()["joined"], "clusters");
}

// A stand-in must not move a character into a range that the pattern names, or out of one.
TEST(TextUnicode, StandInsKeepOutOfNamedRanges) {
  std::string replaced;
  const std::string letter = "\U00031350";  // a letter of Unicode 15; those up to U+3134A are older
  EXPECT_TRUE(llmrt::StandIns("\\p{L}+").replace("a" + letter, replaced));
  EXPECT_EQ(replaced.size(), 1 + letter.size());
  EXPECT_NE(replaced, "a" + letter);
  EXPECT_TRUE(llmrt::StandIns("[\\x{20000}-\\x{3ffff}]|\\p{L}").replace(letter, replaced));
  EXPECT_FALSE(llmrt::StandIns("[\\x{30000}-\\x{3134a}]|\\p{L}").replace(letter, replaced));
  EXPECT_FALSE(llmrt::StandIns("[\U00031350-\U00031360]|\\p{L}").replace(letter, replaced));
  EXPECT_FALSE(llmrt::StandIns("[^a-z\\p{White_Space}]").replace(letter, replaced))
      << "no property";
  EXPECT_FALSE(llmrt::StandIns("\\p{L}").replace("a\u4e2d\U0001F680", replaced)) << "all known";
}

}  // namespace
}  // namespace llmc
