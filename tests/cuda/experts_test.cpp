// Routed experts and the products of single heads under the shim: the choice, and both products for
// few rows, for many, and on tensor cores, against plain loops in double.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <set>

#include "tests/cuda/device_fixture.h"

namespace llmc::test {
namespace {

std::vector<float> randomFloats(size_t count, Random& random, float scale = 1) {
  std::vector<float> v(count);
  for (float& f : v) f = random(scale);
  return v;
}

struct Choice {
  std::vector<int> experts;
  std::vector<double> weights;
};

/// llm.route as its description has it.
Choice routed(const float* x, const float* bias, int experts, int top_k, int scoring,
              bool normalize, double scale, int groups, int keep, int group_top) {
  const auto n = static_cast<size_t>(experts);
  std::vector<double> scores(x, x + experts);
  const auto softmax = [](std::vector<double>& v) {
    double sum = 0;
    for (double& s : v) sum += s = std::exp(s);
    for (double& s : v) s /= sum;
  };
  if (scoring == kSoftmax) softmax(scores);
  if (scoring == kSigmoidScores)
    for (double& s : scores) s = 1 / (1 + std::exp(-s));
  std::vector<double> choice = scores;
  for (size_t i = 0; bias && i < n; ++i) choice[i] += bias[i];
  std::set<int> kept;
  if (groups) {
    const int size = experts / groups;
    std::vector<std::pair<double, int>> sums;
    for (int g = 0; g < groups; ++g) {
      std::vector<double> best(choice.begin() + g * size, choice.begin() + (g + 1) * size);
      std::sort(best.rbegin(), best.rend());
      sums.push_back({-std::accumulate(best.begin(), best.begin() + group_top, 0.0), g});
    }
    std::sort(sums.begin(), sums.end());
    for (int i = 0; i < keep; ++i) kept.insert(sums[static_cast<size_t>(i)].second);
  }
  std::vector<int> order;
  for (int e = 0; e < experts; ++e)
    if (!groups || kept.count(e / (experts / groups))) order.push_back(e);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return choice[static_cast<size_t>(a)] > choice[static_cast<size_t>(b)];
  });
  Choice result;
  result.experts.assign(order.begin(), order.begin() + top_k);
  for (int e : result.experts) result.weights.push_back(scores[static_cast<size_t>(e)]);
  if (scoring == kSoftmaxChosen) softmax(result.weights);
  const double sum = std::accumulate(result.weights.begin(), result.weights.end(), 0.0);
  for (double& w : result.weights) w *= scale / (normalize ? sum : 1);
  return result;
}

template <int kExperts, int kTopK, int kScoring, bool kNormalize, int kGroups = 0, int kKeep = 0,
          int kGroupTop = 0>
void expectRoute(bool bias_too, bool scaled = false) {
  SCOPED_TRACE(testing::Message() << kTopK << " of " << kExperts << ", scoring " << kScoring);
  constexpr int kRows = 5, kStride = kExperts + 3, kYStride = 2 * kTopK + 1;
  Random random;
  TestStep step(kRows);
  auto x = randomFloats(kRows * kStride, random, 2);
  const auto bias = randomFloats(kExperts, random, 0.3f);
  const auto expert_scale = randomFloats(kExperts, random, 0.5f);
  if (!bias_too) std::fill_n(x.begin() + kStride, kStride, 0.5f);  // all equal: the first win
  std::vector<float> y(kRows * kYStride, NAN);
  launch({1, kRows}, 32, 0, [&] {
    routeRow<kExperts, kTopK, kScoring, kNormalize, kGroups, kKeep, kGroupTop, kStride, kYStride>(
        step.args, x.data(), bias_too ? bias.data() : nullptr,
        scaled ? expert_scale.data() : nullptr, 1.5f, y.data());
  });
  for (int m = 0; m < kRows; ++m) {
    Choice e = routed(x.data() + m * kStride, bias_too ? bias.data() : nullptr, kExperts, kTopK,
                      kScoring, kNormalize, 1.5, kGroups, kKeep, kGroupTop);
    for (size_t i = 0; scaled && i < e.weights.size(); ++i)
      e.weights[i] *= expert_scale[static_cast<size_t>(e.experts[i])];
    for (int i = 0; i < kTopK; ++i) {
      const auto s = static_cast<size_t>(i);
      EXPECT_EQ(y[static_cast<size_t>(m * kYStride + i)], static_cast<float>(e.experts[s]))
          << "row " << m << " slot " << i;
      EXPECT_NEAR(y[static_cast<size_t>(m * kYStride + kTopK + i)], e.weights[s], 1e-6)
          << "row " << m << " slot " << i;
    }
    EXPECT_TRUE(std::isnan(y[static_cast<size_t>((m + 1) * kYStride - 1)])) << "written outside";
  }
}

TEST(CudaExperts, RoutesAsTheOpSays) {
  expectRoute<8, 2, kSoftmax, true>(false);                 // Mixtral
  expectRoute<40, 8, kSoftmax, false>(false);               // Qwen2-MoE
  expectRoute<32, 4, kSoftmaxChosen, false>(false);         // gpt-oss
  expectRoute<64, 6, kSoftmax, false, 8, 3, 1>(false);      // DeepSeek-V2
  expectRoute<48, 4, kSigmoidScores, true, 6, 2, 2>(true);  // DeepSeek-V3
  expectRoute<32, 4, kSoftmaxChosen, true>(false);
  expectRoute<24, 3, kSoftmax, true>(false, true);            // Gemma 4
  expectRoute<16, 2, kSigmoidScores, false, 2, 1, 1>(false);  // what the last group came to decides
}

TEST(CudaExperts, RoutesToAnExpertThatThereIsWhateverTheScores) {
  constexpr int kExperts = 40, kTopK = 4;
  for (const float v : {NAN, -INFINITY}) {
    TestStep step(1);
    const std::vector<float> x(kExperts, v);
    std::vector<float> y(2 * kTopK);
    launch({1, 1}, 32, 0, [&] {
      routeRow<kExperts, kTopK, kSoftmax, true, 8, 2, 2, kExperts, 2 * kTopK>(
          step.args, x.data(), nullptr, nullptr, 1, y.data());
    });
    for (int i = 0; i < kTopK; ++i) {
      EXPECT_GE(y[static_cast<size_t>(i)], 0);
      EXPECT_LT(y[static_cast<size_t>(i)], kExperts);
    }
  }
}

/// The matrices of experts, one after another.
template <class T>
struct ExpertWeights {
  std::vector<Weights<T>> each;
  Bytes all;
  ExpertWeights(int experts, std::vector<int64_t> rows, int64_t k, PanelOrder order, Random& random)
      : all(0) {
    for (int e = 0; e < experts; ++e) each.emplace_back(rows, k, order, 0, random);
    const size_t lines = each[0].fragments->lines.size();
    all.lines.resize(lines * each.size());
    for (size_t e = 0; e < each.size(); ++e)
      std::copy_n(each[e].fragments->lines.begin(), lines, all.lines.begin() + lines * e);
  }
};

/// A dot product with x rounded to `operand`.
double dot(const float* x, DType operand, const float* w, int cols) {
  double sum = 0;
  for (int k = 0; k < cols; ++k) sum += double{rounded(operand, x[k])} * w[k];
  return sum;
}

enum class Way { kFew, kMany, kWgmma, kClusters };

/// The expert of a row's slot: most choose few of them, in no order, and the last never.
template <int kExperts>
int fewOfThem(int row, int slot) {
  return (row % 3 + 5 * slot) % (kExperts - 1);
}

/// The product of sorted rows, 16 bits, as many: on wgmma by `blocks` blocks, an even number, where
/// it takes K.
template <class P, class Rows, class Routed, class Finish>
void multiplySorted(Way way, unsigned blocks, const TestStep& step, const float* x, Routed routed,
                    const int* sorted, const void* weight, const Finish& finish) {
  constexpr int kExperts = Routed::kExperts;
  const auto rows = static_cast<unsigned>(step.pos.size());
  if constexpr (P::kCols % 64 == 0) {
    if (way == Way::kWgmma || way == Way::kClusters) {
      typedef ProductOnWgmma<P, 256, int> W;
      const size_t bytes = (rows * Routed::kTopK / 64 + kExperts + 1) * size_t{64} * P::kCols *
                           2;  // EmitExperts.cpp
      Bytes packed(bytes);
      std::fill_n(packed.data(), bytes, uint8_t{0xff});
      launch({2 * Routed::kTopK, (rows + 15) / 16}, 256, 0,
             [&] { packExperts<P, Rows>(step.args, x, routed, sorted, packed.data()); });
      const auto multiply = [&]<unsigned kCluster>() {
        launch({blocks, 1, 1, kCluster}, W::kThreads, W::kSharedBytes, [&] {
          expertsOnWgmma<P, kExperts, kCluster>(step.args, sorted, packed.data(), weight, finish);
        });
      };
      if (way == Way::kWgmma)
        multiply.template operator()<1>();
      else
        multiply.template operator()<2>();
      return;
    }
  }
  launch({(P::kPanels + 7) / 8, blocks}, 128, kGroupedStages * kGroupedStageBytes, [&] {
    groupedOnTensorCores<typename P::Weight, P::kCols, P::kPanels>(
        step.args, ExpertGroups<kExperts, Rows>{x, sorted}, weight, finish);
  });
}

/// Both products for `rows` rows. `expert_of`: of a row's slot.
template <class T, int kExperts, int kTopK, int kHidden, int kWidth, class Choose>
void expectExperts(int rows, Way way, bool biases, Choose expert_of) {
  SCOPED_TRACE(testing::Message() << rows << " rows, " << kTopK << " of " << kExperts << ' '
                                  << llmrt::dtypeName(kDType<T>) << " way "
                                  << static_cast<int>(way));
  const bool many = way != Way::kFew;
  constexpr int kGluPanels = (kWidth + 15) / 16 * 2, kDownPanels = (kHidden + 15) / 16,
                kXStride = kHidden + 8, kRouteStride = 2 * kTopK + 3,
                kGluStride = kTopK * kWidth + 8;
  constexpr float kLimit = 0.8f;
  typedef Product<T, kHidden, kGluPanels, kXStride, false, false> Glu;
  typedef Product<T, kWidth, kDownPanels, kGluStride, false, false> Down;
  typedef Route<kExperts, kTopK, kRouteStride> Routed;
  const DType operand = many ? kDType<T> : DType::kF32;
  Random random;
  ExpertWeights<T> glu(kExperts, {kWidth, kWidth}, kHidden, PanelOrder::kInterleave, random),
      down(kExperts, {kHidden}, kWidth, PanelOrder::kConcat, random);
  TestStep step(rows);
  const auto n = static_cast<size_t>(rows);
  const auto x = randomFloats(n * kXStride, random);
  const auto gate_bias = randomFloats(kExperts * kWidth, random, 0.3f),
             up_bias = randomFloats(kExperts * kWidth, random, 0.3f),
             down_bias = randomFloats(kExperts * kHidden, random, 0.3f);
  std::vector<float> route(n * kRouteStride, NAN);
  for (size_t m = 0; m < n; ++m)
    for (size_t slot = 0; slot < kTopK; ++slot) {
      route[m * kRouteStride + slot] =
          static_cast<float>(expert_of(static_cast<int>(m), static_cast<int>(slot)));
      route[m * kRouteStride + kTopK + slot] = 0.5f + random(0.4f);
    }
  const Routed routed{route.data()};
  Bytes g(n * kGluStride * 4), y(n * kHidden * 4);
  std::fill_n(g.floats(), n * kGluStride, NAN);
  const FinishExpertGlu<kQuickGelu, kWidth, kTopK, kGluStride> finish{
      biases ? gate_bias.data() : nullptr, up_bias.data(), kLimit, g.floats()};
  const float* const bias = biases ? down_bias.data() : nullptr;
  const auto height = static_cast<unsigned>(rows);
  if (!many) {
    launch({kGluPanels * kTopK, height}, 256, Glu::kPaddedCols * 16, [&] {
      if (rows == 1)
        expertsOfFewRows<Glu, 1, true, 1, 1>(step.args, x.data(), routed, glu.all.data(), finish);
      else
        expertsOfFewRows<Glu, 4, true, 1, 16>(step.args, x.data(), routed, glu.all.data(), finish);
    });
    std::vector<float> staged(n * kHidden);
    launch({kDownPanels, height}, 256, kTopK * Down::kPaddedCols * 4, [&] {
      expertDownOfOneRow<Down, true, kHidden, kHidden>(step.args, g.floats(), routed,
                                                       down.all.data(), bias, staged.data());
    });
    launch({kDownPanels, height}, 256, 0, [&] {
      expertDownOfOneRow<Down, false, kHidden, kHidden>(step.args, g.floats(), routed,
                                                        down.all.data(), bias, y.floats());
    });
    EXPECT_EQ(std::memcmp(staged.data(), y.floats(), staged.size() * 4), 0) << "staging shows";
  } else {
    std::vector<int> sorted(kExperts + 1 + n * kTopK, -1);
    const auto sort = [&] { sortByExpert(step.args, routed, sorted.data()); };
    launch({kExperts}, 256, 0, sort);
    std::vector<float> products(n * kTopK * kHidden, NAN);
    typedef ExpertRows<kTopK, kHidden, kXStride, false> GluRows;
    typedef ExpertRows<kTopK, kWidth, kGluStride, true> DownRows;
    const FinishEntry<kHidden> finish_entry{products.data()};
    if constexpr (kDType<T> == DType::kF32) {
      launch({kGluPanels * kExperts, 2}, 256, Glu::kPaddedCols * 16, [&] {
        expertsOfManyRows<Glu, 4, true, 1, kExperts, GluRows>(step.args, x.data(), sorted.data(),
                                                              glu.all.data(), finish);
      });
      launch({kDownPanels * kExperts, 1}, 256, Down::kPaddedCols * 16, [&] {
        expertsOfManyRows<Down, 4, true, 1, kExperts, DownRows>(
            step.args, g.floats(), sorted.data(), down.all.data(), finish_entry);
      });
    } else {
      // Fewer blocks than tiles, and more, in clusters or alone: the bits are the same.
      std::vector<std::pair<Way, unsigned>> ways = {{way, 4}, {way, 40}};
      if (way == Way::kWgmma) ways.insert(ways.end(), {{Way::kClusters, 4}, {Way::kClusters, 40}});
      std::vector<float> first;
      for (const auto& [each_way, blocks] : ways) {
        std::fill_n(g.floats(), n * kGluStride, NAN);
        std::fill(products.begin(), products.end(), NAN);
        multiplySorted<Glu, GluRows>(each_way, blocks, step, x.data(), routed, sorted.data(),
                                     glu.all.data(), finish);
        multiplySorted<Down, DownRows>(each_way, blocks, step, g.floats(), routed, sorted.data(),
                                       down.all.data(), finish_entry);
        std::vector<float> both(g.floats(), g.floats() + n * kGluStride);
        both.insert(both.end(), products.begin(), products.end());
        if (first.empty()) first = both;
        EXPECT_EQ(std::memcmp(first.data(), both.data(), first.size() * 4), 0)
            << "it shows: way " << static_cast<int>(each_way) << ", " << blocks << " blocks";
      }
    }
    launch({1, height}, 64, 0, [&] {
      combineExperts<kHidden, kHidden>(step.args, routed, products.data(), bias, y.floats());
    });
  }
  // Sums of K terms of some 1 in f32; operands that round another way than in double differ by
  // their type's last place, few of a sum do.
  const double edge = operand == DType::kBF16 ? 0x1p-7 : operand == DType::kF16 ? 0x1p-10 : 1e-6;
  for (int m = 0; m < rows; ++m) {
    std::vector<double> expected(kHidden);
    for (int slot = 0; slot < kTopK; ++slot) {
      const auto e = static_cast<size_t>(routed.expert(m * kTopK + slot));
      const float* const glued = g.floats() + m * kGluStride + slot * kWidth;
      for (int i = 0; i < kWidth; ++i) {
        const auto at = static_cast<size_t>(i);
        double gate = dot(x.data() + m * kXStride, operand,
                          glu.each[e].sources[0].data() + at * kHidden, kHidden),
               up = dot(x.data() + m * kXStride, operand,
                        glu.each[e].sources[1].data() + at * kHidden, kHidden);
        if (biases) gate += gate_bias[e * kWidth + at], up += up_bias[e * kWidth + at];
        gate = std::min<double>(gate, kLimit);
        up = std::clamp<double>(up, -kLimit, kLimit) + 1;
        ASSERT_NEAR(glued[i], gate / (1 + std::exp(-1.702 * gate)) * up, 4 * edge)
            << "glu: row " << m << " slot " << slot << " output " << i;
      }
      for (int i = 0; i < kHidden; ++i) {
        const auto at = static_cast<size_t>(i);
        double v = dot(glued, operand, down.each[e].sources[0].data() + at * kWidth, kWidth);
        if (biases) v += down_bias[e * kHidden + at];
        expected[at] += routed.weight(m * kTopK + slot) * v;
      }
    }
    for (int i = 0; i < kHidden; ++i)
      ASSERT_NEAR(y.floats()[m * kHidden + i], expected[static_cast<size_t>(i)], 4 * edge)
          << "down: row " << m << " output " << i;
  }
}

TEST(CudaExperts, EqualPlainLoopsForFewRows) {
  expectExperts<BF16, 6, 3, 48, 40>(1, Way::kFew, true, fewOfThem<6>);
  expectExperts<F32, 9, 2, 20, 24>(5, Way::kFew, false, fewOfThem<9>);
  // No whole blocks; rows that share experts.
  expectExperts<F16, 6, 4, 50, 30>(11, Way::kFew, true, fewOfThem<6>);
}

TEST(CudaExperts, EqualPlainLoopsForManyRows) {
  expectExperts<F32, 7, 2, 20, 24>(23, Way::kMany, true, fewOfThem<7>);
  // An expert with more rows than a tile.
  expectExperts<BF16, 36, 2, 80, 72>(90, Way::kMany, false, fewOfThem<36>);
  // Rows that begin at odd places.
  expectExperts<F16, 6, 3, 50, 21>(17, Way::kMany, true, fewOfThem<6>);
}

TEST(CudaExperts, EqualPlainLoopsOnWgmma) {
  // Experts with as many rows as this, mixed; tiles end at 64, 128, 192 and 256.
  constexpr int kCounts[] = {1, 0, 63, 64, 65, 129, 0, 192, 257, 0};
  constexpr int kExperts = std::size(kCounts);
  std::vector<int> experts;
  for (int e = 0; e < kExperts; ++e) experts.insert(experts.end(), kCounts[e], e);
  std::shuffle(experts.begin(), experts.end(), Random().rng);
  const auto rows = static_cast<int>(experts.size());
  expectExperts<BF16, kExperts, 1, 64, 64>(
      rows, Way::kWgmma, true, [&](int m, int) { return experts[static_cast<size_t>(m)]; });
  // Stages come round, an odd number of them and an even one; panels off a tile's eight.
  expectExperts<BF16, 36, 2, 320, 128>(40, Way::kWgmma, false, fewOfThem<36>);
  expectExperts<F16, 9, 8, 64, 192>(17, Way::kWgmma, true, fewOfThem<9>);
  expectExperts<F16, 6, 3, 192, 44>(33, Way::kWgmma, true, fewOfThem<6>);  // the way down is not
  // One row; one expert for all.
  expectExperts<BF16, 4, 4, 64, 64>(1, Way::kWgmma, false, [](int, int slot) { return 3 - slot; });
  expectExperts<BF16, 3, 1, 128, 64>(300, Way::kWgmma, true, [](int, int) { return 2; });
}

TEST(CudaExperts, OfOneMatrixHaveItsActivation) {
  constexpr int kExperts = 5, kTopK = 2, kHidden = 50, kWidth = 21, kRows = 3,
                kPanels = (kWidth + 15) / 16, kStride = kTopK * kWidth + 3;
  typedef Product<F32, kHidden, kPanels, kHidden, false, false> P;
  Random random;
  ExpertWeights<F32> up(kExperts, {kWidth}, kHidden, PanelOrder::kConcat, random);
  const auto x = randomFloats(kRows * kHidden, random),
             bias = randomFloats(kExperts * kWidth, random, 0.3f);
  std::vector<float> route;
  for (int m = 0; m < kRows; ++m)
    for (int i : {m % 4, m % 4 + 1, 1, 1}) route.push_back(static_cast<float>(i));
  const Route<kExperts, kTopK, 2 * kTopK> routed{route.data()};
  const TestStep step(kRows);
  std::vector<float> y(kRows * kStride, NAN);
  launch({kPanels * kTopK, kRows}, 256, P::kPaddedCols * 16, [&] {
    expertsOfFewRows<P, 4, true, 1, 16>(
        step.args, x.data(), routed, up.all.data(),
        FinishExpertUp<kRelu2, kWidth, kTopK, kStride>{bias.data(), y.data()});
  });
  for (int m = 0; m < kRows; ++m)
    for (int slot = 0; slot < kTopK; ++slot)
      for (int n = 0; n < kWidth; ++n) {
        const auto e = static_cast<size_t>(routed.expert(m * kTopK + slot));
        const double sum = bias[e * kWidth + static_cast<size_t>(n)] +
                           dot(x.data() + m * kHidden, DType::kF32,
                               up.each[e].sources[0].data() + n * kHidden, kHidden);
        ASSERT_NEAR(y[static_cast<size_t>(m * kStride + slot * kWidth + n)],
                    std::pow(std::max(sum, 0.0), 2), 1e-5)
            << "row " << m << " slot " << slot << " output " << n;
      }
}

TEST(CudaExperts, SortKeepsRowsInOrder) {
  constexpr int kExperts = 5, kTopK = 2, kRows = 300;
  TestStep step(kRows);
  std::vector<float> route;
  for (int m = 0; m < kRows; ++m)
    for (int i : {m * 7 % 4, (m * 7 + 1) % 4, 0, 0}) route.push_back(static_cast<float>(i));
  const Route<kExperts, kTopK, 4> routed{route.data()};
  std::vector<int> sorted(kExperts + 1 + kRows * kTopK);
  launch({kExperts}, 256, 0, [&] { sortByExpert(step.args, routed, sorted.data()); });
  EXPECT_EQ(sorted[0], 0);
  EXPECT_EQ(sorted[kExperts - 1], kRows * kTopK);  // the last expert has none
  EXPECT_EQ(sorted[kExperts], kRows * kTopK);
  for (int e = 0; e < kExperts; ++e)
    for (int i = sorted[static_cast<size_t>(e)]; i < sorted[static_cast<size_t>(e + 1)]; ++i) {
      const int* entry = &sorted[static_cast<size_t>(kExperts + 1 + i)];
      EXPECT_EQ(routed.expert(*entry), e);
      if (i > sorted[static_cast<size_t>(e)]) {
        EXPECT_GT(entry[0], entry[-1]);
      }
    }
}

/// head_linear for few rows, and on tensor cores.
template <class T, int kHeads, int kCols, int kDim, bool kTensor>
void expectHeadProducts(int rows) {
  SCOPED_TRACE(testing::Message() << kHeads << " heads of " << kCols << " to " << kDim);
  constexpr int kPanels = (kDim + 15) / 16, kXStride = kHeads * kCols + 8,
                kYStride = kHeads * kDim + 8;
  typedef Product<T, kCols, kHeads * kPanels, kXStride, false, false> P;
  Random random;
  Weights<T> w({kHeads * kDim}, kCols, PanelOrder::kHeads, kDim, random);
  TestStep step(rows);
  const auto n = static_cast<size_t>(rows);
  const auto x = randomFloats(n * kXStride, random);
  Bytes y(n * kYStride * 4);
  if constexpr (kTensor) {
    launch({(kPanels + 7) / 8, static_cast<unsigned>(rows)}, 128,
           kGroupedStages * kGroupedStageBytes, [&] {
             groupedOnTensorCores<T, kCols, kPanels>(
                 step.args, HeadGroups<kHeads, kCols, kXStride>{x.data(), 0}, w.fragments->data(),
                 FinishHeadGroup<kDim, kYStride>{y.floats()});
           });
  } else {
    launch({kHeads * kPanels, static_cast<unsigned>(rows + 3) / 4}, 256, P::kPaddedCols * 16, [&] {
      headProductOfFewRows<P, 4, true, kPanels>(step.args, x.data(), w.fragments->data(),
                                                FinishHeads<kDim, kYStride>{y.floats()});
    });
  }
  for (int m = 0; m < rows; ++m)
    for (int i = 0; i < kHeads * kDim; ++i) {
      const double expected =
          dot(x.data() + m * kXStride + i / kDim * kCols, kTensor ? kDType<T> : DType::kF32,
              w.sources[0].data() + i * kCols, kCols);
      ASSERT_NEAR(y.floats()[m * kYStride + i], expected, 3e-6) << "row " << m << " output " << i;
    }
}

TEST(CudaExperts, HeadsHaveTheirOwnMatrices) {
  expectHeadProducts<BF16, 3, 64, 40, false>(1);
  expectHeadProducts<F32, 2, 12, 21, false>(6);
  expectHeadProducts<BF16, 3, 48, 160, true>(70);
  expectHeadProducts<F16, 2, 20, 24, true>(5);
}

}  // namespace
}  // namespace llmc::test
