#include "runtime/chat/known_answers.h"

#include <utility>

namespace llmrt {

Result<PromptTokens::Prompt> KnownAnswers::tokenize(std::string text) {
  auto best = known_.end();
  size_t most = 0;
  for (auto known = known_.begin(); known != known_.end(); ++known) {
    const size_t bytes = known->tokens.knownBytes(text);
    if (bytes <= most) continue;
    best = known;
    most = bytes;
  }
  if (best == known_.end()) return PromptTokens(tokenizer_).tokenize(std::move(text));
  known_.splice(known_.begin(), known_, best);
  return best->tokens.tokenize(std::move(text));
}

void KnownAnswers::add(PromptTokens::Prompt prompt, std::vector<int32_t> ids, std::string content) {
  const size_t bytes = sizeof(Known) + prompt.text.size() + content.size() +
                       prompt.answers.size() * sizeof(PromptTokens::Prompt::Place) +
                       (prompt.ids.size() + ids.size()) * sizeof(int32_t);
  known_.push_front({PromptTokens(tokenizer_), bytes});
  known_.front().tokens.answered(std::move(prompt), std::move(ids), std::move(content));
  bytes_ += bytes;
  while (bytes_ > most_bytes_) {
    bytes_ -= known_.back().bytes;
    known_.pop_back();
  }
}

}  // namespace llmrt
