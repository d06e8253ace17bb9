#include "runtime/session/prefix_index.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <utility>

#include "runtime/session/common_prefix.h"

namespace llmrt {

uint64_t PrefixIndex::hashBehind(uint64_t hash, std::span<const int32_t> tokens) {
  for (const int32_t token : tokens) {
    hash = (hash + static_cast<uint32_t>(token) + 1) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 32;
  }
  return hash;
}

PrefixIndex::PrefixIndex(std::vector<std::optional<KvBlocks>>& pools, int64_t max_batch)
    : pools_(pools), last_(static_cast<size_t>(max_batch), kRoot) {
  int64_t most = 0;
  for (const std::optional<KvBlocks>& pool : pools) {
    const int64_t blocks = pool ? pool->numBlocks() : 0;
    owner_.emplace_back(static_cast<size_t>(blocks), kNone);
    most = std::max(most, blocks);
  }
  // Address space alone, until nodes are made.
  nodes_.reserve(static_cast<size_t>(most) + 2);
  blocks_.reserve(nodes_.capacity() * pools.size());
  free_nodes_.reserve(nodes_.capacity());
  buckets_.assign(std::bit_ceil(static_cast<size_t>(most) + 1), kNone);
  clear();
}

void PrefixIndex::clear() {
  snapshots_.clear();
  for (size_t state = 0; state < pools_.size(); ++state) {
    for (size_t block = 0; block < owner_[state].size(); ++block)
      if (std::exchange(owner_[state][block], kNone) != kNone)
        pools_[state]->claim(static_cast<int32_t>(block), 0);
  }
  std::fill(buckets_.begin(), buckets_.end(), kNone);
  std::fill(last_.begin(), last_.end(), kRoot);
  free_nodes_.clear();
  nodes_.assign(1, {});
  claimed_.clear();
  blocks_.assign(pools_.size(), kNone);
}

int32_t PrefixIndex::findWhole(int32_t parent, std::span<const int32_t> tokens,
                               uint64_t hash) const {
  for (int32_t n = buckets_[hash & (buckets_.size() - 1)]; n != kNone; n = at(n).next_in_bucket) {
    const Node& node = at(n);
    if (node.hash == hash && node.parent == parent &&
        std::equal(tokens.begin(), tokens.end(), node.tokens.begin()))
      return n;
  }
  return kNone;
}

std::pair<int32_t, int64_t> PrefixIndex::closestChild(int32_t parent,
                                                      std::span<const int32_t> tokens) const {
  std::pair<int32_t, int64_t> closest{kNone, 0};
  for (int32_t n = at(parent).first_child; n != kNone; n = at(n).next) {
    const int64_t common = commonPrefix(at(n).text(), tokens);
    if (common > closest.second) closest = {n, common};
  }
  return closest;
}

PrefixIndex::Match PrefixIndex::find(std::span<const int32_t> tokens) const {
  Match match;
  int32_t last = kRoot;
  while (tokens.size() >= kTokens) {
    const auto block = tokens.first(kTokens);
    const int32_t node = findWhole(last, block, hashBehind(at(last).hash, block));
    if (node == kNone) break;
    match.nodes.push_back(last = node);
    match.tokens += kTokens;
    tokens = tokens.subspan(kTokens);
  }
  if (const auto [node, common] = closestChild(last, tokens); common > 0) {
    match.nodes.push_back(node);
    match.tokens += common;
  }
  return match;
}

int32_t PrefixIndex::addChild(int32_t parent, std::span<const int32_t> tokens, uint64_t hash) {
  int32_t n;
  if (free_nodes_.empty()) {
    n = static_cast<int32_t>(nodes_.size());
    nodes_.emplace_back();
    blocks_.resize(blocks_.size() + pools_.size(), kNone);
  } else {
    n = free_nodes_.back();
    free_nodes_.pop_back();
  }
  Node& node = at(n);
  node.parent = parent;
  node.first_child = node.previous = node.next_in_bucket = kNone;
  node.next = at(parent).first_child;
  node.num_tokens = static_cast<int32_t>(tokens.size());
  node.depth = numBlocks(parent);
  node.hash = hash;
  std::copy(tokens.begin(), tokens.end(), node.tokens.begin());
  if (node.next != kNone) at(node.next).previous = n;
  at(parent).first_child = n;
  if (node.isWhole()) node.next_in_bucket = std::exchange(bucketOf(hash), n);
  // What an unfilled block holds, which this one begins with, is here as well.
  for (int32_t next, other = node.next; other != kNone; other = next) {
    next = at(other).next;
    if (at(other).isWhole() || commonPrefix(at(other).text(), tokens) < at(other).num_tokens)
      continue;
    for (Snapshot& snapshot : snapshots_)
      if (snapshot.node == other) snapshot.node = n;
    removeLeaf(other);
  }
  return n;
}

void PrefixIndex::claimBlocks(int32_t seq, int64_t i, int32_t node) {
  bool any = false;
  for (size_t state = 0; state < pools_.size(); ++state) {
    if (!pools_[state] || block(node, state) != kNone) continue;
    const int32_t held = pools_[state]->heldBlock(seq, i);
    if (held < 0) continue;
    adopt(node, state, held);
    any = true;
  }
  if (any && notes_claims_ && at(node).isWhole()) claimed_.push_back(node);
}

void PrefixIndex::adopt(int32_t node, size_t state, int32_t block) {
  blocks_[static_cast<size_t>(node) * pools_.size() + state] = block;
  assert(owner_[state][static_cast<size_t>(block)] == kNone);
  owner_[state][static_cast<size_t>(block)] = node;
  pools_[state]->claim(block, at(node).num_tokens);
}

int32_t PrefixIndex::takeClaimed() {
  while (!claimed_.empty()) {
    const int32_t node = claimed_.front();
    claimed_.pop_front();
    if (at(node).isWhole()) return node;
  }
  return kNone;
}

std::vector<int32_t> PrefixIndex::text(int32_t node, int64_t tokens) const {
  std::vector<int32_t> text(static_cast<size_t>(tokens));
  for (; node != kRoot; node = at(node).parent) {
    const auto first = static_cast<size_t>(at(node).depth * kTokens);
    const auto part = at(node).text().first(std::min(at(node).text().size(), text.size() - first));
    std::copy(part.begin(), part.end(), text.begin() + static_cast<ptrdiff_t>(first));
  }
  return text;
}

void PrefixIndex::enter(int32_t seq, int32_t node) {
  prune(std::exchange(last_[static_cast<size_t>(seq)], node));
}

void PrefixIndex::goBack(int32_t seq, int64_t tokens) {
  int32_t node = last_[static_cast<size_t>(seq)];
  while (numBlocks(node) * kTokens > tokens) node = at(node).parent;
  if (node != last_[static_cast<size_t>(seq)]) enter(seq, node);
}

void PrefixIndex::add(int32_t seq, std::span<const int32_t> tokens) {
  int32_t& last = last_[static_cast<size_t>(seq)];
  for (int64_t i = numBlocks(last); (i + 1) * kTokens <= static_cast<int64_t>(tokens.size()); ++i) {
    const auto block = tokens.subspan(static_cast<size_t>(i * kTokens), kTokens);
    const uint64_t hash = hashBehind(at(last).hash, block);
    int32_t node = findWhole(last, block, hash);
    if (node == kNone) node = addChild(last, block, hash);
    claimBlocks(seq, i, node);
    last = node;
  }
}

int32_t PrefixIndex::addAll(int32_t seq, std::span<const int32_t> tokens) {
  add(seq, tokens);
  const int32_t last = last_[static_cast<size_t>(seq)];
  const size_t rest = tokens.size() % kTokens;
  if (rest == 0) return last;
  const auto block = tokens.last(rest);
  const auto [closest, common] = closestChild(last, block);
  if (common == static_cast<int64_t>(rest)) return closest;
  const int32_t node = addChild(last, block, hashBehind(at(last).hash, block));
  claimBlocks(seq, static_cast<int64_t>(tokens.size() / kTokens), node);
  return node;
}

void PrefixIndex::giveUpBlock(int32_t node, size_t state) {
  const int32_t old =
      std::exchange(blocks_[static_cast<size_t>(node) * pools_.size() + state], kNone);
  if (old == kNone) return;
  owner_[state][static_cast<size_t>(old)] = kNone;
  pools_[state]->claim(old, 0);
}

void PrefixIndex::removeLeaf(int32_t n) {
  const Node& node = at(n);
  for (int32_t& last : last_)
    if (last == n) last = node.parent;
  (node.previous == kNone ? at(node.parent).first_child : at(node.previous).next) = node.next;
  if (node.next != kNone) at(node.next).previous = node.previous;
  if (node.isWhole()) {
    int32_t* link = &bucketOf(node.hash);
    while (*link != n) link = &at(*link).next_in_bucket;
    *link = node.next_in_bucket;
  }
  for (size_t state = 0; state < pools_.size(); ++state) giveUpBlock(n, state);
  std::erase_if(snapshots_, [n](const Snapshot& s) { return s.node == n; });
  at(n).num_tokens = 0;  // for takeClaimed()
  free_nodes_.push_back(n);
}

void PrefixIndex::removeTree(int32_t top) {
  for (int32_t node = top;;) {
    while (at(node).first_child != kNone) node = at(node).first_child;
    const int32_t parent = at(node).parent;
    removeLeaf(node);
    if (node == top) return;
    node = parent;
  }
}

void PrefixIndex::prune(int32_t node) {
  while (node != kRoot && at(node).first_child == kNone) {
    for (size_t state = 0; state < pools_.size(); ++state)
      if (block(node, state) != kNone) return;
    if (std::find(last_.begin(), last_.end(), node) != last_.end()) return;
    if (std::any_of(snapshots_.begin(), snapshots_.end(),
                    [node](const Snapshot& s) { return s.node == node; }))
      return;
    const int32_t parent = at(node).parent;
    removeLeaf(node);
    node = parent;
  }
}

void PrefixIndex::evict(size_t state, int32_t block) {
  const int32_t node = owner_[state][static_cast<size_t>(block)];
  if (!pools_[state]->hasWindow()) {
    removeTree(node);
  } else {
    giveUpBlock(node, state);
    prune(node);
  }
}

bool PrefixIndex::isBehind(const Snapshot& s, int32_t node) const {
  const auto tokens = static_cast<ptrdiff_t>(s.tokens - at(s.node).depth * kTokens);
  return node == s.node ||
         (at(node).parent == at(s.node).parent && at(node).num_tokens >= tokens &&
          std::equal(at(s.node).tokens.begin(), at(s.node).tokens.begin() + tokens,
                     at(node).tokens.begin()));
}

const PrefixIndex::Snapshot* PrefixIndex::findSnapshot(const Match& match, int64_t most) {
  Snapshot* best = nullptr;
  for (Snapshot& s : snapshots_) {
    const auto depth = static_cast<size_t>(at(s.node).depth);
    if (s.tokens > std::min(most, match.tokens) || depth >= match.nodes.size() ||
        !isBehind(s, match.nodes[depth]))
      continue;
    if (!best || s.tokens > best->tokens) best = &s;
  }
  if (best) best->last_used = ++clock_;
  return best;
}

void PrefixIndex::dropSnapshot(size_t i) {
  const int32_t node = snapshots_[i].node;
  snapshots_.erase(snapshots_.begin() + static_cast<ptrdiff_t>(i));
  prune(node);
}

std::vector<size_t> PrefixIndex::snapshotsBefore(int32_t node, int64_t tokens) const {
  std::vector<size_t> path;
  for (size_t i = 0; i < snapshots_.size(); ++i) {
    if (snapshots_[i].tokens > tokens) continue;
    int32_t there = node;
    while (at(there).depth > at(snapshots_[i].node).depth) there = at(there).parent;
    if (isBehind(snapshots_[i], there)) path.push_back(i);
  }
  std::sort(path.begin(), path.end(),
            [&](size_t a, size_t b) { return snapshots_[a].tokens < snapshots_[b].tokens; });
  return path;
}

bool PrefixIndex::hasSnapshot(int32_t node, int64_t tokens) {
  const std::vector<size_t> path = snapshotsBefore(node, tokens);
  if (path.empty() || snapshots_[path.back()].tokens != tokens) return false;
  snapshots_[path.back()].last_used = ++clock_;
  return true;
}

void PrefixIndex::addSnapshot(int32_t node, int64_t tokens, std::vector<uint8_t> slots,
                              size_t most_on_path, size_t most, bool is_stored) {
  if (most_on_path == 0 || most == 0) return;
  const std::vector<size_t> path = snapshotsBefore(node, tokens);
  // It is there before others go, so that its node stays.
  snapshots_.push_back({node, tokens, ++clock_, std::move(slots), is_stored});
  if (path.size() + 1 > most_on_path) {
    // Seen from the end, each lies some times as far back as the one behind it. The one goes
    // without which that leaves the least gap.
    const auto back = [&](size_t i) {
      return static_cast<double>(kTokens +
                                 (i < path.size() ? tokens - snapshots_[path[i]].tokens : 0));
    };
    size_t least = 0;
    double least_gap = 0;
    for (size_t i = 0; i < path.size(); ++i) {
      const double before = i == 0 ? static_cast<double>(tokens + kTokens) : back(i - 1);
      const double gap = before / back(i + 1);
      if (i == 0 || gap < least_gap) {
        least = i;
        least_gap = gap;
      }
    }
    dropSnapshot(path[least]);
  }
  while (snapshots_.size() > most) {
    const auto oldest =
        std::min_element(snapshots_.begin(), snapshots_.end(),
                         [](const auto& a, const auto& b) { return a.last_used < b.last_used; });
    dropSnapshot(static_cast<size_t>(oldest - snapshots_.begin()));
  }
}

}  // namespace llmrt
