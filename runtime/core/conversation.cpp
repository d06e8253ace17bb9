#include "runtime/core/conversation.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>

#include "runtime/jinja/builders.h"
#include "runtime/text/utf8.h"

namespace llmrt {
namespace {

constexpr int32_t kSeq = 0;

// Takes messages back that did not come to stay.
struct Rollback {
  std::vector<ChatMessage>& messages;
  size_t size;
  ~Rollback() { messages.resize(size); }
};

}  // namespace

Result<std::string> renderTemplate(const jinja::Template& chat_template,
                                   const SpecialTokens& tokens, const jinja::Value& variables) {
  using jinja::Value;
  try {
    jinja::Budget budget{jinja::Limits()};
    jinja::Dict context;
    if (tokens.bos) context.set(budget, "bos_token", Value::string(budget, *tokens.bos));
    if (tokens.eos) context.set(budget, "eos_token", Value::string(budget, *tokens.eos));
    for (const auto& [name, value] : variables.asDict()->entries())
      context.set(budget, name, value);
    const Value all = Value::dict(budget, std::move(context));
    return chat_template.render(all, {.now = jinja::localTime(), .limits = {}});
  } catch (const jinja::Failure& failure) {
    return invalidArgument("a chat template's variables: " + failure.message);
  } catch (const std::bad_alloc&) {
    return outOfMemory("not enough memory for a chat template's variables");
  }
}

Result<std::string> renderChat(const jinja::Template& chat_template,
                               std::span<const ChatMessage> messages, const SpecialTokens& tokens,
                               const jinja::Dict& variables) {
  using jinja::Value;
  try {
    jinja::Budget budget{jinja::Limits()};
    jinja::Dict context;
    jinja::ListBuilder list(budget);
    for (const ChatMessage& message : messages) {
      jinja::Dict dict;
      dict.set(budget, "role", Value::string(budget, message.role));
      dict.set(budget, "content", Value::string(budget, message.content));
      list.add(Value::dict(budget, std::move(dict)));
    }
    context.set(budget, "messages", list.list());
    context.set(budget, "tools", Value::none());
    context.set(budget, "documents", Value::none());
    context.set(budget, "add_generation_prompt", Value::boolean(true));
    for (const auto& [name, value] : variables.entries()) context.set(budget, name, value);
    return renderTemplate(chat_template, tokens, Value::dict(budget, std::move(context)));
  } catch (const jinja::Failure& failure) {
    return invalidArgument("a chat's messages: " + failure.message);
  } catch (const std::bad_alloc&) {
    return outOfMemory("not enough memory for a chat's messages");
  }
}

SpecialTokens specialTokens(const Tokenizer& tokenizer) {
  const auto text = [&](int32_t id) -> std::optional<std::string> {
    if (id < 0 || !isValidUtf8(tokenizer.piece(id))) return std::nullopt;
    return std::string(tokenizer.piece(id));
  };
  return {text(tokenizer.bosId()), text(tokenizer.eosId())};
}

std::vector<int32_t> chatEosIds(const Plan& plan, const Tokenizer& tokenizer) {
  std::vector<int32_t> ids = defaultEosIds(plan, &tokenizer);
  const int32_t eos = tokenizer.eosId();
  if (eos >= 0 && std::find(ids.begin(), ids.end(), eos) == ids.end()) ids.push_back(eos);
  return ids;
}

Conversation::Conversation(Session& session, const Tokenizer& tokenizer,
                           const jinja::Template& chat_template, std::string system)
    : session_(session), tokenizer_(tokenizer), template_(chat_template) {
  if (!system.empty()) messages_.push_back({"system", std::move(system)});
  num_system_ = messages_.size();
  session_.reset(kSeq);
}

void Conversation::reset() { messages_.resize(num_system_); }

void Conversation::setMessages(std::vector<ChatMessage> messages) {
  messages_ = std::move(messages);
  num_system_ = !messages_.empty() && messages_[0].role == "system" ? 1 : 0;
}

Result<std::vector<int32_t>> Conversation::promptIds(std::string user) {
  const Rollback rollback{messages_, messages_.size()};
  messages_.push_back({"user", std::move(user)});
  return promptIds();
}

Result<std::vector<int32_t>> Conversation::promptIds() const {
  LLMRT_ASSIGN_OR_RETURN(const std::string text,
                         renderChat(template_, messages_, specialTokens(tokenizer_)));
  // The template writes BOS itself, and the special tokens around each message.
  LLMRT_ASSIGN_OR_RETURN(std::vector<int32_t> ids,
                         tokenizer_.encode(text, {.add_bos = false, .parse_special = true}));
  if (ids.empty()) return invalidArgument("the chat template renders no text at all");
  return ids;
}

Result<Conversation::Answer> Conversation::generateAnswer(GenerateOptions options) {
  Answer answer;
  LLMRT_ASSIGN_OR_RETURN(answer.prompt_ids, promptIds());
  const std::vector<int32_t>& prompt = answer.prompt_ids;
  const int64_t max_seq_len = session_.options().max_seq_len;
  if (static_cast<int64_t>(prompt.size()) > max_seq_len) {
    return invalidArgument(fmt::format(
        "the conversation no longer fits: it has {} tokens, the context holds {} (--max-seq-len)",
        prompt.size(), max_seq_len));
  }
  // Somebody else's doing, or that of an answer which threw.
  if (session_.numChanges(kSeq) != num_changes_) cached_.clear();
  // At least one token must be run for its logits.
  const size_t most = std::min(cached_.size(), prompt.size() - 1);
  const auto common = static_cast<size_t>(
      std::mismatch(prompt.begin(), prompt.begin() + static_cast<ptrdiff_t>(most), cached_.begin())
          .first -
      prompt.begin());
  session_.truncate(kSeq, static_cast<int64_t>(common));
  answer.cached_tokens = static_cast<int64_t>(common);
  const std::span<const int32_t> all(prompt);
  options.before = all.first(common);
  Result<GenerateResult> result =
      generate(session_, &tokenizer_, all.subspan(common), options, kSeq);

  // What the cache holds now: the last sampled token is not in it, nor what was not reached.
  cached_ = prompt;
  if (result.ok()) cached_.insert(cached_.end(), result->ids.begin(), result->ids.end());
  session_.truncate(kSeq, static_cast<int64_t>(cached_.size()));
  cached_.resize(static_cast<size_t>(session_.kvLen(kSeq)));
  num_changes_ = session_.numChanges(kSeq);
  if (!result.ok()) return std::move(result).status();
  answer.result = *std::move(result);
  return answer;
}

Result<Conversation::Answer> Conversation::answer(std::string user, GenerateOptions options) {
  Rollback rollback{messages_, messages_.size()};
  messages_.push_back({"user", std::move(user)});
  Result<Answer> answer = generateAnswer(std::move(options));
  if (!answer.ok() ||
      (answer->result.finish_reason == FinishReason::kCancelled && answer->result.ids.empty()))
    return answer;
  messages_.push_back({"assistant", answer->result.text});
  rollback.size = messages_.size();
  return answer;
}

}  // namespace llmrt
