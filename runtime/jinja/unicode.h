// Text by code points, as Python's str sees it. All text is valid UTF-8.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace llmrt::jinja {

/// Code points of `text`.
size_t countCodePoints(std::string_view text);
/// The byte offset of code point `index`; text.size() where there are not so many.
size_t offsetOfCodePoint(std::string_view text, size_t index);

/// str.isspace() of one character: White_Space and the four information separators.
bool isSpace(char32_t c);
/// A string without the white space at its ends.
std::string_view stripLeft(std::string_view text);
std::string_view stripRight(std::string_view text);
/// The same with any of the characters in `chars`.
std::string_view stripLeft(std::string_view text, std::string_view chars);
std::string_view stripRight(std::string_view text, std::string_view chars);

std::string toUpper(std::string_view text);
std::string toLower(std::string_view text);
std::string toSwappedCase(std::string_view text);
/// str.title(): the first letter of each run of letters in title case, the others lower.
std::string toTitle(std::string_view text);
/// The first character in title case, the others lower.
std::string toCapitalized(std::string_view text);

bool isUpper(char32_t c);
bool isLower(char32_t c);
bool isAlpha(char32_t c);
bool isDecimal(char32_t c);
/// str.isalnum() of one character.
bool isAlnum(char32_t c);
/// What repr() shows as it is.
bool isPrintable(char32_t c);

/// Where the line that begins at `begin` ends, and where the next one begins: str.splitlines().
struct LineEnd {
  size_t end, next;
};
LineEnd findLineEnd(std::string_view text, size_t begin);

}  // namespace llmrt::jinja
