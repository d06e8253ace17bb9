/* Arithmetic of sampling that the host's sampler and GPUs share: integers, whose sums do not depend
 * on their order, so that the same logits, options, seed and position give the same token on
 * both, bit for bit. Compiled by the host's compiler and, as part of the kernels' text, by NVRTC: no
 * includes.
 */
#ifndef LLMC_RUNTIME_ABI_SAMPLING_H
#define LLMC_RUNTIME_ABI_SAMPLING_H

typedef unsigned long long LlmcU64;

/* A weight of 1, the most probable token's. Sums of 2^23 weights stay below 2^64. */
#define LLMC_SAMPLE_ONE (1ull << 40)
#define LLMC_SAMPLE_MAX_VOCAB (1 << 23)

#ifdef __CUDACC__
#define LLMC_SAMPLE_FUNCTION __device__ __forceinline__
#else
#define LLMC_SAMPLE_FUNCTION static inline
#endif

/* The upper half of a * b. */
LLMC_SAMPLE_FUNCTION LlmcU64 llmcMultiplyHigh(LlmcU64 a, LlmcU64 b) {
#ifdef __CUDACC__
  return __umul64hi(a, b);
#else
  __extension__ typedef unsigned __int128 Wide;
  return (LlmcU64)((Wide)a * b >> 64);
#endif
}

/* exp(logit - largest) in units of 2^-40, rounded down (to within one unit); 0 where it is less
 * than one unit. Finite logits, logit <= largest: the difference and its scaling by a power of two
 * are single operations of IEEE doubles, all else is integers. */
LLMC_SAMPLE_FUNCTION LlmcU64 llmcSampleWeight(float logit, float largest) {
  /* ln(2)^k / k!, k from 13 down to 0 (14: sum), in units of 2^-63: the series of 2^-f, f in [0,
   * 1), whose next term is below 2^-47. */
  const LlmcU64 series[14] = {0xc0b0caull,           0xe1deb28ull,         0xf465639bull,
                              0xf267a8ac6ull,        0xda929e9cafull,      0xb160111d2e4ull,
                              0x7ff2ff1622c3ull,     0x50c244be1b1e2ull,   0x2bb0ffcf14ce62ull,
                              0x13b2ab6fba4e773ull,  0x71ac235c1282fe3ull, 0x1ebfbdff82c58ea8ull,
                              0x58b90bfbe8e7bcd6ull, 0x8000000000000000ull};
  const double distance = (double)largest - (double)logit;
  LlmcU64 power, fraction, sum = 0x98a4bull;
  int i;
  if (!(distance < 28.0)) return 0; /* e^-28 < 2^-40 */
  /* distance * log2(e) in units of 2^-57: whole powers of two above, the fraction below. */
  power = llmcMultiplyHigh((LlmcU64)(distance * 288230376151711744.0), 0xb8aa3b295c17f0bcull);
  fraction = power << 7;
#ifdef __CUDACC__
#pragma unroll
#endif
  for (i = 0; i < 14; ++i) sum = series[i] - llmcMultiplyHigh(fraction, sum);
  return sum >> (23 + (int)(power >> 57));
}

/* SplitMix64 (Steele, Lea and Flood 2014): the `index`-th number, from 0 on, of the stream of
 * `seed`. */
LLMC_SAMPLE_FUNCTION LlmcU64 llmcSplitMix(LlmcU64 seed, LlmcU64 index) {
  LlmcU64 z = seed + (index + 1) * 0x9e3779b97f4a7c15ull;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

/* The random number of the token at `position` of its text: whatever was drawn before it, so that
 * drafts, batches and caches do not show. Seeds near each other begin far apart. */
LLMC_SAMPLE_FUNCTION LlmcU64 llmcRandomAt(LlmcU64 seed, LlmcU64 position) {
  return llmcSplitMix(llmcSplitMix(seed, 0), position);
}

#endif /* LLMC_RUNTIME_ABI_SAMPLING_H */
