#include "runtime/text/utf8.h"

#include <gtest/gtest.h>

namespace llmrt {
namespace {

std::string lossy(std::string_view bytes) {
  LossyUtf8 decoder;
  std::string out;
  decoder.push(bytes, out);
  decoder.finish(out);
  return out;
}

TEST(Utf8, FindsTheFirstInvalidByte) {
  EXPECT_EQ(findInvalidUtf8(""), 0u);
  EXPECT_EQ(findInvalidUtf8("plain ascii, longer than one word"), 33u);
  EXPECT_EQ(findInvalidUtf8("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x9A\x80"), 10u);
  EXPECT_EQ(findInvalidUtf8("eight by\xFF"), 8u);
  EXPECT_EQ(findInvalidUtf8("\xC0\x80"), 0u) << "overlong";
  EXPECT_EQ(findInvalidUtf8("\xE0\x9F\xBF"), 0u) << "overlong";
  EXPECT_EQ(findInvalidUtf8("a\xED\xA0\x80"), 1u) << "surrogate";
  EXPECT_EQ(findInvalidUtf8("\xF4\x90\x80\x80"), 0u) << "beyond U+10FFFF";
  EXPECT_EQ(findInvalidUtf8("ab\xE2\x82"), 2u) << "cut off";
}

TEST(Utf8, CodePointsSurviveARoundTrip) {
  for (char32_t c : {U'a', U'\u00e9', U'\u20ac', U'\uffff', U'\U0001f680', U'\U0010ffff'}) {
    std::string text;
    appendUtf8(c, text);
    EXPECT_TRUE(isValidUtf8(text));
    EXPECT_EQ(codePointAt(text, 0), c);
    EXPECT_EQ(utf8Length(static_cast<unsigned char>(text[0])), text.size());
  }
}

// The table of the Unicode standard, "U+FFFD Substitution of Maximal Subparts".
TEST(Utf8, ReplacesMaximalInvalidParts) {
  const std::string r = "\xEF\xBF\xBD";
  EXPECT_EQ(lossy("a\xF1\x80\x80\xE1\x80\xC2"
                  "b\x80"
                  "c\x80\xBF"
                  "d"),
            "a" + r + r + r + "b" + r + "c" + r + r + "d");
  EXPECT_EQ(lossy("\xC0\xAF\xE0\x80\xBF"), r + r + r + r + r);
  EXPECT_EQ(lossy("\xED\xA0\x80"), r + r + r);
  EXPECT_EQ(lossy("\xF0\x9F\x9A"), r);
}

TEST(Utf8, OutputDoesNotDependOnThePortions) {
  const std::string bytes =
      "x\xC3\xA9\xF0\x9F\x9A\x80\xF0\x9F\x9A"
      "y\xE2\x82\xFF\xE2\x82\xAC\xF4";
  const std::string whole = lossy(bytes);
  for (size_t first = 0; first <= bytes.size(); ++first) {
    for (size_t second = first; second <= bytes.size(); ++second) {
      LossyUtf8 decoder;
      std::string out;
      decoder.push(bytes.substr(0, first), out);
      EXPECT_TRUE(isValidUtf8(out)) << first;
      decoder.push(bytes.substr(first, second - first), out);
      EXPECT_TRUE(isValidUtf8(out)) << first << " " << second;
      decoder.push(bytes.substr(second), out);
      decoder.finish(out);
      EXPECT_EQ(out, whole) << first << " " << second;
    }
  }
}

}  // namespace
}  // namespace llmrt
