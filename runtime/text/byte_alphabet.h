// GPT-2's byte alphabet: every byte as a printable character, in which byte-level vocabularies are
// written.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/text/utf8.h"

namespace llmrt {

/// [256] the character of each byte: printable Latin-1 stands for itself, the rest for U+0100 and
/// up, in order.
inline const std::array<char32_t, 256>& byteAlphabet() {
  static const std::array<char32_t, 256> alphabet = [] {
    std::array<char32_t, 256> table{};
    char32_t next = 0x100;
    for (char32_t b = 0; b < 256; ++b) {
      bool printable = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
      table[b] = printable ? b : next++;
    }
    return table;
  }();
  return alphabet;
}

inline std::string spelledInAlphabet(std::string_view bytes) {
  std::string out;
  for (char c : bytes) appendUtf8(byteAlphabet()[static_cast<unsigned char>(c)], out);
  return out;
}

/// The bytes that `spelled` (valid UTF-8) stands for; nullopt where a character is not in the
/// alphabet.
inline std::optional<std::string> bytesOfAlphabet(std::string_view spelled) {
  static const std::array<int16_t, 0x144> bytes = [] {
    std::array<int16_t, 0x144> table{};
    table.fill(-1);
    for (int b = 0; b < 256; ++b) {
      table[byteAlphabet()[static_cast<size_t>(b)]] = static_cast<int16_t>(b);
    }
    return table;
  }();
  std::string out;
  for (size_t i = 0; i < spelled.size(); i += utf8Length(static_cast<unsigned char>(spelled[i]))) {
    char32_t c = codePointAt(spelled, i);
    if (c >= bytes.size() || bytes[c] < 0) return std::nullopt;
    out += static_cast<char>(bytes[c]);
  }
  return out;
}

}  // namespace llmrt
