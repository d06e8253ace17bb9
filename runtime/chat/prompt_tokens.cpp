#include "runtime/chat/prompt_tokens.h"

#include <algorithm>
#include <utility>

namespace llmrt {
namespace {

constexpr std::string_view kSpaces = " \t\n\v\f\r";

size_t commonPrefix(std::string_view a, std::string_view b) {
  return static_cast<size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first -
                             a.begin());
}

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(kSpaces);
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpaces) + 1 - begin);
}

}  // namespace

std::optional<PromptTokens::Match> PromptTokens::findAnswer(std::string_view text) const {
  if (!text.starts_with(prompt_.text)) return std::nullopt;
  const std::string_view behind = text.substr(prompt_.text.size());
  if (const std::optional<Match> match = findAnswer(behind, true)) return match;
  // Some write special tokens around an answer that the model said itself.
  return findAnswer(behind, false);
}

std::span<const PromptTokens::Prompt::Place> PromptTokens::unchangedAnswers(
    std::string_view text) const {
  const size_t common = commonPrefix(text, prompt_.text);
  size_t count = 0;
  while (count < prompt_.answers.size() && prompt_.answers[count].text_end <= common) ++count;
  return std::span(prompt_.answers).first(count);
}

size_t PromptTokens::knownBytes(std::string_view text) const {
  if (const std::optional<Match> match = findAnswer(text))
    return prompt_.text.size() + match->text_bytes;
  const std::span<const Prompt::Place> places = unchangedAnswers(text);
  return places.empty() ? 0 : places.back().text_end;
}

Result<PromptTokens::Prompt> PromptTokens::tokenize(std::string text) const {
  Prompt prompt;
  size_t done = 0;  // of text
  if (const std::optional<Match> match = findAnswer(text)) {
    prompt.ids = prompt_.ids;
    prompt.answers = prompt_.answers;
    prompt.ids.insert(prompt.ids.end(), answer_.begin() + static_cast<ptrdiff_t>(match->ids_begin),
                      answer_.begin() + static_cast<ptrdiff_t>(match->ids_end));
    done = prompt_.text.size() + match->text_bytes;
    prompt.answers.push_back({done, prompt.ids.size()});
  } else if (const auto places = unchangedAnswers(text); !places.empty()) {
    prompt.answers.assign(places.begin(), places.end());
    done = places.back().text_end;
    prompt.ids.assign(prompt_.ids.begin(),
                      prompt_.ids.begin() + static_cast<ptrdiff_t>(places.back().ids_end));
  }
  if (done > 0) {
    LLMRT_ASSIGN_OR_RETURN(const auto rest, encodeBehind(std::string_view(text).substr(done)));
    if (rest) {
      prompt.ids.insert(prompt.ids.end(), rest->begin(), rest->end());
      prompt.text = std::move(text);
      return prompt;
    }
  }
  prompt.answers.clear();
  // The template writes BOS itself, and the special tokens around each message.
  LLMRT_ASSIGN_OR_RETURN(prompt.ids,
                         tokenizer_.encode(text, {.add_bos = false, .parse_special = true}));
  prompt.text = std::move(text);
  return prompt;
}

void PromptTokens::answered(Prompt prompt, std::vector<int32_t> ids, std::string content) {
  prompt_ = std::move(prompt);
  answer_ = std::move(ids);
  content_ = std::move(content);
}

std::optional<PromptTokens::Match> PromptTokens::findAnswer(std::string_view text,
                                                            bool skip_special) const {
  // What the answer adds to the prompt's text, and how much of it after each id.
  StreamDecoder decoder(tokenizer_, skip_special);
  decoder.continueAfter(prompt_.ids);
  std::string said;
  std::vector<size_t> ends = {0};
  for (const int32_t id : answer_) {
    said += decoder.push(id);
    ends.push_back(said.size());
  }
  said += decoder.finish();
  ends.back() = said.size();
  // Some vocabularies' first word has a space before it that is no part of the message.
  const size_t own_space = said.starts_with(' ') && tokenizer_.decode(answer_, skip_special) ==
                                                        std::string_view(said).substr(1);
  const size_t spaces = std::min(said.find_first_not_of(kSpaces), said.size());
  const std::string_view content = trimmed(content_);
  const size_t content_begin = std::string_view(said).find(content, spaces);
  if (content_begin == said.npos || (skip_special && content_begin != spaces)) return std::nullopt;
  // The template may have stripped it, at either end.
  for (const size_t begin : {size_t{0}, own_space, spaces}) {
    const size_t common = commonPrefix(text, std::string_view(said).substr(begin)) + begin;
    const auto behind = std::upper_bound(ends.begin(), ends.end(), common);
    if (behind == ends.begin()) continue;
    // The first of several ends: tokens that add nothing are what ended it, or waited for more.
    const auto last = std::lower_bound(ends.begin(), ends.end(), *(behind - 1));
    if (*last < std::max(begin, content_begin + content.size())) continue;
    const size_t skipped = begin == own_space ? 0 : begin;
    const auto first = std::lower_bound(ends.begin(), ends.end(), skipped);
    if (*first != skipped || first > last) continue;
    return Match{*last - begin, static_cast<size_t>(first - ends.begin()),
                 static_cast<size_t>(last - ends.begin())};
  }
  return std::nullopt;
}

Result<std::optional<std::vector<int32_t>>> PromptTokens::encodeBehind(
    std::string_view text) const {
  // At the beginning of a text a tokenizer may write what it does not write within one, so there
  // is another before it. One of these ends in a token of its own whatever follows, or none does.
  for (const std::string_view before : {"a", ".", "\n"}) {
    const EncodeOptions options{.add_bos = false, .parse_special = true};
    LLMRT_ASSIGN_OR_RETURN(const std::vector<int32_t> head, tokenizer_.encode(before, options));
    LLMRT_ASSIGN_OR_RETURN(const std::vector<int32_t> all,
                           tokenizer_.encode(std::string(before) + std::string(text), options));
    if (all.size() >= head.size() && std::equal(head.begin(), head.end(), all.begin()))
      return std::optional(
          std::vector<int32_t>(all.begin() + static_cast<ptrdiff_t>(head.size()), all.end()));
  }
  return std::optional<std::vector<int32_t>>();
}

}  // namespace llmrt
