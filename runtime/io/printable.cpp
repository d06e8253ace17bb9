#include "runtime/io/printable.h"

#include <algorithm>
#include <cstdint>

namespace llmrt {
namespace {

struct Character {
  size_t length;  // in bytes; of an invalid one: of its lead byte and what would continue it
  uint32_t code;
  bool valid;
};

// The character at the start of `text`, which is not empty. Forms longer than a character needs are
// not valid: some terminal may read them.
Character firstCharacter(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {1, lead, true};
  const size_t wanted = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  size_t length = 1;
  uint32_t code = lead & (0xffu >> (wanted + 1));
  for (; length < std::min(wanted, text.size()) && (byte(length) & 0xc0) == 0x80; ++length)
    code = code << 6 | (byte(length) & 0x3fu);
  constexpr uint32_t kLeast[] = {0x80, 0x800, 0x10000};
  const bool valid = length == wanted && lead >= 0xc2 && lead <= 0xf4 &&
                     code >= kLeast[wanted - 2] && code <= 0x10ffff &&
                     (code < 0xd800 || code >= 0xe000);
  return {length, code, valid};
}

bool isControl(uint32_t code) { return code < 0x20 || (code >= 0x7f && code < 0xa0); }

std::string printable(std::string_view text, std::string_view kept) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  while (!text.empty()) {
    size_t length = visibleCharacter(text);
    if (length == 0 && kept.find(text[0]) != std::string_view::npos) length = 1;
    if (length > 0) {
      out += text.substr(0, length);
    } else {
      const auto byte = static_cast<unsigned char>(text[0]);
      out += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
      length = 1;
    }
    text.remove_prefix(length);
  }
  return out;
}

}  // namespace

size_t visibleCharacter(std::string_view text) {
  if (text.empty()) return 0;
  const auto [length, code, valid] = firstCharacter(text);
  const bool obeyed = isControl(code) || (code >= 0x2028 && code <= 0x202e) ||
                      (code >= 0x2066 && code <= 0x2069) || code == 0x200e || code == 0x200f ||
                      code == 0x061c;
  return valid && !obeyed ? length : 0;
}

std::string printableLine(std::string_view text) { return printable(text, ""); }
std::string printableLines(std::string_view text) { return printable(text, "\n\t"); }

std::string printableText(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const auto [length, code, valid] = firstCharacter(text);
    if (!valid) {
      out += "\xef\xbf\xbd";
    } else if (!isControl(code) || code == '\n' || code == '\t') {
      out += text.substr(0, length);
    }
    text.remove_prefix(length);
  }
  return out;
}

}  // namespace llmrt
