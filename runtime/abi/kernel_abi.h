/* The contract between compiled CPU kernels and whoever calls them. Plain C, nothing but fixed-width types.
 *
 * A kernel computes tiles [tile_begin, tile_end) of one phase of a step. What a tile is, how many a phase has and what
 * each operand means is written in the plan (runtime/schema/plan.fbs: Phase). Tiles of one phase are independent: any
 * thread may run any range of them in any order, and the results are the same bits.
 *
 * A kernel touches its operands, the step, and its scratch; it calls nothing, allocates nothing and keeps no state.
 * Its operands are those of its phase, in the phase's order: `operands` has no other length, so a kernel with one more
 * changes no other.
 * Operand and scratch pointers are aligned to 64 bytes. Up to 64 bytes past the end of a weight may be read (and do not
 * matter), so the weights' memory ends at least that far behind the last one. Scratch belongs to the calling thread alone; its content is
 * undefined on entry.
 */
#ifndef LLMC_RUNTIME_ABI_KERNEL_ABI_H
#define LLMC_RUNTIME_ABI_KERNEL_ABI_H

#include <stddef.h>
#include <stdint.h>

#define LLMC_KERNEL_ABI_VERSION 3u

/* Tokens per block of the KV cache, and keys per block of attention's fixed grid. */
#define LLMC_KV_BLOCK_TOKENS 64

#ifdef __cplusplus
extern "C" {
#endif

/* What is the same for every phase of a step. What rows are (their tokens, positions, sequences) and where a sequence's
 * blocks lie is among a kernel's operands (plan.fbs: Input, Space). */
typedef struct LlmcStep {
  int64_t num_rows;
  int64_t num_logits_rows;
  int64_t num_sequences;   /* rows of block tables and slots */
  int64_t blocks_per_seq;  /* entries of a block table's row */
} LlmcStep;

/* Returns 0, or a positive number for a step that the kernel cannot run (a bug of the caller). */
typedef int32_t (*LlmcKernelFn)(const LlmcStep* step, void* const* operands, int64_t tile_begin,
                                int64_t tile_end, void* scratch);

#ifdef __cplusplus
}
static_assert(sizeof(LlmcStep) == 32 && offsetof(LlmcStep, num_logits_rows) == 8 &&
                  offsetof(LlmcStep, blocks_per_seq) == 24,
              "LlmcStep is ABI");
#endif

#endif /* LLMC_RUNTIME_ABI_KERNEL_ABI_H */
