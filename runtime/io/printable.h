// Text that nobody vouches for, taken from files or said by a model, made fit for a message and a
// terminal.
#pragma once

#include <string>
#include <string_view>

namespace llmrt {

/// Length in bytes of the UTF-8 character at the start of `text`; 0 where there is none, and where
/// it is one that a terminal obeys rather than shows: a control character (also U+0080 to U+009F),
/// a line separator, or one that turns the direction of text.
size_t visibleCharacter(std::string_view text);

/// `text` as one line that shows what is in it: bytes that are no visible character as \xNN.
std::string printableLine(std::string_view text);
/// The same of a text of several lines: newlines and tabs stay.
std::string printableLines(std::string_view text);

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
std::string printableText(std::string_view text);

}  // namespace llmrt
