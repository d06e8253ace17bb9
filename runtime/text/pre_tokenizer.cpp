#include "runtime/text/pre_tokenizer.h"

#include "runtime/schema/tokenizer_generated.h"
#include "runtime/text/byte_alphabet.h"
#include "runtime/text/normalizer.h"
#include "runtime/text/utf8.h"

namespace llmrt {
namespace {

using Kind = schema::PreTokenizerKind;
using Behavior = schema::SplitBehavior;

struct Span {
  size_t begin, end;
  bool match;
};

/// Matches of `regex` in the alphabet's spelling of `text`'s bytes, as offsets into `text`.
Status findOnAlphabet(const Regex& regex, std::string_view text, Regex::Scratch& scratch,
                      std::vector<Regex::Match>& matches) {
  std::string spelled;
  std::vector<size_t>
      byte_at;  // [spelled.size() + 1] byte of text that a byte of `spelled` belongs to
  for (size_t i = 0; i < text.size(); ++i) {
    appendUtf8(byteAlphabet()[static_cast<unsigned char>(text[i])], spelled);
    byte_at.resize(spelled.size(), i);
  }
  byte_at.push_back(text.size());
  LLMRT_RETURN_IF_ERROR(regex.findAll(spelled, matches, scratch));
  for (Regex::Match& match : matches) match = {byte_at[match.begin], byte_at[match.end]};
  return {};
}

}  // namespace

Result<PreTokenizer> PreTokenizer::create(const schema::Tokenizer& data) {
  PreTokenizer result;
  if (!data.pre_tokenizer()) return result;
  bool on_alphabet = false;
  for (const schema::PreTokenizerStep* step : *data.pre_tokenizer()) {
    if (step->kind() < Kind::MIN || step->kind() > Kind::MAX || step->behavior() < Behavior::MIN ||
        step->behavior() > Behavior::MAX || step->prepend_scheme() < schema::PrependScheme::MIN ||
        step->prepend_scheme() > schema::PrependScheme::MAX) {
      return invalidData("tokenizer: pre-tokenizer step with a value out of range");
    }
    // Once a step may have cut a character in two, ordinary text matching is off the table.
    if (on_alphabet && !step->on_alphabet()) {
      return invalidData("tokenizer: pre-tokenizer step on text after one on bytes");
    }
    on_alphabet = step->on_alphabet();
    Step own{static_cast<int>(step->kind()),
             static_cast<int>(step->behavior()),
             step->invert(),
             step->on_alphabet(),
             step->split_words(),
             static_cast<int>(step->prepend_scheme()),
             step->content() ? step->content()->str() : "",
             std::nullopt};
    if (step->kind() == Kind::split) {
      auto regex = Regex::compile(step->pattern() ? step->pattern()->str() : "");
      if (!regex.ok()) return std::move(regex).status().withContext("tokenizer: pre-tokenizer");
      own.regex = *std::move(regex);
    } else if (on_alphabet) {
      return invalidData("tokenizer: only splits work on bytes");
    }
    if (step->kind() == Kind::metaspace && (own.content.empty() || !isValidUtf8(own.content))) {
      return invalidData("tokenizer: metaspace without its character");
    }
    result.steps_.push_back(std::move(own));
  }
  return result;
}

Status PreTokenizer::splitPiece(const Step& step, const Piece& piece, Regex::Scratch& scratch,
                                std::vector<Regex::Match>& matches, std::vector<Piece>& out) {
  matches.clear();
  LLMRT_RETURN_IF_ERROR(step.on_alphabet ? findOnAlphabet(*step.regex, piece.text, scratch, matches)
                                         : step.regex->findAll(piece.text, matches, scratch));
  auto emit = [&](size_t begin, size_t end) {
    out.push_back({piece.text.substr(begin, end - begin), piece.at_start && begin == 0});
  };
  size_t from = 0;
  if (static_cast<Behavior>(step.behavior) == Behavior::isolated) {
    for (const Regex::Match& match : matches) {
      if (from < match.begin) emit(from, match.begin);
      emit(match.begin, match.end);
      from = match.end;
    }
    if (from < piece.text.size()) emit(from, piece.text.size());
    return {};
  }
  std::vector<Span> spans;  // the whole piece, matches and gaps
  for (const Regex::Match& match : matches) {
    if (from < match.begin) spans.push_back({from, match.begin, step.invert});
    spans.push_back({match.begin, match.end, !step.invert});
    from = match.end;
  }
  if (from < piece.text.size()) spans.push_back({from, piece.text.size(), step.invert});
  // Joins a span to the one before it where the behaviour says so.
  auto joins = [&](const Span& before, const Span& span) {
    switch (static_cast<Behavior>(step.behavior)) {
      case Behavior::merged_with_previous:
        return span.match && !before.match;
      case Behavior::merged_with_next:
        return before.match && !span.match;
      case Behavior::contiguous:
        return before.match == span.match;
      default:
        return false;
    }
  };
  for (size_t i = 0; i < spans.size(); ++i) {
    if (static_cast<Behavior>(step.behavior) == Behavior::removed) {
      if (!spans[i].match) emit(spans[i].begin, spans[i].end);
      continue;
    }
    size_t last = i;
    while (last + 1 < spans.size() && joins(spans[last], spans[last + 1])) ++last;
    emit(spans[i].begin, spans[last].end);
    i = last;
  }
  return {};
}

void PreTokenizer::metaspace(const Step& step, const Piece& piece, std::deque<std::string>& storage,
                             std::vector<Piece>& out) {
  std::string text = replaceAll(piece.text, " ", step.content);
  auto scheme = static_cast<schema::PrependScheme>(step.prepend_scheme);
  bool prepend = scheme == schema::PrependScheme::always ||
                 (scheme == schema::PrependScheme::first && piece.at_start);
  if (prepend && !text.starts_with(step.content)) text.insert(0, step.content);
  storage.push_back(std::move(text));
  std::string_view whole = storage.back();
  if (!step.split_words) {
    out.push_back({whole, piece.at_start});
    return;
  }
  size_t from = 0;
  while (from < whole.size()) {
    size_t next = whole.find(step.content, from + 1);
    if (next == std::string_view::npos) next = whole.size();
    out.push_back({whole.substr(from, next - from), piece.at_start && from == 0});
    from = next;
  }
}

Status PreTokenizer::split(std::string_view text, bool at_start, Words& out) const {
  if (text.empty()) return {};
  std::vector<Piece> pieces{{text, at_start}};
  std::vector<Regex::Match> matches;
  for (const Step& step : steps_) {
    std::vector<Piece> next;
    next.reserve(pieces.size());
    for (const Piece& piece : pieces) {
      switch (static_cast<Kind>(step.kind)) {
        case Kind::split:
          LLMRT_RETURN_IF_ERROR(splitPiece(step, piece, out.regex, matches, next));
          break;
        case Kind::metaspace:
          metaspace(step, piece, out.storage, next);
          break;
        case Kind::prefix_space:
          if (piece.text.starts_with(' ')) {
            next.push_back(piece);
          } else {
            out.storage.push_back(std::string(1, ' ').append(piece.text));
            next.push_back({out.storage.back(), piece.at_start});
          }
          break;
      }
    }
    pieces = std::move(next);
  }
  out.words.reserve(out.words.size() + pieces.size());
  for (const Piece& piece : pieces) out.words.push_back(piece.text);
  return {};
}

}  // namespace llmrt
