#include <gtest/gtest.h>

#include "runtime/io/printable.h"

namespace llmrt {
namespace {

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
