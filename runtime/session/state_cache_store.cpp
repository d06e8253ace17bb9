// What is kept goes to a store beside this memory, and comes back from there.
#include <algorithm>

#include "runtime/executor/executor.h"
#include "runtime/session/prefix_store.h"
#include "runtime/session/state_cache.h"

namespace llmrt {
namespace {

constexpr int64_t kTokens = LLMC_KV_BLOCK_TOKENS;
static_assert(kTokens == PrefixStore::kTokens);

}  // namespace

void StateCache::setStore(PrefixStore* store) {
  store_ = store;
  index_.noteClaims();
}

void StateCache::storeBlocks(int32_t node, std::span<const int32_t> text, uint64_t hash,
                             uint64_t before) {
  for (uint32_t state = 0; state < blocks_.size(); ++state) {
    if (!blocks_[state]) continue;
    const int32_t block = index_.block(node, state);
    if (block == PrefixIndex::kNone || store_->has(hash, state)) continue;
    std::vector<uint8_t> bytes(static_cast<size_t>(block_bytes_[state]));
    if (!executor_->readBlock(state, block, bytes).ok()) return;
    store_->write(text, {hash, before}, state, std::move(bytes));
  }
}

bool StateCache::store() {
  if (!store_) return false;
  while (store_->hasRoom()) {
    const int32_t node = index_.takeClaimed();
    if (node == PrefixIndex::kNone) break;
    const uint64_t before = index_.hash(index_.parent(node));
    int64_t tokens = 0;
    for (int32_t n = node; n != PrefixIndex::kRoot; n = index_.parent(n)) tokens += kTokens;
    storeBlocks(node, index_.text(node, tokens), index_.hash(node), before);
  }
  for (PrefixIndex::Snapshot& snapshot : index_.snapshots()) {
    if (snapshot.is_stored) continue;
    if (!store_->hasRoom()) return true;
    snapshot.is_stored = true;
    const uint64_t before = index_.hash(index_.parent(snapshot.node));
    const std::vector<int32_t> text = index_.text(snapshot.node, snapshot.tokens);
    const auto last =
        std::span(text).subspan(static_cast<size_t>((snapshot.tokens - 1) / kTokens) * kTokens);
    const uint64_t hash = PrefixIndex::hashBehind(before, last);
    storeBlocks(snapshot.node, text, hash, before);
    if (!store_->has(hash, PrefixStore::kSnapshot))
      store_->write(text, {hash, before}, PrefixStore::kSnapshot, snapshot.slots);
  }
  return index_.hasClaimed();
}

StateCache::Stored StateCache::findStored(std::span<const int32_t> text, int64_t have) const {
  // Of each state the number of blocks up to the last one that is nowhere.
  std::vector<int64_t> lacking(blocks_.size());
  std::vector<uint64_t> hashes;
  Stored best;
  uint64_t best_hash = 0;  // of its last block
  const auto withHashes = [&] {
    const auto whole = static_cast<size_t>(best.tokens / kTokens);
    best.hashes.assign(hashes.begin(), hashes.begin() + static_cast<ptrdiff_t>(whole));
    if (best.tokens % kTokens != 0) best.hashes.push_back(best_hash);
    return best;
  };
  const auto canGoOn = [&](int64_t tokens, uint64_t hash) {
    if (tokens <= std::max(have, best.tokens)) return false;
    for (size_t state = 0; state < blocks_.size(); ++state)
      if (blocks_[state] && lacking[state] > blocks_[state]->firstRead(tokens)) return false;
    return !hasRecurrent() || store_->has(hash, PrefixStore::kSnapshot);
  };
  int32_t node = PrefixIndex::kRoot;
  for (int64_t i = 0;; ++i) {
    const uint64_t before = hashes.empty() ? 0 : hashes.back();
    const auto rest = text.subspan(static_cast<size_t>(i * kTokens));
    if (canGoOn(i * kTokens, before)) best.tokens = i * kTokens;
    if (hasRecurrent()) {
      for (const auto& [count, hash] : store_->unfilled(before)) {
        const int64_t tokens = i * kTokens + count;
        if (count > static_cast<int64_t>(rest.size()) || !canGoOn(tokens, hash) ||
            PrefixIndex::hashBehind(before, rest.first(static_cast<size_t>(count))) != hash)
          continue;
        bool all = true;
        for (uint32_t state = 0; state < blocks_.size(); ++state)
          all = all && (!blocks_[state] || store_->has(hash, state));
        if (!all) continue;
        best.tokens = tokens;
        best_hash = hash;
      }
    }
    if (static_cast<int64_t>(rest.size()) < kTokens) return withHashes();
    const auto block = rest.first(kTokens);
    hashes.push_back(PrefixIndex::hashBehind(before, block));
    if (node != PrefixIndex::kNone) node = index_.findWhole(node, block, hashes.back());
    for (uint32_t state = 0; state < blocks_.size(); ++state) {
      if (!blocks_[state] || store_->has(hashes.back(), state)) continue;
      if (node != PrefixIndex::kNone && index_.block(node, state) != PrefixIndex::kNone) continue;
      lacking[state] = i + 1;
      if (!blocks_[state]->hasWindow()) return withHashes();
    }
  }
}

int32_t StateCache::loadBlock(int32_t seq, int32_t parent, std::span<const int32_t> text,
                              std::span<const int32_t> block, uint64_t hash, int64_t all_tokens,
                              std::vector<std::pair<size_t, int32_t>>& pinned) {
  const auto count = static_cast<int64_t>(block.size());
  int32_t node = count == kTokens ? index_.findWhole(parent, block, hash) : PrefixIndex::kNone;
  if (count < kTokens) {
    const auto [child, common] = index_.closestChild(parent, block);
    if (common == count) node = child;
  }
  const int64_t i = (static_cast<int64_t>(text.size()) - 1) / kTokens;
  const auto isRead = [&](size_t state) {
    return blocks_[state] && i >= blocks_[state]->firstRead(all_tokens);
  };
  if (node != PrefixIndex::kNone) {
    index_.enter(seq, node);  // so that it stays, whatever is evicted
    for (size_t state = 0; state < blocks_.size(); ++state) {
      if (!isRead(state) || index_.block(node, state) == PrefixIndex::kNone) continue;
      pinned.emplace_back(state, index_.block(node, state));
      blocks_[state]->pin(pinned.back().second);
    }
  }
  std::vector<std::pair<size_t, int32_t>> read;
  bool all = true;
  for (uint32_t state = 0; all && state < blocks_.size(); ++state) {
    if (!isRead(state) ||
        (node != PrefixIndex::kNone && index_.block(node, state) != PrefixIndex::kNone))
      continue;
    // A longer text's block would have other tokens behind these.
    all = (node == PrefixIndex::kNone || index_.numTokens(node) == count) &&
          blocks_[state]->numObtainable() > 0;
    if (!all) break;
    read.emplace_back(state, blocks_[state]->takeForCache(
                                 [&](int32_t evicted) { index_.evict(state, evicted); }));
    std::vector<uint8_t> bytes(static_cast<size_t>(block_bytes_[state]));
    all = store_->read(text, hash, state, bytes) &&
          executor_->writeBlock(state, read.back().second, bytes).ok();
  }
  if (!all) {
    for (const auto& [state, taken] : read) blocks_[state]->unpin(taken);
    return PrefixIndex::kNone;
  }
  if (node == PrefixIndex::kNone) {
    node = index_.addChild(parent, block, hash);
    index_.enter(seq, node);
  }
  for (const auto& [state, taken] : read) {
    index_.adopt(node, state, taken);
    pinned.emplace_back(state, taken);
  }
  return node;
}

void StateCache::load(int32_t seq, std::span<const int32_t> text, const Stored& stored) {
  std::vector<std::pair<size_t, int32_t>> pinned;
  int32_t node = PrefixIndex::kRoot;
  for (size_t i = 0; i < stored.hashes.size() && node != PrefixIndex::kNone; ++i) {
    const size_t first = i * kTokens;
    const size_t end = std::min(first + kTokens, static_cast<size_t>(stored.tokens));
    node = loadBlock(seq, node, text.first(end), text.subspan(first, end - first), stored.hashes[i],
                     stored.tokens, pinned);
  }
  if (node != PrefixIndex::kNone && hasRecurrent() && !index_.hasSnapshot(node, stored.tokens)) {
    std::vector<uint8_t> slots(slots_bytes_);
    const auto all = text.first(static_cast<size_t>(stored.tokens));
    if (store_->read(all, stored.hashes.back(), PrefixStore::kSnapshot, slots))
      index_.addSnapshot(node, stored.tokens, std::move(slots), mostOnPath(stored.tokens),
                         most_snapshots_, true);
  }
  // From the last on: ends of texts go before what they begin with.
  for (auto one = pinned.rbegin(); one != pinned.rend(); ++one)
    blocks_[one->first]->unpin(one->second);
  index_.enter(seq, PrefixIndex::kRoot);
}

}  // namespace llmrt
