#include "runtime/session/state_cache.h"

#include <algorithm>
#include <numeric>

#include "runtime/executor/executor.h"
#include "runtime/executor/kv_pool.h"
#include "runtime/schema/plan_generated.h"

namespace llmrt {
namespace {

constexpr int64_t kTokens = LLMC_KV_BLOCK_TOKENS;

bool isPaged(const schema::State& state) { return state.kind() == schema::StateKind::kv; }

/// Blocks of a state of keys and values. A sequence of kv_tokens tokens fits in any case.
int64_t blocksOf(const schema::State& state, const StateCacheOptions& o) {
  const int64_t all =
      KvBlocks::blocksNeeded(o.max_batch, o.max_seq_len, state.window(), o.max_rows);
  if (o.kv_tokens == 0) return all;
  return std::min(all, (o.kv_tokens + kTokens - 1) / kTokens);
}

std::vector<std::optional<KvBlocks>> makeBlocks(const schema::Plan& plan,
                                                const StateCacheOptions& o) {
  std::vector<std::optional<KvBlocks>> all(plan.states() ? plan.states()->size() : 0);
  for (uint32_t i = 0; i < all.size(); ++i) {
    const schema::State& state = *plan.states()->Get(i);
    if (isPaged(state))
      all[i].emplace(o.max_batch, o.max_seq_len, state.window(), blocksOf(state, o));
  }
  return all;
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
    : blocks_per_seq_((o.max_seq_len + kTokens - 1) / kTokens),
      blocks_(makeBlocks(plan, o)),
      is_used_(static_cast<size_t>(o.max_batch)),
      index_(blocks_, o.max_batch) {
  double all_bytes = 0;
  for (uint32_t i = 0; i < blocks_.size(); ++i) {
    const schema::State& state = *plan.states()->Get(i);
    double bytes = 0;
    if (blocks_[i]) {
      const KvPool pool(state, 1);
      bytes = static_cast<double>(pool.num_layers) *
              static_cast<double>(pool.key_block_bytes + pool.value_block_bytes);
      all_bytes += bytes * static_cast<double>(blocks_[i]->numBlocks());
    } else if (state.kind() == schema::StateKind::recurrent) {
      const SlotPool pool(state, 1);
      slots_bytes_ += pool.num_layers * pool.slot_bytes;
      slots_.resize(is_used_.size());
    }
    block_bytes_.push_back(bytes);
  }
  if (slots_bytes_ > 0)
    most_snapshots_ = static_cast<size_t>(all_bytes / static_cast<double>(slots_bytes_));
  planned_.resize(blocks_.size());
  std::iota(slots_.begin(), slots_.end(), 0);
  for (const std::optional<KvBlocks>& blocks : blocks_)
    tables_.push_back(blocks ? blocks->tables() : slots_.data());
}

double StateCache::kvBytes(int64_t tokens) const {
  double bytes = 0;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    if (!blocks_[i]) continue;
    const int64_t first = blocks_[i]->firstRead(tokens) * kTokens;
    bytes += block_bytes_[i] * static_cast<double>(tokens - first) / kTokens;
  }
  return bytes;
}

int64_t StateCache::numUsedBlocks() const {
  int64_t used = 0;
  for (const std::optional<KvBlocks>& blocks : blocks_)
    if (blocks) used += blocks->numBlocks() - blocks->numFree();
  return used;
}

void StateCache::planStep() { std::fill(planned_.begin(), planned_.end(), 0); }

template <typename Missing>
bool StateCache::plan(Missing&& missing) {
  for (size_t i = 0; i < blocks_.size(); ++i)
    if (blocks_[i] && planned_[i] + missing(*blocks_[i]) > blocks_[i]->numObtainable())
      return false;
  for (size_t i = 0; i < blocks_.size(); ++i)
    if (blocks_[i]) planned_[i] += missing(*blocks_[i]);
  return true;
}

bool StateCache::giveUpClaims(int32_t seq, int64_t now) {
  bool any = false;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    if (!blocks_[i] || !blocks_[i]->isClaimedAlone(seq, now)) continue;
    index_.evict(i, blocks_[i]->block(seq, now));
    any = true;
  }
  return any;
}

bool StateCache::planRows(int32_t seq, int64_t now, int64_t tokens) {
  const auto missing = [&](const KvBlocks& blocks) { return blocks.missing(seq, now, tokens); };
  if (plan(missing)) return true;
  // Rather than that a sequence cannot go on, what was kept of its last block goes.
  return giveUpClaims(seq, now) && plan(missing);
}

bool StateCache::planSequence(int32_t seq, int64_t now, int64_t tokens, int64_t rows) {
  return plan([&](const KvBlocks& blocks) { return blocks.missingAtOnce(seq, now, tokens, rows); });
}

Status StateCache::begin(int32_t seq, int64_t now, int64_t tokens) {
  planStep();
  if (!planRows(seq, now, tokens)) return outOfMemory("no block of the KV cache is free");
  if (hasRecurrent() && now == 0) {
    uint8_t& used = is_used_[static_cast<size_t>(seq)];
    if (used) LLMRT_RETURN_IF_ERROR(executor_->clearSlots(seq));
    used = 1;
  }
  for (uint32_t i = 0; i < blocks_.size(); ++i) {
    if (!blocks_[i]) continue;
    const auto evict = [&](int32_t block) { index_.evict(i, block); };
    LLMRT_RETURN_IF_ERROR(blocks_[i]->own(
        seq, now, evict,
        [&](int32_t from, int32_t to) { return executor_->copyBlock(i, from, to); },
        [&](int32_t block, int64_t first) { executor_->clearBlock(i, block, first); }));
    blocks_[i]->grow(seq, tokens, evict,
                     [&](int32_t block) { executor_->clearBlock(i, block, 0); });
  }
  return {};
}

void StateCache::pass(int32_t seq, int64_t tokens) {
  for (std::optional<KvBlocks>& blocks : blocks_)
    if (blocks) blocks->pass(seq, tokens);
}

void StateCache::undo(int32_t seq, int64_t tokens) {
  for (uint32_t i = 0; i < blocks_.size(); ++i) {
    if (blocks_[i] && blocks_[i]->undo(seq, tokens))
      executor_->clearBlock(i, blocks_[i]->block(seq, tokens), tokens % kTokens);
  }
}

void StateCache::truncate(int32_t seq, int64_t tokens) {
  index_.goBack(seq, tokens);
  for (uint32_t i = 0; i < blocks_.size(); ++i) {
    if (blocks_[i] && blocks_[i]->shrink(seq, tokens))
      executor_->clearBlock(i, blocks_[i]->block(seq, tokens), tokens % kTokens);
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

void StateCache::reset(int32_t seq) { truncate(seq, 0); }

bool StateCache::isThere(const PrefixIndex::Match& match, int64_t tokens) const {
  for (size_t state = 0; state < blocks_.size(); ++state) {
    if (!blocks_[state]) continue;
    for (int64_t i = blocks_[state]->firstRead(tokens); i * kTokens < tokens; ++i)
      if (index_.block(match.nodes[static_cast<size_t>(i)], state) == PrefixIndex::kNone)
        return false;
  }
  return true;
}

StateCache::Place StateCache::findPlace(PrefixIndex::Match& match, int64_t most) {
  for (int64_t tokens = std::min(match.tokens, most); tokens > 0;
       tokens = (tokens - 1) / kTokens * kTokens) {
    const PrefixIndex::Snapshot* snapshot = nullptr;
    if (hasRecurrent()) {
      snapshot = index_.findSnapshot(match, tokens);
      if (!snapshot) break;
      tokens = snapshot->tokens;
      match.nodes[static_cast<size_t>((tokens - 1) / kTokens)] = snapshot->node;
    }
    if (isThere(match, tokens)) return {tokens, snapshot};
  }
  return {};
}

size_t StateCache::mostOnPath(int64_t tokens) const {
  return static_cast<size_t>(kvBytes(tokens) / static_cast<double>(slots_bytes_));
}

Result<StateCache::Shared> StateCache::share(int32_t seq, std::span<const int32_t> text,
                                             int64_t most) {
  PrefixIndex::Match match = index_.find(text);
  Place place = findPlace(match, most);
  if (store_) {
    const auto wanted = text.first(static_cast<size_t>(most));
    if (const Stored stored = findStored(wanted, place.tokens); stored.tokens > 0) {
      load(seq, wanted, stored);
      match = index_.find(text);
      place = findPlace(match, most);
    }
  }
  const PrefixIndex::Snapshot* const snapshot = place.snapshot;
  const Shared shared{place.tokens, std::min(match.tokens, most)};
  if (shared.tokens == 0) return shared;
  if (hasRecurrent()) {
    is_used_[static_cast<size_t>(seq)] = 1;
    LLMRT_RETURN_IF_ERROR(executor_->writeSlots(seq, snapshot->slots));
  }
  for (size_t state = 0; state < blocks_.size(); ++state) {
    if (!blocks_[state]) continue;
    blocks_[state]->share(seq, shared.tokens, [&](int64_t i) {
      return index_.block(match.nodes[static_cast<size_t>(i)], state);
    });
  }
  const auto whole = static_cast<size_t>(shared.tokens / kTokens);
  index_.enter(seq, whole == 0 ? PrefixIndex::kRoot : match.nodes[whole - 1]);
  return shared;
}

Status StateCache::keepAll(int32_t seq, std::span<const int32_t> tokens) {
  const int32_t node = index_.addAll(seq, tokens);
  const auto count = static_cast<int64_t>(tokens.size());
  if (!snapshotPays(count)) return {};
  if (index_.hasSnapshot(node, count)) return {};
  std::vector<uint8_t> slots(slots_bytes_);
  LLMRT_RETURN_IF_ERROR(executor_->readSlots(seq, slots));
  index_.addSnapshot(node, count, std::move(slots), mostOnPath(count), most_snapshots_);
  return {};
}

Status StateCache::readSlots(int32_t seq, std::span<uint8_t> out) const {
  return executor_->readSlots(seq, out);
}

Status StateCache::writeSlots(int32_t seq, std::span<const uint8_t> from) {
  return executor_->writeSlots(seq, from);
}

}  // namespace llmrt
