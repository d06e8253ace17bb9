#include "runtime/io/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

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

// What Python's json.loads makes of the same text.
TEST(Json, ReadsPythonsNumbers) {
  const auto value = parseJson(
      R"({"a": NaN, "b": [1, -Infinity, -2.5e3,Infinity], "NaN": "Infinity, -Infinity \" NaN",
          "c":NaN
         , "d": true, "e": {"f": Infinity}, "g": 7})",
      "x");
  ASSERT_TRUE(value.ok()) << value.status().message();
  EXPECT_TRUE(std::isnan((*value)["a"].get<double>()));
  EXPECT_EQ((*value)["b"],
            nlohmann::json::array({1, -std::numeric_limits<double>::infinity(), -2500.0,
                                   std::numeric_limits<double>::infinity()}));
  EXPECT_EQ((*value)["NaN"], "Infinity, -Infinity \" NaN");
  EXPECT_TRUE(std::isnan((*value)["c"].get<double>()));
  EXPECT_EQ((*value)["e"]["f"], std::numeric_limits<double>::infinity());
  EXPECT_EQ((*value)["g"], 7);
  EXPECT_EQ(*parseJson("-Infinity", "x"), -std::numeric_limits<double>::infinity());
}

TEST(Json, WhatPythonRefusesTooIsMalformed) {
  for (const char* text :
       {"[-NaN]", "[1NaN]", "[NaN1]", "[NaNNaN]", "[NaN Infinity]", "[nan]", "[Inf]", "[+Infinity]",
        "[Infinity5]", "{NaN: 1}", "[--Infinity]", "[trueNaN]", "[\"a\"NaN]", "NaN]"})
    EXPECT_FALSE(parseJson(text, "x").ok()) << text;
  // The error is where it would be without them.
  EXPECT_THAT(parseJson("[NaN, -Infinity,\n Infinity, nonsense]", "x").status().message(),
              HasSubstr("line 2, column 13"));
}

TEST(Json, MessagesStayOneShortLine) {
  const Status status = parseJson("{\"" + std::string(5000, 'a') + "\n", "x").status();
  EXPECT_FALSE(status.ok());
  EXPECT_LT(status.message().size(), 400u);
  EXPECT_EQ(status.message().find('\n'), std::string::npos);
}

}  // namespace
}  // namespace llmrt
