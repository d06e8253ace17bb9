#include "runtime/text/normalizer.h"

#include <utf8proc.h>

#include <algorithm>

#include "runtime/schema/tokenizer_generated.h"
#include "runtime/text/utf8.h"

namespace llmrt {
namespace {

using Kind = schema::NormalizerKind;

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
  auto classOf = [](int32_t c) { return utf8proc_get_property(c)->combining_class; };
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

std::string_view viewOf(const flatbuffers::String* s) {
  return s ? std::string_view(s->data(), s->size()) : std::string_view();
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
    utf8proc_ssize_t count = utf8proc_decompose_char(c, parts, 32, options, &boundary);
    if (count < 1 || count > 32) {
      points.push_back(c);
    } else {
      points.insert(points.end(), parts, parts + count);
    }
  }
  orderMarks(points);
  size_t count = points.size();
  if (compose) {
    auto composed =
        utf8proc_normalize_utf32(points.data(), static_cast<utf8proc_ssize_t>(count),
                                 static_cast<utf8proc_option_t>(options | UTF8PROC_COMPOSE));
    if (composed >= 0) count = static_cast<size_t>(composed);
  }
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < count; ++i) appendUtf8(static_cast<char32_t>(points[i]), out);
  return out;
}

std::string replaceAll(std::string_view text, std::string_view pattern, std::string_view content) {
  std::string out;
  out.reserve(text.size());
  size_t from = 0;
  for (size_t at; (at = text.find(pattern, from)) != std::string_view::npos;
       from = at + pattern.size()) {
    out += text.substr(from, at - from);
    out += content;
  }
  out += text.substr(from);
  return out;
}

Result<Normalizer> Normalizer::create(const schema::Tokenizer& data) {
  Normalizer normalizer;
  if (!data.normalizer()) return normalizer;
  for (const schema::NormalizerStep* step : *data.normalizer()) {
    if (step->kind() < Kind::MIN || step->kind() > Kind::MAX) {
      return invalidData("tokenizer: normalizer step of unknown kind " +
                         std::to_string(static_cast<int>(step->kind())));
    }
    Step own;
    own.kind = static_cast<int>(step->kind());
    own.pattern = viewOf(step->pattern());
    own.content = viewOf(step->content());
    if (!isValidUtf8(own.pattern) || !isValidUtf8(own.content)) {
      return invalidData("tokenizer: normalizer step is not UTF-8");
    }
    if (step->kind() == Kind::replace && own.pattern.empty()) {
      return invalidData("tokenizer: normalizer replaces nothing");
    }
    if (step->kind() == Kind::replace_regex) {
      auto regex = Regex::compile(own.pattern);
      if (!regex.ok()) return std::move(regex).status().withContext("tokenizer: normalizer");
      own.regex = *std::move(regex);
    }
    normalizer.steps_.push_back(std::move(own));
  }
  return normalizer;
}

Result<std::string> Normalizer::normalize(std::string_view input) const {
  std::string text(input);
  for (const Step& step : steps_) {
    switch (static_cast<Kind>(step.kind)) {
      case Kind::prepend:
        if (!text.empty()) text.insert(0, step.content);
        break;
      case Kind::replace:
        text = replaceAll(text, step.pattern, step.content);
        break;
      case Kind::replace_regex: {
        std::vector<Regex::Match> matches;
        LLMRT_RETURN_IF_ERROR(step.regex->findAll(text, matches));
        std::string out;
        size_t from = 0;
        for (const Regex::Match& match : matches) {
          out.append(text, from, match.begin - from);
          out += step.content;
          from = match.end;
        }
        out.append(text, from);
        text = std::move(out);
        break;
      }
      case Kind::nfc:
        text = normalizeUnicode(text, NormalForm::kNfc);
        break;
      case Kind::nfd:
        text = normalizeUnicode(text, NormalForm::kNfd);
        break;
      case Kind::nfkc:
        text = normalizeUnicode(text, NormalForm::kNfkc);
        break;
      case Kind::nfkd:
        text = normalizeUnicode(text, NormalForm::kNfkd);
        break;
    }
  }
  return text;
}

}  // namespace llmrt
