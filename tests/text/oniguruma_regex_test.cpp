#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "frontend/tokenizer/OnigurumaRegex.h"
#include "frontend/tokenizer/PreTokenizerNames.h"
#include "runtime/text/regex.h"

namespace llmc {
namespace {

std::string translated(std::string_view pattern) {
  auto result = pcreFromOniguruma(pattern);
  return result.ok() ? *result : result.status().message();
}

TEST(OnigurumaRegex, TranslatesWhatMeansSomethingElse) {
  EXPECT_EQ(translated(R"(\s+(?!\S))"), R"(\p{White_Space}+(?!\P{White_Space}))");
  const std::string word = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{b2}\x{b3}\x{b9}\x{bc}-\x{be})";
  EXPECT_EQ(translated(R"([^\s\w\d])"), R"([^\p{White_Space})" + word + R"(\p{Nd}])");
  EXPECT_EQ(translated(R"(\w\W)"), "[" + word + "][^" + word + "]");
  EXPECT_EQ(translated("[[:alpha:]_]x"), R"([\p{Alphabetic}_]x)");
  EXPECT_EQ(translated(R"(\p{Han}[\p{^Thai}\p{L}])"), R"(\p{sc:Han}[\p{^sc:Thai}\p{L}])");
  EXPECT_EQ(translated(R"(a$)"), "a(?m:$)");
  EXPECT_EQ(translated(R"(\s+$)"), R"((?<!\p{White_Space})\p{White_Space}+(?m:$))");
  EXPECT_EQ(translated(R"(a\p{N}{1,3}+)"), R"(a(?:\p{N}{1,3})+)") << "not possessive in Ruby";
  EXPECT_EQ(translated(R"([ab]{2}+|(c(d)){2,}+)"), R"((?:[ab]{2})+|(?:(c(d)){2,})+)");
  EXPECT_EQ(translated("a{,3}b{c}"), "a{0,3}b\\{c}");
  EXPECT_EQ(translated(R"(\u4e00)"), R"(\x{4e00})");
}

TEST(OnigurumaRegex, LeavesTheRest) {
  for (const char* same :
       {R"([^\r\n\p{L}\p{N}]?\p{L}+)", R"(\p{N}{1,3})", R"((?i:'s|'t))", R"([一-龥]+)",
        R"([!"#\[\\\]^_`{|}~][A-Za-z]+)", R"((?<=a)(?<!b)(?>c)(?=d))", R"([^a]?+b++|c*+d+?)",
        R"([[:digit:]]x)", R"(\x{1F600}\x41)"}) {
    EXPECT_EQ(translated(same), same);
  }
}

TEST(OnigurumaRegex, RefusesWhatItCannotTranslate) {
  for (const char* bad : {R"([a&&b])", R"([a[bc]])", R"(\h)", R"(\bword)", R"(\K)", R"((?m:.))",
                          R"(a(?i)b)", R"([\W])", R"([[:^alpha:]])", R"(x\)"}) {
    EXPECT_THAT(translated(bad), ::testing::HasSubstr("is not supported")) << bad;
  }
}

TEST(OnigurumaRegex, EscapedTextMatchesItself) {
  for (std::string text : {"a.b", "[x]", "\\E", "a b-c", "\u2581", "(?i)^$|*+?{}#"}) {
    auto regex = llmrt::Regex::compile(escapeRegex(text));
    ASSERT_TRUE(regex.ok()) << text;
    std::vector<llmrt::Regex::Match> matches;
    ASSERT_TRUE(regex->findAll("z" + text + "z", matches).ok());
    ASSERT_EQ(matches.size(), 1u) << text;
    EXPECT_EQ(matches[0].begin, 1u);
    EXPECT_EQ(matches[0].end, 1 + text.size());
  }
}

TEST(PreTokenizerNames, EveryExpressionCompiles) {
  ASSERT_GT(preTokenizerNames().size(), 60u);
  for (std::string_view name : preTokenizerNames()) {
    const NamedPreTokenizer* pre = findPreTokenizer(name);
    ASSERT_NE(pre, nullptr) << name;
    for (std::string_view split : pre->splits) {
      auto pattern = pcreFromOniguruma(split);
      ASSERT_TRUE(pattern.ok()) << name << ": " << pattern.status().message();
      EXPECT_TRUE(llmrt::Regex::compile(*pattern).ok()) << name;
    }
  }
  EXPECT_EQ(findPreTokenizer("no-such-thing"), nullptr);
}

}  // namespace
}  // namespace llmc
