// Names taken from files, made fit for an error message.
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

}  // namespace llmrt
