/* What makes the hand-written kernels of tests/runtime an image that the fake driver runs: device
 * memory is the host's there, so a launch is a call of the same function over all its tiles. Greedy
 * choices only. Built without libc, as those kernels are. */
#include "runtime/abi/cuda_abi.h"

#define EXPORT __attribute__((visibility("default")))
#ifndef EXAMPLE_OPERANDS
#error "how many operands every kernel takes"
#endif

EXPORT const unsigned llmc_shim_argument_bytes[] = {
    sizeof(LlmcCudaArgs) + EXAMPLE_OPERANDS * sizeof(uint64_t), sizeof(LlmcCudaRelayout),
    sizeof(LlmcCudaSample)};

/* Fragments lie here as panels do. */
static void relayout(const LlmcCudaRelayout* r) {
  const float* from = (const float*)r->from;
  float* to = (float*)r->to;
  for (int64_t i = 0; i < r->panels * r->cols * 16; ++i) to[i] = from[i];
}

static void sample(const LlmcCudaSample* s) {
  const float* logits = (const float*)s->logits;
  LlmcCudaSampleState* state = (LlmcCudaSampleState*)s->state;
  int32_t best = 0;
  for (int32_t i = 1; i < s->vocab_size; ++i)
    if (logits[i] > logits[best]) best = i;
  *(int32_t*)s->token_id = best;
  ++*(int32_t*)s->pos;
  ((uint8_t*)s->seen)[best] = 1;
  ((uint64_t*)s->chosen)[state->options.steps % LLMC_CUDA_RING] =
      (uint64_t)state->options.steps << 32 | (uint32_t)best;
  ++state->options.steps;
}

EXPORT void llmc_relayout_f32(void) {}
EXPORT void llmc_relayout_f16(void) {}
EXPORT void llmc_relayout_bf16(void) {}
EXPORT void llmc_sample(void) {}

EXPORT int llmc_shim_launch(void (*kernel)(void), const void* argument, unsigned argument_bytes,
                            const unsigned grid[3], unsigned threads, unsigned dynamic,
                            unsigned cluster) {
  (void)argument_bytes, (void)threads, (void)dynamic, (void)cluster;
  if (kernel == llmc_sample) {
    sample(argument);
    return 0;
  }
  if (kernel == llmc_relayout_f32) {
    relayout(argument);
    return 0;
  }
  const LlmcCudaArgs* args = argument;
  return ((LlmcKernelFn)kernel)((const LlmcStep*)args->step, (void* const*)(args + 1), 0,
                                (int64_t)grid[0] * grid[1],
                                (char*)args->scratch + LLMC_CUDA_COUNTER_BYTES) != 0;
}
