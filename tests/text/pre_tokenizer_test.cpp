#include "runtime/text/pre_tokenizer.h"

#include "tests/text/tiny_tokenizer.h"

namespace llmrt {
namespace {

using schema::PrependScheme;
using schema::PreTokenizerKind;
using schema::PreTokenizerStepT;
using schema::SplitBehavior;

/// `text` through the steps, words joined by |.
std::string split(const std::vector<PreTokenizerStepT>& steps, std::string_view text,
                  bool at_start = true) {
  schema::TokenizerT table;
  for (const auto& step : steps) {
    table.pre_tokenizer.push_back(std::make_unique<PreTokenizerStepT>(step));
  }
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(schema::Tokenizer::Pack(builder, &table));
  auto pre =
      PreTokenizer::create(*flatbuffers::GetRoot<schema::Tokenizer>(builder.GetBufferPointer()));
  if (!pre.ok()) return pre.status().message();
  PreTokenizer::Words words;
  Status status = pre->split(text, at_start, words);
  if (!status.ok()) return status.message();
  std::string out;
  for (std::string_view word : words.words) {
    if (!out.empty()) out += '|';
    out += word;
  }
  return out;
}

PreTokenizerStepT splitStep(const char* pattern, SplitBehavior behavior, bool invert = false) {
  PreTokenizerStepT step;
  step.kind = PreTokenizerKind::split;
  step.pattern = pattern;
  step.behavior = behavior;
  step.invert = invert;
  return step;
}

PreTokenizerStepT metaspace(PrependScheme scheme, bool split_words = true) {
  PreTokenizerStepT step;
  step.kind = PreTokenizerKind::metaspace;
  step.content = "_";
  step.prepend_scheme = scheme;
  step.split_words = split_words;
  return step;
}

TEST(PreTokenizer, NoStepsKeepTheText) {
  EXPECT_EQ(split({}, "a b"), "a b");
  EXPECT_EQ(split({}, ""), "");
}

// The example of the Hugging Face documentation of the behaviours.
TEST(PreTokenizer, SplitBehaviors) {
  const char* text = "the-final--countdown";
  EXPECT_EQ(split({splitStep("-", SplitBehavior::removed)}, text), "the|final|countdown");
  EXPECT_EQ(split({splitStep("-", SplitBehavior::isolated)}, text), "the|-|final|-|-|countdown");
  EXPECT_EQ(split({splitStep("-", SplitBehavior::merged_with_previous)}, text),
            "the-|final-|-|countdown");
  EXPECT_EQ(split({splitStep("-", SplitBehavior::merged_with_next)}, text),
            "the|-final|-|-countdown");
  EXPECT_EQ(split({splitStep("-", SplitBehavior::contiguous)}, text), "the|-|final|--|countdown");
}

TEST(PreTokenizer, InvertKeepsTheMatches) {
  EXPECT_EQ(split({splitStep("[a-z]+", SplitBehavior::removed, true)}, "ab 1 cd"), "ab|cd");
}

TEST(PreTokenizer, EmptyMatchesAreNoMatches) {
  EXPECT_EQ(split({splitStep("x*", SplitBehavior::isolated)}, "a\u00e9xxb"), "a\u00e9|xx|b");
}

TEST(PreTokenizer, StepsFollowOneAnother) {
  EXPECT_EQ(split({splitStep("[0-9]", SplitBehavior::isolated),
                   splitStep("[a-z]", SplitBehavior::isolated)},
                  "ab12"),
            "a|b|1|2");
}

TEST(PreTokenizer, MetaspacePrependsAsItsSchemeSays) {
  EXPECT_EQ(split({metaspace(PrependScheme::always)}, "a b", false), "_a|_b");
  EXPECT_EQ(split({metaspace(PrependScheme::first)}, "a b", true), "_a|_b");
  EXPECT_EQ(split({metaspace(PrependScheme::first)}, "a b", false), "a|_b");
  EXPECT_EQ(split({metaspace(PrependScheme::never)}, "a  b", true), "a|_|_b");
  EXPECT_EQ(split({metaspace(PrependScheme::always)}, " a"), "_a");
  EXPECT_EQ(split({metaspace(PrependScheme::always, false)}, "a b"), "_a_b");
}

TEST(PreTokenizer, AlphabetStepsSeeBytes) {
  // U+00E9 is C3 A9, which the alphabet spells with two characters: U+00C3 and U+00A9, a letter and
  // a symbol.
  PreTokenizerStepT step = splitStep("\\p{S}", SplitBehavior::isolated);
  step.on_alphabet = true;
  EXPECT_EQ(split({step}, "a\u00e9"), "a\xC3|\xA9");
}

TEST(PreTokenizer, RefusesTextStepsAfterBytes) {
  PreTokenizerStepT bytes = splitStep("a", SplitBehavior::isolated);
  bytes.on_alphabet = true;
  EXPECT_THAT(split({bytes, splitStep("b", SplitBehavior::isolated)}, "ab"),
              ::testing::HasSubstr("after one on bytes"));
}

TEST(PreTokenizer, BrokenExpressionsAreNamed) {
  EXPECT_THAT(split({splitStep("(", SplitBehavior::isolated)}, "a"),
              ::testing::HasSubstr("pre-tokenizer: regular expression is broken at byte 1"));
}

// \K and \C are the two ways in which a pattern could hand out half characters or run backwards.
TEST(PreTokenizer, PatternsCannotCutCharacters) {
  EXPECT_THAT(split({splitStep("\\C", SplitBehavior::isolated)}, "\u00e9"),
              ::testing::HasSubstr("broken"));
  EXPECT_THAT(split({splitStep("(?=ab\\K)", SplitBehavior::isolated)}, "ab"),
              ::testing::AnyOf(::testing::HasSubstr("backwards"), ::testing::HasSubstr("broken")));
}

TEST(PreTokenizer, ExponentialPatternsEndInAStatus) {
  std::string text(64, 'a');
  EXPECT_THAT(split({splitStep("(a|a)+$b", SplitBehavior::isolated)}, text),
              ::testing::AnyOf(::testing::HasSubstr("too hard"), text));
}

}  // namespace
}  // namespace llmrt
