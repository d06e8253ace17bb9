#include "runtime/text/sentencepiece_normalizer.h"

#include <utf8proc.h>

#include <utility>

#include "runtime/text/unicode_tables.h"
#include "runtime/text/utf8.h"

namespace llmrt {
namespace {

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581
// Hugging Face looks up shorter grapheme clusters as a whole.
constexpr size_t kLongGrapheme = 6;

size_t characterLength(std::string_view text) {
  return utf8Length(static_cast<unsigned char>(text[0]));
}

/// Bytes of the extended grapheme cluster that begins `text`, which is not empty.
size_t graphemeLength(std::string_view text) {
  auto previous = static_cast<int32_t>(standInOf(codePointAt(text, 0)));
  int32_t state = 0;
  size_t end = characterLength(text);
  while (end < text.size()) {
    auto next = static_cast<int32_t>(standInOf(codePointAt(text, end)));
    if (utf8proc_grapheme_break_stateful(previous, next, &state)) break;
    previous = next;
    end += characterLength(text.substr(end));
  }
  return end;
}

}  // namespace

std::string mapGraphemes(const Charsmap& map, std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    std::string_view grapheme = text.substr(0, graphemeLength(text));
    text.remove_prefix(grapheme.size());
    if (grapheme.size() < kLongGrapheme) {
      if (auto match = map.shortest(grapheme)) {
        out += match->content;
        continue;
      }
    }
    while (!grapheme.empty()) {
      std::string_view character = grapheme.substr(0, characterLength(grapheme));
      grapheme.remove_prefix(character.size());
      auto match = map.shortest(character);
      out += match ? match->content : character;
    }
  }
  return out;
}

SentencePieceNormalizer::SentencePieceNormalizer(std::optional<Charsmap> map,
                                                 const Vocabulary& vocabulary,
                                                 bool add_dummy_prefix,
                                                 bool remove_extra_whitespaces)
    : map_(std::move(map)),
      add_dummy_prefix_(add_dummy_prefix),
      remove_extra_whitespaces_(remove_extra_whitespaces) {
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    std::string_view piece = vocabulary.piece(id);
    if (vocabulary.has(id, Vocabulary::kUserDefined) && isValidUtf8(piece)) {
      user_defined_.add(piece, static_cast<uint32_t>(id));
    }
  }
}

Charsmap::Match SentencePieceNormalizer::prefix(std::string_view text) const {
  if (size_t length = user_defined_.longest(text).length) return {length, text.substr(0, length)};
  if (map_) {
    if (auto match = map_->longest(text)) return *match;
  }
  size_t length = characterLength(text);
  return {length, text.substr(0, length)};
}

std::string SentencePieceNormalizer::normalize(std::string_view text) const {
  std::string out;
  auto skip = [&] {
    while (!text.empty()) {
      Charsmap::Match match = prefix(text);
      if (match.content != " ") break;
      text.remove_prefix(match.length);
    }
  };
  if (remove_extra_whitespaces_) skip();
  if (text.empty()) return out;
  out.reserve(text.size() + text.size() / 2);
  if (add_dummy_prefix_) out += kSpaceMark;
  bool after_space = remove_extra_whitespaces_;
  while (!text.empty()) {
    auto [length, content] = prefix(text);
    text.remove_prefix(length);
    while (after_space && content.starts_with(' ')) content.remove_prefix(1);
    for (char c : content) {
      if (c == ' ') {
        out += kSpaceMark;
      } else {
        out += c;
      }
    }
    if (!content.empty()) after_space = remove_extra_whitespaces_ && content.ends_with(' ');
  }
  while (remove_extra_whitespaces_ && out.ends_with(kSpaceMark)) {
    out.resize(out.size() - kSpaceMark.size());
  }
  return out;
}

}  // namespace llmrt
