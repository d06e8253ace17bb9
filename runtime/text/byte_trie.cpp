#include "runtime/text/byte_trie.h"

namespace llmrt {

ByteTrie::ByteTrie() : slots_(16), values_(1, kNone) {}

void ByteTrie::grow() {
  std::vector<Slot> old(slots_.size() * 2);
  old.swap(slots_);
  for (const Slot& slot : old) {
    if (slot.key == 0) continue;
    size_t i = slotOf(slot.key);
    while (slots_[i].key != 0) i = (i + 1) & (slots_.size() - 1);
    slots_[i] = slot;
  }
}

uint32_t ByteTrie::addChild(uint32_t node, unsigned char byte) {
  auto fresh = static_cast<uint32_t>(values_.size());
  values_.push_back(kNone);
  if (node == kRoot) return first_[byte] = fresh;
  if (++edges_ * 2 > slots_.size()) grow();
  uint64_t key = keyOf(node, byte);
  size_t i = slotOf(key);
  while (slots_[i].key != 0) i = (i + 1) & (slots_.size() - 1);
  slots_[i] = {key, fresh};
  return fresh;
}

void ByteTrie::add(std::string_view key, uint32_t value) {
  uint32_t node = kRoot;
  for (char c : key) {
    auto byte = static_cast<unsigned char>(c);
    uint32_t next = child(node, byte);
    node = next == kRoot ? addChild(node, byte) : next;
  }
  values_[node] = value;
}

ByteTrie::Found ByteTrie::longest(std::string_view text) const {
  Found found;
  uint32_t node = kRoot;
  for (size_t i = 0; i < text.size(); ++i) {
    node = child(node, static_cast<unsigned char>(text[i]));
    if (node == kRoot) break;
    if (values_[node] != kNone) found = {i + 1, values_[node]};
  }
  return found;
}

}  // namespace llmrt
