#include "runtime/jinja/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <iterator>

#include "runtime/text/utf8.h"

namespace llmrt::jinja {
namespace {

struct SpecialUppercase {
  char32_t from;
  std::u32string_view to;
};
constexpr SpecialUppercase kSpecialUppercase[] = {
#include "runtime/jinja/special_uppercase.inc"
};

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

void appendUpper(char32_t c, std::string& out) {
  if (c >= 0xdf) {
    const auto* found =
        std::lower_bound(std::begin(kSpecialUppercase), std::end(kSpecialUppercase), c,
                         [](const SpecialUppercase& s, char32_t x) { return s.from < x; });
    if (found != std::end(kSpecialUppercase) && found->from == c) {
      for (char32_t to : found->to) appendUtf8(to, out);
      return;
    }
  }
  appendUtf8(static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))), out);
}

void appendTitle(char32_t c, std::string& out) {
  if (c == 0xdf) {
    out += "Ss";
    return;
  }
  appendUtf8(static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c))), out);
}

bool isCased(char32_t c) {
  return isUpper(c) || isLower(c) || categoryOf(c) == UTF8PROC_CATEGORY_LT;
}

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
bool isFinalSigma(std::string_view text, size_t begin, size_t end) {
  std::string_view before = stripRightIf(text.substr(0, begin), isCaseIgnorable);
  std::string_view after = stripLeftIf(text.substr(end), isCaseIgnorable);
  return !before.empty() && isCased(codePointAt(before, lastCharacter(before))) &&
         (after.empty() || !isCased(codePointAt(after, 0)));
}

void appendLower(std::string_view text, char32_t c, size_t begin, size_t end, std::string& out) {
  if (c == 0x130) {
    out += "i\xCC\x87";
  } else if (c == 0x3a3) {
    appendUtf8(isFinalSigma(text, begin, end) ? 0x3c2 : 0x3c3, out);
  } else {
    appendUtf8(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))), out);
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

std::string_view stripLeft(std::string_view text, std::string_view chars) {
  return stripLeftIf(text, [chars](char32_t c) {
    std::string one;
    appendUtf8(c, one);
    return chars.find(one) != std::string_view::npos;
  });
}

std::string_view stripRight(std::string_view text, std::string_view chars) {
  return stripRightIf(text, [chars](char32_t c) {
    std::string one;
    appendUtf8(c, one);
    return chars.find(one) != std::string_view::npos;
  });
}

std::string toUpper(std::string_view text) {
  std::string out;
  forEach(text, [&](char32_t c, size_t, size_t) { appendUpper(c, out); });
  return out;
}

std::string toLower(std::string_view text) {
  std::string out;
  forEach(text,
          [&](char32_t c, size_t begin, size_t end) { appendLower(text, c, begin, end, out); });
  return out;
}

std::string toSwappedCase(std::string_view text) {
  std::string out;
  forEach(text, [&](char32_t c, size_t begin, size_t end) {
    if (isUpper(c)) {
      appendLower(text, c, begin, end, out);
    } else {
      appendUpper(c, out);
    }
  });
  return out;
}

std::string toTitle(std::string_view text) {
  std::string out;
  bool in_word = false;
  forEach(text, [&](char32_t c, size_t begin, size_t end) {
    if (in_word) {
      appendLower(text, c, begin, end, out);
    } else {
      appendTitle(c, out);
    }
    in_word = isCased(c);
  });
  return out;
}

std::string toCapitalized(std::string_view text) {
  std::string out;
  forEach(text, [&](char32_t c, size_t begin, size_t end) {
    if (begin == 0) {
      appendTitle(c, out);
    } else {
      appendLower(text, c, begin, end, out);
    }
  });
  return out;
}

bool isUpper(char32_t c) { return utf8proc_isupper(static_cast<utf8proc_int32_t>(c)) != 0; }
bool isLower(char32_t c) { return utf8proc_islower(static_cast<utf8proc_int32_t>(c)) != 0; }

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

bool isAlnum(char32_t c) {
  const auto category = categoryOf(c);
  return isAlpha(c) || category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
         category == UTF8PROC_CATEGORY_NO;
}

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
