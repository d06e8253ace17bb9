#include "runtime/measure/fma_peak.h"

#include <algorithm>
#include <cstdint>
#include <string>

#include "runtime/measure/parallel.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace llmrt {
namespace {

// Two units with a latency of four or five cycles need ten independent sums; twelve fit any
// register file.
constexpr int kSums = 12;

// x = x * kFactor + kTerm stays near 1: no overflow, no subnormals.
constexpr float kFactor = 0.5f, kTerm = 0.5f;

// Each runs `iterations` times kSums vector FMAs and returns the vector's lanes.
#if defined(__x86_64__)

__attribute__((target("avx2,fma"))) int runAvx2(int64_t iterations) {
  __m256 sums[kSums];
  for (int i = 0; i < kSums; ++i) sums[i] = _mm256_set1_ps(1.0f + static_cast<float>(i));
  const __m256 factor = _mm256_set1_ps(kFactor), term = _mm256_set1_ps(kTerm);
  for (int64_t n = 0; n < iterations; ++n) {
#pragma GCC unroll 12
    for (int i = 0; i < kSums; ++i) sums[i] = _mm256_fmadd_ps(sums[i], factor, term);
  }
  for (int i = 0; i < kSums; ++i) asm volatile("" : : "x"(sums[i]));
  return 8;
}

__attribute__((target("avx512f"))) int runAvx512(int64_t iterations) {
  __m512 sums[kSums];
  for (int i = 0; i < kSums; ++i) sums[i] = _mm512_set1_ps(1.0f + static_cast<float>(i));
  const __m512 factor = _mm512_set1_ps(kFactor), term = _mm512_set1_ps(kTerm);
  for (int64_t n = 0; n < iterations; ++n) {
#pragma GCC unroll 12
    for (int i = 0; i < kSums; ++i) sums[i] = _mm512_fmadd_ps(sums[i], factor, term);
  }
  for (int i = 0; i < kSums; ++i) asm volatile("" : : "v"(sums[i]));
  return 16;
}

#elif defined(__aarch64__)

int runNeon(int64_t iterations) {
  // Four units on the wider cores, with a latency of four.
  constexpr int kNeonSums = 2 * kSums;
  float32x4_t sums[kNeonSums];
  for (int i = 0; i < kNeonSums; ++i) sums[i] = vdupq_n_f32(1.0f + static_cast<float>(i));
  const float32x4_t factor = vdupq_n_f32(kFactor);
  for (int64_t n = 0; n < iterations; ++n) {
#pragma GCC unroll 24
    for (int i = 0; i < kNeonSums; ++i) sums[i] = vfmaq_f32(sums[i], factor, factor);
  }
  for (int i = 0; i < kNeonSums; ++i) asm volatile("" : : "w"(sums[i]));
  return 4 * kNeonSums / kSums;
}

#endif

using Run = int (*)(int64_t iterations);

Run runFor(std::string_view cpu_target) {
#if defined(__x86_64__)
  if (cpu_target == "sapphirerapids" || cpu_target == "x86-64-v4") return runAvx512;
  if (cpu_target == "x86-64-v3") return runAvx2;
#elif defined(__aarch64__)
  if (cpu_target == "aarch64") return runNeon;
#endif
  return nullptr;
}

}  // namespace

Result<double> measureFmaPeak(std::string_view cpu_target, int threads) {
  const Run run = runFor(cpu_target);
  if (!run) return unsupported("no FMA loop for the target " + std::string(cpu_target));
  constexpr int64_t kCalibration = 1'000'000;
  constexpr double kSeconds = 0.02;
  run(kCalibration);  // wide vector units wake up slowly
  LLMRT_ASSIGN_OR_RETURN(const double once, timeOnThreads(1, [&](int) { run(kCalibration); }));
  const int64_t iterations = std::max<int64_t>(
      kCalibration, static_cast<int64_t>(static_cast<double>(kCalibration) * kSeconds / once));
  int lanes = 0;
  LLMRT_ASSIGN_OR_RETURN(const double seconds, timeOnThreads(std::max(threads, 1), [&](int t) {
                           const int n = run(iterations);
                           if (t == 0) lanes = n;
                         }));
  return 2.0 * kSums * lanes * static_cast<double>(iterations) * std::max(threads, 1) / seconds;
}

}  // namespace llmrt
