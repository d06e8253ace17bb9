#include "runtime/text/utf8.h"

#include <cstring>

namespace llmrt {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

struct Scan {
  size_t length;  // of the character, or of the maximal invalid part
  enum { kValid, kInvalid, kIncomplete } kind;
};

/// Looks at one character at the beginning of `text`, which is not empty. kIncomplete: every byte
/// up to the end of `text` may still begin a character.
Scan scanCharacter(std::string_view text) {
  auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  unsigned char lead = byte(0);
  if (lead < 0x80) return {1, Scan::kValid};
  if (lead < 0xc2 || lead > 0xf4) return {1, Scan::kInvalid};
  size_t length = utf8Length(lead);
  // The second byte's range excludes overlong forms, surrogates and what lies beyond U+10FFFF.
  unsigned char low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  unsigned char high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  for (size_t i = 1; i < length; ++i) {
    if (i == text.size()) return {i, Scan::kIncomplete};
    if (byte(i) < low || byte(i) > high) return {i, Scan::kInvalid};
    low = 0x80;
    high = 0xbf;
  }
  return {length, Scan::kValid};
}

}  // namespace

size_t findInvalidUtf8(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    if (i + 8 <= text.size()) {
      uint64_t word;
      std::memcpy(&word, text.data() + i, 8);
      if ((word & 0x8080808080808080u) == 0) {
        i += 8;
        continue;
      }
    }
    Scan scan = scanCharacter(text.substr(i));
    if (scan.kind != Scan::kValid) return i;
    i += scan.length;
  }
  return i;
}

char32_t codePointAt(std::string_view text, size_t offset) {
  auto byte = [&](size_t i) {
    return static_cast<char32_t>(static_cast<unsigned char>(text[offset + i]));
  };
  char32_t lead = byte(0);
  switch (utf8Length(static_cast<unsigned char>(lead))) {
    case 1:
      return lead;
    case 2:
      return (lead & 0x1f) << 6 | (byte(1) & 0x3f);
    case 3:
      return (lead & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f);
    default:
      return (lead & 0x07) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 |
             (byte(3) & 0x3f);
  }
}

void appendUtf8(char32_t c, std::string& out) {
  auto tail = [&](int shift) { out += static_cast<char>(0x80 | ((c >> shift) & 0x3f)); };
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xc0 | (c >> 6));
    tail(0);
  } else if (c < 0x10000) {
    out += static_cast<char>(0xe0 | (c >> 12));
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xf0 | (c >> 18));
    tail(12);
    tail(6);
    tail(0);
  }
}

bool isWhiteSpace(char32_t c) {
  return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
         c == 0x3000;
}

void LossyUtf8::push(std::string_view bytes, std::string& out) {
  std::string joined;
  if (!pending_.empty()) {
    joined = pending_;
    joined += bytes;
    pending_.clear();
    bytes = joined;
  }
  while (!bytes.empty()) {
    size_t valid = findInvalidUtf8(bytes);
    out += bytes.substr(0, valid);
    bytes.remove_prefix(valid);
    if (valid > 0) disowned_ = 0;
    if (bytes.empty()) return;
    Scan scan = scanCharacter(bytes);
    if (scan.kind == Scan::kIncomplete) {
      pending_ = bytes;
      return;
    }
    if (scan.length > disowned_) out += kReplacement;
    disowned_ = 0;
    bytes.remove_prefix(scan.length);
  }
}

void LossyUtf8::finish(std::string& out) {
  if (pending_.size() > disowned_) out += kReplacement;
  pending_.clear();
  disowned_ = 0;
}

}  // namespace llmrt
