// Files of tunings: what is written is read, what is not meant is refused, what is near is found.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "codegen/tuning/TuningFile.h"

namespace llmc {
namespace {

using cpu::CpuTuning;
using cpu::ProductKey;
using cpu::ProductRows;
using cpu::ProductTuning;
using cpu::TunedProduct;
using ::testing::HasSubstr;

ProductKey key(const std::string& op, int64_t outputs, int64_t inputs,
               const std::string& weights = "bf16") {
  return {.op = op, .outputs = outputs, .inputs = inputs, .weights = weights};
}

CpuTuning someTuning() {
  CpuTuning t{.cpu = "znver4", .model = "AMD \"EPYC\"", .target = "znver4", .threads = 2};
  t.products.push_back({.key = key("linear", 2048, 2048),
                        .tuning = {.streamPanels = 8, .aheadBytes = 4096, .joinTiles = 2},
                        .gain = 1.0625,
                        .ofLimit = 0.875});
  t.products.push_back({.key = key("norm_glu", 16384, 2048)});
  ProductKey many = key("norm_glu", 16384, 2048, "q4_0");
  many.int8 = true;
  many.rows = ProductRows::many;
  t.products.push_back(
      {.key = many,
       .tuning = {.tileRows = 7, .tilePanels = 2, .pieceCols = 512, .blockRows = 128}});
  return t;
}

std::string fileText(const std::string& products, const std::string& fields = "") {
  return R"({"llmc_tuning": 1, "cpus": [{"cpu": "znver4", "model": "m", "target": "znver4", )"
         R"("threads": 2, )" +
         fields + R"("products": [)" + products + "]}]}";
}
std::string productText(const std::string& fields) {
  return R"({"op": "linear", "outputs": 64, "inputs": 32, "weights": "f16", )"
         R"("activations": "float", "rows": "few")" +
         fields + "}";
}

std::string errorOf(const std::string& text) {
  const auto file = parseTuning(text, "t.json");
  if (file.ok()) return "it was read";
  EXPECT_EQ(file.status().message().find('\n'), std::string::npos);
  return file.status().message();
}

TEST(TuningFileTest, IsReadAsItWasWritten) {
  TuningFile file;
  file.merge(someTuning());
  const auto read = parseTuning(file.text(), "t.json");
  ASSERT_TRUE(read.ok()) << read.status().message();
  ASSERT_EQ(read->cpus.size(), 1u);
  const CpuTuning &is = read->cpus[0], was = someTuning();
  EXPECT_EQ(std::tie(is.cpu, is.model, is.target, is.threads),
            std::tie(was.cpu, was.model, was.target, was.threads));
  ASSERT_EQ(is.products.size(), was.products.size());
  for (size_t i = 0; i < was.products.size(); ++i) {
    EXPECT_EQ(is.products[i].key, was.products[i].key);
    EXPECT_EQ(is.products[i].tuning, was.products[i].tuning);
  }
  EXPECT_EQ(is.products[0].gain, 1.063) << "three places";
  EXPECT_EQ(read->text(), file.text());
}

TEST(TuningFileTest, MergingReplacesWhatWasMeasuredAnewAndKeepsTheRest) {
  TuningFile file;
  file.merge(someTuning());
  CpuTuning anew = someTuning();
  anew.threads = 4;
  anew.products.erase(anew.products.begin() + 1, anew.products.end());
  anew.products[0].tuning = {.streamPanels = 2};
  file.merge(anew);
  ASSERT_EQ(file.cpus.size(), 1u);
  EXPECT_EQ(file.cpus[0].threads, 4);
  ASSERT_EQ(file.cpus[0].products.size(), 3u);
  EXPECT_EQ(file.cpus[0].products[0].tuning, anew.products[0].tuning);
  EXPECT_EQ(file.cpus[0].products[2].tuning.tileRows, 7);

  CpuTuning other = someTuning();
  other.target = "x86-64-v3";
  file.merge(other);
  ASSERT_EQ(file.cpus.size(), 2u);
  EXPECT_EQ(file.cpus[0].target, "x86-64-v3") << "sorted";
}

TEST(TuningFileTest, WhatIsNotMeantIsRefusedByItsPlace) {
  EXPECT_EQ(errorOf(fileText(productText(""))), "it was read");
  EXPECT_THAT(errorOf("{"), HasSubstr("t.json: malformed JSON: "));
  EXPECT_THAT(errorOf("[1]"), HasSubstr("t.json: is no file of tunings"));
  EXPECT_THAT(errorOf(R"({"architectures": []})"), HasSubstr("t.json: is no file of tunings"));
  EXPECT_THAT(errorOf(R"({"llmc_tuning": 2, "cpus": []})"), HasSubstr("another version of llmc"));
  EXPECT_THAT(errorOf(R"({"llmc_tuning": "1", "cpus": []})"), HasSubstr("another version of llmc"));
  EXPECT_EQ(errorOf(R"({"llmc_tuning": 1})"), "t.json: cpus is missing");
  EXPECT_EQ(errorOf(R"({"llmc_tuning": 1, "cpus": {}})"), "t.json: cpus is no list");
  EXPECT_EQ(errorOf(R"({"llmc_tuning": 1, "cpus": [7]})"), "t.json: cpus[0]: is no object");
  EXPECT_EQ(errorOf(R"({"llmc_tuning": 1, "cpus": [], "x": 1})"), "t.json: there is no field 'x'");
  EXPECT_EQ(errorOf(fileText("7")), "t.json: cpus[0].products[0]: is no object");
  EXPECT_EQ(errorOf(fileText(productText(R"(, "panels": 8)"))),
            "t.json: cpus[0].products[0]: there is no field 'panels'");
  EXPECT_EQ(errorOf(fileText(productText("") + "," + productText(""))),
            "t.json: cpus[0]: products has linear 64x32 f16, few rows twice");
  std::string text = fileText("");
  text.replace(text.find("\"target\": \"znver4\""), 18, "\"target\": \"znver9\"");
  EXPECT_EQ(errorOf(text), "t.json: cpus[0]: there is no target 'znver9'");
  text = productText("");
  text.replace(text.find("f16"), 3, "q9");
  EXPECT_THAT(errorOf(fileText(text)), HasSubstr("products[0]: weights is 'q9', not one of "));
  text.replace(text.find("q9"), 2, "q9\\n");
  EXPECT_EQ(errorOf(fileText(text)),
            "t.json: cpus[0].products[0]: weights has characters that are not printable ASCII");
  text = productText("");
  text.replace(text.find("few"), 3, "all");
  EXPECT_EQ(errorOf(fileText(text)), "t.json: cpus[0].products[0]: rows is 'all', not few or many");
  const std::string one = fileText("").substr(fileText("").find("[{") + 1);
  const std::string cpu = one.substr(0, one.size() - 2);
  EXPECT_EQ(errorOf(R"({"llmc_tuning": 1, "cpus": [)" + cpu + "," + cpu + "]}"),
            "t.json: cpus has znver4, m, target znver4 twice");
}

// What kernels are not written for, and what no number of theirs is.
TEST(TuningFileTest, NumbersOutOfBoundsAreRefused) {
  for (const cpu::TuningField& field : cpu::kTuningFields) {
    const auto with = [&](const std::string& value) {
      return errorOf(fileText(productText(std::string(", \"") + field.name + "\": " + value)));
    };
    EXPECT_EQ(with(std::to_string(field.least)), "it was read") << field.name;
    EXPECT_EQ(with(std::to_string(field.most)), "it was read") << field.name;
    std::vector<std::string> wrong = {std::to_string(field.least - 1),
                                      std::to_string(field.most + field.multiple),
                                      "-9223372036854775808",
                                      "9223372036854775808",
                                      "18446744073709551617",
                                      "1e9",
                                      "8.0",
                                      "NaN",
                                      "null",
                                      "\"8\"",
                                      "[8]"};
    if (field.powerOfTwo) wrong.push_back("3");
    if (field.multiple > 1) wrong.push_back(std::to_string(field.least + field.multiple / 2));
    for (const std::string& value : wrong)
      EXPECT_THAT(with(value), HasSubstr(std::string("t.json: cpus[0].products[0]: ") + field.name +
                                         " is no whole number from "))
          << value;
  }
}

TEST(CpuTuningTest, FindsTheProductOrTheNearest) {
  CpuTuning t;
  const auto add = [&](const ProductKey& k, int64_t panels) {
    t.products.push_back({.key = k, .tuning = {.streamPanels = panels}});
  };
  add(key("linear", 1024, 1024), 1);
  add(key("linear", 4096, 4096), 2);
  add(key("norm_glu", 2048, 1024), 4);
  const auto panels = [&](const ProductKey& k) {
    const TunedProduct* found = t.find(k);
    return found ? *found->tuning.streamPanels : 0;
  };
  EXPECT_EQ(panels(key("linear", 4096, 4096)), 2);
  EXPECT_EQ(panels(key("linear", 2048, 1024)), 1) << "the same op before another of the same size";
  EXPECT_EQ(panels(key("linear", 3000, 4096)), 2);
  EXPECT_EQ(panels(key("norm_logits", 2000, 1024)), 4)
      << "another op where there is none of its own";
  EXPECT_EQ(panels(key("linear", 64, 64)), 0) << "too small to be known";
  EXPECT_EQ(panels(key("norm_glu", 65536, 4096)), 0) << "too large";
  EXPECT_EQ(panels(key("linear", 4096, 4096, "f16")), 0) << "other weights";
  ProductKey other = key("linear", 4096, 4096);
  other.rows = ProductRows::many;
  EXPECT_EQ(panels(other), 0) << "other rows";
  other.rows = ProductRows::few;
  other.int8 = true;
  EXPECT_EQ(panels(other), 0) << "another left operand";
}

TEST(BuiltinTuningTest, EveryTableIsReadAndOfTheCpuItsFileIsCalledAfter) {
  int tables = 0;
  for (const auto& entry : std::filesystem::directory_iterator(LLMC_TUNING_TABLES)) {
    const auto file = readTuning(entry.path());
    ASSERT_TRUE(file.ok()) << file.status().message();
    EXPECT_FALSE(file->cpus.empty());
    for (const CpuTuning& tuning : file->cpus) {
      EXPECT_EQ(tuning.cpu, entry.path().stem());
      EXPECT_FALSE(tuning.products.empty());
      const CpuTuning* found = builtinTuning(tuning.cpu, tuning.target);
      ASSERT_TRUE(found) << "is not in codegen/tuning/CMakeLists.txt";
      EXPECT_EQ(found->products.size(), tuning.products.size());
    }
    ++tables;
  }
  EXPECT_GE(tables, 1);
  EXPECT_FALSE(builtinTuning("znver4", "aarch64"));
  EXPECT_FALSE(builtinTuning("i386", "znver4"));
}

}  // namespace
}  // namespace llmc
