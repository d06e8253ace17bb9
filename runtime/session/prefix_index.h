// Which texts the blocks of a state cache hold: a tree of blocks of tokens, whose whole ones are
// found by a hash of all that leads to them.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "runtime/session/kv_blocks.h"

namespace llmrt {

/// A node is a block of tokens behind those of its parent, and of each state the block that holds
/// them, which it claims. Snapshots of recurrent states belong to the node in which they were
/// taken. A hash only says where to look: tokens are compared. Allocates nothing as long as there
/// are no more nodes than a pool has blocks, but for snapshots and find().
class PrefixIndex {
 public:
  static constexpr int32_t kRoot = 0;  // the node of no tokens
  static constexpr int32_t kNone = -1;

  /// The hash of a text that ends with these tokens, behind one of hash `before` (of none: 0).
  static uint64_t hashBehind(uint64_t before, std::span<const int32_t> tokens);

  /// `pools`: of each state that has blocks; outlives the index.
  PrefixIndex(std::vector<std::optional<KvBlocks>>& pools, int64_t max_batch);

  /// The longest beginning of a text that the tree has.
  struct Match {
    std::vector<int32_t> nodes;  // from its first block on; of the last perhaps not all tokens
    int64_t tokens = 0;
  };
  Match find(std::span<const int32_t> tokens) const;
  /// The block of a node in a state; kNone: it has none there any more.
  int32_t block(int32_t node, size_t state) const {
    return blocks_[static_cast<size_t>(node) * pools_.size() + state];
  }

  /// A sequence goes on behind this node: the last of its blocks that the tree has.
  void enter(int32_t seq, int32_t node);
  /// A sequence has `tokens` tokens, perhaps fewer than before.
  void goBack(int32_t seq, int64_t tokens);
  /// Adds what a sequence has: `tokens`, of which the whole blocks.
  void add(int32_t seq, std::span<const int32_t> tokens);
  /// The same with its last, unfilled block. The node that the text ends in.
  int32_t addAll(int32_t seq, std::span<const int32_t> tokens);

  /// Gives up a block, and what cannot be used without it: where a state has no window, all that
  /// follows in the tree.
  void evict(size_t state, int32_t block);
  void clear();

  struct Snapshot {
    int32_t node = kRoot;
    int64_t tokens = 0;  // of the text that ends there
    uint64_t last_used = 0;
    std::vector<uint8_t> slots;
    bool is_stored = false;  // for whoever stores them
  };
  /// Of the text that `match` has, the snapshot behind the most tokens, at most `most`; null: none.
  /// Its node need not be the match's, which has those tokens too. It counts as used now. Valid
  /// until the tree changes.
  const Snapshot* findSnapshot(const Match& match, int64_t most);
  /// Whether there is one behind the `tokens` tokens that end in `node`; then it counts as used
  /// now.
  bool hasSnapshot(int32_t node, int64_t tokens);
  /// Adds one, of which there is none: drops another on its path where there would be more than
  /// `most_on_path`, then those that were not used for longest until all are at most `most`.
  /// Nothing where either is 0.
  void addSnapshot(int32_t node, int64_t tokens, std::vector<uint8_t> slots, size_t most_on_path,
                   size_t most, bool is_stored = false);
  // For whoever brings blocks back from a place beside this memory, and stores them there.
  uint64_t hash(int32_t node) const { return at(node).hash; }
  int32_t parent(int32_t node) const { return at(node).parent; }
  int64_t numTokens(int32_t node) const { return at(node).num_tokens; }
  /// Of the text that ends with the node's tokens, the first `tokens`.
  std::vector<int32_t> text(int32_t node, int64_t tokens) const;
  int32_t findWhole(int32_t parent, std::span<const int32_t> tokens, uint64_t hash) const;
  /// The child with the longest common beginning, and how long that is.
  std::pair<int32_t, int64_t> closestChild(int32_t parent, std::span<const int32_t> tokens) const;
  int32_t addChild(int32_t parent, std::span<const int32_t> tokens, uint64_t hash);
  /// A node lacks its block in a state: it has this one, which is held.
  void adopt(int32_t node, size_t state, int32_t block);
  /// From now on takeClaimed() has the whole nodes that are given blocks.
  void noteClaims() { notes_claims_ = true; }
  /// The next of them, or of those that have had their number since; kNone: there is none.
  int32_t takeClaimed();
  bool hasClaimed() const { return !claimed_.empty(); }
  std::span<Snapshot> snapshots() { return snapshots_; }

  size_t numSnapshots() const { return snapshots_.size(); }
  size_t numNodes() const { return nodes_.size() - free_nodes_.size() - 1; }

 private:
  static constexpr int64_t kTokens = LLMC_KV_BLOCK_TOKENS;
  struct Node {
    int32_t parent = kNone, first_child = kNone, next = kNone, previous = kNone;  // siblings
    int32_t next_in_bucket = kNone;
    int32_t num_tokens = 0;
    int64_t depth = 0;  // blocks of tokens before it
    uint64_t hash = 0;  // of all tokens up to its end
    std::array<int32_t, kTokens> tokens;
    std::span<const int32_t> text() const {
      return {tokens.data(), static_cast<size_t>(num_tokens)};
    }
    bool isWhole() const { return num_tokens == kTokens; }
  };
  Node& at(int32_t node) { return nodes_[static_cast<size_t>(node)]; }
  const Node& at(int32_t node) const { return nodes_[static_cast<size_t>(node)]; }
  /// Of the text that ends with a whole node.
  int64_t numBlocks(int32_t node) const { return node == kRoot ? 0 : at(node).depth + 1; }
  int32_t& bucketOf(uint64_t hash) { return buckets_[hash & (buckets_.size() - 1)]; }
  /// Claims what a sequence holds of its i-th block for a node that lacks it.
  void claimBlocks(int32_t seq, int64_t i, int32_t node);
  void giveUpBlock(int32_t node, size_t state);
  void removeLeaf(int32_t node);
  void removeTree(int32_t node);
  /// Removes a node that serves nobody, and its parents where they do so only for its sake.
  void prune(int32_t node);
  /// Whether the text of a snapshot is the beginning of that of a node of its depth.
  bool isBehind(const Snapshot& snapshot, int32_t node) const;
  void dropSnapshot(size_t i);
  /// Snapshots of the text of `tokens` tokens that ends in `node` and of its beginnings, shortest
  /// first.
  std::vector<size_t> snapshotsBefore(int32_t node, int64_t tokens) const;

  std::vector<std::optional<KvBlocks>>& pools_;
  std::vector<Node> nodes_;                  // by number; the root first
  std::vector<int32_t> blocks_;              // [nodes, states]
  std::vector<int32_t> free_nodes_;          // numbers that are not in use
  std::vector<int32_t> buckets_;             // the first node of each
  std::vector<std::vector<int32_t>> owner_;  // of each state, the node that claims a block
  std::vector<int32_t> last_;                // of each sequence, the node it goes on behind
  std::vector<Snapshot> snapshots_;
  uint64_t clock_ = 0;
  bool notes_claims_ = false;
  std::deque<int32_t> claimed_;
};

}  // namespace llmrt
