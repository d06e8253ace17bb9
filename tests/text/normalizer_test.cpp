#include "runtime/text/normalizer.h"

#include <gtest/gtest.h>

#include "runtime/text/unicode.h"
#include "runtime/text/utf8.h"

namespace llmrt {
namespace {

std::string repeated(std::string_view text, size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) out += text;
  return out;
}

TEST(Normalizer, ComposesAndDecomposes) {
  EXPECT_EQ(normalizeUnicode("plain", NormalForm::kNfc), "plain");
  EXPECT_EQ(normalizeUnicode("e\u0301", NormalForm::kNfc), "\u00e9");
  EXPECT_EQ(normalizeUnicode("\u00e9", NormalForm::kNfd), "e\u0301");
  EXPECT_EQ(normalizeUnicode("\ufb01\u00b2", NormalForm::kNfkc), "fi2");
  EXPECT_EQ(normalizeUnicode("\ufb01\u00b2", NormalForm::kNfc), "\ufb01\u00b2");
  EXPECT_EQ(normalizeUnicode("\u1100\u1161\u11a8", NormalForm::kNfc), "\uac01");
  EXPECT_EQ(normalizeUnicode("\u212b", NormalForm::kNfc), "\u00c5") << "singleton";
  EXPECT_EQ(normalizeUnicode("\u0958", NormalForm::kNfc), "\u0915\u093c")
      << "composition exclusion";
}

TEST(Normalizer, OrdersMarksByClassAndKeepsEquals) {
  // Classes: U+0301 and U+0302 230, U+0323 220, U+0327 202.
  EXPECT_EQ(normalizeUnicode("q\u0301\u0323\u0302\u0327", NormalForm::kNfd),
            "q\u0327\u0323\u0301\u0302");
}

// Sorting by insertion would need some 10^11 steps here.
TEST(Normalizer, AMegabyteOfMarksIsNotQuadratic) {
  std::string text("a");
  text += repeated("\u0301\u0323", 1 << 18);
  std::string normal = normalizeUnicode(text, NormalForm::kNfc);
  EXPECT_TRUE(isValidUtf8(normal));
  EXPECT_EQ(normal.substr(0, 3), "\u1ea1") << "a with dot below comes first";
}

TEST(Normalizer, ReplacesFromLeftToRight) {
  EXPECT_EQ(replaceAll("aaa", "aa", "b"), "ba");
  EXPECT_EQ(replaceAll("", "a", "b"), "");
  EXPECT_EQ(replaceAll("a b ", " ", "\u2581"), "a\u2581b\u2581");
}

}  // namespace
}  // namespace llmrt
