// Text by code points, as Python's str sees it. All text is valid UTF-8.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

namespace llmrt::jinja {

class TextBuilder;

/// Code points of `text`.
size_t countCodePoints(std::string_view text);
/// The byte offset of code point `index`; text.size() where there are not so many.
size_t offsetOfCodePoint(std::string_view text, size_t index);

/// str.isspace() of one character: White_Space and the four information separators.
bool isSpace(char32_t c);
/// A string without the white space at its ends.
std::string_view stripLeft(std::string_view text);
std::string_view stripRight(std::string_view text);
/// Characters to strip.
class CharacterSet {
 public:
  explicit CharacterSet(std::string_view characters);
  bool has(char32_t c) const;

 private:
  std::vector<char32_t> characters_;  // sorted
};
/// The same with any of `characters`.
std::string_view stripLeft(std::string_view text, const CharacterSet& characters);
std::string_view stripRight(std::string_view text, const CharacterSet& characters);

void appendUpper(TextBuilder& out, std::string_view text);
void appendLower(TextBuilder& out, std::string_view text);
void appendFolded(TextBuilder& out, std::string_view text);  // str.casefold()
void appendSwappedCase(TextBuilder& out, std::string_view text);
/// str.title(): the first letter of each run of letters in title case, the others lower.
void appendTitle(TextBuilder& out, std::string_view text);
/// The first character in title case, the others lower.
void appendCapitalized(TextBuilder& out, std::string_view text);

bool isUpper(char32_t c);
bool isLower(char32_t c);
bool isTitle(char32_t c);
bool isAlpha(char32_t c);
bool isDecimal(char32_t c);
bool isDigit(char32_t c);
bool isNumeric(char32_t c);
/// What a character of isDecimal() counts.
int decimalValue(char32_t c);
bool isAlnum(char32_t c);
/// What repr() shows as it is.
bool isPrintable(char32_t c);

/// Where the line that begins at `begin` ends, and where the next one begins: str.splitlines().
struct LineEnd {
  size_t end, next;
};
LineEnd findLineEnd(std::string_view text, size_t begin);

}  // namespace llmrt::jinja
