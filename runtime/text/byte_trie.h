// A set of byte strings, walked one byte at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace llmrt {

/// Immutable and thread-safe once filled.
class ByteTrie {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;
  static constexpr uint32_t kRoot = 0;

  ByteTrie();
  /// A key added twice keeps its last value, which is not kNone.
  void add(std::string_view key, uint32_t value);
  bool empty() const { return values_.size() == 1; }

  /// The node below `node`; kRoot, which is below none, where there is none.
  uint32_t child(uint32_t node, unsigned char byte) const {
    if (node == kRoot) return first_[byte];
    uint64_t key = keyOf(node, byte);
    for (size_t i = slotOf(key);; i = (i + 1) & (slots_.size() - 1)) {
      if (slots_[i].key == key) return slots_[i].child;
      if (slots_[i].key == 0) return kRoot;
    }
  }
  /// kNone where no key ends.
  uint32_t value(uint32_t node) const { return values_[node]; }

  struct Found {
    size_t length = 0;  // 0: none
    uint32_t value = kNone;
  };
  /// The longest key with which `text` begins.
  Found longest(std::string_view text) const;

 private:
  struct Slot {
    uint64_t key = 0;  // 0: free; no edge has it, for the root's are in first_
    uint32_t child = kRoot;
  };
  static uint64_t keyOf(uint32_t node, unsigned char byte) { return uint64_t{node} << 8 | byte; }
  size_t slotOf(uint64_t key) const {
    key *= 0x9e3779b97f4a7c15u;
    return static_cast<size_t>(key >> 32) & (slots_.size() - 1);
  }
  uint32_t addChild(uint32_t node, unsigned char byte);
  void grow();

  uint32_t first_[256] = {};  // children of the root
  std::vector<Slot> slots_;   // open addressing, a power of two, at most half full
  size_t edges_ = 0;
  std::vector<uint32_t> values_;  // [nodes]
};

}  // namespace llmrt
