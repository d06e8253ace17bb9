#include "runtime/text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <vector>

#include "runtime/text/unicode_tables.h"
#include "runtime/text/utf8.h"

namespace llmrt {
namespace {

/// Is `text` in `form` already, as can be told from its bytes alone?
bool triviallyNormal(std::string_view text, NormalForm form) {
  // Below U+0300 nothing combines and nothing is composed differently; compatibility forms begin at
  // U+00A0 and decomposed ones at U+00C0. 0xcc leads U+0300.
  unsigned char limit = form == NormalForm::kNfc ? 0xcc : 0x80;
  return std::none_of(text.begin(), text.end(),
                      [&](char c) { return static_cast<unsigned char>(c) >= limit; });
}

/// Combining marks in the order of their classes. utf8proc does this by insertion, which takes
/// hours for a megabyte of marks.
void orderMarks(std::vector<int32_t>& points) {
  auto classOf = [](int32_t c) {
    return isUnorderedMark(static_cast<char32_t>(c)) ? 0
                                                     : utf8proc_get_property(c)->combining_class;
  };
  for (size_t i = 0; i < points.size(); ++i) {
    if (points[i] < 0x300 || classOf(points[i]) == 0) continue;
    size_t end = i + 1;
    while (end < points.size() && classOf(points[end]) != 0) ++end;
    std::stable_sort(points.begin() + static_cast<ptrdiff_t>(i),
                     points.begin() + static_cast<ptrdiff_t>(end),
                     [&](int32_t a, int32_t b) { return classOf(a) < classOf(b); });
    i = end;
  }
}

/// Nothing composes across `c`, although utf8proc thinks so: a mark that does not combine, and the
/// second half of U+11938 alone.
bool beginsAnew(int32_t c) { return c == 0x11930 || isUnorderedMark(static_cast<char32_t>(c)); }

/// Composes `points`, which are decomposed and in order.
void composeAll(std::vector<int32_t>& points, utf8proc_option_t options) {
  size_t kept = 0;
  for (size_t begin = 0, end = 0; begin < points.size(); begin = end) {
    end = begin + 1;
    while (end < points.size() && !beginsAnew(points[end])) ++end;
    auto count = static_cast<utf8proc_ssize_t>(end - begin);
    auto composed = utf8proc_normalize_utf32(
        points.data() + begin, count, static_cast<utf8proc_option_t>(options | UTF8PROC_COMPOSE));
    if (composed >= 0) count = composed;
    std::copy_n(points.begin() + static_cast<ptrdiff_t>(begin), count,
                points.begin() + static_cast<ptrdiff_t>(kept));
    kept += static_cast<size_t>(count);
  }
  points.resize(kept);
}

}  // namespace

std::string normalizeUnicode(std::string_view text, NormalForm form) {
  if (triviallyNormal(text, form)) return std::string(text);
  bool compose = form == NormalForm::kNfc || form == NormalForm::kNfkc;
  bool compat = form == NormalForm::kNfkc || form == NormalForm::kNfkd;
  auto options = static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE |
                                                (compat ? UTF8PROC_COMPAT : 0));
  std::vector<int32_t> points;
  points.reserve(text.size());
  for (size_t i = 0; i < text.size(); i += utf8Length(static_cast<unsigned char>(text[i]))) {
    utf8proc_int32_t parts[32];  // the longest decomposition has 18 characters
    int boundary = 0;
    auto c = static_cast<int32_t>(codePointAt(text, i));
    utf8proc_ssize_t count = isUndecomposed(static_cast<char32_t>(c))
                                 ? 0
                                 : utf8proc_decompose_char(c, parts, 32, options, &boundary);
    if (count < 1 || count > 32) {
      points.push_back(c);
    } else {
      points.insert(points.end(), parts, parts + count);
    }
  }
  orderMarks(points);
  if (compose) composeAll(points, options);
  std::string out;
  out.reserve(text.size());
  for (int32_t c : points) appendUtf8(static_cast<char32_t>(c), out);
  return out;
}

std::string toLowerCase(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); i += utf8Length(static_cast<unsigned char>(text[i]))) {
    char32_t c = codePointAt(text, i);
    if (c == 0x130) {
      out +=
          "i\xCC\x87";  // the one character whose lower case is two, which utf8proc does not know
    } else {
      char32_t lower = newerLowerCase(c);
      if (lower == c) lower = static_cast<char32_t>(utf8proc_tolower(static_cast<int32_t>(c)));
      appendUtf8(lower, out);
    }
  }
  return out;
}

std::string withoutMarks(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); i += utf8Length(static_cast<unsigned char>(text[i]))) {
    char32_t c = codePointAt(text, i);
    auto category = utf8proc_category(static_cast<int32_t>(c));
    bool is_mark = category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC ||
                   category == UTF8PROC_CATEGORY_ME;
    if (!isStripped(c, is_mark)) appendUtf8(c, out);
  }
  return out;
}

}  // namespace llmrt
