// Linear attention's device functions under the shim against plain loops in double; and their bits,
// in steps of any length, alone or in a batch.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "tests/cuda/device_fixture.h"

namespace llmc::test {
namespace {

std::vector<float> randomFloats(size_t count, Random& random, float scale) {
  std::vector<float> v(count);
  for (float& f : v) f = random(scale);
  return v;
}

/// Rows of several sequences, as a step has them.
struct Rows {
  std::vector<int> seq, index;  // sequence of each row, and its number in the sequence
};
/// `lengths[i]` rows of sequence i from `begin[i]` on.
Rows rowsOf(const std::vector<int>& begin, const std::vector<int>& lengths) {
  Rows rows;
  for (size_t s = 0; s < lengths.size(); ++s)
    for (int i = 0; i < lengths[s]; ++i) {
      rows.seq.push_back(static_cast<int>(s));
      rows.index.push_back(begin[s] + i);
    }
  return rows;
}

constexpr int kLengths[] = {9, 1, 6}, kMostLength = 9, kSequences = 3, kSlots = 5;
const std::vector<int> kSlotOf = {3, 1, 4};

/// Runs `step(rows)` over the three texts: all at once, then in pieces, and says whether what it
/// wrote is the same. `forget` brings the state back to zero, `written` is all that was written.
template <class Step, class Forget, class Written>
void expectSameInPieces(Step step, Forget forget, Written written) {
  step(rowsOf({0, 0, 0}, {9, 1, 6}));
  const auto expected = written();
  forget();
  step(rowsOf({0, 0, 0}, {4, 1, 1}));
  step(rowsOf({4, 1, 1}, {1, 0, 1}));
  step(rowsOf({5, 1, 2}, {0, 0, 3}));
  step(rowsOf({5, 1, 5}, {4, 0, 1}));
  EXPECT_TRUE(written() == expected);
}

/// kOthers: with a bias and a gate, and without an activation.
template <class T, int kCols, int kTaps, bool kOthers = false>
void checkConv() {
  Random random;
  constexpr int kStride = (kCols + 15) / 16 * 16 + 16, kGateStride = kStride + 3;
  constexpr size_t kAll = kSequences * kMostLength * kCols;
  const std::vector<float> x = randomFloats(kAll, random, 2),
                           gate = randomFloats(kAll, random, 1.5f),
                           bias = randomFloats(kCols, random, 1);
  std::vector<float> weight = randomFloats(kTaps * kCols, random, 0.8f);
  Bytes stored(weight.size() * 4);
  for (size_t i = 0; i < weight.size(); ++i) {
    llmrt::storeFromF32(kDType<T>, stored.data(), static_cast<int64_t>(i), weight[i]);
    weight[i] = rounded(kDType<T>, weight[i]);
  }
  std::vector<float> state(kSlots * (kTaps - 1) * kCols), y(x.size());
  auto at = [&](int seq, int row) {
    return static_cast<size_t>((seq * kMostLength + row) * kCols);
  };
  auto step = [&](const Rows& rows) {
    const int count = static_cast<int>(rows.seq.size());
    TestStep test(count);
    std::vector<float> in(static_cast<size_t>(count * kStride), std::nanf("")), out(in.size()),
        gates(static_cast<size_t>(count * kGateStride), std::nanf(""));
    for (int r = 0; r < count; ++r) {
      std::copy_n(&x[at(rows.seq[r], rows.index[r])], kCols, &in[static_cast<size_t>(r * kStride)]);
      std::copy_n(&gate[at(rows.seq[r], rows.index[r])], kCols,
                  &gates[static_cast<size_t>(r * kGateStride)]);
    }
    launch({(kCols + kConvThreads - 1) / kConvThreads, static_cast<unsigned>(count)}, kConvThreads,
           0, [&] {
             const SlotRows of{rows.seq.data(), kSlotOf.data()};
             if constexpr (kOthers)
               causalConv<T, kCols, kTaps, kNoActivation, kStride, kStride, kGateStride>(
                   test.args, in.data(), stored.data(), of, state.data(), out.data(), bias.data(),
                   gates.data());
             else
               causalConv<T, kCols, kTaps, kSilu, kStride, kStride>(
                   test.args, in.data(), stored.data(), of, state.data(), out.data());
           });
    for (int r = 0; r < count; ++r)
      std::copy_n(&out[static_cast<size_t>(r * kStride)], kCols,
                  &y[at(rows.seq[r], rows.index[r])]);
  };
  expectSameInPieces(
      step, [&] { std::fill(state.begin(), state.end(), 0.0f); },
      [&] { return std::pair(y, state); });
  for (int s = 0; s < kSequences; ++s)
    for (int r = 0; r < kLengths[s]; ++r)
      for (int c = 0; c < kCols; ++c) {
        double sum = 0;
        for (int t = 0; t < kTaps; ++t) {
          const int from = r - kTaps + 1 + t;
          if (from >= 0) sum += double{x[at(s, from) + c]} * weight[t * kCols + c];
        }
        const double right =
            kOthers ? (sum + bias[c]) * gate[at(s, r) + c] : sum / (1 + std::exp(-sum));
        // A chain of products up to 1.6, then a bias and a factor of 1.5, or exp and a quotient.
        ASSERT_NEAR(y[at(s, r) + c], right, (kTaps + 12) * 0x1p-24 * 1.6 * kTaps)
            << "sequence " << s << ", row " << r << ", " << c;
      }
  // What is kept is what came last; the slots of no sequence stay.
  for (int t = 0; t + 1 < kTaps; ++t)
    for (int c = 0; c < kCols; ++c) {
      EXPECT_EQ(state[(3 * (kTaps - 1) + t) * kCols + c], x[at(0, 9 - kTaps + 1 + t) + c]);
      EXPECT_EQ(state[(2 * (kTaps - 1) + t) * kCols + c], 0.0f);
    }
}

TEST(LinearAttention, ConvolutionsOfTheLastTokensArePlainSums) {
  checkConv<F32, 128, 4>();
  checkConv<BF16, 150, 4>();
  checkConv<F16, 33, 2>();
}

TEST(LinearAttention, ConvolutionsHaveABiasAndAGate) {
  checkConv<F32, 33, 3, true>();
  checkConv<BF16, 150, 4, true>();
}

/// kTiled: head h's keys are those of head h % kKeyHeads, and not of h / (kHeads / kKeyHeads).
template <int kKeyHeads, int kHeads, int kKeyDim, int kValueDim, bool kTiled = false>
void checkDelta() {
  Random random;
  constexpr int kQkv = 2 * kKeyHeads * kKeyDim + kHeads * kValueDim, kOut = kHeads * kValueDim;
  constexpr int kQkvStride = kQkv + 5, kGateStride = kHeads + 3, kBetaStride = kHeads + 1,
                kYStride = kOut + 7, kElements = kHeads * kKeyDim * kValueDim;
  constexpr float kEps = 1e-6f;
  const size_t tokens = kSequences * kMostLength;
  const std::vector<float> qkv = randomFloats(tokens * kQkv, random, 2),
                           gate = randomFloats(tokens * kHeads, random, 9),
                           beta = randomFloats(tokens * kHeads, random, 5),
                           a_log = randomFloats(kHeads, random, 1.5f),
                           dt_bias = randomFloats(kHeads, random, 1);
  std::vector<float> state(static_cast<size_t>(kSlots) * kElements), y(tokens * kOut);
  auto token = [](int seq, int row) { return static_cast<size_t>(seq * kMostLength + row); };
  auto step = [&](const Rows& rows) {
    const int count = static_cast<int>(rows.seq.size());
    TestStep test(count);
    auto gather = [&](const std::vector<float>& from, int width, int stride) {
      std::vector<float> to(static_cast<size_t>(count * stride), std::nanf(""));
      for (int r = 0; r < count; ++r)
        std::copy_n(&from[token(rows.seq[r], rows.index[r]) * width], width, &to[r * stride]);
      return to;
    };
    const std::vector<float> in = gather(qkv, kQkv, kQkvStride),
                             gates = gather(gate, kHeads, kGateStride),
                             betas = gather(beta, kHeads, kBetaStride);
    std::vector<float> out(static_cast<size_t>(count * kYStride));
    launch({kHeads * ((kValueDim + 31) / 32), static_cast<unsigned>(count)}, kStateThreads, 0, [&] {
      gatedDelta<kKeyHeads, kHeads, kTiled, kKeyDim, kValueDim, kQkvStride, kGateStride,
                 kBetaStride, kYStride>(
          test.args, in.data(), gates.data(), betas.data(), a_log.data(), dt_bias.data(),
          SlotRows{rows.seq.data(), kSlotOf.data()}, state.data(), out.data(), kEps);
    });
    for (int r = 0; r < count; ++r)
      std::copy_n(&out[r * kYStride], kOut, &y[token(rows.seq[r], rows.index[r]) * kOut]);
  };
  expectSameInPieces(
      step, [&] { std::fill(state.begin(), state.end(), 0.0f); },
      [&] { return std::pair(y, state); });
  for (int s = 0; s < kSequences; ++s)
    for (int h = 0; h < kHeads; ++h) {
      std::vector<double> S(kKeyDim * kValueDim);
      double most = 0, tolerance = 0;
      for (int r = 0; r < kLengths[s]; ++r) {
        const int key_head = kTiled ? h % kKeyHeads : h / (kHeads / kKeyHeads);
        const float* q = &qkv[token(s, r) * kQkv] + key_head * kKeyDim;
        const float* k = q + kKeyHeads * kKeyDim;
        const float* v = &qkv[token(s, r) * kQkv] + 2 * kKeyHeads * kKeyDim + h * kValueDim;
        double q_squares = kEps, k_squares = kEps;
        for (int i = 0; i < kKeyDim; ++i)
          q_squares += double{q[i]} * q[i], k_squares += double{k[i]} * k[i];
        const double q_scale = 1 / std::sqrt(q_squares * kKeyDim),
                     k_scale = 1 / std::sqrt(k_squares);
        const double time =
            std::log1p(std::exp(double{gate[token(s, r) * kHeads + h]} + dt_bias[h]));
        const double decay = std::exp(-std::exp(double{a_log[h]}) * time);
        const double strength = 1 / (1 + std::exp(-double{beta[token(s, r) * kHeads + h]}));
        std::vector<double> out(kValueDim);
        for (int c = 0; c < kValueDim; ++c) {
          double known = 0, squares = 0;
          for (int i = 0; i < kKeyDim; ++i) known += k[i] * k_scale * decay * S[i * kValueDim + c];
          for (int i = 0; i < kKeyDim; ++i) {
            double& element = S[i * kValueDim + c];
            element = decay * element + k[i] * k_scale * strength * (v[c] - known);
            out[c] += q[i] * q_scale * element;
            squares += element * element;
          }
          most = std::max({most, std::sqrt(squares), std::abs(double{v[c]})});
        }
        // Keys have length 1, so a step makes no error of S larger; it adds those of two sums over
        // kKeyDim, of norms and of exp, each of the size of a column of S or of v.
        tolerance += (2 * kKeyDim + 64) * 0x1p-24 * most;
        for (int c = 0; c < kValueDim; ++c)
          ASSERT_NEAR(y[token(s, r) * kOut + h * kValueDim + c], out[c], tolerance)
              << "sequence " << s << ", head " << h << ", row " << r << ", " << c;
      }
      for (int i = 0; i < kKeyDim * kValueDim; ++i)
        ASSERT_NEAR(state[kSlotOf[s] * kElements + h * kKeyDim * kValueDim + i], S[i], tolerance);
    }
  EXPECT_TRUE(
      std::all_of(&state[2 * kElements], &state[3 * kElements], [](float v) { return v == 0; }));
}

TEST(LinearAttention, TheGatedDeltaRuleIsThePlainRecurrence) {
  checkDelta<1, 2, 128, 64>();
  checkDelta<2, 4, 12, 20>();
  checkDelta<3, 3, 33, 40>();
  checkDelta<2, 6, 12, 20, true>();
}

template <int kHeads, int kGroups, int kStateSize, int kHeadDim, bool kIsRate, bool kGated>
void checkStateSpace(float from, float to) {
  Random random;
  constexpr int kInner = kHeads * kHeadDim, kXbc = kInner + 2 * kGroups * kStateSize;
  constexpr int kXbcStride = kXbc + 5, kDtStride = kHeads + 3, kYStride = kInner + 7,
                kGateStride = kInner + 2, kElements = kHeads * kStateSize * kHeadDim;
  const size_t tokens = kSequences * kMostLength;
  const std::vector<float> xbc = randomFloats(tokens * kXbc, random, 1.5f),
                           dt = randomFloats(tokens * kHeads, random, 4),
                           gate = randomFloats(tokens * kInner, random, 1),
                           dt_bias = randomFloats(kHeads, random, 1),
                           d = randomFloats(kHeads, random, 1);
  std::vector<float> a = randomFloats(kHeads, random, 1.5f);
  if (kIsRate)
    for (float& rate : a) rate = -std::exp(rate);
  std::vector<float> state(static_cast<size_t>(kSlots) * kElements), y(tokens * kInner);
  auto token = [](int seq, int row) { return static_cast<size_t>(seq * kMostLength + row); };
  auto step = [&](const Rows& rows) {
    const int count = static_cast<int>(rows.seq.size());
    TestStep test(count);
    auto gather = [&](const std::vector<float>& all, int width, int stride) {
      std::vector<float> out(static_cast<size_t>(count * stride), std::nanf(""));
      for (int r = 0; r < count; ++r)
        std::copy_n(&all[token(rows.seq[r], rows.index[r]) * width], width, &out[r * stride]);
      return out;
    };
    const std::vector<float> in = gather(xbc, kXbc, kXbcStride),
                             times = gather(dt, kHeads, kDtStride),
                             gates = gather(gate, kInner, kGateStride);
    std::vector<float> out(static_cast<size_t>(count * kYStride));
    launch({kHeads * ((kHeadDim + 31) / 32), static_cast<unsigned>(count)}, kStateThreads, 0, [&] {
      stateSpace<kHeads, kGroups, kStateSize, kHeadDim, kIsRate, kXbcStride, kDtStride, kYStride,
                 kGateStride>(test.args, in.data(), times.data(), kGated ? gates.data() : nullptr,
                              a.data(), dt_bias.data(), d.data(),
                              SlotRows{rows.seq.data(), kSlotOf.data()}, state.data(), out.data(),
                              from, to);
    });
    for (int r = 0; r < count; ++r)
      std::copy_n(&out[r * kYStride], kInner, &y[token(rows.seq[r], rows.index[r]) * kInner]);
  };
  expectSameInPieces(
      step, [&] { std::fill(state.begin(), state.end(), 0.0f); },
      [&] { return std::pair(y, state); });
  for (int s = 0; s < kSequences; ++s)
    for (int h = 0; h < kHeads; ++h) {
      std::vector<double> S(kStateSize * kHeadDim);
      double most = 0, tolerance = 0;
      for (int r = 0; r < kLengths[s]; ++r) {
        const float* x = &xbc[token(s, r) * kXbc] + h * kHeadDim;
        const float* b = &xbc[token(s, r) * kXbc] + kInner + h / (kHeads / kGroups) * kStateSize;
        const float* c = b + kGroups * kStateSize;
        const double soft = std::log1p(std::exp(double{dt[token(s, r) * kHeads + h]} + dt_bias[h]));
        const double time = std::clamp<double>(soft, from, to);
        const double decay = std::exp((kIsRate ? a[h] : -std::exp(double{a[h]})) * time);
        std::vector<double> out(kHeadDim);
        for (int p = 0; p < kHeadDim; ++p) {
          for (int i = 0; i < kStateSize; ++i) {
            double& element = S[i * kHeadDim + p];
            element = decay * element + b[i] * time * x[p];
            out[p] += element * c[i];
            most = std::max(most, std::abs(element));
          }
          out[p] += double{d[h]} * x[p];
          if (kGated) out[p] *= gate[token(s, r) * kInner + h * kHeadDim + p];
        }
        // A decay below 1 makes no error of S larger. A token adds those of exp and of a few
        // products, each of the size of S; y is a sum of kStateSize of them times C, below 1.5.
        tolerance += (kStateSize + 32) * 0x1p-24 * most * 1.5 * kStateSize;
        for (int p = 0; p < kHeadDim; ++p)
          ASSERT_NEAR(y[token(s, r) * kInner + h * kHeadDim + p], out[p], tolerance + 1e-6)
              << "sequence " << s << ", head " << h << ", row " << r << ", " << p;
      }
      for (int i = 0; i < kStateSize * kHeadDim; ++i)
        ASSERT_NEAR(state[kSlotOf[s] * kElements + h * kStateSize * kHeadDim + i], S[i], tolerance);
    }
  EXPECT_TRUE(
      std::all_of(&state[2 * kElements], &state[3 * kElements], [](float v) { return v == 0; }));
}

TEST(StateSpace, IsThePlainRecurrence) {
  checkStateSpace<2, 1, 128, 64, false, false>(0, INFINITY);
  checkStateSpace<4, 2, 12, 20, true, true>(0.25f, 1.5f);
  checkStateSpace<3, 3, 33, 40, false, true>(0.001f, INFINITY);
}

}  // namespace
}  // namespace llmc::test
