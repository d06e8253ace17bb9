// A conversation with a model: its chat template, its messages, and the KV cache kept between
// turns.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/chat/prompt_tokens.h"
#include "runtime/generate/generate.h"
#include "runtime/io/status.h"
#include "runtime/jinja/template.h"
#include "runtime/session/session.h"
#include "runtime/text/chat_templates.h"
#include "runtime/text/tokenizer.h"

namespace llmrt {
namespace schema {
struct Plan;
}

struct ChatMessage {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

/// A plan's chat templates.
ChatTemplates chatTemplates(const schema::Plan& plan);

/// The special tokens that a plan's chat templates may write. A plan that names none has those of
/// `tokenizer`, BOS and EOS (null: none at all). Tokens that are not UTF-8 are left out.
SpecialTokens specialTokens(const schema::Plan& plan, const Tokenizer* tokenizer);

/// Whether the dict `variables` names tools, for ChatTemplates::choose(). An empty list counts.
bool hasTools(const jinja::Dict& variables);

/// What a chat template makes of `variables`, a dict: those that Hugging Face's
/// apply_chat_template() would give it. Special tokens that it does not name are of `tokens`.
Result<std::string> renderTemplate(const jinja::Template& chat_template,
                                   const SpecialTokens& tokens, const jinja::Value& variables);

/// What it makes of messages and the head of the answer. `variables`, a dict, are more of them and
/// win over these.
Result<std::string> renderChat(const jinja::Template& chat_template,
                               std::span<const ChatMessage> messages, const SpecialTokens& tokens,
                               const jinja::Dict& variables = {});

/// The ids that end an answer: the plan's EOS ids, the tokenizer's, and the special token that
/// `chat_template` (null: none) writes behind an answer, which configs may leave out.
std::vector<int32_t> chatEosIds(const Plan& plan, const Tokenizer& tokenizer,
                                const jinja::Template* chat_template);

/// Uses sequence 0 of a session. Answers stay in it as the tokens they were generated as
/// (prompt_tokens.h). All arguments must outlive it.
class Conversation {
 public:
  /// `system`: what the conversation begins with; empty: no such message.
  Conversation(Session& session, const Tokenizer& tokenizer, const jinja::Template& chat_template,
               std::string system);

  struct Answer {
    std::vector<int32_t> prompt_ids;  // the whole conversation, with the head of the answer
    GenerateResult result;
  };

  /// The model's answer to `user`. What the session still has of the conversation is not computed
  /// again. `options.own_text` is set here. What failed, threw (options.on_text, memory), or
  /// was cancelled before its first token leaves the conversation as it was; a part of an answer
  /// stays in it.
  Result<Answer> answer(std::string user, GenerateOptions options);

  /// The prompt of answer(`user`), also where the context does not hold it.
  Result<std::vector<int32_t>> promptIds(std::string user);

  /// Back to the system message.
  void reset();
  /// Others in place of all messages; reset() goes back to the system message they begin with.
  void setMessages(std::vector<ChatMessage> messages);

  const std::vector<ChatMessage>& messages() const { return messages_; }

 private:
  Result<PromptTokens::Prompt> nextPrompt() const;
  Result<Answer> generateAnswer(const std::vector<int32_t>& prompt, GenerateOptions options);

  Session& session_;
  const Tokenizer& tokenizer_;
  const jinja::Template& template_;
  std::vector<ChatMessage> messages_;
  size_t num_system_;  // messages that reset() keeps
  PromptTokens tokens_;
};

}  // namespace llmrt
