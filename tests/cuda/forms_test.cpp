// What families have beyond Llama's layers, as device functions under the shim against plain loops
// in double: other norms, heads finished whole, capped and sunk scores, latents.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "tests/cuda/device_fixture.h"

namespace llmc::test {
namespace {

std::vector<float> randomFloats(size_t count, Random& random, float scale = 1, float around = 0) {
  std::vector<float> v(count);
  for (float& f : v) f = around + random(scale);
  return v;
}

/// (x - mean) / sqrt(var + eps) * weight + bias in double; without `layer` the mean is 0 and there
/// is no bias.
std::vector<double> normed(const float* x, int cols, const float* weight, const float* bias,
                           double eps, bool layer) {
  double mean = 0, squares = 0;
  for (int k = 0; layer && k < cols; ++k) mean += x[k] / double(cols);
  for (int k = 0; k < cols; ++k) squares += (x[k] - mean) * (x[k] - mean);
  const double scale = 1 / std::sqrt(squares / cols + eps);
  std::vector<double> y;
  for (int k = 0; k < cols; ++k)
    y.push_back((x[k] - mean) * scale * (weight ? weight[k] : 1) + (layer && bias ? bias[k] : 0));
  return y;
}

/// cos and sin of `positions` positions for `half` pairs.
std::vector<float> ropeTable(int positions, int half) {
  std::vector<float> table;
  for (int pos = 0; pos < positions; ++pos)
    for (int part = 0; part < 2; ++part)
      for (int i = 0; i < half; ++i) {
        const double angle = pos * std::pow(0.3, i);
        table.push_back(static_cast<float>(part ? std::sin(angle) : std::cos(angle)));
      }
  return table;
}

/// Element e of a head after its first `rotary` elements were turned by ropeTable()'s angles.
double turned(const std::vector<double>& head, int e, int pos, int rotary) {
  const int half = rotary / 2;
  if (e >= rotary) return head[static_cast<size_t>(e)];
  const int i = e % half;
  const double angle = pos * std::pow(0.3, i), c = std::cos(angle), s = std::sin(angle);
  const double low = head[static_cast<size_t>(i)], high = head[static_cast<size_t>(i + half)];
  return e < half ? low * c - high * s : high * c + low * s;
}

enum class Path { kOneRow, kFourRows, kDirect, kTensor };

/// A product of layer-normed rows that lie far from 0, with a bias of the norm, a bias of its own
/// and an activation.
template <class T, int kRows, int kCols>
void expectLayerNormed(Path path, int rows) {
  SCOPED_TRACE(testing::Message() << "N " << kRows << " K " << kCols << " rows " << rows << " path "
                                  << static_cast<int>(path));
  constexpr int kPanels = (kRows + 15) / 16, kStride = kCols + 8;
  typedef Product<T, kCols, kPanels, kStride, false, true, true> P;
  Random random;
  Weights<T> w({kRows}, kCols, PanelOrder::kConcat, 0, random);
  TestStep step(rows);
  const auto x = randomFloats(static_cast<size_t>(rows) * kStride, random, 1, 3);
  const auto norm = randomFloats(kCols, random, 0.3f, 1), shift = randomFloats(kCols, random);
  const auto bias = randomFloats(kRows, random);
  Bytes y(static_cast<size_t>(rows) * kRows * 4);
  const FinishEach<kRows, true, kRows, Activate<kRelu2>> finish{bias.data(), y.floats(), {}};
  const void* weight = w.fragments->data();
  const float eps = 1e-5f;
  if (path == Path::kOneRow)
    launch({kPanels}, 256, P::kPaddedCols * 4, [&] {
      productOfFewRows<P, 1, true, 1>(step.args, x.data(), norm.data(), eps, weight, finish,
                                      shift.data());
    });
  if (path == Path::kFourRows)
    launch({kPanels, 2}, 256, P::kPaddedCols * 16, [&] {
      productOfFewRows<P, 4, true, 1>(step.args, x.data(), norm.data(), eps, weight, finish,
                                      shift.data());
    });
  if (path == Path::kDirect)
    launch({kPanels}, 256, 0, [&] {
      productOfFewRows<P, 4, false, 1>(step.args, x.data(), norm.data(), eps, weight, finish,
                                       shift.data());
    });
  const DType operand = path == Path::kTensor ? kDType<T> : DType::kF32;
  if constexpr (T::kPerWord == 2) {
    if (path == Path::kTensor) {
      const auto tiles = static_cast<unsigned>((rows + 15) / 16);
      Bytes packed(tiles * P::kBlocks * 512);
      launch({1, tiles}, 256, 0, [&] {
        packRows<P>(step.args, x.data(), norm.data(), eps, packed.data(), shift.data());
      });
      launch({(kPanels + 7) / 8, 1}, 128, 3 * 16384,
             [&] { productOnTensorCores<P>(step.args, packed.data(), weight, finish); });
    }
  }
  for (int m = 0; m < rows; ++m) {
    const auto v = normed(x.data() + m * kStride, kCols, norm.data(), shift.data(), eps, true);
    for (int n = 0; n < kRows; ++n) {
      double sum = bias[static_cast<size_t>(n)], magnitude = std::abs(sum);
      for (int k = 0; k < kCols; ++k) {
        const double term = rounded(operand, static_cast<float>(v[static_cast<size_t>(k)])) *
                            w.sources[0][static_cast<size_t>(n * kCols + k)];
        sum += term;
        magnitude += std::abs(term);
      }
      const double expected = std::max(sum, 0.0) * std::max(sum, 0.0);
      // As tolerance() of device_test, and 4 roundings of values of some 4 in the norm; squared.
      const double edge = operand == DType::kBF16 ? 0x1p-8 : operand == DType::kF16 ? 0x1p-10 : 0;
      const double error = magnitude * ((kCols + 32) * 0x1p-24 + edge * 4 / kCols);
      ASSERT_NEAR(y.floats()[m * kRows + n], expected, (2 * std::abs(sum) + 1) * error)
          << "row " << m << " output " << n;
    }
  }
}

TEST(CudaForms, LayerNormsBeforeAProduct) {
  expectLayerNormed<BF16, 40, 512>(Path::kOneRow, 1);
  expectLayerNormed<F32, 33, 70>(Path::kFourRows, 6);
  expectLayerNormed<F16, 16, 256>(Path::kDirect, 5);
  expectLayerNormed<BF16, 24, 100>(Path::kTensor, 19);
}

TEST(CudaForms, LogitsAreScaledAndCapped) {
  const ScaleAndCap f{0.25f, 30};
  for (float v = -400; v < 400; v += 7) EXPECT_NEAR(f(v), 30 * std::tanh(v / 120.0), 1e-5);
  EXPECT_EQ((ScaleAndCap{1, 0})(-3.7f), -3.7f);
  constexpr int kN = 20, kK = 16;
  typedef Product<F32, kK, 2, kK, false, false> P;
  Random random;
  Weights<F32> w({kN}, kK, PanelOrder::kConcat, 0, random);
  TestStep step(2);
  const auto x = randomFloats(2 * kK, random), residual = randomFloats(2 * kN, random),
             bias = randomFloats(kN, random);
  Bytes y(2 * kN * 4);
  launch({2}, 256, kK * 4, [&] {
    productOfFewRows<P, 1, true, 1>(
        step.args, x.data(), nullptr, 0, w.fragments->data(),
        FinishResidual<kN, true, kN, kN>{residual.data(), bias.data(), 0.22f, y.floats()});
  });
  for (int i = 0; i < 2 * kN; ++i) {
    double sum = bias[static_cast<size_t>(i % kN)];
    for (int k = 0; k < kK; ++k)
      sum += double{x[static_cast<size_t>(i / kN * kK + k)]} *
             w.sources[0][static_cast<size_t>(i % kN * kK + k)];
    EXPECT_NEAR(y.floats()[i], residual[static_cast<size_t>(i)] + 0.22 * sum, 1e-6) << i;
  }
  launch({2}, 256, kK * 4, [&] {  // gates what lies where the residual did
    productOfFewRows<P, 1, true, 1>(step.args, x.data(), nullptr, 0, w.fragments->data(),
                                    FinishGate<kN, true, kN, kN, Activate<kSigmoid>>{
                                        residual.data(), bias.data(), y.floats(), {}});
  });
  for (int i = 0; i < 2 * kN; ++i) {
    double sum = bias[static_cast<size_t>(i % kN)];
    for (int k = 0; k < kK; ++k)
      sum += double{x[static_cast<size_t>(i / kN * kK + k)]} *
             w.sources[0][static_cast<size_t>(i % kN * kK + k)];
    EXPECT_NEAR(y.floats()[i], residual[static_cast<size_t>(i)] / (1 + std::exp(-sum)), 1e-6) << i;
  }
}

/// A product in order heads, then finishHeads(): q, and what reaches the cache.
template <int kHeads, int kKvHeads, int kDim, int kRotary, bool kNorms, int kValues = kOwnValues,
          bool kNormValues = false>
void expectHeads() {
  SCOPED_TRACE(testing::Message() << "head_dim " << kDim << " rotary " << kRotary << " norms "
                                  << kNorms << " values " << kValues << kNormValues);
  constexpr int kSources = kValues == kOwnValues ? 3 : kValues == kKeyValues ? 2 : 1;
  constexpr int kK = 24, kRows = 3, kAll = kHeads + (kSources - 1) * kKvHeads, kWidth = kAll * kDim,
                kPanels = kAll * ((kDim + 15) / 16), kStride = kHeads * kDim + 8, kFirst = 62;
  typedef Product<F32, kK, kPanels, kK, false, false> P;
  typedef KvPool<F32, kKvHeads, kDim> Pool;
  Random random;
  std::vector<int64_t> sources(kSources, kKvHeads * kDim);
  sources[0] = kHeads * kDim;
  Weights<F32> w(sources, kK, PanelOrder::kHeads, kDim, random);
  TestStep step(kRows);
  TestCache<Pool> cache(2);
  step.block_table = {1, 0};
  step.step.blocks_per_seq = 2;
  for (int m = 0; m < kRows; ++m) step.pos[static_cast<size_t>(m)] = kFirst + m;
  const auto x = randomFloats(kRows * kK, random), bias = randomFloats(kWidth, random, 0.2f),
             q_norm = randomFloats(kDim, random, 0.3f, 1),
             k_norm = randomFloats(kDim, random, 0.3f, 1),
             rope = ropeTable(kFirst + kRows, kRotary / 2);
  Bytes raw(kRows * kWidth * 4), q(kRows * kStride * 4);
  launch({kPanels}, 256, kK * 16, [&] {
    productOfFewRows<P, 4, true, 1>(step.args, x.data(), nullptr, 0, w.fragments->data(),
                                    FinishHeads<kDim, kWidth>{raw.floats()});
  });
  const float eps = 1e-6f;
  launch({(kAll + 3) / 4, kRows}, 128, 0, [&] {
    finishHeads<Pool, kHeads, kRotary, kValues, kNormValues, kWidth, kStride>(
        step.args, raw.floats(), bias.data(), kNorms ? q_norm.data() : nullptr,
        kNorms ? k_norm.data() : nullptr, eps, rope.data(), step.rows(), cache.keys.data(),
        cache.values.data(), q.floats());
  });
  for (int m = 0; m < kRows; ++m)
    for (int head = 0; head < kAll; ++head) {
      const int source = head < kHeads ? 0 : head < kHeads + kKvHeads ? 1 : 2;
      const int in_source = head - (source == 0 ? 0 : source == 1 ? kHeads : kHeads + kKvHeads);
      std::vector<float> v;
      for (int d = 0; d < kDim; ++d) {
        double sum = bias[static_cast<size_t>(head * kDim + d)];
        for (int k = 0; k < kK; ++k)
          sum += double{x[static_cast<size_t>(m * kK + k)]} *
                 w.sources[static_cast<size_t>(source)]
                          [static_cast<size_t>((in_source * kDim + d) * kK + k)];
        v.push_back(static_cast<float>(sum));
      }
      std::vector<double> finished(v.begin(), v.end());
      const std::vector<double> value =
          kNormValues ? normed(v.data(), kDim, nullptr, nullptr, eps, false) : finished;
      if (source == 2) finished = value;
      if (kNorms && source < 2)
        finished = normed(v.data(), kDim, source == 0 ? q_norm.data() : k_norm.data(), nullptr, eps,
                          false);
      for (int d = 0; d < kDim; ++d) {
        const double expected = source < 2 ? turned(finished, d, kFirst + m, kRotary)
                                           : finished[static_cast<size_t>(d)];
        const float actual = source == 0
                                 ? q.floats()[m * kStride + head * kDim + d]
                                 : cache.get(source == 1, step, 0, kFirst + m, in_source, d);
        ASSERT_NEAR(actual, expected, 5e-6) << "row " << m << " head " << head << " element " << d;
        if (source == 1 && kValues == kKeyValues) {
          ASSERT_NEAR(cache.get(false, step, 0, kFirst + m, in_source, d),
                      value[static_cast<size_t>(d)], 5e-6)
              << "row " << m << " head " << head << " value " << d;
        }
      }
    }
}

TEST(CudaForms, HeadsAreNormedAndTurnedWhole) {
  expectHeads<3, 1, 40, 40, true>();  // Qwen3
  expectHeads<2, 2, 20, 8, false>();  // NeoX, Phi: a part of each head turns
  expectHeads<5, 1, 12, 4, true>();   // both, and heads that are no whole block of warps
  expectHeads<1, 1, 64, 0, true>();   // no rotation
  // Gemma 4: a norm of values; values that are keys; queries alone.
  expectHeads<3, 2, 32, 32, true, kOwnValues, true>();
  expectHeads<3, 1, 40, 40, true, kKeyValues, true>();
  expectHeads<2, 1, 24, 8, false, kKeyValues, false>();
  expectHeads<5, 1, 40, 40, true, kNoValues>();
}

/// Rows of `cols`, each expected as `expected(row)` says.
template <class Expected>
void expectRows(const Bytes& y, int rows, int cols, int stride, double tolerance,
                Expected expected) {
  for (int m = 0; m < rows; ++m) {
    const std::vector<double> e = expected(m);
    for (int k = 0; k < cols; ++k)
      ASSERT_NEAR(const_cast<Bytes&>(y).floats()[m * stride + k], e[static_cast<size_t>(k)],
                  tolerance)
          << "row " << m << " column " << k;
  }
}

TEST(CudaForms, NormsOfRowsAndHeads) {
  constexpr int kCols = 300, kStride = 304, kRows = 3, kDim = 60;
  Random random;
  TestStep step(kRows);
  const auto x = randomFloats(kRows * kStride, random, 1, 2),
             residual = randomFloats(kRows * kStride, random),
             weight = randomFloats(kCols, random, 0.3f, 1), bias = randomFloats(kCols, random);
  const auto row = [&](int m) { return x.data() + m * kStride; };
  Bytes y(kRows * kStride * 4);
  for (const bool affine : {true, false}) {
    const float *w = affine ? weight.data() : nullptr, *b = affine ? bias.data() : nullptr;
    launch({1, kRows}, 256, 0, [&] {
      layerNormRow<kCols, kStride, kStride>(step.args, x.data(), w, b, y.floats(), 1e-5f);
    });
    expectRows(y, kRows, kCols, kStride, 1e-5,
               [&](int m) { return normed(row(m), kCols, w, b, 1e-5, true); });
  }
  const float half = 0.5f;
  for (const float* factor : {static_cast<const float*>(nullptr), &half}) {
    launch({1, kRows}, 256, 0, [&] {
      normResidualRow<kCols, kStride, kStride, kStride>(step.args, x.data(), residual.data(),
                                                        weight.data(), factor, y.floats(), 1e-5f);
    });
    expectRows(y, kRows, kCols, kStride, 1e-5, [&](int m) {
      auto e = normed(row(m), kCols, weight.data(), nullptr, 1e-5, false);
      for (int k = 0; k < kCols; ++k)
        e[static_cast<size_t>(k)] =
            (e[static_cast<size_t>(k)] + residual[static_cast<size_t>(m * kStride + k)]) *
            (factor ? *factor : 1);
      return e;
    });
  }
  // Heads by rms with one weight for all, and by layer_norm with a weight for each.
  const auto heads = [&](bool layer) {
    return [&, layer](int m) {
      std::vector<double> e;
      for (int head = 0; head < kCols / kDim; ++head)
        for (double v : normed(row(m) + head * kDim, kDim,
                               weight.data() + (layer ? head * kDim : 0), nullptr, 1e-5, layer))
          e.push_back(v);
      return e;
    };
  };
  launch({2, kRows}, 128, 0, [&] {
    qkNormRow<kCols, kDim, false, 0, kStride, kStride>(step.args, x.data(), weight.data(),
                                                       y.floats(), 1e-5f);
  });
  expectRows(y, kRows, kCols, kStride, 1e-5, heads(false));
  launch({2, kRows}, 128, 0, [&] {
    qkNormRow<kCols, kDim, true, kDim, kStride, kStride>(step.args, x.data(), weight.data(),
                                                         y.floats(), 1e-5f);
  });
  expectRows(y, kRows, kCols, kStride, 1e-5, heads(true));
  launch({2, kRows}, 128, 0, [&] {
    qkNormRow<kCols, kDim, false, 0, kStride, kStride>(step.args, x.data(), nullptr, y.floats(),
                                                       1e-5f);
  });
  expectRows(y, kRows, kCols, kStride, 1e-5, [&](int m) {
    std::vector<double> e;
    for (int head = 0; head < kCols / kDim; ++head)
      for (double v : normed(row(m) + head * kDim, kDim, nullptr, nullptr, 1e-5, false))
        e.push_back(v);
    return e;
  });
}

TEST(CudaForms, RowsAreEmbeddedTurnedScaledAndJoined) {
  constexpr int kCols = 36, kStride = 40, kRows = 4;
  Random random;
  TestStep step(kRows);
  for (int m = 0; m < kRows; ++m) {
    step.token_id[static_cast<size_t>(m)] = 7 * m + 1;
    step.pos[static_cast<size_t>(m)] = 3 * m;
  }
  const auto x = randomFloats(kRows * kStride, random), by = randomFloats(kRows * 16, random),
             table = randomFloats(30 * kCols, random), positions = randomFloats(12 * kCols, random);
  const auto at = [&](const std::vector<float>& v, int i) { return v[static_cast<size_t>(i)]; };
  Bytes y(kRows * 2 * kStride * 4);
  launch({1, kRows}, 256, 0, [&] {
    embedRow<F32, kCols, false, kStride>(step.args, step.token_id.data(), table.data(), y.floats(),
                                         6.5f, step.pos.data(), positions.data());
  });
  expectRows(y, kRows, kCols, kStride, 1e-6, [&](int m) {
    std::vector<double> e;
    for (int k = 0; k < kCols; ++k)
      e.push_back(6.5 * at(table, (7 * m + 1) * kCols + k) + at(positions, 3 * m * kCols + k));
    return e;
  });
  const auto rope = ropeTable(12, 2);
  launch({1, kRows}, 128, 0, [&] {
    ropeRow<kCols, 12, 4, kStride, kStride>(step.args, x.data(), step.pos.data(), rope.data(),
                                            y.floats());
  });
  expectRows(y, kRows, kCols, kStride, 1e-6, [&](int m) {
    std::vector<double> e;
    for (int head = 0; head < 3; ++head) {
      const float* from = x.data() + m * kStride + head * 12;
      for (int k = 0; k < 12; ++k)
        e.push_back(turned(std::vector<double>(from, from + 12), k, 3 * m, 4));
    }
    return e;
  });
  launch({1, kRows}, 128, 0, [&] {
    scaleRow<kCols, 1, kStride, 16, kStride>(step.args, x.data(), by.data(), y.floats());
  });
  expectRows(y, kRows, kCols, kStride, 1e-6, [&](int m) {
    std::vector<double> e;
    for (int k = 0; k < kCols; ++k) e.push_back(at(x, m * kStride + k) * at(by, m * 16));
    return e;
  });
  launch({1, kRows}, 128, 0, [&] {
    scaleRowByPos<kCols, 2, kStride, kStride>(step.args, x.data(), step.pos.data(), 0.4f,
                                              y.floats());
  });
  expectRows(y, kRows, kCols, kStride, 1e-6, [&](int m) {
    std::vector<double> e;
    for (int k = 0; k < kCols; ++k)
      e.push_back(at(x, m * kStride + k) * (1 + 0.4 * std::log(1 + 3 * m / 2)));
    return e;
  });
  launch({1, kRows}, 128, 0, [&] {  // 3 heads of 12, a factor each
    scaleRow<kCols, 3, kStride, 16, kStride>(step.args, x.data(), by.data(), y.floats());
  });
  expectRows(y, kRows, kCols, kStride, 1e-6, [&](int m) {
    std::vector<double> e;
    for (int k = 0; k < kCols; ++k) e.push_back(at(x, m * kStride + k) * at(by, m * 16 + k / 12));
    return e;
  });
  launch({1, kRows}, 128, 0, [&] {  // 3 heads of 12 of x, each followed by 4 of by
    concatRow<3, 12, 4, kStride, 16, 2 * kStride>(step.args, x.data(), by.data(), y.floats());
  });
  expectRows(y, kRows, 48, 2 * kStride, 0, [&](int m) {
    std::vector<double> e;
    for (int i = 0; i < 48; ++i)
      e.push_back(i % 16 < 12 ? at(x, m * kStride + i / 16 * 12 + i % 16)
                              : at(by, m * 16 + i / 16 * 4 + i % 16 - 12));
    return e;
  });
}

/// Keys and values of the widths of Pool, scores capped where kCap is not 0, with sinks. A position
/// that is no larger than the one before begins another sequence.
template <class Pool, int kHeads, int kWindow, int kParts, int kCap>
void expectAttention(std::vector<int> positions) {
  typedef typename Pool::Type T;
  SCOPED_TRACE(testing::Message() << "heads " << kHeads << '/' << Pool::kHeads << " of "
                                  << Pool::kDim << '/' << Pool::kValueDim << ' '
                                  << llmrt::dtypeName(kDType<T>));
  constexpr int kDim = Pool::kDim, kValueDim = Pool::kValueDim, kQStride = kHeads * kDim,
                kYStride = kHeads * kValueDim;
  typedef Attention<Pool, kHeads, kWindow, kQStride, kYStride, kParts> A;
  const int rows = static_cast<int>(positions.size()),
            last = *std::max_element(positions.begin(), positions.end());
  const int blocks = last / kBlockTokens + 1;
  Random random;
  TestStep step(rows);
  std::vector<int> lasts;  // of each sequence
  for (int m = 0; m < rows; ++m) {
    const int pos = positions[static_cast<size_t>(m)];
    if (m == 0 || pos <= lasts.back())
      lasts.push_back(pos);
    else
      lasts.back() = pos;
    step.pos[static_cast<size_t>(m)] = pos;
    step.seq[static_cast<size_t>(m)] = static_cast<int>(lasts.size()) - 1;
  }
  step.step.num_sequences = static_cast<i64>(lasts.size());
  const int all_blocks = static_cast<int>(lasts.size()) * blocks;
  TestCache<Pool> cache(all_blocks);
  for (int b = 0; b < all_blocks; ++b) step.block_table.push_back(all_blocks - 1 - b);
  step.step.blocks_per_seq = blocks;
  // Written as kernels do it: a row of keys and one of values per position.
  for (int seq = 0; seq < static_cast<int>(lasts.size()); ++seq)
    for (int pos = 0; pos <= lasts[static_cast<size_t>(seq)]; ++pos) {
      TestStep one(1);
      one.block_table = step.block_table;
      one.step.num_sequences = step.step.num_sequences;
      one.step.blocks_per_seq = blocks;
      one.pos[0] = pos;
      one.seq[0] = seq;
      const auto k = randomFloats(Pool::kHeads * kDim, random, 2),
                 v = randomFloats(Pool::kHeads * kValueDim, random, 2);
      launch({1, 1}, 32, 0, [&] {
        kvWriteRow<Pool, Pool::kHeads * kDim, Pool::kHeads * kValueDim>(
            one.args, k.data(), v.data(), one.rows(), cache.keys.data(), cache.values.data());
      });
      for (int i = 0; i < Pool::kHeads * kValueDim; ++i)
        ASSERT_EQ(cache.get(false, step, seq, pos, i / kValueDim, i % kValueDim),
                  rounded(kDType<T>, v[static_cast<size_t>(i)]));
    }
  const auto q = randomFloats(static_cast<size_t>(rows) * kQStride, random, 2),
             sinks = randomFloats(kHeads, random, 3);
  Bytes y(static_cast<size_t>(rows) * kYStride * 4),
      split(static_cast<size_t>(rows) * kYStride * 4);
  const float scale = 1 / std::sqrt(static_cast<float>(kDim));
  launch({Pool::kHeads * kParts, static_cast<unsigned>(rows)}, 256, 0, [&] {
    A::inTurn(step.args, q.data(), step.rows(), cache.keys.data(), cache.values.data(), y.floats(),
              scale, kCap, sinks.data());
  });
  const int chunks = last / A::kChunk + 1;
  std::vector<u32> counters(static_cast<size_t>(rows * Pool::kHeads * kParts));
  std::vector<float> partials(
      static_cast<size_t>(rows * Pool::kHeads * chunks * A::kRounds * A::kPartialFloats), NAN);
  launch({Pool::kHeads * kParts, static_cast<unsigned>(rows), static_cast<unsigned>(chunks)}, 256,
         0, [&] {
           A::split(step.args, q.data(), step.rows(), cache.keys.data(), cache.values.data(),
                    split.floats(), scale, counters.data(), partials.data(), chunks, kCap,
                    sinks.data());
         });
  for (u32 c : counters) EXPECT_EQ(c, 0u) << "a counter is not as it was";
  std::vector<float> flash, wide;
  if constexpr (kDType<T> != DType::kF32) {
    wide =
        flashAttention<WideFlashAttention<Pool, kHeads, kWindow, kQStride, kYStride, 2>, kYStride>(
            step, q.data(), cache, scale, kCap, sinks.data());
    const auto deep =
        flashAttention<WideFlashAttention<Pool, kHeads, kWindow, kQStride, kYStride, 6>, kYStride>(
            step, q.data(), cache, scale, kCap, sinks.data());
    EXPECT_EQ(wide, deep) << "stages show";
    if constexpr (kDim == kValueDim && kDim <= 128)
      flash = flashAttention<FlashAttention<Pool, kHeads, kWindow, kQStride, kYStride>, kYStride>(
          step, q.data(), cache, scale, kCap, sinks.data());
  }
  for (int m = 0; m < rows; ++m)
    for (int head = 0; head < kHeads; ++head) {
      const int kv_head = head / (kHeads / Pool::kHeads), pos = positions[static_cast<size_t>(m)],
                seq = step.seq[static_cast<size_t>(m)];
      const int from = kWindow ? std::max(0, pos + 1 - kWindow) : 0;
      std::vector<double> p;
      double sum = std::exp(double{sinks[static_cast<size_t>(head)]});
      for (int t = from; t <= pos; ++t) {
        double s = 0;
        for (int d = 0; d < kDim; ++d)
          s += double{q[static_cast<size_t>(m * kQStride + head * kDim + d)]} *
               cache.get(true, step, seq, t, kv_head, d);
        s *= scale;
        if (kCap != 0) s = kCap * std::tanh(s / kCap);
        p.push_back(std::exp(s));
        sum += p.back();
      }
      for (int d = 0; d < kValueDim; ++d) {
        double expected = 0;
        for (int t = from; t <= pos; ++t)
          expected +=
              p[static_cast<size_t>(t - from)] / sum * cache.get(false, step, seq, t, kv_head, d);
        const int at = m * kYStride + head * kValueDim + d;
        // As in device_test: values of at most 2, scores of some 8 with kDim + 4 roundings.
        ASSERT_NEAR(y.floats()[at], expected, 2 * (kDim + 16) * 0x1p-21)
            << "row " << m << " head " << head << " element " << d;
        for (const std::vector<float>* other : {&flash, &wide}) {
          if (other->empty()) continue;
          ASSERT_NEAR((*other)[static_cast<size_t>(at)], expected,
                      kDType<T> == DType::kBF16 ? 0.04 : 0.005)
              << (other == &wide ? "wide" : "flash") << ": row " << m << " head " << head
              << " element " << d;
        }
        ASSERT_EQ(y.floats()[at], split.floats()[at])
            << "not the bits of one block: row " << m << " head " << head;
      }
    }
}

TEST(CudaForms, AttentionCapsSinksAndReadsLatents) {
  expectAttention<KvPool<BF16, 2, 64>, 4, 0, 1, 3>({0, 63, 300});
  expectAttention<KvPool<F16, 1, 24>, 6, 40, 2, 0>({38, 39, 40, 41, 42});  // two blocks a head
  expectAttention<KvPool<F32, 1, 20, 12>, 5, 0, 2, 2>({5, 257});
  expectAttention<KvPool<BF16, 1, 152>, 3, 100, 1, 5>({60, 61, 128, 129, 230});
  expectAttention<KvPool<BF16, 1, 576, 512>, 6, 0, 3, 0>({1, 70});  // as DeepSeek-V3's
}

// Sequences that meet in a tile of queries, heads that are no power of two, more heads than a tile
// has.
TEST(CudaForms, FlashAttentionOfEverySplitOfQueries) {
  expectAttention<KvPool<BF16, 1, 72, 40>, 16, 0, 4, 0>({62, 63, 64, 65, 3, 4, 130, 0, 191});
  expectAttention<KvPool<F16, 2, 24>, 10, 30, 2, 4>({28, 29, 30, 31, 32, 33, 34, 35, 8, 9, 70});
  expectAttention<KvPool<BF16, 1, 16>, 71, 0, 18, 0>({0, 63, 2});  // Falcon-7B's heads
  expectAttention<KvPool<F16, 1, 80, 64>, 128, 0, 32, 0>({64});    // DeepSeek-V3's
}

}  // namespace
}  // namespace llmc::test
