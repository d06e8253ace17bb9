// Text that nobody vouches for, made fit for an error message or a terminal.
#pragma once

#include <string>
#include <string_view>

namespace llmrt {

/// `text` in single quotes, at most 80 bytes of it, bytes outside printable ASCII as \xNN: whatever
/// a file claims to contain, a message stays one line.
inline std::string quotedName(std::string_view text) {
  constexpr size_t kMaxBytes = 80;
  constexpr char kHex[] = "0123456789abcdef";
  std::string out = "'";
  for (char c : text.substr(0, kMaxBytes)) {
    auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      out += c;
    } else {
      out += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  if (text.size() > kMaxBytes) out += "...";
  return out + "'";
}

/// `text` without what a terminal would obey: the control characters of ASCII but newline and tab,
/// and those from U+0080 to U+009F; bytes that are not UTF-8 become U+FFFD. Keeps no state: text
/// that arrives in portions must come in whole characters.
inline std::string printableText(std::string_view text) {
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
