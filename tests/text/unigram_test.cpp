#include "runtime/text/unigram.h"

#include <cmath>
#include <map>
#include <random>

#include "tests/text/tiny_tokenizer.h"

namespace llmrt {
namespace {

using testing::addPiece;
using testing::build;
using testing::pieces;
using testing::tryBuild;

/// "<unk>" is token 0, then the given tokens; unknown characters score -20.
schema::TokenizerT unigramTable(const std::vector<std::pair<std::string, double>>& tokens) {
  schema::TokenizerT table;
  table.kind = schema::TokenizerKind::unigram;
  table.unk_id = static_cast<int32_t>(addPiece(table, "<unk>", 1));
  table.scores = {0};
  for (const auto& [piece, score] : tokens) {
    addPiece(table, piece);
    table.scores.push_back(score);
  }
  table.unk_score = -20;
  return table;
}

TEST(Unigram, TakesTheCutOfTheHighestSum) {
  auto table = unigramTable({{"a", -1}, {"b", -2}, {"ab", -2.5}, {"abb", -6}, {"bb", -3.25}});
  EXPECT_EQ(pieces(build(table), "ab"), "ab");
  EXPECT_EQ(pieces(build(table), "abb"), "a|bb") << "-4.25 over ab|b's -4.5 and abb's -6";
  EXPECT_EQ(pieces(build(table), ""), "");
  table.scores[4] = -4;
  EXPECT_EQ(pieces(build(table), "abb"), "abb");
}

TEST(Unigram, UnknownRunsBecomeOneTokenOrTheirBytes) {
  auto table = unigramTable({{"a", -1}, {"\u00e9t", -2}});
  EXPECT_EQ(pieces(build(table), "axya\u00e9"), "a|<unk>|a|<unk>");
  EXPECT_EQ(pieces(build(table), "\u00e9t"), "\u00e9t") << "no token for its first character";
  constexpr char kHex[] = "0123456789ABCDEF";
  for (size_t b = 0; b < 256; ++b) {
    std::string piece = {'<', '0', 'x', kHex[b >> 4], kHex[b & 15], '>'};
    table.byte_ids.push_back(static_cast<int32_t>(addPiece(table, piece, 0)));
    table.scores.push_back(0);
  }
  EXPECT_EQ(pieces(build(table), "ax\u00e9a"), "a|<0x78>|<0xC3>|<0xA9>|a");
}

// Against all cuts, one by one.
TEST(Unigram, EqualsTheDefinition) {
  std::mt19937 random(5);
  for (int round = 0; round < 50; ++round) {
    std::map<std::string, double> scores;
    for (const char* letter : {"a", "b", "c"}) scores[letter] = -1 - double(random() % 1000) / 500;
    for (int i = 0; i < 12; ++i) {
      std::string piece;
      for (uint32_t n = 2 + random() % 3; n > 0; --n)
        piece += static_cast<char>('a' + random() % 3);
      scores[piece] = -2 - double(random() % 1000) / 200;
    }
    Tokenizer tokenizer = build(unigramTable({scores.begin(), scores.end()}));
    std::string text;
    for (int i = 0; i < 11; ++i) text += static_cast<char>('a' + random() % 3);
    double best = -INFINITY;
    for (uint32_t cuts = 0; cuts < 1u << (text.size() - 1); ++cuts) {
      double sum = 0;
      std::string piece;
      for (size_t i = 0; i < text.size(); ++i) {
        piece += text[i];
        if (i + 1 < text.size() && (cuts >> i & 1) == 0) continue;
        sum += scores.contains(piece) ? scores[piece] : -INFINITY;
        piece.clear();
      }
      best = std::max(best, sum);
    }
    double own = 0;
    std::string joined;
    for (int32_t id : testing::ids(tokenizer, text)) {
      own += scores.at(std::string(tokenizer.piece(id)));
      joined += tokenizer.piece(id);
    }
    EXPECT_EQ(joined, text);
    EXPECT_NEAR(own, best, 1e-12) << text;
  }
}

TEST(Unigram, RefusesWhatIsBroken) {
  auto error = [](const schema::TokenizerT& table) {
    auto tokenizer = tryBuild(table);
    return tokenizer.ok() ? "built" : tokenizer.status().message();
  };
  auto table = unigramTable({{"a", -1}});
  table.scores.pop_back();
  EXPECT_EQ(error(table), "tokenizer: scores do not fit the vocabulary");
  table.scores.push_back(NAN);
  EXPECT_EQ(error(table), "tokenizer: a score is not a number");
  table.scores.back() = -1;
  table.unk_id = -1;
  EXPECT_EQ(error(table), "tokenizer: a unigram model without unk_id");
}

/// A table with one normalizer step; its tokens are the 256 bytes.
schema::NormalizerStepT& addStep(schema::TokenizerT& table, schema::NormalizerKind kind) {
  table.normalizer.push_back(std::make_unique<schema::NormalizerStepT>());
  table.normalizer.back()->kind = kind;
  return *table.normalizer.back();
}

std::string normalized(const schema::TokenizerT& table, std::string_view text) {
  Tokenizer tokenizer = build(table);
  return tokenizer.decode(testing::ids(tokenizer, text));
}

TEST(Normalizer, LowerCaseMarksAndStrip) {
  auto table = testing::byteTable();
  addStep(table, schema::NormalizerKind::nfd);
  addStep(table, schema::NormalizerKind::lowercase);
  addStep(table, schema::NormalizerKind::strip_accents);
  addStep(table, schema::NormalizerKind::strip).strip_left = true;
  EXPECT_EQ(normalized(table, "\u3000 \u00c9CLAIR \u0130 \u03a3 "), "eclair i \u03c3 ");
  table.normalizer.back()->strip_right = true;
  EXPECT_EQ(normalized(table, " \t "), "");
}

TEST(Normalizer, SentencePieceSqueezesWhiteSpaceAndKeepsItsSymbols) {
  auto table = testing::byteTable();
  addPiece(table, "<  >", 4);
  auto& step = addStep(table, schema::NormalizerKind::sentencepiece);
  EXPECT_EQ(normalized(table, " a  b "), "\u2581a\u2581\u2581b\u2581");
  step.add_dummy_prefix = true;
  step.remove_extra_whitespaces = true;
  EXPECT_EQ(normalized(table, "  a   b  "), "\u2581a\u2581b");
  EXPECT_EQ(normalized(table, "   "), "");
  EXPECT_EQ(normalized(table, "a<  >"), "\u2581a<\u2581\u2581>");
}

/// A charsmap whose trie knows "a" alone: root, and 'a' with a value that is the offset 1.
std::vector<uint8_t> charsmapOfA(std::string_view contents) {
  std::vector<uint32_t> units(512, 0);
  units[0] = 256u << 10;                        // children of the root at 256 ^ byte
  units[256 ^ 'a'] = 1u << 10 | 1u << 8 | 'a';  // its value at that ^ 1
  units[256 ^ 'a' ^ 1] = 1u << 31 | 1;
  std::vector<uint8_t> data = {0, 8, 0, 0};  // 2048 bytes of units
  for (uint32_t unit : units) {
    for (int shift = 0; shift < 32; shift += 8) data.push_back(static_cast<uint8_t>(unit >> shift));
  }
  data.insert(data.end(), contents.begin(), contents.end());
  return data;
}

TEST(Charsmap, ReplacesItsKeysAndSurvivesBrokenOnes) {
  using namespace std::string_view_literals;
  for (auto kind : {schema::NormalizerKind::charsmap, schema::NormalizerKind::sentencepiece}) {
    auto table = testing::byteTable();
    auto& step = addStep(table, kind);
    step.data = charsmapOfA("\0xy\0"sv);
    EXPECT_EQ(normalized(table, "bab\u00e9"), "bxyb\u00e9");
    step.data = charsmapOfA("\0x"sv);
    EXPECT_EQ(normalized(table, "aa"), "xx") << "the last replacement needs no end";
    step.data = charsmapOfA("");
    EXPECT_EQ(normalized(table, "a"), "a") << "an offset beyond the replacements";
    // Any bits at all in the trie: lookups stay within it.
    std::mt19937 random(3);
    for (int round = 0; round < 200; ++round) {
      step.data = charsmapOfA("\0xy\0"sv);
      for (int i = 0; i < 40; ++i) step.data[4 + random() % 2048] = static_cast<uint8_t>(random());
      EXPECT_LE(normalized(table, "ab\u00e9 aaa").size(), 100u);
    }
    step.data.resize(2000);
    auto broken = tryBuild(table);
    ASSERT_FALSE(broken.ok());
    EXPECT_EQ(broken.status().message(),
              "tokenizer: normalizer: charsmap's trie of 2048 bytes does not fit");
    step.data = charsmapOfA("\0\xFF\0"sv);
    EXPECT_FALSE(tryBuild(table).ok());
  }
}

}  // namespace
}  // namespace llmrt
