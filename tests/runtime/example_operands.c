/* Kernels whose operands today's models do not use: what an entry point may be given and may give
 * beside tokens and logits. A test adds each to the plan of example_kernels.c as one more input or
 * output, and changes nothing else.
 *
 * All run as one tile. Buffers of width w lie w rounded up to 16 apart. */
#include "runtime/abi/kernel_abi.h"

enum {
  HIDDEN = 32,
  NUM_HEADS = 2,
  HEAD_DIM = 16,
  VOCAB = 50,
  VOCAB_STRIDE = 64,
  STRIDE = 16, /* of narrow buffers */
  MOST_BLOCKS = 4,
  MOST_RANK = 3,
  TOP = 4,
  TOKENS = LLMC_KV_BLOCK_TOKENS
};

#define KERNEL __attribute__((visibility("default"))) int32_t
#define ARGUMENTS \
  const LlmcStep *step, void *const *operands, int64_t tile_begin, int64_t tile_end, void *scratch
#define UNUSED (void)tile_begin, (void)tile_end, (void)scratch

/* A tree of tokens. operands: token_id, parent [rows] (-1: none), out (write): the sum of the ids
 * from the root to the row. */
KERNEL operand_path_sum(ARGUMENTS) {
  const int32_t *token_id = operands[0], *parent = operands[1];
  float* out = operands[2];
  UNUSED;
  for (int64_t row = 0; row < step->num_rows; ++row)
    out[row * STRIDE] = (float)token_id[row] + (parent[row] < 0 ? 0.0f : out[parent[row] * STRIDE]);
  return 0;
}

/* An encoder: rows see what comes after them. operands: token_id, range_end [rows], out (write):
 * the sum of the ids of rows [row, range_end). */
KERNEL operand_range_sum(ARGUMENTS) {
  const int32_t *token_id = operands[0], *end = operands[1];
  float* out = operands[2];
  UNUSED;
  for (int64_t row = 0; row < step->num_rows; ++row) {
    out[row * STRIDE] = 0.0f;
    for (int64_t other = row; other < end[row]; ++other)
      out[row * STRIDE] += (float)token_id[other];
  }
  return 0;
}

/* Multi-section RoPE. operands: positions [rows, 3], out (write): 10000 a + 100 b + c. */
KERNEL operand_positions(ARGUMENTS) {
  const int32_t* positions = operands[0];
  float* out = operands[1];
  UNUSED;
  for (int64_t row = 0; row < step->num_rows; ++row) {
    const int32_t* p = positions + row * 3;
    out[row * STRIDE] = (float)(10000 * p[0] + 100 * p[1] + p[2]);
  }
  return 0;
}

/* operands: embeddings [rows, HIDDEN], x (write). */
KERNEL operand_embeddings(ARGUMENTS) {
  const float* embeddings = operands[0];
  float* x = operands[1];
  UNUSED;
  for (int64_t i = 0; i < step->num_rows * HIDDEN; ++i) x[i] = embeddings[i];
  return 0;
}

/* operands: x, seq, out [sequences, HIDDEN] (write): the sum of each sequence's rows. Works on
 * sequences. */
KERNEL operand_pool(ARGUMENTS) {
  const float* x = operands[0];
  const int32_t* seq = operands[1];
  float* out = operands[2];
  UNUSED;
  for (int64_t i = 0; i < step->num_sequences * HIDDEN; ++i) out[i] = 0.0f;
  for (int64_t row = 0; row < step->num_rows; ++row)
    for (int i = 0; i < HIDDEN; ++i) out[seq[row] * HIDDEN + i] += x[row * HIDDEN + i];
  return 0;
}

/* operands: x, logits_rows, out [logits_rows] (write): a score of each wanted row. Works on wanted
 * rows. */
KERNEL operand_score(ARGUMENTS) {
  const float* x = operands[0];
  const int32_t* logits_rows = operands[1];
  float* out = operands[2];
  UNUSED;
  for (int64_t i = 0; i < step->num_logits_rows; ++i)
    out[i * STRIDE] = x[logits_rows[i] * HIDDEN] - x[logits_rows[i] * HIDDEN + 1];
  return 0;
}

/* operands: seq, adapter [sequences] (-1: none), ranks [1, 2], tables [1, 2, 2, MOST_RANK, HIDDEN]
 * (of each adapter, down and up), x (read, write): x += up down x, of as many rows as the rank. */
KERNEL operand_adapter(ARGUMENTS) {
  const int32_t *seq = operands[0], *adapter = operands[1], *ranks = operands[2];
  const float* tables = operands[3];
  float* x = operands[4];
  UNUSED;
  for (int64_t row = 0; row < step->num_rows; ++row) {
    int32_t which = adapter[seq[row]];
    if (which < 0) continue;
    const float* down = tables + which * 2 * MOST_RANK * HIDDEN;
    const float* up = down + MOST_RANK * HIDDEN;
    float add[HIDDEN];
    for (int i = 0; i < HIDDEN; ++i) add[i] = 0.0f;
    for (int r = 0; r < ranks[which]; ++r) {
      float sum = 0.0f;
      for (int i = 0; i < HIDDEN; ++i) sum += down[r * HIDDEN + i] * x[row * HIDDEN + i];
      for (int i = 0; i < HIDDEN; ++i) add[i] += sum * up[r * HIDDEN + i];
    }
    for (int i = 0; i < HIDDEN; ++i) x[row * HIDDEN + i] += add[i];
  }
  return 0;
}

/* Sparse attention. operands: as example_attention's but for x and RoPE (pos, seq, block table, key
 * pool, value pool), blocks [rows, NUM_HEADS, MOST_BLOCKS] of the sequence (-1: no more), a
 * (write): the sum of the values of the tokens up to the row's in the listed blocks. */
KERNEL operand_block_lists(ARGUMENTS) {
  const int32_t *pos = operands[0], *seq = operands[1], *table = operands[2];
  const float* values = operands[4];
  const int32_t* lists = operands[5];
  float* a = operands[6];
  UNUSED;
  for (int64_t row = 0; row < step->num_rows; ++row)
    for (int head = 0; head < NUM_HEADS; ++head) {
      float* out = a + row * HIDDEN + head * HEAD_DIM;
      for (int d = 0; d < HEAD_DIM; ++d) out[d] = 0.0f;
      const int32_t* list = lists + (row * NUM_HEADS + head) * MOST_BLOCKS;
      for (int i = 0; i < MOST_BLOCKS && list[i] >= 0; ++i)
        for (int slot = 0; slot < TOKENS && list[i] * TOKENS + slot <= pos[row]; ++slot) {
          int64_t block = table[seq[row] * step->blocks_per_seq + list[i]];
          const float* value = values + ((block * NUM_HEADS + head) * TOKENS + slot) * HEAD_DIM;
          for (int d = 0; d < HEAD_DIM; ++d) out[d] += value[d];
        }
    }
  return 0;
}

/* (1 + x / 4096)^4096, for x from -50 to 0. */
static float roughExp(float x) {
  float power = 1.0f + x / 4096.0f;
  for (int i = 0; i < 12; ++i) power *= power;
  return power;
}

/* The choice of tokens, of any number of rows. operands: logits, grammar_mask [logits_rows, 2]
 * (bits of allowed ids), logit_bias [logits_rows, VOCAB], token_counts [logits_rows, VOCAB], then
 * (write) id, logprob, top_ids [TOP], top_logprobs [TOP]. Works on wanted rows. */
KERNEL operand_choose(ARGUMENTS) {
  const float* logits = operands[0];
  const int32_t* mask = operands[1];
  const float* bias = operands[2];
  const int32_t* counts = operands[3];
  int32_t* id = operands[4];
  float* logprob = operands[5];
  int32_t* top_ids = operands[6];
  float* top_logprobs = operands[7];
  UNUSED;
  for (int64_t row = 0; row < step->num_logits_rows; ++row) {
    float value[VOCAB];
    for (int i = 0; i < VOCAB; ++i)
      value[i] = mask[row * 2 + i / 32] >> i % 32 & 1
                     ? logits[row * VOCAB_STRIDE + i] + bias[row * VOCAB + i] -
                           (float)counts[row * VOCAB + i]
                     : -1e30f;
    for (int n = 0; n < TOP; ++n) {
      int best = -1;
      for (int i = 0; i < VOCAB; ++i) {
        int taken = 0;
        for (int k = 0; k < n; ++k) taken |= top_ids[row * STRIDE + k] == i;
        if (!taken && (best < 0 || value[i] > value[best])) best = i;
      }
      top_ids[row * STRIDE + n] = best;
    }
    float most = value[top_ids[row * STRIDE]], sum = 0.0f, log = 0.0f;
    for (int i = 0; i < VOCAB; ++i)
      if (value[i] - most > -50.0f) sum += roughExp(value[i] - most);
    for (int i = 0; i < 20; ++i)
      log += sum * roughExp(-log) - 1.0f; /* Newton's for exp(log) = sum */
    for (int n = 0; n < TOP; ++n)
      top_logprobs[row * STRIDE + n] = value[top_ids[row * STRIDE + n]] - most - log;
    id[row * STRIDE] = top_ids[row * STRIDE];
    logprob[row * STRIDE] = top_logprobs[row * STRIDE];
  }
  return 0;
}
