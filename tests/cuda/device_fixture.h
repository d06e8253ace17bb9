// What tests of kernel bodies work on: matrices as the device has them, a step, a cache.
#pragma once

#include <cmath>
#include <memory>
#include <random>
#include <vector>

#include "runtime/io/float_convert.h"
#include "runtime/io/weight_format.h"
#include "tests/cuda/device_kernels.h"

namespace llmc::test {

using llmrt::DType;
using llmrt::PanelOrder;

template <class T>
constexpr DType kDType = DType::kF32;
template <>
inline constexpr DType kDType<F16> = DType::kF16;
template <>
inline constexpr DType kDType<BF16> = DType::kBF16;

inline float rounded(DType dtype, float v) {
  uint8_t bytes[4];
  llmrt::storeFromF32(dtype, bytes, 0, v);
  return llmrt::loadAsF32(dtype, bytes, 0);
}

struct Random {
  std::mt19937 rng{20260101};
  float operator()(float scale = 1) {
    return scale * (static_cast<float>(rng() >> 8) * 0x1p-23f - 1);
  }
};

/// 16-byte aligned, as the driver's memory is.
struct alignas(64) Line {
  uint8_t bytes[64];
};
struct Bytes {
  std::vector<Line> lines;
  explicit Bytes(size_t bytes) : lines((bytes + 63) / 64) {}
  uint8_t* data() { return lines[0].bytes; }
  float* floats() { return reinterpret_cast<float*>(data()); }
};

/// Matrices as the weights file has them, and as fragments made by the device's own relayout.
template <class T>
struct Weights {
  std::vector<std::vector<float>> sources;  // [N][K] each, rounded
  int64_t cols;
  std::unique_ptr<Bytes> fragments;
  int64_t panels;

  Weights(std::vector<int64_t> rows, int64_t k, PanelOrder order, int64_t head_rows, Random& random)
      : cols(k) {
    for (int64_t n : rows) {
      sources.emplace_back();
      for (int64_t i = 0; i < n * k; ++i)
        sources.back().push_back(
            rounded(kDType<T>, random(1.7f / std::sqrt(static_cast<float>(k)))));
    }
    const auto lanes = llmrt::panelRows(rows, order, head_rows);
    panels = static_cast<int64_t>(lanes.size()) / 16;
    const int64_t elements = llmrt::panelElements(kDType<T>, k);
    Bytes file(static_cast<size_t>(panels * elements * llmrt::dtypeBytes(kDType<T>)));
    for (int64_t p = 0; p < panels; ++p)
      for (int64_t lane = 0; lane < 16; ++lane) {
        const llmrt::PanelRow from = lanes[static_cast<size_t>(p * 16 + lane)];
        if (from.source < 0) continue;
        for (int64_t c = 0; c < k; ++c)
          llmrt::storeFromF32(
              kDType<T>, file.data(), p * elements + llmrt::panelOffset(kDType<T>, lane, c),
              sources[static_cast<size_t>(from.source)][static_cast<size_t>(from.row * k + c)]);
      }
    const int64_t block_cols = 8 * T::kPerWord;
    fragments = std::make_unique<Bytes>(
        static_cast<size_t>(panels * ((k + block_cols - 1) / block_cols) * 512));
    const Relayout r{file.data(), fragments->data(),       panels,
                     k,           static_cast<int>(order), static_cast<int>(head_rows)};
    launch({3}, 256, 0, [&] {
      if constexpr (kDType<T> == DType::kF32) relayout<T, FileF32>(r);
      if constexpr (kDType<T> == DType::kF16) relayout<T, FileF16>(r);
      if constexpr (kDType<T> == DType::kBF16) relayout<T, FileBF16>(r);
    });
  }
};

/// A step of `rows` rows; row i's logits are wanted where i % 3 == 1.
struct TestStep {
  std::vector<int> token_id, pos, seq;  // of each row
  std::vector<int> logits_rows, block_table;
  Step step{};
  Args args{};

  explicit TestStep(int count) : seq(static_cast<size_t>(count)) {
    for (int i = 0; i < count; ++i) {
      token_id.push_back(i);
      pos.push_back(i);
      if (i % 3 == 1) logits_rows.push_back(i);
    }
    step.num_rows = count;
    step.num_logits_rows = static_cast<i64>(logits_rows.size());
    step.num_sequences = 1;
    args.step = &step;
  }
  TestStep(const TestStep&) = delete;  // args point at step
  CacheRows rows() const { return {pos.data(), seq.data(), block_table.data()}; }
};

/// A cache of `Pool`, and the sequence's keys and values as they were rounded into it.
template <class Pool>
struct TestCache {
  static constexpr DType kType = kDType<typename Pool::Type>;
  Bytes keys, values;
  int blocks;
  explicit TestCache(int num_blocks)
      : keys(bytes(num_blocks)), values(bytes(num_blocks)), blocks(num_blocks) {}
  static size_t bytes(int num_blocks) {
    return static_cast<size_t>(num_blocks) * Pool::kHeads * kBlockTokens * Pool::kPadded *
           sizeof(typename Pool::Element);
  }
  float get(bool key, const TestStep& test, int seq, int pos, int head, int d) {
    const auto* p = key ? Pool::at(keys.data(), test.step, test.rows(), seq, pos, head)
                        : Pool::valueAt(values.data(), test.step, test.rows(), seq, pos, head);
    return llmrt::loadAsF32(kType, reinterpret_cast<const uint8_t*>(p), d);
  }
};

/// What flash attention F gives for the step's rows, whose outputs lie kYStride apart.
template <class F, int kYStride, class Pool>
std::vector<float> flashAttention(const TestStep& step, const float* q, TestCache<Pool>& cache,
                                  float scale, float cap = 0, const float* sinks = nullptr) {
  typedef typename F::Queries Queries;
  const size_t rows = step.pos.size();
  std::vector<float> y(rows * kYStride, NAN);
  launch({Pool::kHeads * Queries::kParts,
          static_cast<unsigned>((rows + Queries::kRows - 1) / Queries::kRows)},
         F::kThreads, F::kSharedBytes, [&] {
           F::run(step.args, q, step.rows(), cache.keys.data(), cache.values.data(), y.data(),
                  scale, cap, sinks);
         });
  return y;
}

}  // namespace llmc::test
