#include "runtime/io/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace llmrt {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

TEST(Json, ErrorsNameFileAndPosition) {
  const Status status = parseJson("{\n  \"a\": nonsense\n}", "config.json").status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidData);
  EXPECT_THAT(status.message(), StartsWith("config.json: malformed JSON: "));
  EXPECT_THAT(status.message(), HasSubstr("line 2, column 9"));
}

TEST(Json, RefusesDepthInvalidUtf8AndNumbersOutOfRange) {
  EXPECT_TRUE(parseJson(std::string(64, '[') + std::string(64, ']'), "x").ok());
  EXPECT_THAT(parseJson(std::string(65, '['), "x").status().message(),
              HasSubstr("nested deeper than 64"));
  EXPECT_TRUE(parseJson("[\"" + std::string(1000, '[') + "\\\"[\"]", "x").ok());
  EXPECT_FALSE(parseJson("\"\xff\"", "x").ok());
  EXPECT_FALSE(parseJson("1e999", "x").ok());
  EXPECT_FALSE(parseJson("", "x").ok());
}

TEST(Json, MessagesStayOneShortLine) {
  const Status status = parseJson("{\"" + std::string(5000, 'a') + "\n", "x").status();
  EXPECT_FALSE(status.ok());
  EXPECT_LT(status.message().size(), 400u);
  EXPECT_EQ(status.message().find('\n'), std::string::npos);
}

}  // namespace
}  // namespace llmrt
