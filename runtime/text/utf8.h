// UTF-8: validation, walking, and the replacement of what is not UTF-8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace llmrt {

/// The offset of the first byte that is not part of valid UTF-8 (surrogates and overlong forms are
/// invalid); text.size() when all is valid.
size_t findInvalidUtf8(std::string_view text);

inline bool isValidUtf8(std::string_view text) { return findInvalidUtf8(text) == text.size(); }

/// Bytes of the character that begins with `lead`, in valid UTF-8.
inline size_t utf8Length(unsigned char lead) {
  return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/// The code point at `offset` of valid UTF-8.
char32_t codePointAt(std::string_view text, size_t offset);

/// Where the character before `offset` begins, which is not 0.
inline size_t previousCharacter(std::string_view text, size_t offset) {
  do --offset;
  while (offset > 0 && (static_cast<unsigned char>(text[offset]) & 0xc0) == 0x80);
  return offset;
}

void appendUtf8(char32_t code_point, std::string& out);

/// Unicode's White_Space property.
bool isWhiteSpace(char32_t code_point);

/// Turns bytes that arrive in any portions into valid UTF-8: each maximal part that is not valid
/// becomes one U+FFFD (the Unicode standard's practice). A character cut by the end of a portion
/// waits for the next one, so the outputs joined do not depend on the portions.
class LossyUtf8 {
 public:
  /// Appends to `out` what is certain by now.
  void push(std::string_view bytes, std::string& out);
  /// The bytes are at their end: what still waits becomes U+FFFD.
  void finish(std::string& out);
  /// What waits now is another text's end: it may become part of a character, but never U+FFFD of
  /// its own.
  void disown() { disowned_ = pending_.size(); }

 private:
  std::string pending_;  // at most 3 bytes, a prefix of some character
  size_t disowned_ = 0;  // of pending_, the first so many
};

}  // namespace llmrt
