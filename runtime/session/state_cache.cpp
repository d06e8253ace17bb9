#include "runtime/session/state_cache.h"

#include <algorithm>
#include <numeric>

#include "runtime/executor/executor.h"
#include "runtime/executor/kv_pool.h"
#include "runtime/schema/plan_generated.h"

namespace llmrt {
namespace {

bool isPaged(const schema::State& state) { return state.kind() == schema::StateKind::kv; }

/// Blocks of a state of keys and values. A sequence of kv_tokens tokens fits in any case.
int64_t blocksOf(const schema::State& state, const StateCacheOptions& o) {
  const int64_t all =
      KvBlocks::blocksNeeded(o.max_batch, o.max_seq_len, state.window(), o.max_rows);
  if (o.kv_tokens == 0) return all;
  return std::min(all, (o.kv_tokens + LLMC_KV_BLOCK_TOKENS - 1) / LLMC_KV_BLOCK_TOKENS);
}

}  // namespace

std::vector<int64_t> StateCache::blocksNeeded(const schema::Plan& plan,
                                              const StateCacheOptions& o) {
  std::vector<int64_t> blocks;
  for (uint32_t i = 0; plan.states() && i < plan.states()->size(); ++i) {
    const schema::State& state = *plan.states()->Get(i);
    blocks.push_back(isPaged(state) ? blocksOf(state, o) : 0);
  }
  return blocks;
}

StateCache::StateCache(const schema::Plan& plan, const StateCacheOptions& o)
    : blocks_per_seq_((o.max_seq_len + LLMC_KV_BLOCK_TOKENS - 1) / LLMC_KV_BLOCK_TOKENS),
      is_used_(static_cast<size_t>(o.max_batch)) {
  for (uint32_t i = 0; plan.states() && i < plan.states()->size(); ++i) {
    const schema::State& state = *plan.states()->Get(i);
    std::optional<KvBlocks>& blocks = blocks_.emplace_back();
    if (isPaged(state)) {
      blocks.emplace(o.max_batch, o.max_seq_len, state.window(), blocksOf(state, o));
    } else if (state.kind() == schema::StateKind::recurrent) {
      const SlotPool pool(state, 1);
      slots_bytes_ += pool.num_layers * pool.slot_bytes;
      slots_.resize(is_used_.size());
    }
  }
  planned_.resize(blocks_.size());
  std::iota(slots_.begin(), slots_.end(), 0);
  for (const std::optional<KvBlocks>& blocks : blocks_)
    tables_.push_back(blocks ? blocks->tables() : slots_.data());
}

void StateCache::planStep() { std::fill(planned_.begin(), planned_.end(), 0); }

template <typename Missing>
bool StateCache::plan(Missing&& missing) {
  for (size_t i = 0; i < blocks_.size(); ++i)
    if (blocks_[i] && planned_[i] + missing(*blocks_[i]) > blocks_[i]->numFree()) return false;
  for (size_t i = 0; i < blocks_.size(); ++i)
    if (blocks_[i]) planned_[i] += missing(*blocks_[i]);
  return true;
}

bool StateCache::planRows(int32_t seq, int64_t tokens) {
  return plan([&](const KvBlocks& blocks) { return blocks.missing(seq, tokens); });
}

bool StateCache::planSequence(int32_t seq, int64_t tokens, int64_t rows) {
  return plan([&](const KvBlocks& blocks) { return blocks.missingAtOnce(seq, tokens, rows); });
}

Status StateCache::begin(int32_t seq, int64_t now, int64_t tokens) {
  planStep();
  if (!planRows(seq, tokens)) return outOfMemory("no block of the KV cache is free");
  if (hasRecurrent() && now == 0) {
    uint8_t& used = is_used_[static_cast<size_t>(seq)];
    if (used) LLMRT_RETURN_IF_ERROR(executor_->clearSlots(seq));
    used = 1;
  }
  for (uint32_t i = 0; i < blocks_.size(); ++i) {
    if (blocks_[i])
      blocks_[i]->grow(seq, tokens, [&](int32_t block) { executor_->clearBlock(i, block, 0); });
  }
  return {};
}

void StateCache::pass(int32_t seq, int64_t tokens) {
  for (std::optional<KvBlocks>& blocks : blocks_)
    if (blocks) blocks->pass(seq, tokens);
}

void StateCache::drop(int32_t seq, int64_t tokens) {
  const int64_t first = tokens % LLMC_KV_BLOCK_TOKENS;
  for (uint32_t i = 0; i < blocks_.size(); ++i) {
    if (!blocks_[i]) continue;
    blocks_[i]->shrink(seq, tokens);
    // Else nothing that is dropped shares a block with what stays.
    if (first > 0) executor_->clearBlock(i, blocks_[i]->block(seq, tokens), first);
  }
}

bool StateCache::holds(int32_t seq, int64_t tokens, int64_t now) const {
  return (tokens == now || !hasRecurrent()) && holdsKeys(seq, tokens);
}

bool StateCache::holdsKeys(int32_t seq, int64_t tokens) const {
  return std::all_of(blocks_.begin(), blocks_.end(), [&](const std::optional<KvBlocks>& blocks) {
    return !blocks || blocks->holds(seq, tokens);
  });
}

void StateCache::reset(int32_t seq) {
  for (std::optional<KvBlocks>& blocks : blocks_)
    if (blocks) blocks->shrink(seq, 0);
}

Status StateCache::readSlots(int32_t seq, std::span<uint8_t> out) const {
  return executor_->readSlots(seq, out);
}

Status StateCache::writeSlots(int32_t seq, std::span<const uint8_t> from) {
  return executor_->writeSlots(seq, from);
}

}  // namespace llmrt
