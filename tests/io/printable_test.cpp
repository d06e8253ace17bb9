// What messages and terminals are shown of foreign text.
#include "runtime/io/printable.h"

#include <gtest/gtest.h>

namespace llmrt {
namespace {

TEST(PrintableText, KeepsEveryLetterNewlinesAndTabs) {
  const std::string text = "a b\tc\n\u00e9 \u00a0 \u4f60\u597d \U0001f642 \U0010ffff";
  EXPECT_EQ(printableText(text), text);
}

TEST(PrintableText, LosesWhatATerminalObeys) {
  EXPECT_EQ(printableText("\x1b[31mred\x1b]0;title\x07\r\b\x7f\v\x0c"), "[31mred]0;title");
  EXPECT_EQ(printableText(std::string("a\0b", 3)), "ab");
  EXPECT_EQ(printableText("\u0085\u009b31m\u0080"), "31m") << "control characters beyond ASCII";
}

TEST(PrintableText, ReplacesWhatIsNotUtf8) {
  EXPECT_EQ(printableText("a\x9b"
                          "31m"),
            "a\ufffd31m")
      << "a control character of Latin-1";
  EXPECT_EQ(printableText("\xff\xc2"), "\ufffd\ufffd");
  EXPECT_EQ(printableText("\xe4\xbd"
                          "x"),
            "\ufffdx");
  EXPECT_EQ(printableText("\xc0\x9b"), "\ufffd") << "an escape in a form too long";
  EXPECT_EQ(printableText("\xe0\x82\x9b"), "\ufffd");
  EXPECT_EQ(printableText("\xf0\x80\x82\x9b"), "\ufffd");
  EXPECT_EQ(printableText("\xed\xa0\x80"), "\ufffd") << "half of a pair of UTF-16";
  EXPECT_EQ(printableText("\xf4\x90\x80\x80"), "\ufffd") << "above U+10FFFF";
}

TEST(PrintableLine, ShowsTextAsItIs) {
  for (const char* text : {"", "a b~", "gr\u00fc\u00df", "\u4f60\u597d \U0001f600", "\\x1b"})
    EXPECT_EQ(printableLine(text), text);
}

TEST(PrintableLine, ShowsWhatATerminalWouldObey) {
  EXPECT_EQ(printableLine("a\x1b[2J\r\n\tb\x7f"), "a\\x1b[2J\\x0d\\x0a\\x09b\\x7f");
  EXPECT_EQ(printableLine("\u009b31m"), "\\xc2\\x9b31m");
  EXPECT_EQ(printableLine("\u0085\u00a0"), "\\xc2\\x85\u00a0");
  EXPECT_EQ(printableLine("a\u202eb\u2028c"), "a\\xe2\\x80\\xaeb\\xe2\\x80\\xa8c");
  EXPECT_EQ(printableLine(std::string_view("\0", 1)), "\\x00");
}

TEST(PrintableLine, ShowsTheBytesOfWhatIsNotUtf8) {
  EXPECT_EQ(printableLine("a\xff\xc3"), "a\\xff\\xc3");         // a byte of none; cut short
  EXPECT_EQ(printableLine("\xc0\x9b"), "\\xc0\\x9b");           // too long a form of ESC + 0x80
  EXPECT_EQ(printableLine("\xe0\x82\x9b"), "\\xe0\\x82\\x9b");  // of U+009B
  EXPECT_EQ(printableLine("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // half of a pair of UTF-16
  EXPECT_EQ(printableLine("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // above U+10FFFF
}

TEST(PrintableLines, KeepsNewlinesAndTabs) {
  EXPECT_EQ(printableLines("a\n\tb\r\x1b"), "a\n\tb\\x0d\\x1b");
}

}  // namespace
}  // namespace llmrt
