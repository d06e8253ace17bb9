#include "runtime/text/tokenizer.h"

#include <chrono>

#include "runtime/text/utf8.h"
#include "tests/text/tiny_tokenizer.h"

namespace llmrt {
namespace {

using testing::addAdded;
using testing::addMerge;
using testing::addPiece;
using testing::build;
using testing::byteTable;
using testing::ids;
using testing::pieces;
using testing::sentencePieceTable;
using testing::stream;

// Of added_flags.
constexpr uint8_t kSpecial = 1, kLstrip = 2, kRstrip = 4, kSingleWord = 8, kNormalized = 16;

TEST(Tokenizer, RefusesWhatIsNotUtf8) {
  auto result = build(byteTable()).encode("ab\xFF");
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(result.status().message(), "text is not UTF-8 at byte 2");
}

TEST(Tokenizer, AddsWhatTheModelExpectsAroundAText) {
  auto table = byteTable();
  uint32_t bos = addAdded(table, "<s>", kSpecial);
  uint32_t eos = addAdded(table, "</s>", kSpecial);
  table.prefix_ids = {bos};
  table.suffix_ids = {eos};
  table.bos_id = static_cast<int32_t>(bos);
  table.eos_id = static_cast<int32_t>(eos);
  Tokenizer tokenizer = build(table);
  EXPECT_EQ(pieces(tokenizer, "a"), "<s>|a|</s>");
  EXPECT_EQ(pieces(tokenizer, "a", {.add_bos = false}), "a");
  EXPECT_EQ(pieces(tokenizer, ""), "<s>|</s>");
  EXPECT_EQ(tokenizer.bosId(), static_cast<int32_t>(bos));
  EXPECT_EQ(tokenizer.eosId(), static_cast<int32_t>(eos));
  EXPECT_TRUE(tokenizer.isSpecial(tokenizer.bosId()));
  EXPECT_FALSE(tokenizer.isSpecial('a'));
  EXPECT_FALSE(tokenizer.isSpecial(-1));
  EXPECT_FALSE(tokenizer.isSpecial(100000));
  EXPECT_EQ(tokenizer.vocabSize(), 258);
}

TEST(Tokenizer, AddedTokensSplitTheTextLongestFirst) {
  auto table = byteTable();
  addAdded(table, "<x", 0);
  addAdded(table, "<xy>", kSpecial);
  Tokenizer tokenizer = build(table);
  EXPECT_EQ(pieces(tokenizer, "a<xy>b<x<xy"), "a|<xy>|b|<x|<x|y");
  EXPECT_EQ(pieces(tokenizer, "<xy>", {.parse_special = false}), "<|x|y|>")
      << "what a hidden special covers is text";
}

TEST(Tokenizer, AddedTokensTakeTheSpaceTheyClaim) {
  auto table = byteTable();
  addAdded(table, "<l>", kLstrip);
  addAdded(table, "<r>", kRstrip);
  Tokenizer tokenizer = build(table);
  EXPECT_EQ(pieces(tokenizer, "a \t\u3000<l> b"), "a|<l>| |b");
  EXPECT_EQ(pieces(tokenizer, "a <r> \n b"), "a| |<r>|b");
  EXPECT_EQ(pieces(tokenizer, "<r> <l>"), "<r>|<l>");
}

TEST(Tokenizer, SingleWordTokensStandAlone) {
  auto table = byteTable();
  addAdded(table, "cat", kSingleWord);
  Tokenizer tokenizer = build(table);
  EXPECT_EQ(pieces(tokenizer, "cat, cat"), "cat|,| |cat");
  EXPECT_EQ(pieces(tokenizer, "cats"), "c|a|t|s");
  EXPECT_EQ(pieces(tokenizer, "_cat"), "_|c|a|t");
  EXPECT_EQ(pieces(tokenizer, "\u00e9cat"), "\xC3|\xA9|c|a|t");
}

TEST(Tokenizer, NormalizedTokensAreFoundInTheNormalizedText) {
  auto table = sentencePieceTable();
  addAdded(table, "<n>", kNormalized);
  addAdded(table, "<raw>", 0);
  Tokenizer tokenizer = build(table);
  // "<n>" itself is normalized to "\u2581<n>", so it is not found behind a letter.
  EXPECT_EQ(pieces(tokenizer, "a <n>"), "\u2581|a|<n>");
  EXPECT_EQ(pieces(tokenizer, "a<raw>b"), "\u2581|a|<raw>|\u2581|b");
}

TEST(Tokenizer, DecodesByteLevel) {
  Tokenizer tokenizer = build(byteTable());
  std::string text = "h\u00e9llo \U0001F680";
  EXPECT_EQ(tokenizer.decode(ids(tokenizer, text)), text);
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>{0xF0, 0x9F, 'a', -5, 1 << 30}), "\uFFFDa")
      << "bytes that are no character, and ids that are no tokens";
}

TEST(Tokenizer, DecodesSentencePiece) {
  Tokenizer tokenizer = build(sentencePieceTable());
  for (std::string text : {"a b", " a", "", "  b  ", "a\u00e9\nb", "\U0001F680"}) {
    EXPECT_EQ(tokenizer.decode(ids(tokenizer, text)), text);
  }
  // A run of byte tokens is text as a whole or not at all.
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>{0xC3, 0xA9, 257, 0xC3, 0xA9, 0xFF}),
            "\u00e9a\uFFFD\uFFFD\uFFFD");
}

TEST(Tokenizer, SkipsSpecialTokensOnRequest) {
  auto table = sentencePieceTable();
  int32_t bos = static_cast<int32_t>(addAdded(table, "<s>", kSpecial));
  Tokenizer tokenizer = build(table);
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>{bos, 256, 257}), "a");
  EXPECT_EQ(tokenizer.decode(std::vector<int32_t>{bos, 256, 257}, false), "<s> a");
}

TEST(StreamDecoder, EqualsTheWholeForEverySequence) {
  auto table = sentencePieceTable();
  addAdded(table, "<s>", kSpecial);
  Tokenizer sentencepiece = build(table);
  Tokenizer bytes = build(byteTable());
  const std::vector<int32_t> alphabet = {256, 257, 262, 0xC3, 0xA9, 0xF0, 0x9F, 0xE2, 0x20};
  // All sequences of up to four tokens.
  std::vector<int32_t> sequence;
  auto visit = [&](auto&& self) -> void {
    for (bool skip : {true, false}) {
      EXPECT_EQ(stream(sentencepiece, sequence, skip), sentencepiece.decode(sequence, skip));
      EXPECT_EQ(stream(bytes, sequence, skip), bytes.decode(sequence, skip));
    }
    if (sequence.size() == 4) return;
    for (int32_t id : alphabet) {
      sequence.push_back(id);
      self(self);
      sequence.pop_back();
    }
  };
  visit(visit);
}

TEST(StreamDecoder, NeverGivesHalfACharacter) {
  Tokenizer tokenizer = build(byteTable());
  StreamDecoder decoder(tokenizer);
  EXPECT_EQ(decoder.push(0xF0), "");
  EXPECT_EQ(decoder.push(0x9F), "");
  EXPECT_EQ(decoder.push(0x9A), "");
  EXPECT_EQ(decoder.push(0x80), "\U0001F680");
  EXPECT_EQ(decoder.push('!'), "!");
  EXPECT_EQ(decoder.push(0xC3), "");
  EXPECT_EQ(decoder.finish(), "\uFFFD");
}

TEST(StreamDecoder, AContinuationKeepsItsSpace) {
  Tokenizer tokenizer = build(sentencePieceTable());
  StreamDecoder decoder(tokenizer);
  EXPECT_EQ(decoder.push(256), "");
  EXPECT_EQ(decoder.push(257), "a");
  EXPECT_EQ(decoder.push(256), " ");
  StreamDecoder continued(tokenizer);
  continued.continueAfter(std::vector<int32_t>{256, 257});
  EXPECT_EQ(continued.push(256), " ");
}

// Bytes are held back, as more may follow; those of a text that is continued are not its own.
TEST(StreamDecoder, AContinuationHasNoBytesOfWhatItContinues) {
  const Tokenizer sentencepiece = build(sentencePieceTable()), bytes = build(byteTable());
  const auto after = [](const Tokenizer& tokenizer, std::vector<int32_t> before,
                        const std::vector<int32_t>& ids) {
    StreamDecoder decoder(tokenizer);
    decoder.continueAfter(before);
    std::string out;
    for (const int32_t id : ids) out += decoder.push(id);
    return out + decoder.finish();
  };
  EXPECT_EQ(after(sentencepiece, {257, '\n'}, {}), "");
  EXPECT_EQ(after(sentencepiece, {257, '\n'}, {257}), "a");
  EXPECT_EQ(after(sentencepiece, {257, '\n'}, {'\n', 257}), "\na");
  EXPECT_EQ(after(sentencepiece, {'\n'}, {256, 257}), " a") << "no longer the text's beginning";
  EXPECT_EQ(after(sentencepiece, {257, '\n'}, {0xFF}), "\uFFFD");
  for (const Tokenizer* tokenizer : {&sentencepiece, &bytes}) {
    EXPECT_EQ(after(*tokenizer, {'x', 0xC3}, {0xA9}), "\u00e9") << "half of it was the prompt's";
    EXPECT_EQ(after(*tokenizer, {'x', 0xC3}, {}), "");
    EXPECT_EQ(after(*tokenizer, {'x', 0xF0, 0x9F}, {0x9A, '!'}),
              tokenizer == &bytes ? "\uFFFD!" : "\uFFFD\uFFFD");
  }
  EXPECT_EQ(after(bytes, {0xC3}, {'a'}), "a");
  EXPECT_EQ(after(bytes, {0xF0, 0x9F}, {'a', 0xC3}), "a\uFFFD");
}

TEST(StreamDecoder, EndsCharactersWhereNoByteFollows) {
  const Tokenizer tokenizer = build(sentencePieceTable());
  StreamDecoder decoder(tokenizer);
  EXPECT_EQ(decoder.push('\n'), "");
  EXPECT_EQ(decoder.endCharacters(), "\n");
  EXPECT_EQ(decoder.push(0xC3), "");
  EXPECT_EQ(decoder.endCharacters(), "") << "half a character";
  EXPECT_EQ(decoder.push(0xA9), "");
  EXPECT_EQ(decoder.finish(), "\u00e9");
}

// A megabyte that makes each part of the work repeat itself. Measured: below 0.2 s each; quadratic
// work takes hours.
TEST(Tokenizer, HostileTextsAreNotQuadratic) {
  auto table = byteTable();
  addMerge(table, ' ', ' ', "  ");
  addAdded(table, "<|a_long_added_token|>", kSpecial);
  addAdded(table, "<l>", kLstrip);
  auto nfc = std::make_unique<schema::NormalizerStepT>();
  nfc->kind = schema::NormalizerKind::nfc;
  table.normalizer.push_back(std::move(nfc));
  auto step = std::make_unique<schema::PreTokenizerStepT>();
  step->kind = schema::PreTokenizerKind::split;
  step->behavior = schema::SplitBehavior::isolated;
  step->pattern =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  table.pre_tokenizer.push_back(std::move(step));
  Tokenizer tokenizer = build(table);
  for (std::string_view unit : {"a", " ", "\n", "\u0301\u0323", "<|a_long_added_token|", " <l>",
                                "'", "1", "\t ", "\u4e2d", "\U0001F680"}) {
    std::string text;
    while (text.size() < (1u << 20)) text += unit;
    auto begin = std::chrono::steady_clock::now();
    EXPECT_FALSE(ids(tokenizer, text).empty());
    std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
    EXPECT_LT(elapsed.count(), 60) << unit;
  }
}

}  // namespace
}  // namespace llmrt
