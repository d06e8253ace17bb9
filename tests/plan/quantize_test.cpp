// quantizeBlock: less error than the range alone gives, for any values.
#include "codegen/plan/Quantize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>
#include <vector>

namespace llmc {
namespace {

using llmrt::kWeightFormats;
using llmrt::StoredBlock;
using llmrt::WeightFormat;

using Encode = void (*)(const WeightFormat&, const float*, uint8_t* const*);

std::vector<float> stored(const WeightFormat& format, const std::vector<float>& values,
                          Encode encode) {
  StoredBlock block;
  std::vector<float> out(values.size());
  encode(format, values.data(), block.planes);
  decodeBlock(format, block.planes, out.data());
  return out;
}

double squaredError(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::pow(double{a[i]} - b[i], 2);
  return sum;
}

class Quantize : public testing::TestWithParam<const WeightFormat*> {
 protected:
  const WeightFormat& format() const { return *GetParam(); }
  std::vector<float> block(const std::function<float(int64_t)>& value) const {
    std::vector<float> values;
    for (int64_t i = 0; i < format().block; ++i) values.push_back(value(i));
    return values;
  }
};

TEST_P(Quantize, HasLessErrorThanTheRangeAloneGives) {
  std::mt19937 rng(7);
  std::normal_distribution<float> normal(0, 0.02f);
  std::student_t_distribution<float> heavy(4);
  for (const bool tails : {false, true}) {
    double by_range = 0, searched = 0;
    for (int i = 0; i < 40; ++i) {
      const auto values = block([&](int64_t) { return tails ? 0.02f * heavy(rng) : normal(rng); });
      by_range += squaredError(values, stored(format(), values, llmrt::encodeBlock));
      searched += squaredError(values, stored(format(), values, quantizeBlock));
    }
    EXPECT_LT(searched, 0.9 * by_range);
  }
}

TEST_P(Quantize, ValuesThatTheFormatHasStayNearlyAsTheyAre) {
  std::mt19937 rng(8);
  std::normal_distribution<float> normal(0, 0.5f);
  for (int i = 0; i < 10; ++i) {
    const auto exact =
        stored(format(), block([&](int64_t) { return normal(rng); }), llmrt::encodeBlock);
    double squares = 0;
    for (const float v : exact) squares += double{v} * v;
    EXPECT_LT(squaredError(exact, stored(format(), exact, quantizeBlock)), 5e-3 * squares);
  }
}

TEST_P(Quantize, OddBlocksGiveFiniteValuesNearThem) {
  const std::vector<float> blocks[] = {
      block([](int64_t) { return 0.0f; }),
      block([](int64_t) { return 1.0f; }),
      block([](int64_t) { return -1.0f; }),
      block([](int64_t i) { return i == 3 ? 50.0f : 0.0f; }),
      block([](int64_t i) { return i == 3 ? -50.0f : 1e-6f; }),
      block([](int64_t i) { return i % 2 ? 1e-30f : -1e-38f; }),
      block([](int64_t i) { return i < 32 ? 1.0f : -1e-3f; }),
      block([](int64_t i) { return i % 3 ? 0.0f : 1e-45f; }),
      block([](int64_t i) { return i % 3 ? 1.0f : -6e4f; }),
  };
  for (const std::vector<float>& values : blocks) {
    SCOPED_TRACE(values[0]);
    float most = 0;
    for (const float v : values) most = std::max(most, std::abs(v));
    const auto got = stored(format(), values, quantizeBlock);
    // Half of a step of the values' whole range, twice that since the least sum of squares may
    // leave one value worse; and an eighth of a step of scales in sub-blocks.
    const llmrt::QuantRange range = format().quantRange();
    const bool has_mins = format().plane(llmrt::PlaneRole::kMins) >= 0;
    const float steps = static_cast<float>(has_mins ? range.most - range.least : range.most);
    const float bound = (has_mins ? 2 : 1) * most / steps * 1.25f;
    for (size_t i = 0; i < values.size(); ++i) {
      ASSERT_TRUE(std::isfinite(got[i]));
      EXPECT_NEAR(got[i], values[i], bound + 1e-7f) << i;
    }
  }
}

std::vector<const WeightFormat*> quantFormats() {
  std::vector<const WeightFormat*> formats;
  for (const WeightFormat& format : kWeightFormats)
    if (!format.isPlain()) formats.push_back(&format);
  return formats;
}

INSTANTIATE_TEST_SUITE_P(, Quantize, testing::ValuesIn(quantFormats()),
                         [](const auto& info) { return std::string(info.param->name); });

}  // namespace
}  // namespace llmc
