#include "runtime/text/normalizer.h"

#include <utility>

#include "runtime/schema/tokenizer_generated.h"
#include "runtime/text/unicode.h"
#include "runtime/text/utf8.h"

namespace llmrt {
namespace {

using Kind = schema::NormalizerKind;

std::string_view viewOf(const flatbuffers::String* s) {
  return s ? std::string_view(s->data(), s->size()) : std::string_view();
}

std::string_view bytesOf(const flatbuffers::Vector<uint8_t>* v) {
  return v ? std::string_view(reinterpret_cast<const char*>(v->data()), v->size())
           : std::string_view();
}

/// SentencePiece's rules of machine translation ("nmt") for control characters and white space.
std::string normalizeNmt(std::string_view text) {
  auto isDropped = [](char32_t c) {
    return (c >= 0x01 && c <= 0x08) || c == 0x0b || (c >= 0x0e && c <= 0x1f) || c == 0x7f ||
           c == 0x8f || c == 0x9f;
  };
  auto isSpace = [](char32_t c) {
    return c == 0x09 || c == 0x0a || c == 0x0c || c == 0x0d || c == 0x1680 ||
           (c >= 0x200b && c <= 0x200f) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
           c == 0xfeff || c == 0xfffd;
  };
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); i += utf8Length(static_cast<unsigned char>(text[i]))) {
    char32_t c = codePointAt(text, i);
    if (!isDropped(c)) appendUtf8(isSpace(c) ? U' ' : c, out);
  }
  return out;
}

std::string_view stripped(std::string_view text, bool left, bool right) {
  while (left && !text.empty() && isWhiteSpace(codePointAt(text, 0))) {
    text.remove_prefix(utf8Length(static_cast<unsigned char>(text[0])));
  }
  while (right && !text.empty()) {
    size_t last = previousCharacter(text, text.size());
    if (!isWhiteSpace(codePointAt(text, last))) break;
    text.remove_suffix(text.size() - last);
  }
  return text;
}

Result<std::string> replaceMatches(const Regex& regex, std::string_view text,
                                   std::string_view content) {
  std::vector<Regex::Match> matches;
  LLMRT_RETURN_IF_ERROR(regex.findAll(text, matches));
  std::string out;
  size_t from = 0;
  for (const Regex::Match& match : matches) {
    out += text.substr(from, match.begin - from);
    out += content;
    from = match.end;
  }
  out += text.substr(from);
  return out;
}

}  // namespace

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

Result<Normalizer> Normalizer::create(const schema::Tokenizer& data, const Vocabulary& vocabulary) {
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
    own.strip_left = step->strip_left();
    own.strip_right = step->strip_right();
    if (step->kind() == Kind::charsmap || (step->kind() == Kind::sentencepiece && step->data())) {
      auto map = Charsmap::create(bytesOf(step->data()));
      if (!map.ok()) return std::move(map).status().withContext("tokenizer: normalizer");
      own.charsmap = *std::move(map);
    }
    if (step->kind() == Kind::sentencepiece) {
      own.sentencepiece.emplace(std::exchange(own.charsmap, std::nullopt), vocabulary,
                                step->add_dummy_prefix(), step->remove_extra_whitespaces());
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
        LLMRT_ASSIGN_OR_RETURN(text, replaceMatches(*step.regex, text, step.content));
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
      case Kind::lowercase:
        text = toLowerCase(text);
        break;
      case Kind::strip:
        text = stripped(text, step.strip_left, step.strip_right);
        break;
      case Kind::strip_accents:
        text = withoutMarks(text);
        break;
      case Kind::nmt:
        text = normalizeNmt(text);
        break;
      case Kind::charsmap:
        text = mapGraphemes(*step.charsmap, text);
        break;
      case Kind::sentencepiece:
        text = step.sentencepiece->normalize(text);
        break;
    }
  }
  return text;
}

}  // namespace llmrt
