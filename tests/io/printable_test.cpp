// What a terminal is shown of a model's text.
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
}

}  // namespace
}  // namespace llmrt
