#include "runtime/chat/known_answers.h"

#include <utility>

namespace llmrt {
namespace {

// Every conversation is looked through for each new text.
constexpr size_t kMostAnswers = 4096;

}  // namespace

std::shared_ptr<const PromptTokens> KnownAnswers::find(std::string_view text) {
  const std::lock_guard lock(mutex_);
  auto best = known_.end();
  size_t most = 0;
  for (auto known = known_.begin(); known != known_.end(); ++known) {
    const size_t bytes = known->tokens->knownBytes(text);
    if (bytes <= most) continue;
    best = known;
    most = bytes;
  }
  if (best == known_.end()) return nullptr;
  known_.splice(known_.begin(), known_, best);
  return best->tokens;
}

Result<PromptTokens::Prompt> KnownAnswers::tokenize(std::string text) {
  const std::shared_ptr<const PromptTokens> known = find(text);
  return known ? known->tokenize(std::move(text))
               : PromptTokens(tokenizer_).tokenize(std::move(text));
}

void KnownAnswers::add(PromptTokens::Prompt prompt, std::vector<int32_t> ids, std::string content) {
  const size_t bytes = sizeof(Known) + sizeof(PromptTokens) + prompt.text.size() + content.size() +
                       prompt.answers.size() * sizeof(PromptTokens::Prompt::Place) +
                       (prompt.ids.size() + ids.size()) * sizeof(int32_t);
  PromptTokens tokens(tokenizer_);
  tokens.answered(std::move(prompt), std::move(ids), std::move(content));
  auto shared = std::make_shared<const PromptTokens>(std::move(tokens));
  const std::lock_guard lock(mutex_);
  known_.push_front({std::move(shared), bytes});
  bytes_ += bytes;
  while (bytes_ > most_bytes_ || known_.size() > kMostAnswers) {
    bytes_ -= known_.back().bytes;
    known_.pop_back();
  }
}

}  // namespace llmrt
