#include <gmock/gmock.h>

#include <sstream>

#include "frontend/tokenizer/TokenizeFile.h"
#include "tests/text/temp_file.h"
#include "tests/text/tiny_tokenizer.h"

namespace llmc {
namespace {

using ::testing::HasSubstr;

std::string run(const std::string& content, TokenizeOptions options) {
  auto table = llmrt::testing::byteTable();
  table.prefix_ids = {llmrt::testing::addAdded(table, "<s>", 1)};
  llmrt::Tokenizer tokenizer = llmrt::testing::build(table);
  testing::TempDir dir;
  options.path = dir.write("input", content);
  std::ostringstream out;
  llmrt::Status status = tokenizeFile(tokenizer, options, out);
  return status.ok() ? out.str() : status.message();
}

TEST(TokenizeFile, WholeFileOrLines) {
  EXPECT_EQ(run("ab\nc", {}), "256 97 98 10 99\n");
  EXPECT_EQ(run("ab\n\nc\n", {.lines = true}), "256 97 98\n256\n256 99\n");
  EXPECT_EQ(run("a<s>", {.add_bos = false}), "97 256\n");
  EXPECT_EQ(run("<s>", {.add_bos = false, .parse_special = false}), "60 115 62\n");
}

TEST(TokenizeFile, Decodes) {
  EXPECT_EQ(run("256 97 98\n 99\n", {.decode = true}), "<s>abc\n");
  EXPECT_EQ(run("97\n98 256\n", {.decode = true, .lines = true, .parse_special = false}), "a\nb\n");
}

TEST(TokenizeFile, ErrorsNameFileAndLine) {
  EXPECT_THAT(run("ok\n\xFF\n", {.lines = true}),
              HasSubstr("input line 2: text is not UTF-8 at byte 0"));
  EXPECT_THAT(run("97 x", {.decode = true}), HasSubstr("'x' is not a token id below 257"));
  EXPECT_THAT(run("257", {.decode = true}), HasSubstr("'257'"));
  EXPECT_THAT(run("99999999999999", {.decode = true}), HasSubstr("is not a token id"));
  EXPECT_THAT(run("-1", {.decode = true}), HasSubstr("is not a token id"));
}

}  // namespace
}  // namespace llmc
