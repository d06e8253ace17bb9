#include "runtime/text/charsmap.h"

#include "runtime/text/utf8.h"

namespace llmrt {
namespace {

uint32_t littleEndian(std::string_view bytes) {
  uint32_t value = 0;
  for (size_t i = 4; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

// A unit of the double array: bits 0-7 the byte that leads here (bit 31 set: a value, not a node),
// 8 whether a value hangs below, 9 whether the offset counts in 256s, 10-30 the offset.
uint32_t labelOf(uint32_t unit) { return unit & (1u << 31 | 0xff); }
uint32_t offsetOf(uint32_t unit) { return unit >> 10 << ((unit & 1u << 9) >> 6); }
bool hasValue(uint32_t unit) { return (unit >> 8 & 1) != 0; }

}  // namespace

Result<Charsmap> Charsmap::create(std::string_view data) {
  Charsmap map;
  if (data.size() < 4) return invalidData("charsmap is cut off");
  size_t trie_bytes = littleEndian(data);
  data.remove_prefix(4);
  if (trie_bytes == 0 || trie_bytes % 4 != 0 || trie_bytes > data.size()) {
    return invalidData("charsmap's trie of " + std::to_string(trie_bytes) + " bytes does not fit");
  }
  map.units_.reserve(trie_bytes / 4);
  for (size_t i = 0; i < trie_bytes; i += 4) map.units_.push_back(littleEndian(data.substr(i)));
  map.contents_ = data.substr(trie_bytes);
  if (!isValidUtf8(map.contents_)) return invalidData("charsmap's replacements are not UTF-8");
  return map;
}

std::string_view Charsmap::contentAt(uint32_t offset) const {
  std::string_view rest = std::string_view(contents_).substr(offset);
  return rest.substr(0, rest.find('\0'));
}

std::optional<Charsmap::Match> Charsmap::find(std::string_view text, bool first) const {
  std::optional<Match> found;
  uint32_t node = offsetOf(units_[0]);
  for (size_t i = 0; i < text.size(); ++i) {
    auto byte = static_cast<unsigned char>(text[i]);
    node ^= byte;
    if (byte == 0 || node >= units_.size()) break;
    uint32_t unit = units_[node];
    if (labelOf(unit) != byte) break;
    node ^= offsetOf(unit);
    if (node >= units_.size()) break;
    if (!hasValue(unit)) continue;
    uint32_t offset = units_[node] & ~(1u << 31);
    // Half a character would not be UTF-8; a sound map has none.
    bool whole = i + 1 == text.size() || (static_cast<unsigned char>(text[i + 1]) & 0xc0) != 0x80;
    if (!whole || offset > contents_.size() ||
        (offset < contents_.size() &&
         (static_cast<unsigned char>(contents_[offset]) & 0xc0) == 0x80)) {
      continue;
    }
    found = {i + 1, contentAt(offset)};
    if (first) break;
  }
  return found;
}

}  // namespace llmrt
