#include "runtime/measure/compute_peak.h"

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

// Each runs its loop `iterations` times and returns the FLOPs of one iteration.
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
  return 2 * kSums * 8;
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
  return 2 * kSums * 16;
}

// bf16 near 1 of either sign.
void fillWithData(uint16_t* data, int count) {
  uint32_t random = 1;
  for (int i = 0; i < count; ++i) {
    random = random * 1664525 + 1013904223;
    data[i] = static_cast<uint16_t>(0x3f80 | (random >> 16 & 0x807f));
  }
}

// A latency of six cycles: twelve sums would just do, twenty-four do as kernels do.
__attribute__((target("avx512f,avx512bf16"))) int runAvx512Bf16(int64_t iterations) {
  constexpr int kBf16Sums = 2 * kSums;
  __m512 sums[kBf16Sums];
  for (int i = 0; i < kBf16Sums; ++i) sums[i] = _mm512_set1_ps(1.0f + static_cast<float>(i));
  // Data, as for AMX: constants might let the clock run higher than kernels do.
  alignas(64) uint16_t data[2][32];
  fillWithData(&data[0][0], 64);
  const auto left = reinterpret_cast<__m512bh>(_mm512_load_si512(data[0]));
  const auto right = reinterpret_cast<__m512bh>(_mm512_load_si512(data[1]));
  for (int64_t n = 0; n < iterations; ++n) {
#pragma GCC unroll 24
    for (int i = 0; i < kBf16Sums; ++i) sums[i] = _mm512_dpbf16_ps(sums[i], left, right);
  }
  for (int i = 0; i < kBf16Sums; ++i) asm volatile("" : : "v"(sums[i]));
  return 2 * kBf16Sums * 32;
}

// Four sums of 16 x 16 floats from two left and two right tiles of 16 x 32 bf16: a prefill kernel's
// step. The compiler knows nothing of tiles: between the configuration and the release there is
// nothing else.
int runAmx(int64_t iterations) {
  struct alignas(64) {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } config;
  // Zeros would run faster than data.
  alignas(64) uint16_t data[16 * 32];
  fillWithData(data, 16 * 32);
  asm volatile("ldtilecfg %0" : : "m"(config) : "memory");
  asm volatile(
      "tilezero %%tmm0\n tilezero %%tmm1\n tilezero %%tmm2\n tilezero %%tmm3\n"
      "tileloadd (%0,%1,1), %%tmm4\n tileloadd (%0,%1,1), %%tmm5\n"
      "tileloadd (%0,%1,1), %%tmm6\n tileloadd (%0,%1,1), %%tmm7\n"
      :
      : "r"(data), "r"(int64_t{64})
      : "memory");
  for (int64_t n = 0; n < iterations; ++n) {
    asm volatile(
        "tdpbf16ps %tmm6, %tmm4, %tmm0\n tdpbf16ps %tmm7, %tmm4, %tmm1\n"
        "tdpbf16ps %tmm6, %tmm5, %tmm2\n tdpbf16ps %tmm7, %tmm5, %tmm3\n");
  }
  asm volatile("tilerelease");
  return 4 * 2 * 16 * 16 * 32;
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
  return 2 * kNeonSums * 4;
}

#endif

using Run = int (*)(int64_t iterations);

Run runFor(std::string_view cpu_target, bool bf16_weights) {
#if defined(__x86_64__)
  if (cpu_target == "sapphirerapids" && bf16_weights) return runAmx;
  if (cpu_target == "znver4" && bf16_weights) return runAvx512Bf16;
  if (cpu_target == "sapphirerapids" || cpu_target == "znver4" || cpu_target == "x86-64-v4")
    return runAvx512;
  if (cpu_target == "x86-64-v3") return runAvx2;
#elif defined(__aarch64__)
  (void)bf16_weights;
  if (cpu_target.starts_with("aarch64")) return runNeon;
#endif
  return nullptr;
}

}  // namespace

Result<double> measureComputePeak(std::string_view cpu_target, bool bf16_weights, int threads) {
  const Run run = runFor(cpu_target, bf16_weights);
  if (!run) return unsupported("no loop to measure the target " + std::string(cpu_target));
  constexpr int64_t kCalibration = 100'000;
  constexpr double kSeconds = 0.02;
  run(kCalibration);  // wide vector units wake up slowly
  LLMRT_ASSIGN_OR_RETURN(const double once, timeOnThreads(1, [&](int) { run(kCalibration); }));
  const int64_t iterations = std::max<int64_t>(
      kCalibration, static_cast<int64_t>(static_cast<double>(kCalibration) * kSeconds / once));
  int flops = 0;
  LLMRT_ASSIGN_OR_RETURN(const double seconds, timeOnThreads(std::max(threads, 1), [&](int t) {
                           const int n = run(iterations);
                           if (t == 0) flops = n;
                         }));
  return static_cast<double>(flops) * static_cast<double>(iterations) * std::max(threads, 1) /
         seconds;
}

}  // namespace llmrt
