// Which conversation a text goes on from, among many.
#include "runtime/chat/known_answers.h"

#include <gtest/gtest.h>

#include "tests/text/tiny_tokenizer.h"

namespace llmrt {
namespace {

using llmrt::testing::addMerge;
using llmrt::testing::build;
using llmrt::testing::byteTable;
using Ids = std::vector<int32_t>;

// Bytes, and "ab" as one token: an answer that says it as two is told apart by its ids.
schema::TokenizerT bytes() {
  auto table = byteTable();
  addMerge(table, 'a', 'b', "ab");
  return table;
}

class KnownAnswersTest : public ::testing::Test {
 protected:
  /// A turn: the prompt of `text`, answered by the bytes of `answer`, each a token of its own.
  std::string turn(KnownAnswers& known, const std::string& text, const std::string& answer) {
    PromptTokens::Prompt prompt = *known.tokenize(text);
    known.add(std::move(prompt), Ids(answer.begin(), answer.end()), answer);
    return text + answer;
  }
  static size_t tokens(KnownAnswers& known, const std::string& text) {
    return known.tokenize(text)->ids.size();
  }

  const Tokenizer tokenizer = build(bytes());
};

TEST_F(KnownAnswersTest, AConversationGoesOnFromItsOwnAnswer) {
  KnownAnswers known(tokenizer, 1 << 20);
  const std::string one = turn(known, "one?", "ab"), two = turn(known, "two?", "ab"),
                    other = turn(known, "one?", "abab");
  EXPECT_EQ(tokens(known, one + "!"), 7u);  // the answer as the two tokens it was said in
  EXPECT_EQ(tokens(known, two + "!"), 7u);
  EXPECT_EQ(tokens(known, other + "!"), 9u);  // of two answers to one prompt, that which is there
  EXPECT_EQ(tokens(known, "new?ab!"), 6u);    // as the tokenizer has it
  const std::string next = turn(known, one + "!", "ab");
  EXPECT_EQ(tokens(known, next + "!"), 10u);
  EXPECT_EQ(tokens(known, one + "?ab"), 8u);  // what came behind the first answer is another
}

TEST_F(KnownAnswersTest, WhatWasUsedLongestAgoIsForgotten) {
  KnownAnswers known(tokenizer, 4096);
  const std::string kept = turn(known, "kept?", "ab"), lost = turn(known, "lost?", "ab");
  for (int i = 0; i < 50; ++i) {
    turn(known, std::to_string(i) + "?", "ab");
    EXPECT_EQ(tokens(known, kept + "!"), 8u);
  }
  EXPECT_EQ(tokens(known, lost + "!"), 7u);
  EXPECT_LT(known.size(), 50u);
  EXPECT_GT(known.size(), 1u);
  KnownAnswers none(tokenizer, 0);
  EXPECT_EQ(tokens(none, turn(none, "one?", "ab")), 5u);
}

}  // namespace
}  // namespace llmrt
