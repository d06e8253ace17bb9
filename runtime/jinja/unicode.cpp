#include "runtime/jinja/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <iterator>

#include "runtime/jinja/builders.h"
#include "runtime/text/utf8.h"

namespace llmrt::jinja {
namespace {

struct Special {
  char32_t from;
  std::u32string_view to;
};
struct Range {
  char32_t first, last;
};
#include "runtime/jinja/unicode_tables.inc"

template <size_t kSize>
bool isIn(const Range (&ranges)[kSize], char32_t c) {
  const auto* after = std::upper_bound(std::begin(ranges), std::end(ranges), c,
                                       [](char32_t x, const Range& r) { return x < r.first; });
  return after != std::begin(ranges) && c <= after[-1].last;
}

// Appends what `specials` have for a character: false where they have nothing.
template <size_t kSize>
bool appendSpecial(const Special (&specials)[kSize], char32_t c, TextBuilder& out) {
  const auto* found = std::lower_bound(std::begin(specials), std::end(specials), c,
                                       [](const Special& s, char32_t x) { return s.from < x; });
  if (found == std::end(specials) || found->from != c) return false;
  for (char32_t to : found->to) out.append(to);
  return true;
}

bool isContinuation(char byte) { return (static_cast<unsigned char>(byte) & 0xc0) == 0x80; }

utf8proc_category_t categoryOf(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

/// The begin of the last character; `text` is not empty.
size_t lastCharacter(std::string_view text) {
  size_t i = text.size() - 1;
  while (i > 0 && isContinuation(text[i])) --i;
  return i;
}

template <typename Drop>
std::string_view stripLeftIf(std::string_view text, Drop drop) {
  while (!text.empty() && drop(codePointAt(text, 0)))
    text.remove_prefix(utf8Length(static_cast<unsigned char>(text[0])));
  return text;
}

template <typename Drop>
std::string_view stripRightIf(std::string_view text, Drop drop) {
  while (!text.empty()) {
    const size_t last = lastCharacter(text);
    if (!drop(codePointAt(text, last))) break;
    text = text.substr(0, last);
  }
  return text;
}

template <typename Visit>
void forEach(std::string_view text, Visit visit) {
  for (size_t i = 0; i < text.size();) {
    const size_t length = utf8Length(static_cast<unsigned char>(text[i]));
    visit(codePointAt(text, i), i, i + length);
    i += length;
  }
}

void appendUpper(char32_t c, TextBuilder& out) {
  if (c < 0xdf || !appendSpecial(kSpecialUpper, c, out))
    out.append(static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))));
}

void appendTitle(char32_t c, TextBuilder& out) {
  if (c < 0xdf || !appendSpecial(kSpecialTitle, c, out))
    out.append(static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c))));
}

void appendFolded(char32_t c, TextBuilder& out) {
  utf8proc_int32_t folded[4];  // at most 3
  const auto n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), folded, 4,
                                         UTF8PROC_CASEFOLD, nullptr);
  for (utf8proc_ssize_t i = 0; i < n; ++i) out.append(static_cast<char32_t>(folded[i]));
}

bool isCased(char32_t c) { return isUpper(c) || isLower(c) || isTitle(c); }

bool isCaseIgnorable(char32_t c) {
  switch (categoryOf(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return true;
    default:
      return c == '\'' || c == '.' || c == ':' || c == 0xb7 || c == 0x2019;
  }
}

/// A sigma at the end of a word has a form of its own.
bool isFinalSigma(Budget& budget, std::string_view text, size_t begin, size_t end) {
  const std::string_view before = stripRightIf(text.substr(0, begin), isCaseIgnorable);
  const std::string_view after = stripLeftIf(text.substr(end), isCaseIgnorable);
  budget.step(text.size() - (end - begin) - before.size() - after.size());
  return !before.empty() && isCased(codePointAt(before, lastCharacter(before))) &&
         (after.empty() || !isCased(codePointAt(after, 0)));
}

void appendLower(std::string_view text, char32_t c, size_t begin, size_t end, TextBuilder& out) {
  if (c == 0x130) {
    out.append("i\xCC\x87");
  } else if (c == 0x3a3) {
    out.append(isFinalSigma(out.budget(), text, begin, end) ? U'\u03c2' : U'\u03c3');
  } else {
    out.append(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
  }
}

}  // namespace

size_t countCodePoints(std::string_view text) {
  return text.size() - static_cast<size_t>(std::count_if(text.begin(), text.end(), isContinuation));
}

size_t offsetOfCodePoint(std::string_view text, size_t index) {
  size_t i = 0;
  for (; i < text.size() && index > 0; --index)
    i += utf8Length(static_cast<unsigned char>(text[i]));
  return i;
}

bool isSpace(char32_t c) { return isWhiteSpace(c) || (c >= 0x1c && c <= 0x1f); }

std::string_view stripLeft(std::string_view text) { return stripLeftIf(text, isSpace); }
std::string_view stripRight(std::string_view text) { return stripRightIf(text, isSpace); }

CharacterSet::CharacterSet(std::string_view characters) {
  forEach(characters, [this](char32_t c, size_t, size_t) { characters_.push_back(c); });
  std::sort(characters_.begin(), characters_.end());
}
bool CharacterSet::has(char32_t c) const {
  return std::binary_search(characters_.begin(), characters_.end(), c);
}

std::string_view stripLeft(std::string_view text, const CharacterSet& characters) {
  return stripLeftIf(text, [&](char32_t c) { return characters.has(c); });
}
std::string_view stripRight(std::string_view text, const CharacterSet& characters) {
  return stripRightIf(text, [&](char32_t c) { return characters.has(c); });
}

void appendUpper(TextBuilder& out, std::string_view text) {
  forEach(text, [&](char32_t c, size_t, size_t) { appendUpper(c, out); });
}

void appendLower(TextBuilder& out, std::string_view text) {
  forEach(text,
          [&](char32_t c, size_t begin, size_t end) { appendLower(text, c, begin, end, out); });
}

void appendFolded(TextBuilder& out, std::string_view text) {
  forEach(text, [&](char32_t c, size_t, size_t) { appendFolded(c, out); });
}

void appendSwappedCase(TextBuilder& out, std::string_view text) {
  forEach(text, [&](char32_t c, size_t begin, size_t end) {
    out.budget().step();
    if (isUpper(c)) {
      appendLower(text, c, begin, end, out);
    } else if (isLower(c)) {
      appendUpper(c, out);
    } else {
      out.append(c);
    }
  });
}

void appendTitle(TextBuilder& out, std::string_view text) {
  bool in_word = false;
  forEach(text, [&](char32_t c, size_t begin, size_t end) {
    out.budget().step();
    if (in_word) {
      appendLower(text, c, begin, end, out);
    } else {
      appendTitle(c, out);
    }
    in_word = isCased(c);
  });
}

void appendCapitalized(TextBuilder& out, std::string_view text) {
  forEach(text, [&](char32_t c, size_t begin, size_t end) {
    if (begin == 0) {
      appendTitle(c, out);
    } else {
      appendLower(text, c, begin, end, out);
    }
  });
}

bool isUpper(char32_t c) { return categoryOf(c) == UTF8PROC_CATEGORY_LU || isIn(kOtherUpper, c); }
bool isLower(char32_t c) { return categoryOf(c) == UTF8PROC_CATEGORY_LL || isIn(kOtherLower, c); }
bool isTitle(char32_t c) { return categoryOf(c) == UTF8PROC_CATEGORY_LT; }

bool isAlpha(char32_t c) {
  switch (categoryOf(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return true;
    default:
      return false;
  }
}

bool isDecimal(char32_t c) { return categoryOf(c) == UTF8PROC_CATEGORY_ND; }
bool isDigit(char32_t c) { return isDecimal(c) || isIn(kOtherDigit, c); }
bool isNumeric(char32_t c) {
  switch (categoryOf(c)) {
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return true;
    default:
      return isIn(kOtherNumeric, c);
  }
}

int decimalValue(char32_t c) {
  // Unicode keeps decimal digits in runs of ten, from zero to nine; some runs are adjacent.
  char32_t first = c;
  while (first > 0 && isDecimal(first - 1)) --first;
  return static_cast<int>((c - first) % 10);
}

bool isAlnum(char32_t c) { return isAlpha(c) || isNumeric(c); }

bool isPrintable(char32_t c) {
  if (c == ' ') return true;
  switch (categoryOf(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

LineEnd findLineEnd(std::string_view text, size_t begin) {
  for (size_t i = begin; i < text.size();) {
    const size_t length = utf8Length(static_cast<unsigned char>(text[i]));
    const char32_t c = codePointAt(text, i);
    if (c == '\r' && text.substr(i + 1).starts_with('\n')) return {i, i + 2};
    if ((c >= '\n' && c <= '\r') || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 ||
        c == 0x2029) {
      return {i, i + length};
    }
    i += length;
  }
  return {text.size(), text.size()};
}

}  // namespace llmrt::jinja
