#include "runtime/io/printable.h"

#include <cstdint>

namespace llmrt {
namespace {

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
  const auto lead = static_cast<unsigned char>(text[0]);
  if (lead < 0x80) return lead >= 0x20 && lead != 0x7f ? 1 : 0;
  const size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return 0;
  uint32_t code = lead & (0xffu >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if ((byte & 0xc0) != 0x80) return 0;
    code = code << 6 | (byte & 0x3fu);
  }
  const uint32_t least[] = {0xa0, 0x800, 0x10000};  // below U+00A0 are controls
  if (code < least[length - 2] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return 0;
  const bool obeyed = (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) ||
                      code == 0x200e || code == 0x200f || code == 0x061c;
  return obeyed ? 0 : length;
}

std::string printableLine(std::string_view text) { return printable(text, ""); }
std::string printableLines(std::string_view text) { return printable(text, "\n\t"); }

std::string printableText(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const unsigned char lead = byte(i);
    const size_t length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    size_t end = i + 1;
    while (end < text.size() && end < i + length && (byte(end) & 0xc0) == 0x80) ++end;
    // Longer forms than a character needs are not UTF-8 either: some terminal may read them.
    const bool valid = end == i + length && lead <= 0xf4 && (lead < 0x80 || lead >= 0xc2) &&
                       !(lead == 0xe0 && byte(i + 1) < 0xa0) &&
                       !(lead == 0xf0 && byte(i + 1) < 0x90);
    const bool control = lead == 0xc2 ? byte(end - 1) < 0xa0 : lead < 0x20 || lead == 0x7f;
    if (!valid) {
      out += "\xef\xbf\xbd";
    } else if (!control || lead == '\n' || lead == '\t') {
      out += text.substr(i, length);
    }
    i = end;
  }
  return out;
}

}  // namespace llmrt
