#include "runtime/text/bpe.h"

#include <map>
#include <random>

#include "tests/text/tiny_tokenizer.h"

namespace llmrt {
namespace {

using testing::addMerge;
using testing::addPiece;
using testing::build;
using testing::byteTable;
using testing::ids;
using testing::pieces;
using testing::sentencePieceTable;

TEST(Bpe, TheLowestRankGoesFirstThenTheLeftmost) {
  auto table = byteTable();
  uint32_t bc = addMerge(table, 'b', 'c', "bc");
  addMerge(table, 'a', 'b', "ab");
  addMerge(table, 'a', bc, "abc");
  Tokenizer tokenizer = build(table);
  EXPECT_EQ(pieces(tokenizer, "abc"), "abc");
  EXPECT_EQ(pieces(tokenizer, "abab"), "ab|ab");
  EXPECT_EQ(pieces(tokenizer, "bcbc"), "bc|bc");
  EXPECT_EQ(pieces(tokenizer, ""), "");
}

TEST(Bpe, MergesOfOneRankGoFromLeftToRight) {
  auto table = byteTable();
  addMerge(table, 'a', 'b', "ab");
  addMerge(table, 'b', 'c', "bc");
  table.merge_ranks = {7, 7};
  EXPECT_EQ(pieces(build(table), "abc"), "ab|c");
  table.merge_ranks = {8, 7};
  EXPECT_EQ(pieces(build(table), "abc"), "a|bc");
}

TEST(Bpe, IgnoreMergesTakesAWholeWord) {
  auto table = byteTable();
  addPiece(table, "hello");
  EXPECT_EQ(pieces(build(table), "hello"), "h|e|l|l|o");
  table.ignore_merges = true;
  EXPECT_EQ(pieces(build(table), "hello"), "hello");
  EXPECT_EQ(pieces(build(table), "hello!"), "h|e|l|l|o|!");
}

TEST(Bpe, UnknownCharactersBecomeBytesThenUnk) {
  auto table = sentencePieceTable();
  EXPECT_EQ(pieces(build(table), "a\u00e9"), "\u2581|a|<0xC3>|<0xA9>");
  table.byte_ids.clear();
  EXPECT_EQ(pieces(build(table), "axyb"), "\u2581|a|b") << "no unk token: left out";
  table.unk_id = static_cast<int32_t>(addPiece(table, "<unk>", 1));
  EXPECT_EQ(pieces(build(table), "axyb"), "\u2581|a|<unk>|<unk>|b");
  table.fuse_unk = true;
  EXPECT_EQ(pieces(build(table), "axyb"), "\u2581|a|<unk>|b");
}

/// The definition, in quadratic time.
std::vector<uint32_t> mergeByDefinition(
    std::vector<uint32_t> symbols,
    const std::map<std::pair<uint32_t, uint32_t>, std::pair<uint32_t, uint32_t>>& merges) {
  for (;;) {
    size_t best = 0;
    uint32_t best_rank = UINT32_MAX;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      auto it = merges.find({symbols[i], symbols[i + 1]});
      if (it != merges.end() && it->second.first < best_rank) {
        best = i;
        best_rank = it->second.first;
      }
    }
    if (best_rank == UINT32_MAX) return symbols;
    symbols[best] = merges.at({symbols[best], symbols[best + 1]}).second;
    symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
}

// Words on both sides of the length where the algorithm changes; random merges, some of equal rank.
TEST(Bpe, EqualsTheDefinition) {
  std::mt19937 random(17);
  for (int round = 0; round < 20; ++round) {
    auto table = byteTable();
    std::vector<std::pair<uint32_t, std::string>> known = {{'a', "a"}, {'b', "b"}, {'c', "c"}};
    std::map<std::pair<uint32_t, uint32_t>, std::pair<uint32_t, uint32_t>> merges;
    for (uint32_t i = 0; i < 40; ++i) {
      auto& left = known[random() % known.size()];
      auto& right = known[random() % known.size()];
      if (merges.contains({left.first, right.first})) continue;
      std::string piece = left.second + right.second;
      auto pair = std::make_pair(left.first, right.first);
      uint32_t id = addMerge(table, left.first, right.first, piece);
      uint32_t rank = i / 2;
      table.merge_ranks.push_back(rank);
      merges[pair] = {rank, id};
      known.emplace_back(id, piece);
    }
    Tokenizer tokenizer = build(table);
    for (size_t length : {1u, 2u, 5u, 31u, 32u, 33u, 34u, 100u, 400u}) {
      std::string word;
      std::vector<uint32_t> symbols;
      for (size_t i = 0; i < length; ++i) {
        word += static_cast<char>('a' + random() % 3);
        symbols.push_back(static_cast<unsigned char>(word.back()));
      }
      auto expected = mergeByDefinition(symbols, merges);
      EXPECT_EQ(ids(tokenizer, word), std::vector<int32_t>(expected.begin(), expected.end()))
          << "round " << round << ": " << word;
    }
  }
}

// Cutting words before U+2581 is only sound while no merge crosses it.
TEST(Bpe, MergesAcrossWordsAreHonoured) {
  auto table = sentencePieceTable();
  uint32_t mark = 256, a = 257, b = 258;
  uint32_t mark_b = addMerge(table, mark, b, "\u2581b");
  EXPECT_EQ(pieces(build(table), "a b"), "\u2581|a|\u2581b");
  addMerge(table, a, mark_b, "a\u2581b");
  EXPECT_EQ(pieces(build(table), "a b"), "\u2581|a\u2581b");
  EXPECT_EQ(pieces(build(table), "c b  a b"), "\u2581|c|\u2581b|\u2581|\u2581|a\u2581b");
}

TEST(Bpe, AMegabyteOfOneLetterIsNotQuadratic) {
  auto table = byteTable();
  uint32_t previous = 'a';
  for (int n = 2; n <= 64; n *= 2) {
    previous = addMerge(table, previous, previous, std::string(static_cast<size_t>(n), 'a'));
  }
  Tokenizer tokenizer = build(table);
  EXPECT_EQ(ids(tokenizer, std::string(1 << 20, 'a')).size(), (1u << 20) / 64);
}

}  // namespace
}  // namespace llmrt
