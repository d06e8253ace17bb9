/* The kernel ABI by example: a toy model in plain C, compiled to a shared object that tests put
 * into a plan.
 *
 * Shapes are constants, as in compiled kernels. The model: embed, then per layer a KV write, an
 * attention without softmax (weights are plain dot products, divided by the number of tokens) and a
 * linear with residual, then logits. Every sum runs in one fixed order, so results do not depend on
 * how tiles are dealt out.
 *
 * No libc, no globals, no allocation: built with -nostdlib.
 */
#include "runtime/abi/kernel_abi.h"

enum {
  HIDDEN = 32,
  NUM_HEADS = 2,
  HEAD_DIM = 16,
  VOCAB = 50,
  VOCAB_STRIDE = 64, /* a buffer's row_stride: whole panels */
  LANES = 16,
  ROWS_PER_TILE = 4, /* Phase.rows_per_tile of the phases that divide rows */
  WINDOW = 40,
  TOKENS = LLMC_KV_BLOCK_TOKENS
};

#define KERNEL __attribute__((visibility("default"))) int32_t

/* Rows of the row block `block`: [begin, end). */
static int64_t rows_end(const LlmcStep* step, int64_t block) {
  int64_t end = (block + 1) * ROWS_PER_TILE;
  return end < step->num_rows ? end : step->num_rows;
}

/* The block in the pools that holds a token of a sequence. */
static int64_t kv_block(const LlmcStep* step, const int32_t* table, int32_t seq, int32_t pos) {
  return table[seq * step->blocks_per_seq + pos / TOKENS];
}

/* One head of x, rotated: pairs (i, i + HEAD_DIM / 2), cos and sin from table [max_seq_len, 2,
 * HEAD_DIM / 2]. */
static void rotate(const float* x, const float* table, int32_t pos, float* out) {
  const float* cosine = table + (int64_t)pos * HEAD_DIM;
  const float* sine = cosine + HEAD_DIM / 2;
  for (int i = 0; i < HEAD_DIM / 2; ++i) {
    float a = x[i], b = x[i + HEAD_DIM / 2];
    out[i] = a * cosine[i] - b * sine[i];
    out[i + HEAD_DIM / 2] = b * cosine[i] + a * sine[i];
  }
}

/* operands: embedding [VOCAB, HIDDEN] (layout rows), token_id, x (write). Tiles: one per row
 * block. */
KERNEL example_embed(const LlmcStep* step, void* const* operands, int64_t tile_begin,
                     int64_t tile_end, void* scratch) {
  const float* table = operands[0];
  const int32_t* token_id = operands[1];
  float* x = operands[2];
  (void)scratch;
  for (int64_t tile = tile_begin; tile < tile_end; ++tile)
    for (int64_t row = tile * ROWS_PER_TILE; row < rows_end(step, tile); ++row)
      for (int i = 0; i < HIDDEN; ++i)
        x[row * HIDDEN + i] = table[(int64_t)token_id[row] * HIDDEN + i];
  return 0;
}

/* operands: x, pos, seq, block table, key pool, value pool, rope. Tiles: NUM_HEADS per row block.
 * Keys are rotated, values are x itself. */
KERNEL example_kv_write(const LlmcStep* step, void* const* operands, int64_t tile_begin,
                        int64_t tile_end, void* scratch) {
  const float* x = operands[0];
  const int32_t* pos = operands[1];
  const int32_t* seq = operands[2];
  const int32_t* table = operands[3];
  float* keys = operands[4];   /* [num_blocks, NUM_HEADS, HEAD_DIM, TOKENS] */
  float* values = operands[5]; /* [num_blocks, NUM_HEADS, TOKENS, HEAD_DIM] */
  const float* rope = operands[6];
  float* key = scratch;
  for (int64_t tile = tile_begin; tile < tile_end; ++tile) {
    int64_t head = tile % NUM_HEADS, block = tile / NUM_HEADS;
    for (int64_t row = block * ROWS_PER_TILE; row < rows_end(step, block); ++row) {
      int64_t slot = pos[row] % TOKENS;
      int64_t pool =
          (kv_block(step, table, seq[row], pos[row]) * NUM_HEADS + head) * HEAD_DIM * TOKENS;
      rotate(x + row * HIDDEN + head * HEAD_DIM, rope, pos[row], key);
      for (int d = 0; d < HEAD_DIM; ++d) {
        keys[pool + d * TOKENS + slot] = key[d];
        values[pool + slot * HEAD_DIM + d] = x[row * HIDDEN + head * HEAD_DIM + d];
      }
    }
  }
  return 0;
}

/* What the attentions do; `window` 0: all tokens before are attended. */
static inline int32_t attend(const LlmcStep* step, void* const* operands, int64_t tile_begin,
                             int64_t tile_end, float* query, int32_t window) {
  const float* x = operands[0];
  const int32_t* row_pos = operands[1];
  const int32_t* seq = operands[2];
  const int32_t* table = operands[3];
  const float* keys = operands[4];
  const float* values = operands[5];
  const float* rope = operands[6];
  float* a = operands[7];
  for (int64_t tile = tile_begin; tile < tile_end; ++tile) {
    int64_t head = tile % NUM_HEADS, block = tile / NUM_HEADS;
    for (int64_t row = block * ROWS_PER_TILE; row < rows_end(step, block); ++row) {
      int32_t last = row_pos[row];
      int32_t first = window == 0 || last < window ? 0 : last - window + 1;
      float* out = a + row * HIDDEN + head * HEAD_DIM;
      rotate(x + row * HIDDEN + head * HEAD_DIM, rope, last, query);
      for (int d = 0; d < HEAD_DIM; ++d) out[d] = 0.0f;
      for (int32_t pos = first; pos <= last; ++pos) {
        int64_t slot = pos % TOKENS;
        int64_t pool =
            (kv_block(step, table, seq[row], pos) * NUM_HEADS + head) * HEAD_DIM * TOKENS;
        float score = 0.0f;
        for (int d = 0; d < HEAD_DIM; ++d) score += query[d] * keys[pool + d * TOKENS + slot];
        score /= (float)(last - first + 1);
        for (int d = 0; d < HEAD_DIM; ++d) out[d] += score * values[pool + slot * HEAD_DIM + d];
      }
    }
  }
  return 0;
}

/* operands: x, pos, seq, block table, key pool, value pool, rope, a (write). Tiles: NUM_HEADS per
 * row block. */
KERNEL example_attention(const LlmcStep* step, void* const* operands, int64_t tile_begin,
                         int64_t tile_end, void* scratch) {
  return attend(step, operands, tile_begin, tile_end, scratch, 0);
}

/* The same of the last WINDOW tokens. */
KERNEL example_attention_window(const LlmcStep* step, void* const* operands, int64_t tile_begin,
                                int64_t tile_end, void* scratch) {
  return attend(step, operands, tile_begin, tile_end, scratch, WINDOW);
}

/* A recurrent state: of each sequence, the sum of all its rows, each weighted by half of what came
 * before. operands: seq, slots' numbers, slots [num_slots, HIDDEN] (read, write), x (read, write:
 * is added the state). One tile: rows of a sequence follow one another. */
KERNEL example_accumulate(const LlmcStep* step, void* const* operands, int64_t tile_begin,
                          int64_t tile_end, void* scratch) {
  const int32_t* seq = operands[0];
  const int32_t* number = operands[1];
  float* slots = operands[2];
  float* x = operands[3];
  (void)scratch, (void)tile_begin, (void)tile_end;
  for (int64_t row = 0; row < step->num_rows; ++row) {
    float* state = slots + (int64_t)number[seq[row]] * HIDDEN;
    for (int i = 0; i < HIDDEN; ++i) {
      state[i] = state[i] / 2 + x[row * HIDDEN + i];
      x[row * HIDDEN + i] += state[i] / 8;
    }
  }
  return 0;
}

/* operands: a, weight [HIDDEN / 16, HIDDEN, 16] (layout panels), x (read, write) += a W^T.
 * Tiles: one per panel, for all rows (Phase.rows_per_tile = 0). */
KERNEL example_linear_residual(const LlmcStep* step, void* const* operands, int64_t tile_begin,
                               int64_t tile_end, void* scratch) {
  const float* a = operands[0];
  const float* weight = operands[1];
  float* x = operands[2];
  (void)scratch;
  for (int64_t panel = tile_begin; panel < tile_end; ++panel) {
    const float* w = weight + panel * HIDDEN * LANES;
    for (int64_t row = 0; row < step->num_rows; ++row) {
      float sum[LANES];
      for (int lane = 0; lane < LANES; ++lane) sum[lane] = x[row * HIDDEN + panel * LANES + lane];
      for (int k = 0; k < HIDDEN; ++k)
        for (int lane = 0; lane < LANES; ++lane)
          sum[lane] += a[row * HIDDEN + k] * w[k * LANES + lane];
      for (int lane = 0; lane < LANES; ++lane) x[row * HIDDEN + panel * LANES + lane] = sum[lane];
    }
  }
  return 0;
}

/* operands: x, logits_rows, weight [VOCAB padded / 16, HIDDEN, 16], logits (write). Tiles: one per
 * panel. Phase.axis logits_row: row i of the logits is for row logits_rows[i] of the step. */
KERNEL example_logits(const LlmcStep* step, void* const* operands, int64_t tile_begin,
                      int64_t tile_end, void* scratch) {
  const float* x = operands[0];
  const int32_t* logits_rows = operands[1];
  const float* weight = operands[2];
  float* logits = operands[3];
  (void)scratch;
  for (int64_t panel = tile_begin; panel < tile_end; ++panel) {
    const float* w = weight + panel * HIDDEN * LANES;
    for (int64_t i = 0; i < step->num_logits_rows; ++i) {
      const float* row = x + (int64_t)logits_rows[i] * HIDDEN;
      float sum[LANES];
      for (int lane = 0; lane < LANES; ++lane) sum[lane] = 0.0f;
      for (int k = 0; k < HIDDEN; ++k)
        for (int lane = 0; lane < LANES; ++lane) sum[lane] += row[k] * w[k * LANES + lane];
      for (int lane = 0; lane < LANES && panel * LANES + lane < VOCAB_STRIDE; ++lane)
        logits[i * VOCAB_STRIDE + panel * LANES + lane] = sum[lane];
    }
  }
  return 0;
}

/* Fails on token 13: a kernel says so with a positive status, which ends the step. The build gives
 * it, one to each of two images. operands: token_id. */
KERNEL example_refuse_13(const LlmcStep* step, void* const* operands, int64_t tile_begin,
                         int64_t tile_end, void* scratch) {
  const int32_t* token_id = operands[0];
  (void)scratch, (void)tile_begin, (void)tile_end;
  for (int64_t row = 0; row < step->num_rows; ++row)
    if (token_id[row] == 13) return REFUSE_STATUS;
  return 0;
}
