// The tokens of a conversation's next prompt, with each answer as the tokens it was generated as.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/io/status.h"
#include "runtime/text/tokenizer.h"

namespace llmrt {

/// A tokenizer may cut an answer's text into other tokens than the model said, and write another
/// space before it. So the answers keep their tokens, and only the text that the template renders
/// around them is tokenized. A template may also render an answer as another text (without its
/// reasoning, say) or change the text before it. Then everything behind the last answer that is
/// unchanged is tokenized.
class PromptTokens {
 public:
  explicit PromptTokens(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  struct Prompt {
    std::string text;
    std::vector<int32_t> ids;
    /// Where kept answers end, in text and ids.
    struct Place {
      size_t text_end, ids_end;
    };
    std::vector<Place> answers;
  };
  /// The prompt that a template rendered over all messages so far.
  Result<Prompt> tokenize(std::string text) const;

  /// How many bytes of `text` tokenize() would take over as tokens of prompts and answers.
  size_t knownBytes(std::string_view text) const;

  /// `prompt` was answered: `ids` without what ended them; the messages hold `content`.
  void answered(Prompt prompt, std::vector<int32_t> ids, std::string content);
  /// Forgets all answers.
  void clear() { answered({}, {}, {}); }

 private:
  struct Match {
    size_t text_bytes, ids_begin, ids_end;
  };
  /// The answer in a text that begins with the prompt.
  std::optional<Match> findAnswer(std::string_view text) const;
  /// The answers of the prompt that `text` has as well, up to the first change.
  std::span<const Prompt::Place> unchangedAnswers(std::string_view text) const;
  /// How many bytes of `text`, which follows the prompt, are the answer, and which ids say them,
  /// special tokens left out or not.
  std::optional<Match> findAnswer(std::string_view text, bool skip_special) const;
  /// Ids of `text` where it follows a text that ends in a token of its own.
  Result<std::optional<std::vector<int32_t>>> encodeBehind(std::string_view text) const;

  const Tokenizer& tokenizer_;
  Prompt prompt_;  // the last one that was answered
  std::vector<int32_t> answer_;
  std::string content_;
};

}  // namespace llmrt
