#include "runtime/core/conversation.h"

#include <fmt/format.h>

#include <algorithm>

#include "runtime/text/utf8.h"

namespace llmrt {
namespace {

constexpr int32_t kSeq = 0;

}  // namespace

jinja::Value chatContext(std::span<const ChatMessage> messages, bool add_generation_prompt,
                         const Tokenizer* tokenizer) {
  using jinja::Value;
  std::vector<Value> list;
  for (const ChatMessage& message : messages) {
    jinja::Dict dict;
    dict.set("role", Value::string(message.role));
    dict.set("content", Value::string(message.content));
    list.push_back(Value::dict(std::move(dict)));
  }
  jinja::Dict context;
  context.set("messages", Value::list(std::move(list)));
  context.set("tools", Value::none());
  context.set("documents", Value::none());
  context.set("add_generation_prompt", Value::boolean(add_generation_prompt));
  const auto setToken = [&](const char* name, int32_t id) {
    if (id < 0) return;
    const std::string text(tokenizer->piece(id));
    if (isValidUtf8(text)) context.set(name, Value::string(text));
  };
  if (tokenizer) {
    setToken("bos_token", tokenizer->bosId());
    setToken("eos_token", tokenizer->eosId());
  }
  return Value::dict(std::move(context));
}

Conversation::Conversation(Session& session, const Tokenizer& tokenizer,
                           const jinja::Template& chat_template, std::string system)
    : session_(session), tokenizer_(tokenizer), template_(chat_template) {
  if (!system.empty()) messages_.push_back({"system", std::move(system)});
  num_system_ = messages_.size();
  session_.reset(kSeq);
}

void Conversation::reset() { messages_.resize(num_system_); }

Result<std::vector<int32_t>> Conversation::promptIds() const {
  LLMRT_ASSIGN_OR_RETURN(const std::string text,
                         template_.render(chatContext(messages_, true, &tokenizer_),
                                          {.now = jinja::localTime(), .limits = {}}));
  // The template writes BOS itself, and the special tokens around each message.
  LLMRT_ASSIGN_OR_RETURN(std::vector<int32_t> ids,
                         tokenizer_.encode(text, {.add_bos = false, .parse_special = true}));
  if (ids.empty()) return invalidArgument("the chat template renders no text at all");
  const int64_t max_seq_len = session_.options().max_seq_len;
  if (static_cast<int64_t>(ids.size()) > max_seq_len) {
    return invalidArgument(fmt::format(
        "the conversation no longer fits: it has {} tokens, the context holds {} (--max-seq-len)",
        ids.size(), max_seq_len));
  }
  return ids;
}

Result<Conversation::Answer> Conversation::generateAnswer(GenerateOptions options) {
  Answer answer;
  LLMRT_ASSIGN_OR_RETURN(answer.prompt_ids, promptIds());
  const std::vector<int32_t>& prompt = answer.prompt_ids;
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
  if (!result.ok()) return std::move(result).status();
  answer.result = *std::move(result);
  return answer;
}

Result<Conversation::Answer> Conversation::answer(std::string user, GenerateOptions options) {
  messages_.push_back({"user", std::move(user)});
  Result<Answer> answer = generateAnswer(std::move(options));
  if (!answer.ok() ||
      (answer->result.finish_reason == FinishReason::kCancelled && answer->result.ids.empty())) {
    messages_.pop_back();
    return answer;
  }
  messages_.push_back({"assistant", answer->result.text});
  return answer;
}

}  // namespace llmrt
