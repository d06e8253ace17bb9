/* The contract between compiled CPU kernels and whoever calls them. Plain C, nothing but fixed-width types.
 *
 * A kernel computes tiles [tile_begin, tile_end) of one phase of a step. What a tile is, how many a phase has and what
 * each operand means is written in the plan (runtime/schema/plan.fbs: Phase). Tiles of one phase are independent: any
 * thread may run any range of them in any order, and the results are the same bits.
 *
 * A kernel touches its operands, the step, and its scratch; it calls nothing, allocates nothing and keeps no state.
 * Operand and scratch pointers are aligned to 64 bytes. Up to 64 bytes past the end of a weight may be read (and do not
 * matter), so the weights' memory ends at least that far behind the last one. Scratch belongs to the calling thread alone; its content is
 * undefined on entry.
 */
#ifndef LLMC_RUNTIME_ABI_KERNEL_ABI_H
#define LLMC_RUNTIME_ABI_KERNEL_ABI_H

#include <stddef.h>
#include <stdint.h>

#define LLMC_KERNEL_ABI_VERSION 2u

/* Tokens per block of the KV cache, and keys per block of attention's fixed grid. */
#define LLMC_KV_BLOCK_TOKENS 64

#ifdef __cplusplus
extern "C" {
#endif

/* One row of a step: one token of one sequence. */
typedef struct LlmcRow {
  int32_t token_id;
  int32_t pos;         /* absolute position in its sequence; attends to positions 0..pos of it */
  int32_t seq;         /* sequence slot: a row of block_tables */
  int32_t logits_row;  /* its row in the logits buffer, -1 when its logits are not wanted */
} LlmcRow;

/* What is the same for every phase of a step. Rows of one sequence are adjacent and in order of pos. */
typedef struct LlmcStep {
  const LlmcRow* rows;           /* [num_rows] */
  const int32_t* logits_rows;    /* [num_logits_rows] indices into rows, ascending */
  const int32_t* block_tables;   /* [max_batch, blocks_per_seq] block numbers in the KV pool */
  int64_t num_rows;
  int64_t num_logits_rows;
  int64_t blocks_per_seq;
} LlmcStep;

/* Returns 0, or a positive number for a step that the kernel cannot run (a bug of the caller). */
typedef int32_t (*LlmcKernelFn)(const LlmcStep* step, void* const* operands, int64_t tile_begin,
                                int64_t tile_end, void* scratch);

#ifdef __cplusplus
}
static_assert(sizeof(LlmcRow) == 16 && offsetof(LlmcRow, logits_row) == 12, "LlmcRow is ABI");
static_assert(sizeof(LlmcStep) == 48 && offsetof(LlmcStep, num_rows) == 24 &&
                  offsetof(LlmcStep, blocks_per_seq) == 40,
              "LlmcStep is ABI");
#endif

#endif /* LLMC_RUNTIME_ABI_KERNEL_ABI_H */
