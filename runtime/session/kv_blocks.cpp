#include "runtime/session/kv_blocks.h"

#include <algorithm>
#include <utility>

namespace llmrt {
namespace {

constexpr int64_t kTokens = LLMC_KV_BLOCK_TOKENS;
int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

// Why this is enough. Let W be the window, R the most rows of a step, B = 64. A sequence of k
// tokens that gets n >= 0 rows holds, while they run, the blocks from max(0, floor((k - W + 1) / B)
// - 1) to floor((k + n - 1) / B): what pass() has left and what grow() adds. Their number is at
// most
//   floor((k + n - 1) / B) - floor((k - W + 1) / B) + 2 <= ceil((W + n - 2) / B) + 2,
// since floor((x + d) / B) - floor(x / B) <= ceil(d / B). With n = 0 that is at most
// ceil((W - 1) / B) + 2; n >= 1 rows add at most ceil((n - 1) / B). Over the sequences of a step,
// whose n add up to R at most,
//   sum of ceil((n - 1) / B) <= sum over those with n > 1 of (n - 2) / B + 1 <= max_batch + R / B.
// In all: max_batch * (ceil((W - 1) / B) + 3) + floor(R / B). A failed step, shrink() and a reset
// leave less; truncated sequences hold what a shorter one was left with, or nothing.
int64_t KvBlocks::blocksNeeded(int64_t max_batch, int64_t max_seq_len, int64_t window,
                               int64_t max_rows) {
  const int64_t all = max_batch * ceilDiv(max_seq_len, kTokens);
  if (window == 0) return all;
  return std::min(all, max_batch * (ceilDiv(window - 1, kTokens) + 3) + max_rows / kTokens);
}

KvBlocks::KvBlocks(int64_t max_batch, int64_t max_seq_len, int64_t window, int64_t num_blocks)
    : window_(window),
      blocks_per_seq_(ceilDiv(max_seq_len, kTokens)),
      tables_(static_cast<size_t>(max_batch * blocks_per_seq_)),
      held_(static_cast<size_t>(max_batch)),
      blocks_(static_cast<size_t>(num_blocks)) {
  free_.reserve(blocks_.size());
  for (int64_t block = numBlocks() - 1; block >= 0; --block)
    free_.push_back(static_cast<int32_t>(block));
}

int64_t KvBlocks::firstRead(int64_t pos) const {
  return window_ == 0 ? 0 : std::max<int64_t>(0, pos - window_ + 1) / kTokens;
}

void KvBlocks::setIdle(int32_t block) {
  at(block).earlier = last_idle_;
  at(block).later = -1;
  (last_idle_ < 0 ? longest_idle_ : at(last_idle_).later) = block;
  last_idle_ = block;
  ++num_idle_;
}

void KvBlocks::unsetIdle(int32_t block) {
  const Block& b = at(block);
  (b.earlier < 0 ? longest_idle_ : at(b.earlier).later) = b.later;
  (b.later < 0 ? last_idle_ : at(b.later).earlier) = b.earlier;
  --num_idle_;
}

void KvBlocks::hold(int32_t block) {
  if (at(block).holders++ == 0) unsetIdle(block);
}

void KvBlocks::giveBack(int32_t& block) {
  if (--at(block).holders == 0) {
    if (at(block).claimed > 0)
      setIdle(block);
    else
      free_.push_back(block);
  }
  block = 0;
}

void KvBlocks::claim(int32_t block, int64_t tokens) {
  const bool was_claimed = std::exchange(at(block).claimed, static_cast<int8_t>(tokens)) > 0;
  if (at(block).holders > 0 || !was_claimed || tokens > 0) return;
  unsetIdle(block);
  free_.push_back(block);
}

bool KvBlocks::undo(int64_t seq, int64_t tokens) {
  Held& held = held_[static_cast<size_t>(seq)];
  // From the last on: of what becomes idle, ends of texts go before what they begin with.
  const int64_t wanted = std::max(ceilDiv(tokens, kTokens), held.begin);
  for (; held.end > wanted; --held.end) giveBack(tables_[entry(seq, held.end - 1)]);
  if (tokens == 0) held = {};
  if (tokens % kTokens == 0) held.is_foreign = false;
  return tokens % kTokens != 0 && !held.is_foreign;
}

bool KvBlocks::shrink(int64_t seq, int64_t tokens) {
  if (!undo(seq, tokens)) return false;
  return !(held_[static_cast<size_t>(seq)].is_foreign =
               isWanted(block(seq, tokens), tokens % kTokens));
}

void KvBlocks::pass(int64_t seq, int64_t tokens) {
  Held& held = held_[static_cast<size_t>(seq)];
  for (const int64_t first = firstRead(tokens) - 1; held.begin < std::min(first, held.end);
       ++held.begin)
    giveBack(tables_[entry(seq, held.begin)]);
}

int64_t KvBlocks::missingAtOnce(int64_t seq, int64_t now, int64_t tokens, int64_t rows) const {
  const int64_t all = missing(seq, now, tokens);
  if (window_ == 0) return all;
  // What blocksNeeded() counts of one sequence.
  const Held& held = held_[static_cast<size_t>(seq)];
  const int64_t most = ceilDiv(window_ - 1, kTokens) + 3 + rows / kTokens;
  return std::clamp<int64_t>(most - (held.end - held.begin), 0, all);
}

bool KvBlocks::holds(int64_t seq, int64_t tokens) const {
  return held_[static_cast<size_t>(seq)].begin <= firstRead(tokens);
}

}  // namespace llmrt
