// The bodies of CUDA kernels under the shim against plain loops in double, at and off the edges of
// their tiles.
#include <gtest/gtest.h>

#include <vector>

#include "runtime/abi/cuda_abi.h"
#include "tests/cuda/device_fixture.h"

namespace llmc::test {
namespace {

static_assert(offsetof(Args, operands) == sizeof(LlmcCudaArgs));
static_assert(sizeof(Args) == sizeof(LlmcCudaArgs) + kOperands * 8);
static_assert(sizeof(Relayout) == sizeof(LlmcCudaRelayout) && sizeof(Step) == sizeof(LlmcStep));
static_assert(offsetof(Step, num_logits_rows) == offsetof(LlmcStep, num_logits_rows));
static_assert(offsetof(Step, blocks_per_seq) == offsetof(LlmcStep, blocks_per_seq));
static_assert(kBlockTokens == LLMC_KV_BLOCK_TOKENS);

struct Expectation {
  double value = 0, magnitude = 0;  // a sum and that of its terms' sizes
};

/// x[m] (normalised with `norm` and rounded to `operand` where asked) times row n of w.
Expectation dot(const float* x, const float* norm, float eps, DType operand, const float* w,
                int64_t cols) {
  double scale = 1;
  if (norm) {
    double squares = 0;
    for (int64_t k = 0; k < cols; ++k) squares += double{x[k]} * x[k];
    scale = 1 / std::sqrt(squares / static_cast<double>(cols) + eps);
  }
  Expectation e;
  for (int64_t k = 0; k < cols; ++k) {
    const double v = norm ? x[k] * scale * norm[k] : x[k];
    const double term =
        (operand == DType::kF32 ? v : rounded(operand, static_cast<float>(v))) * w[k];
    e.value += term;
    e.magnitude += std::abs(term);
  }
  return e;
}

/// Of a product with K terms: K + 8 roundings of partial sums, the norm's few; where x is rounded,
/// a value may round the other way than in double (2^-8 of bf16, 2^-10 of f16) wherever it lies on
/// an edge: few do, one per sum is allowed for.
double tolerance(const Expectation& e, int64_t cols, DType operand) {
  const double edge = operand == DType::kBF16 ? 0x1p-8 : operand == DType::kF16 ? 0x1p-10 : 0;
  return e.magnitude *
             ((static_cast<double>(cols) + 16) * 0x1p-24 + edge * 4 / static_cast<double>(cols)) +
         1e-30;
}

enum class Path { kOneRow, kFourRows, kDirect, kTensor, kWgmma };

/// packRows and productOnWgmma; `rows`: of the product.
template <class P, int kTokens, int kCluster = 1, class Finish>
void multiplyOnWgmma(const Args& args, int rows, const float* x, const float* norm, float eps,
                     const void* weight, const Finish& finish) {
  typedef ProductOnWgmma<P, kTokens, int> W;
  const auto row_tiles = static_cast<size_t>((rows + 63) / 64);
  Bytes packed(row_tiles * W::kSteps * W::kRowTileBytes);
  std::fill_n(packed.data(), row_tiles * W::kSteps * W::kRowTileBytes, uint8_t{0xff});
  launch({1, static_cast<unsigned>(rows + 15) / 16}, 256, 0,
         [&] { packRows<P, true>(args, x, norm, eps, packed.data()); });
  const unsigned clusters = ceilDiv(P::kPanels, 8 * kCluster);
  launch({clusters * kCluster, static_cast<unsigned>(rows + kTokens - 1) / kTokens, 1, kCluster},
         W::kThreads, W::kSharedBytes,
         [&] { productOnWgmma<P, kTokens, kCluster>(args, packed.data(), weight, finish); });
}

template <class T, int kRows, int kCols, int kStride, bool kGather, bool kNorm>
void expectProduct(Path path, int rows) {
  SCOPED_TRACE(testing::Message() << "N " << kRows << " K " << kCols << " rows " << rows << " path "
                                  << static_cast<int>(path) << " dtype "
                                  << llmrt::dtypeName(kDType<T>) << " gather " << kGather
                                  << " norm " << kNorm);
  constexpr int kPanels = (kRows + 15) / 16, kYStride = kPanels * 16 + 16;
  typedef Product<T, kCols, kPanels, kStride, kGather, kNorm> P;
  Random random;
  Weights<T> w({kRows}, kCols, PanelOrder::kConcat, 0, random);
  ASSERT_EQ(w.panels, kPanels);
  TestStep step(rows);
  const int outputs = kGather ? static_cast<int>(step.logits_rows.size()) : rows;
  Bytes x(static_cast<size_t>(rows) * kStride * 4),
      y(static_cast<size_t>(outputs + 1) * kYStride * 4);
  std::vector<float> norm;
  for (int k = 0; k < kCols; ++k) norm.push_back(1 + random(0.3f));
  for (int m = 0; m < rows; ++m)
    for (int k = 0; k < kStride; ++k) x.floats()[m * kStride + k] = k < kCols ? random() : NAN;
  std::fill_n(y.floats(), (outputs + 1) * kYStride, NAN);
  const FinishStore<kRows, kYStride> finish{y.floats()};
  const float* norms = kNorm ? norm.data() : nullptr;
  const float eps = 1e-5f;
  const void* weight = w.fragments->data();
  const int* gathered = kGather ? step.logits_rows.data() : nullptr;
  const DType operand = path >= Path::kTensor ? kDType<T> : DType::kF32;
  switch (path) {
    case Path::kOneRow:
      launch({(kPanels + 1) / 2}, 256, P::kPaddedCols * 4, [&] {
        productOfFewRows<P, 1, true, 2>(step.args, x.floats(), norms, eps, weight, finish, nullptr,
                                        gathered);
      });
      break;
    case Path::kFourRows:
      launch({kPanels, 2}, 256, P::kPaddedCols * 16, [&] {
        productOfFewRows<P, 4, true, 1>(step.args, x.floats(), norms, eps, weight, finish, nullptr,
                                        gathered);
      });
      break;
    case Path::kDirect:
      if constexpr (P::kPaddedCols == kCols)
        launch({kPanels}, 256, 0, [&] {
          productOfFewRows<P, 4, false, 1>(step.args, x.floats(), norms, eps, weight, finish,
                                           nullptr, gathered);
        });
      break;
    case Path::kTensor:
      if constexpr (T::kPerWord == 2) {
        const auto row_panels = static_cast<unsigned>((outputs + 15) / 16);
        Bytes packed(row_panels * P::kBlocks * 512);
        std::fill_n(packed.data(), row_panels * P::kBlocks * 512, uint8_t{0xff});
        launch({1, row_panels}, 256, 0, [&] {
          packRows<P>(step.args, x.floats(), norms, eps, packed.data(), nullptr, gathered);
        });
        launch({(kPanels + 7) / 8, static_cast<unsigned>(outputs + 127) / 128}, 128, 3 * 16384,
               [&] { productOnTensorCores<P>(step.args, packed.data(), weight, finish); });
      }
      break;
    case Path::kWgmma:
      if constexpr (T::kPerWord == 2 && kCols % 64 == 0 && !kGather) {
        const size_t all = static_cast<size_t>(outputs + 1) * kYStride;
        const auto multiply = [&]<int kTokens, int kCluster>() {
          std::fill_n(y.floats(), all, NAN);
          multiplyOnWgmma<P, kTokens, kCluster>(step.args, rows, x.floats(), norms, eps, weight,
                                                finish);
          return std::vector<float>(y.floats(), y.floats() + all);
        };
        const std::vector<float> first = multiply.template operator()<128, 1>();
        // Bits do not depend on the tile, nor on who copied it.
        for (const std::vector<float>& other :
             {multiply.template operator()<128, 2>(), multiply.template operator()<256, 2>(),
              multiply.template operator()<256, 1>(), multiply.template operator()<64, 1>(),
              multiply.template operator()<64, 2>()})
          ASSERT_EQ(std::memcmp(first.data(), other.data(), all * 4), 0);
      }
      break;
  }
  for (int i = 0; i <= outputs; ++i)
    for (int n = 0; n < kYStride; ++n) {
      const float actual = y.floats()[i * kYStride + n];
      if (i == outputs || n >= kRows) {
        ASSERT_TRUE(std::isnan(actual)) << "written outside: row " << i << " output " << n;
        continue;
      }
      const int row = kGather ? step.logits_rows[static_cast<size_t>(i)] : i;
      const Expectation e = dot(x.floats() + row * kStride, norms, eps, operand,
                                w.sources[0].data() + n * kCols, kCols);
      ASSERT_NEAR(actual, e.value, tolerance(e, kCols, operand)) << "row " << i << " output " << n;
    }
}

TEST(CudaProduct, EqualsAPlainLoopForFewRows) {
  expectProduct<BF16, 64, 1024, 1040, false, true>(Path::kOneRow, 1);  // whole groups of blocks
  expectProduct<BF16, 51, 72, 80, false, false>(Path::kOneRow, 3);     // K and N off their tiles
  expectProduct<F16, 33, 1030, 1040, true, true>(Path::kFourRows, 7);  // rows gathered
  expectProduct<F32, 70, 200, 208, false, true>(Path::kFourRows, 9);   // more rows than the grid's
  expectProduct<F32, 16, 7, 16, false, false>(Path::kOneRow, 2);
  expectProduct<BF16, 40, 1536, 1552, false, true>(Path::kDirect, 5);
  expectProduct<F32, 24, 512, 512, true, false>(Path::kDirect, 13);
}

TEST(CudaProduct, EqualsAPlainLoopOnTensorCores) {
  expectProduct<BF16, 128, 64, 64, false, false>(Path::kTensor, 128);  // one whole tile
  expectProduct<BF16, 150, 112, 112, false, true>(Path::kTensor, 139);
  expectProduct<F16, 24, 50, 64, false, true>(Path::kTensor, 17);
  expectProduct<F16, 16, 200, 208, true, false>(Path::kTensor, 5);
}

TEST(CudaProduct, EqualsAPlainLoopOnWgmma) {
  expectProduct<BF16, 128, 64, 64, false, false>(Path::kWgmma, 128);   // one whole tile, one stage
  expectProduct<BF16, 150, 320, 336, false, true>(Path::kWgmma, 300);  // stages come round; edges
  expectProduct<BF16, 40, 576, 592, false, false>(Path::kWgmma, 70);   // and round again
  expectProduct<F16, 24, 128, 144, false, true>(Path::kWgmma, 17);
  // Three tiles of panels, so one block of a cluster has none; one tile of rows, which one sends.
  expectProduct<BF16, 270, 384, 400, false, false>(Path::kWgmma, 61);
}

/// The same bits for one row and for four, for any grid.
TEST(CudaProduct, GivesTheSameBitsForAnyRowsAtOnce) {
  typedef Product<BF16, 304, 3, 304, false, true> P;
  Random random;
  Weights<BF16> w({48}, 304, PanelOrder::kConcat, 0, random);
  TestStep step(6);
  Bytes x(6 * 304 * 4), one(6 * 48 * 4), four(6 * 48 * 4);
  std::vector<float> norm(304, 0.7f);
  for (int i = 0; i < 6 * 304; ++i) x.floats()[i] = random();
  launch({3, 6}, 256, P::kPaddedCols * 4, [&] {
    productOfFewRows<P, 1, true, 1>(step.args, x.floats(), norm.data(), 1e-5f, w.fragments->data(),
                                    FinishStore<48, 48>{one.floats()});
  });
  launch({2, 1}, 256, P::kPaddedCols * 16, [&] {
    productOfFewRows<P, 4, true, 2>(step.args, x.floats(), norm.data(), 1e-5f, w.fragments->data(),
                                    FinishStore<48, 48>{four.floats()});
  });
  for (int i = 0; i < 6 * 48; ++i) ASSERT_EQ(one.floats()[i], four.floats()[i]) << i;
}

enum class Norm { kNone, kRms, kLayer };

/// `rows` rows packed and multiplied at once have the bits that each has alone, and nothing else is
/// written. kGather: the logits rows of three times as many. kGroups: more than kBatchRows.
template <class T, int kRows, int kAtOnce, int kN, int kK, Norm kNorm, bool kGather = false,
          bool kGroups = false>
void expectBatch(int rows) {
  SCOPED_TRACE(testing::Message() << "N " << kN << " K " << kK << " rows " << rows << " of "
                                  << kRows << ", panels " << kAtOnce << ", dtype "
                                  << llmrt::dtypeName(kDType<T>));
  constexpr int kPanels = (kN + 15) / 16, kStride = kK + kK % 8 + 8, kYStride = kPanels * 16 + 16;
  typedef Product<T, kK, kPanels, kStride, kGather, kNorm != Norm::kNone, kNorm == Norm::kLayer> P;
  typedef BatchProduct<P, kRows, kAtOnce, kGroups> Batch;
  const auto groups = static_cast<unsigned>(kGroups ? (rows + kBatchRows - 1) / kBatchRows : 1);
  Random random;
  Weights<T> w({kN}, kK, PanelOrder::kConcat, 0, random);
  const int all = kGather ? 3 * rows : rows;
  TestStep step(all);
  Bytes x(static_cast<size_t>(all) * kStride * 4), packed(groups * PackedBatch<P>::kBytes);
  std::vector<float> norm, shift, residual;
  for (int k = 0; k < kK; ++k) norm.push_back(1 + random(0.3f)), shift.push_back(random(0.3f));
  for (int i = 0; i < rows * kYStride; ++i) residual.push_back(random());
  for (int i = 0; i < all * kStride; ++i) x.floats()[i] = i % kStride < kK ? random() : NAN;
  std::fill_n(packed.data(), groups * PackedBatch<P>::kBytes, uint8_t{0xff});
  // Both kinds of finish: one that reads ahead of earlier kernels, one that waits for them.
  const auto both = [&](const auto& multiply) {
    std::vector<float> y(static_cast<size_t>(rows + 1) * kYStride, NAN), z = y;
    multiply(FinishStore<kN, kYStride>{y.data()});
    multiply(
        FinishResidual<kN, false, kYStride, kYStride>{residual.data(), nullptr, 0.5f, z.data()});
    y.insert(y.end(), z.begin(), z.end());
    return y;
  };
  const float* const shifts = kNorm == Norm::kLayer ? shift.data() : nullptr;
  const std::vector<float> alone = both([&](const auto& finish) {
    launch({kPanels}, 256, P::kPaddedCols * 4, [&] {
      productOfFewRows<P, 1, true, 1>(step.args, x.floats(), norm.data(), 1e-5f,
                                      w.fragments->data(), finish, shifts, step.logits_rows.data());
    });
  });
  const std::vector<float> together = both([&](const auto& finish) {
    launch({kBatchRows, groups}, 256, 0, [&] {
      packBatch<P, kGroups>(step.args, x.floats(), norm.data(), 1e-5f, packed.floats(), shifts,
                            step.logits_rows.data());
    });
    launch({(kPanels + kAtOnce - 1) / kAtOnce, groups}, 256, Batch::kSharedBytes,
           [&] { Batch::run(step.args, packed.floats(), w.fragments->data(), finish); });
  });
  for (size_t i = 0; i < alone.size(); ++i) {
    const size_t row = i / kYStride % static_cast<size_t>(rows + 1);
    const bool written = row < static_cast<size_t>(rows) && i % kYStride < kN;
    ASSERT_EQ(written, !std::isnan(alone[i])) << i;
    ASSERT_EQ(floatToBits(alone[i]), floatToBits(together[i])) << i;
  }
}

TEST(CudaProduct, GivesTheSameBitsInABatch) {
  expectBatch<BF16, 8, 1, 48, 304, Norm::kRms>(5);
  expectBatch<BF16, 8, 2, 64, 1280, Norm::kNone>(8);   // stages come round
  expectBatch<BF16, 16, 2, 40, 1024, Norm::kRms>(16);  // a last block with one panel
  expectBatch<F16, 16, 1, 33, 1030, Norm::kLayer>(9);  // K and N off their tiles
  expectBatch<F16, 16, 2, 70, 72, Norm::kNone>(13);    // warps without k
  expectBatch<F32, 16, 2, 24, 520, Norm::kLayer>(11);
  expectBatch<F32, 8, 1, 16, 7, Norm::kRms>(6);
  expectBatch<BF16, 16, 2, 32, 1024, Norm::kRms, true>(10);
  expectBatch<BF16, 16, 2, 72, 304, Norm::kRms, false, true>(33);  // groups of them
  expectBatch<F16, 16, 1, 33, 70, Norm::kLayer, true, true>(17);
}

TEST(CudaProduct, GluPairsGateAndUp) {
  constexpr int kN = 41, kK = 32, kRows = 3;
  typedef Product<F32, kK, 6, kK, false, false> P;
  Random random;
  Weights<F32> w({kN, kN}, kK, PanelOrder::kInterleave, 0, random);
  ASSERT_EQ(w.panels, 6);
  TestStep step(kRows);
  Bytes x(kRows * kK * 4), y(kRows * 48 * 4);
  std::vector<float> bias;
  for (int i = 0; i < 2 * kN; ++i) bias.push_back(random(0.2f));
  for (int i = 0; i < kRows * kK; ++i) x.floats()[i] = random();
  launch({6}, 256, kK * 16, [&] {
    productOfFewRows<P, 4, true, 1>(step.args, x.floats(), nullptr, 0, w.fragments->data(),
                                    FinishGlu<kSilu, kN, true, 48>{bias.data(), y.floats()});
  });
  for (int m = 0; m < kRows; ++m)
    for (int n = 0; n < kN; ++n) {
      const double gate =
          dot(x.floats() + m * kK, nullptr, 0, DType::kF32, w.sources[0].data() + n * kK, kK)
              .value +
          bias[n];
      const double up =
          dot(x.floats() + m * kK, nullptr, 0, DType::kF32, w.sources[1].data() + n * kK, kK)
              .value +
          bias[kN + n];
      ASSERT_NEAR(y.floats()[m * 48 + n], gate / (1 + std::exp(-gate)) * up, 1e-5) << m << ' ' << n;
    }
}

template <class T, int kHeads, int kKvHeads, int kDim, bool kTensor, bool kWgmma = false>
void expectQkv(bool bias_too) {
  SCOPED_TRACE(testing::Message() << "head_dim " << kDim << " dtype " << llmrt::dtypeName(kDType<T>)
                                  << (kTensor ? " tensor" : ""));
  constexpr int kK = 64, kRows = 5, kAll = kHeads + 2 * kKvHeads,
                kPanels = kAll * ((kDim + 15) / 16), kStride = kHeads * kDim + 8;
  typedef Product<T, kK, kPanels, kK, false, false> P;
  typedef KvPool<F32, kKvHeads, kDim> Pool;
  Random random;
  Weights<T> w({kHeads * kDim, kKvHeads * kDim, kKvHeads * kDim}, kK, PanelOrder::kHeads, kDim,
               random);
  ASSERT_EQ(w.panels, kPanels);
  TestStep step(kRows);
  TestCache<Pool> cache(2);
  step.block_table = {1, 0};
  step.step.blocks_per_seq = 2;
  for (int m = 0; m < kRows; ++m)
    step.pos[static_cast<size_t>(m)] = 61 + m;  // over the edge of a block
  Bytes x(kRows * kK * 4), q(kRows * kStride * 4);
  std::vector<float> bias, rope;
  for (int i = 0; i < kAll * kDim; ++i) bias.push_back(bias_too ? random(0.2f) : 0);
  for (int pos = 0; pos < 70; ++pos)
    for (int half = 0; half < 2; ++half)
      for (int i = 0; i < kDim / 2; ++i)
        rope.push_back(static_cast<float>(half ? std::sin(pos * std::pow(0.1, i))
                                               : std::cos(pos * std::pow(0.1, i))));
  for (int i = 0; i < kRows * kK; ++i) x.floats()[i] = rounded(DType::kBF16, random());
  const FinishQkv<Pool, kHeads, true, true, kStride> finish{
      step.rows(), bias.data(), rope.data(), cache.keys.data(), cache.values.data(), q.floats()};
  if constexpr (kWgmma) {
    multiplyOnWgmma<P, 128>(step.args, kRows, x.floats(), nullptr, 0, w.fragments->data(), finish);
  } else if constexpr (kTensor) {
    Bytes packed(P::kBlocks * 512);
    launch({1, 1}, 256, 0, [&] { packRows<P>(step.args, x.floats(), nullptr, 0, packed.data()); });
    launch({(kPanels + 7) / 8, 1}, 128, 3 * 16384,
           [&] { productOnTensorCores<P>(step.args, packed.data(), w.fragments->data(), finish); });
  } else {
    launch({kPanels}, 256, kK * 16, [&] {
      productOfFewRows<P, 4, true, 1>(step.args, x.floats(), nullptr, 0, w.fragments->data(),
                                      finish);
    });
  }
  for (int m = 0; m < kRows; ++m)
    for (int head = 0; head < kAll; ++head) {
      const int source = head < kHeads ? 0 : head < kHeads + kKvHeads ? 1 : 2;
      const int in_source = head - (source == 0 ? 0 : source == 1 ? kHeads : kHeads + kKvHeads);
      std::vector<double> v;
      for (int d = 0; d < kDim; ++d)
        v.push_back(dot(x.floats() + m * kK, nullptr, 0, DType::kF32,
                        w.sources[static_cast<size_t>(source)].data() + (in_source * kDim + d) * kK,
                        kK)
                        .value +
                    bias[static_cast<size_t>(head * kDim + d)]);
      for (int d = 0; d < kDim; ++d) {
        double expected = v[static_cast<size_t>(d)];
        if (source < 2) {
          const int i = d % (kDim / 2);
          const double c = rope[static_cast<size_t>((61 + m) * kDim + i)],
                       s = rope[static_cast<size_t>((61 + m) * kDim + kDim / 2 + i)];
          const double low = v[static_cast<size_t>(i)], high = v[static_cast<size_t>(i + kDim / 2)];
          expected = d < kDim / 2 ? low * c - high * s : high * c + low * s;
        }
        const float actual = source == 0 ? q.floats()[m * kStride + head * kDim + d]
                                         : cache.get(source == 1, step, 0, 61 + m, in_source, d);
        ASSERT_NEAR(actual, expected, 2e-5) << "row " << m << " head " << head << " element " << d;
      }
    }
}

TEST(CudaProduct, QkvRotatesAndWritesTheCache) {
  expectQkv<F32, 3, 1, 20, false>(true);
  expectQkv<BF16, 2, 2, 64, false>(false);
  expectQkv<F32, 2, 1, 8, false>(false);
  expectQkv<BF16, 4, 2, 24, true>(true);
  expectQkv<BF16, 4, 2, 24, true, true>(true);
}

template <class T, int kHeads, int kKvHeads, int kDim, int kWindow>
void expectAttention(std::vector<int> positions) {
  SCOPED_TRACE(testing::Message() << "heads " << kHeads << '/' << kKvHeads << " of " << kDim
                                  << " window " << kWindow << ' ' << llmrt::dtypeName(kDType<T>));
  constexpr int kStride = kHeads * kDim;
  typedef KvPool<T, kKvHeads, kDim> Pool;
  typedef Attention<Pool, kHeads, kWindow, kStride, kStride> A;
  constexpr bool kFlash = kDType<T> != DType::kF32;
  const int rows = static_cast<int>(positions.size()),
            last = *std::max_element(positions.begin(), positions.end());
  const int blocks = last / kBlockTokens + 1;
  Random random;
  TestStep step(rows);
  TestCache<Pool> cache(blocks);
  std::fill_n(cache.keys.data(), cache.bytes(blocks),
              uint8_t{0xff});  // what nothing has written is NaN
  std::fill_n(cache.values.data(), cache.bytes(blocks), uint8_t{0xff});
  for (int b = 0; b < blocks; ++b) step.block_table.push_back(blocks - 1 - b);
  step.step.blocks_per_seq = blocks;
  for (int m = 0; m < rows; ++m)
    step.pos[static_cast<size_t>(m)] = positions[static_cast<size_t>(m)];
  for (int pos = 0; pos <= last; ++pos)
    for (int head = 0; head < kKvHeads; ++head)
      for (int d = 0; d < Pool::kPadded; ++d)
        for (uint8_t* pool : {cache.keys.data(), cache.values.data()})
          llmrt::storeFromF32(
              cache.kType,
              reinterpret_cast<uint8_t*>(Pool::at(pool, step.step, step.rows(), 0, pos, head)), d,
              d < kDim ? random(2) : 0);
  Bytes q(static_cast<size_t>(rows) * kStride * 4), y(static_cast<size_t>(rows) * kStride * 4),
      split(static_cast<size_t>(rows) * kStride * 4);
  for (int i = 0; i < rows * kStride; ++i) q.floats()[i] = random(2);
  const float scale = 1 / std::sqrt(static_cast<float>(kDim));
  launch({kKvHeads, static_cast<unsigned>(rows)}, 256, 0, [&] {
    A::inTurn(step.args, q.floats(), step.rows(), cache.keys.data(), cache.values.data(),
              y.floats(), scale);
  });
  const int chunks = last / A::kChunk + 3;
  std::vector<u32> counters(static_cast<size_t>(rows * kKvHeads));
  std::vector<float> partials(
      static_cast<size_t>(rows * kKvHeads * chunks * A::kRounds * A::kPartialFloats), NAN);
  for (int twice = 0; twice < 2; ++twice)
    launch({kKvHeads, static_cast<unsigned>(rows), static_cast<unsigned>(chunks)}, 256, 0, [&] {
      A::split(step.args, q.floats(), step.rows(), cache.keys.data(), cache.values.data(),
               split.floats(), scale, counters.data(), partials.data(), chunks);
    });
  for (u32 c : counters) EXPECT_EQ(c, 0u) << "a counter is not as it was";
  std::vector<float> flash;
  if constexpr (kFlash) {
    typedef std::conditional_t<(Pool::kPadded <= 128),
                               FlashAttention<Pool, kHeads, kWindow, kStride, kStride>,
                               WideFlashAttention<Pool, kHeads, kWindow, kStride, kStride, 2>>
        Flash;
    flash = flashAttention<Flash, kStride>(step, q.floats(), cache, scale);
  }
  for (int m = 0; m < rows; ++m)
    for (int head = 0; head < kHeads; ++head) {
      const int kv_head = head / (kHeads / kKvHeads), pos = positions[static_cast<size_t>(m)];
      const int from = kWindow ? std::max(0, pos + 1 - kWindow) : 0;
      std::vector<double> p;
      double largest = -INFINITY, sum = 0;
      for (int t = from; t <= pos; ++t) {
        double s = 0;
        for (int d = 0; d < kDim; ++d)
          s += double{q.floats()[m * kStride + head * kDim + d]} *
               cache.get(true, step, 0, t, kv_head, d);
        p.push_back(s * scale);
        largest = std::max(largest, p.back());
      }
      for (double& v : p) sum += v = std::exp(v - largest);
      for (int d = 0; d < kDim; ++d) {
        double expected = 0;
        for (int t = from; t <= pos; ++t)
          expected +=
              p[static_cast<size_t>(t - from)] / sum * cache.get(false, step, 0, t, kv_head, d);
        const int at = m * kStride + head * kDim + d;
        // Values are at most 2; scores of some 8 with kDim + 4 roundings shift a probability by
        // that much.
        ASSERT_NEAR(y.floats()[at], expected, 2 * (kDim + 16) * 0x1p-21)
            << "row " << m << " head " << head << " element " << d;
        // Queries and probabilities rounded to 8 (11) bits: scores of some 8 shift by 2^-6 at most,
        // and with them probabilities by that much of their size.
        if (kFlash) {
          ASSERT_NEAR(flash[static_cast<size_t>(at)], expected,
                      kDType<T> == DType::kBF16 ? 0.04 : 0.005)
              << "flash: row " << m << " head " << head << " element " << d;
        }
        ASSERT_EQ(y.floats()[at], split.floats()[at])
            << "not the bits of one block: row " << m << " head " << head;
      }
    }
}

TEST(CudaAttention, EqualsAPlainLoopWhateverTheSplit) {
  expectAttention<BF16, 4, 1, 64, 0>({0, 5, 255, 256, 700});
  expectAttention<F32, 6, 2, 20, 50>({3, 49, 50, 270});
  expectAttention<F16, 8, 1, 24, 0>({17, 300});    // a group of more heads than share a key
  expectAttention<F32, 5, 1, 128, 300>({511, 1});  // and one that is no multiple of them
  expectAttention<BF16, 1, 1, 256, 0>({63, 64});
  expectAttention<F16, 6, 2, 40, 70>({60,  61,  62,  63,  64,  65,  66,  130, 131, 132, 133, 134,
                                      135, 136, 137, 138, 139, 140, 141, 142, 143, 144, 145, 146});
  expectAttention<BF16, 3, 3, 128, 0>({0, 1, 2, 190});
  // More chunks than a merge holds scales of (64 here), in whole batches and not
  expectAttention<F32, 2, 1, 16, 0>({16639, 19000});
  expectAttention<F32, 4, 1, 16, 9000>({20000});
}

TEST(CudaRows, NormEmbedRopeAndElementwise) {
  constexpr int kCols = 37, kStride = 48, kRows = 4;
  Random random;
  TestStep step(kRows);
  for (int m = 0; m < kRows; ++m) step.token_id[static_cast<size_t>(m)] = 11 * m + 2;
  Bytes x(kRows * kStride * 4), y(kRows * kStride * 4);
  for (int i = 0; i < kRows * kStride; ++i) x.floats()[i] = random();
  std::vector<float> weight;
  for (int k = 0; k < kCols; ++k) weight.push_back(random());
  launch({1, kRows}, 256, 0, [&] {
    rmsNormRow<kCols, kStride, kStride>(step.args, x.floats(), weight.data(), y.floats(), 1e-5f);
  });
  for (int m = 0; m < kRows; ++m) {
    double squares = 0;
    for (int k = 0; k < kCols; ++k)
      squares += double{x.floats()[m * kStride + k]} * x.floats()[m * kStride + k];
    for (int k = 0; k < kCols; ++k)
      ASSERT_NEAR(y.floats()[m * kStride + k],
                  x.floats()[m * kStride + k] / std::sqrt(squares / kCols + 1e-5) *
                      weight[static_cast<size_t>(k)],
                  1e-6);
  }
  Weights<F16> table({50}, kCols, PanelOrder::kConcat, 0, random);
  launch({1, kRows}, 256, 0, [&] {
    embedRow<F16, kCols, true, kStride>(step.args, step.token_id.data(), table.fragments->data(),
                                        y.floats());
  });
  for (int m = 0; m < kRows; ++m)
    for (int k = 0; k < kCols; ++k)
      ASSERT_EQ(y.floats()[m * kStride + k],
                table.sources[0][static_cast<size_t>((11 * m + 2) * kCols + k)]);
  launch({1, kRows}, 128, 0, [&] {
    elementwiseRow<kCols, kStride, 0, kStride>(step.args, x.floats(), weight.data(), y.floats(),
                                               [](float a, float b) { return a + b; });
  });
  for (int m = 0; m < kRows; ++m)
    for (int k = 0; k < kCols; ++k)
      ASSERT_EQ(y.floats()[m * kStride + k],
                x.floats()[m * kStride + k] + weight[static_cast<size_t>(k)]);
}

TEST(CudaRows, ActivationsAreWhatTheirNamesSay) {
  for (float x = -9; x < 9; x += 0.37f) {
    const double d = x;
    EXPECT_NEAR(activate<kSilu>(x), d / (1 + std::exp(-d)), 1e-6);
    EXPECT_NEAR(activate<kGelu>(x), d / 2 * (1 + std::erf(d * M_SQRT1_2)), 2e-6);
    EXPECT_NEAR(activate<kGeluTanh>(x),
                d / 2 * (1 + std::tanh(M_2_SQRTPI * M_SQRT1_2 * (d + 0.044715 * d * d * d))), 2e-6);
    EXPECT_EQ(activate<kRelu>(x), std::max(x, 0.0f));
  }
}

}  // namespace
}  // namespace llmc::test
