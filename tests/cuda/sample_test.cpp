// The device's choice of tokens under the shim: those of the host's sampler, one after the other,
// to the last bit.
#include <gtest/gtest.h>

#include <random>

#include "runtime/abi/cuda_abi.h"
#include "runtime/sampling/sampler.h"
#include "tests/cuda/device_kernels.h"

namespace llmc::test {
namespace {

using llmrt::SamplerOptions;

static_assert(sizeof(Sample) == sizeof(LlmcCudaSample));
static_assert(sizeof(SampleState) == sizeof(LlmcCudaSampleState));
static_assert(offsetof(SampleState, best) == sizeof(LlmcCudaSampleState::options));
static_assert(offsetof(SampleState, steps) == offsetof(LlmcCudaSampleState, options.steps));

/// Tokens of one sequence, chosen as llmc_sample's launches do it.
class DeviceSampler {
 public:
  explicit DeviceSampler(const llmrt::Sampler& from) {
    const llmrt::SamplerState s = from.state();
    state_.seed = s.seed;
    state_.position = s.position;
    state_.top_p = s.top_p;
    state_.min_weight = s.min_weight;
    state_.repetition_penalty = s.repetition_penalty;
    state_.temperature = s.temperature;
    state_.top_k = s.temperature > 0 ? s.top_k : 0;
    seen_.assign(s.seen.begin(), s.seen.end());
    phases_ = {kLargest};
    if (s.temperature == 0) return;
    if (s.top_k > 0) phases_.insert(phases_.end(), {kCount1, kCount2});
    if (s.top_p > 0) phases_.insert(phases_.end(), {kWeigh0, kWeigh1, kWeigh2});
    phases_.push_back(kDraw);
  }

  int32_t next(const std::vector<float>& logits, unsigned blocks) {
    const u32 step = state_.steps;
    const int pos = pos_;
    for (const i64 phase : phases_) {
      const Sample s{logits.data(),
                     &token_id_,
                     &pos_,
                     &state_,
                     seen_.data(),
                     ring_,
                     static_cast<i64>(logits.size()),
                     phase};
      launch({blocks}, LLMC_CUDA_SAMPLE_THREADS, 0, [&] { chooseToken(s); });
    }
    EXPECT_EQ(state_.steps, step + 1);
    EXPECT_EQ(pos_, pos + 1);
    told_ = ring_[step % LLMC_CUDA_RING];
    EXPECT_EQ(told_ >> 32, step);
    EXPECT_EQ(state_.arrived, 0u);
    EXPECT_EQ(state_.best, 0u);
    for (u64 bin : state_.bins) EXPECT_EQ(bin, 0u);
    if (static_cast<u32>(told_) != LLMC_CUDA_NOT_FINITE) {
      EXPECT_EQ(static_cast<u32>(told_), static_cast<u32>(token_id_));
    }
    return static_cast<int32_t>(told_);
  }
  int32_t tokenId() const { return token_id_; }

 private:
  SampleState state_{};
  std::vector<u8> seen_;
  std::vector<i64> phases_;
  int token_id_ = 7, pos_ = 40;
  u64 ring_[LLMC_CUDA_RING] = {};
  u64 told_ = 0;
};

enum class Logits { kSpread, kFlat, kFewValues, kClose };

void expectSameTokens(const SamplerOptions& options, Logits kind, int64_t vocab, int turns,
                      unsigned blocks) {
  SCOPED_TRACE(testing::Message() << "temperature " << options.temperature << " top_k "
                                  << options.top_k << " top_p " << options.top_p << " min_p "
                                  << options.min_p << " penalty " << options.repetition_penalty
                                  << " logits " << static_cast<int>(kind) << " vocab " << vocab
                                  << " blocks " << blocks);
  auto host = llmrt::Sampler::create(vocab, options);
  ASSERT_TRUE(host.ok());
  host->accept(3);
  DeviceSampler device(*host);
  std::mt19937 rng(20260102);
  std::vector<float> logits(static_cast<size_t>(vocab));
  for (int turn = 0; turn < turns; ++turn) {
    for (float& v : logits) {
      const float uniform = static_cast<float>(rng() >> 8) * 0x1p-24f;
      if (kind == Logits::kSpread) v = 24 * uniform - 14;
      if (kind == Logits::kFlat) v = uniform * 0.01f;
      if (kind == Logits::kFewValues) v = std::floor(uniform * 7) - 3;  // ties, zeros
      if (kind == Logits::kFewValues && v == 0 && rng() % 2) v = -0.0f;
      if (kind == Logits::kClose)  // ties that only their last bits tell apart
        v = 1 + std::floor(uniform * 7) * 0x1p-22f;
    }
    const int32_t expected = host->sample(logits);
    host->accept(expected);
    ASSERT_EQ(device.next(logits, blocks), expected) << "token " << turn;
  }
}

TEST(CudaSample, ChoosesTheHostsTokens) {
  const SamplerOptions all[] = {
      {.temperature = 0},
      {.repetition_penalty = 1.3f, .temperature = 0},
      {.temperature = 1, .seed = 1},
      {.temperature = 0.7f, .top_k = 5, .seed = 2},
      {.temperature = 1.3f, .top_p = 0.9f, .seed = 3},
      {.temperature = 1, .min_p = 0.1f, .seed = 4},
      {.repetition_penalty = 1.5f,
       .temperature = 0.8f,
       .top_k = 40,
       .top_p = 0.95f,
       .min_p = 0.01f,
       .seed = 5},
      {.temperature = 2, .top_k = 2000, .top_p = 0.3f, .seed = 6},
      {.temperature = 1, .top_p = 1e-6f, .seed = 7},
      {.temperature = 1, .top_k = 1, .seed = 8},
      {.repetition_penalty = 0.8f,
       .temperature = 0.5f,
       .top_k = 300,
       .top_p = 0.5f,
       .min_p = 0.5f,
       .seed = 9},
  };
  for (const SamplerOptions& options : all)
    for (const Logits kind : {Logits::kSpread, Logits::kFlat, Logits::kFewValues, Logits::kClose})
      expectSameTokens(options, kind, 1003, 9, 3);
}

TEST(CudaSample, WhateverTheVocabularyAndTheGrid) {
  const SamplerOptions options{
      .repetition_penalty = 1.1f, .temperature = 1, .top_k = 50, .top_p = 0.9f, .seed = 11};
  for (const int64_t vocab : {4, 256, 777, 5000})
    for (const unsigned blocks : {1u, 7u, 64u})
      expectSameTokens(options, Logits::kSpread, vocab, 3, blocks);
  expectSameTokens({.temperature = 1, .top_p = 0.999f, .seed = 12}, Logits::kFlat, 32000, 3, 64);
}

// The host hears of it whatever the options and wherever the number stands; the row that a step
// queued ahead would run on is a token, and the next choice is not harmed.
TEST(CudaSample, TellsOfLogitsThatAreNotFinite) {
  const SamplerOptions all[] = {
      {.temperature = 0},
      {.repetition_penalty = 1.3f, .temperature = 0},
      {.repetition_penalty = 1.3f, .temperature = 0.7f, .top_k = 5, .top_p = 0.9f, .seed = 2},
      {.temperature = 1, .min_p = 0.1f, .seed = 4}};
  constexpr int64_t kVocab = 1003;
  for (const SamplerOptions& options : all) {
    auto host = llmrt::Sampler::create(kVocab, options);
    ASSERT_TRUE(host.ok());
    DeviceSampler device(*host);
    std::vector<float> logits(kVocab);
    for (size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>(i * 37 % 101) - 50;
    for (const float bad : {NAN, -NAN, INFINITY, -INFINITY}) {
      for (const size_t at : {size_t{0}, size_t{500}, logits.size() - 1}) {
        SCOPED_TRACE(testing::Message() << bad << " at " << at);
        const float good = std::exchange(logits[at], bad);
        EXPECT_EQ(static_cast<u32>(device.next(logits, 3)), LLMC_CUDA_NOT_FINITE);
        EXPECT_EQ(device.tokenId(), 0);
        logits[at] = good;
        const int32_t next = device.next(logits, 3);
        EXPECT_TRUE(next >= 0 && next < kVocab) << next;
      }
    }
  }
}

// The ring wraps.
TEST(CudaSample, CountsItsSteps) {
  expectSameTokens({.temperature = 1}, Logits::kSpread, 300, 70, 2);
}

}  // namespace
}  // namespace llmc::test
