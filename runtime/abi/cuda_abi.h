/* The contract between compiled CUDA kernels and whoever launches them. Device pointers are 64-bit
 * addresses.
 *
 * Every kernel takes one LlmcCudaArgs by value. Its launches (block size, grid, shared memory, for
 * how many rows) stand in the plan (runtime/schema/plan.fbs: CudaLaunch). LlmcRow and LlmcStep are
 * those of kernel_abi.h, in device memory, with device pointers. Matrices lie in fragments
 * (codegen/cuda/device/prelude.cuh), made from the weights file's panels by the kernels
 * llmc_relayout_f32, _f16 and _bf16, which every image holds. The KV cache of a layer is two pools
 * of blocks [num_kv_heads, LLMC_KV_BLOCK_TOKENS, head_dim_padded], keys and values (these by
 * value_dim_padded, where the plan gives one).
 */
#ifndef LLMC_RUNTIME_ABI_CUDA_ABI_H
#define LLMC_RUNTIME_ABI_CUDA_ABI_H

#include "runtime/abi/kernel_abi.h"

#define LLMC_CUDA_ABI_VERSION 1u
#define LLMC_CUDA_MAX_OPERANDS 12
/* Scratch begins with counters that are 0 before and after every kernel; the rest is any kernel's.
 */
#define LLMC_CUDA_COUNTER_BYTES 65536
/* Blocks of llmc_relayout_*. */
#define LLMC_CUDA_RELAYOUT_THREADS 256

typedef struct LlmcCudaArgs {
  uint64_t step;    /* LlmcStep */
  uint64_t scratch; /* Target.scratch_bytes */
  uint64_t operands[LLMC_CUDA_MAX_OPERANDS];
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

/* The argument of llmc_greedy (blocks of LLMC_CUDA_GREEDY_THREADS): chooses the largest logit of
 * one row, tells the host, and makes `row` the next step's. */
typedef struct LlmcCudaGreedy {
  uint64_t logits;  /* f32 [vocab_size] */
  uint64_t row;     /* LlmcRow: token_id becomes the chosen one, pos one more */
  uint64_t best;    /* uint64_t, 0 before and after */
  uint64_t arrived; /* uint32_t, 0 before and after */
  uint64_t chosen;  /* uint64_t [LLMC_CUDA_RING] in memory of the host: (step << 32 | id) at step %
                       LLMC_CUDA_RING */
  uint64_t steps;   /* uint32_t: launches before this one */
  int64_t vocab_size;
} LlmcCudaGreedy;
#define LLMC_CUDA_GREEDY_THREADS 256
#define LLMC_CUDA_RING 64

#ifdef __cplusplus
static_assert(sizeof(LlmcCudaGreedy) == 56, "arguments of kernels are ABI");
static_assert(sizeof(LlmcCudaArgs) == 112 && sizeof(LlmcCudaRelayout) == 40,
              "arguments of kernels are ABI");
#endif

#endif /* LLMC_RUNTIME_ABI_CUDA_ABI_H */
