/* The contract between compiled CUDA kernels and whoever launches them. Device pointers are 64-bit
 * addresses.
 *
 * Every kernel takes one LlmcCudaArgs by value. Its launches (block size, grid, shared memory, for
 * how many rows) stand in the plan (runtime/schema/plan.fbs: CudaLaunch). LlmcStep is that of
 * kernel_abi.h, in device memory. Matrices lie in fragments
 * (codegen/cuda/device/prelude.cuh), made from the weights file's panels by the kernels
 * llmc_relayout_f32, _f16 and _bf16, which every image holds. The KV cache of a layer is two pools
 * of blocks [num_kv_heads, LLMC_KV_BLOCK_TOKENS, head_dim_padded], keys and values (these by
 * value_dim_padded, where the plan gives one).
 */
#ifndef LLMC_RUNTIME_ABI_CUDA_ABI_H
#define LLMC_RUNTIME_ABI_CUDA_ABI_H

#include "runtime/abi/kernel_abi.h"

#define LLMC_CUDA_ABI_VERSION 5u
/* Scratch begins with counters that are 0 before and after every kernel; the rest is any kernel's.
 */
#define LLMC_CUDA_COUNTER_BYTES 65536
#define LLMC_CUDA_SAMPLE_MOST_BLOCKS 64
/* Blocks of llmc_relayout_*. */
#define LLMC_CUDA_RELAYOUT_THREADS 256

/* The fixed head of a kernel's argument. `uint64_t operands[Target.cuda_operands]` follow: those of its
 * phase, and as many zeros as are missing, so that all kernels of an image take one type. */
typedef struct LlmcCudaArgs {
  uint64_t step;    /* LlmcStep */
  uint64_t scratch; /* Target.scratch_bytes */
} LlmcCudaArgs;

/* The argument of llmc_relayout_*: whole groups of panels (order interleave: pairs; heads: a
 * head's). */
typedef struct LlmcCudaRelayout {
  uint64_t from; /* panels as in the weights file */
  uint64_t to; /* fragments: ceil(cols / values of a block) * 512 bytes a panel; 8 f32 or 16 others
                  in a block */
  int64_t panels, cols;
  int32_t order; /* schema PanelOrder */
  int32_t head_rows;
} LlmcCudaRelayout;

/* What llmc_sample knows of a sequence, in device memory: the host writes `options` before the
 * first step and zeros behind them. */
typedef struct LlmcCudaSampleState {
  struct {
    uint64_t seed;       /* of llmcRandomAt() */
    uint64_t position;   /* in the text, of the token that is chosen first */
    uint64_t top_p;      /* in units of 2^-64; 0: off */
    uint64_t min_weight; /* of LLMC_SAMPLE_ONE */
    float repetition_penalty;
    float temperature; /* 0: greedy */
    uint32_t top_k;    /* 0: off */
    uint32_t steps;    /* tokens chosen so far */
  } options;
  uint64_t between[2 + 3 + 2048 + 2 * LLMC_CUDA_SAMPLE_MOST_BLOCKS]; /* the kernel's own */
} LlmcCudaSampleState;

/* The argument of llmc_sample (blocks of LLMC_CUDA_SAMPLE_THREADS, of which a grid has
 * LLMC_CUDA_SAMPLE_MOST_BLOCKS at most): chooses the token of one row, tells the host, and makes
 * the row the next step's. A step launches the phases it needs, in ascending order: 0; with top_k 1
 * and 2; with top_p 3, 4 and 5; 6 unless greedy. */
typedef struct LlmcCudaSample {
  uint64_t logits; /* f32 [vocab_size] */
  uint64_t token_id; /* int32_t: becomes the chosen one */
  uint64_t pos;      /* int32_t: becomes one more */
  uint64_t state;  /* LlmcCudaSampleState */
  uint64_t seen;   /* uint8_t [vocab_size]: 1 for tokens of the text so far, the chosen one too */
  uint64_t chosen; /* uint64_t [LLMC_CUDA_RING] in memory of the host: (step << 32 | id) at step %
                      LLMC_CUDA_RING; id LLMC_CUDA_NOT_FINITE: a logit is NaN or infinite */
  int64_t vocab_size;
  int64_t phase;
} LlmcCudaSample;
#define LLMC_CUDA_SAMPLE_THREADS 256
#define LLMC_CUDA_RING 64
#define LLMC_CUDA_NOT_FINITE 0xffffffffu

#ifdef __cplusplus
static_assert(sizeof(LlmcCudaSample) == 64 && sizeof(LlmcCudaSampleState) == 17496,
              "arguments of kernels are ABI");
static_assert(sizeof(LlmcCudaArgs) == 16 && sizeof(LlmcCudaRelayout) == 40,
              "arguments of kernels are ABI");
#endif

#endif /* LLMC_RUNTIME_ABI_CUDA_ABI_H */
