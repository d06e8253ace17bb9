// The answers of many conversations, for whoever is told each conversation as a whole, every time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/chat/prompt_tokens.h"
#include "runtime/io/status.h"
#include "runtime/text/tokenizer.h"

namespace llmrt {

/// A conversation that goes on from an answer that is remembered gets its tokens as they were
/// generated, so that what was computed for them counts. Which conversation that is, only the text
/// tells. Those used longest ago are forgotten first. All functions may be called from several
/// threads at once; none waits while another's text is tokenized.
class KnownAnswers {
 public:
  /// `most_bytes`: of texts and ids that are remembered.
  KnownAnswers(const Tokenizer& tokenizer, size_t most_bytes)
      : tokenizer_(tokenizer), most_bytes_(most_bytes) {}

  /// The tokens of a prompt that a template rendered over a whole conversation.
  Result<PromptTokens::Prompt> tokenize(std::string text);
  /// As PromptTokens::answered().
  void add(PromptTokens::Prompt prompt, std::vector<int32_t> ids, std::string content);

  size_t size() const {
    const std::lock_guard lock(mutex_);
    return known_.size();
  }

 private:
  struct Known {
    std::shared_ptr<const PromptTokens> tokens;
    size_t bytes;
  };
  /// What knows most of a text; null: nothing does.
  std::shared_ptr<const PromptTokens> find(std::string_view text);

  const Tokenizer& tokenizer_;
  const size_t most_bytes_;
  mutable std::mutex mutex_;
  size_t bytes_ = 0;
  std::list<Known> known_;  // used last comes first
};

}  // namespace llmrt
