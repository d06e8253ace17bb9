#include "runtime/chat/conversation.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>

#include "runtime/jinja/builders.h"
#include "runtime/schema/plan_generated.h"
#include "runtime/text/utf8.h"

namespace llmrt {
namespace {

constexpr int32_t kSeq = 0;

// Removes the messages added since, unless `size` is raised.
struct Rollback {
  std::vector<ChatMessage>& messages;
  size_t size;
  ~Rollback() { messages.resize(size); }
};

// The special token that `text` begins with, or -1.
int32_t leadingSpecialToken(const Tokenizer& tokenizer, std::string_view text) {
  const auto ids = tokenizer.encode(text, {.add_bos = false, .parse_special = true});
  if (!ids.ok() || ids->empty() || !tokenizer.isSpecial(ids->front())) return -1;
  return text.starts_with(tokenizer.piece(ids->front())) ? ids->front() : -1;
}

// The special token that a template writes behind an answer which another message follows; -1:
// none. It ends the answer or begins the next message, so the model must not go on behind it. A
// template that fails here fails again, with its error, when the prompt is rendered.
int32_t tokenBehindAnswers(const jinja::Template& chat_template, const schema::Plan& plan,
                           const Tokenizer& tokenizer) {
  constexpr std::string_view kAnswer = "placeholder-of-the-answer";
  const std::vector<ChatMessage> messages = {
      {"user", "a"}, {"assistant", std::string(kAnswer)}, {"user", "b"}};
  const Result<std::string> text =
      renderChat(chat_template, messages, specialTokens(plan, &tokenizer));
  const size_t answer = text.ok() ? text->find(kAnswer) : std::string::npos;
  if (answer == std::string::npos) return -1;
  const size_t behind = text->find_first_not_of(" \t\n\r", answer + kAnswer.size());
  if (behind == std::string::npos) return -1;
  const int32_t id = leadingSpecialToken(tokenizer, std::string_view(*text).substr(behind));
  if (id == tokenizer.bosId()) return -1;
  // gpt-oss writes <|end|> behind every message within a turn; the other two end the turn.
  const bool harmony = id >= 0 && tokenizer.piece(id) == "<|end|>" &&
                       leadingSpecialToken(tokenizer, "<|return|>") >= 0 &&
                       leadingSpecialToken(tokenizer, "<|call|>") >= 0;
  return harmony ? -1 : id;
}

}  // namespace

Result<std::string> renderTemplate(const jinja::Template& chat_template,
                                   const SpecialTokens& tokens, const jinja::Value& variables) {
  using jinja::Value;
  try {
    jinja::Budget budget{jinja::Limits()};
    jinja::Dict context;
    jinja::ListBuilder additional(budget);
    for (const SpecialToken& token : tokens) {
      const Value text = Value::string(budget, token.text);
      if (token.name == kAdditionalSpecialTokens) {
        additional.add(text);
      } else {
        context.set(budget, token.name, text);
      }
    }
    if (additional.size() > 0) context.set(budget, kAdditionalSpecialTokens, additional.list());
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

ChatTemplates chatTemplates(const schema::Plan& plan) {
  ChatTemplates out;
  if (plan.chat_template()) out.text = plan.chat_template()->str();
  if (!plan.chat_templates()) return out;
  for (const schema::NamedTemplate* one : *plan.chat_templates())
    if (one->name() && one->text()) out.named.push_back({one->name()->str(), one->text()->str()});
  return out;
}

SpecialTokens specialTokens(const schema::Plan& plan, const Tokenizer* tokenizer) {
  SpecialTokens out;
  const auto add = [&out](std::string_view name, std::string_view text) {
    if (isValidUtf8(name) && isValidUtf8(text))
      out.push_back({std::string(name), std::string(text)});
  };
  if (plan.special_tokens()) {
    for (const schema::SpecialToken* token : *plan.special_tokens())
      if (token->name() && token->text())
        add(token->name()->string_view(), token->text()->string_view());
  } else if (tokenizer) {
    if (const int32_t bos = tokenizer->bosId(); bos >= 0) add("bos_token", tokenizer->piece(bos));
    if (const int32_t eos = tokenizer->eosId(); eos >= 0) add("eos_token", tokenizer->piece(eos));
  }
  return out;
}

bool hasTools(const jinja::Dict& variables) {
  jinja::Budget budget{jinja::Limits()};
  const jinja::Value* tools = variables.find(budget, "tools");
  return tools && !tools->isNone();
}

std::vector<int32_t> chatEosIds(const Plan& plan, const Tokenizer& tokenizer,
                                const jinja::Template* chat_template) {
  std::vector<int32_t> ids = defaultEosIds(plan, &tokenizer);
  for (const int32_t id :
       {tokenizer.eosId(),
        chat_template ? tokenBehindAnswers(*chat_template, plan.schema(), tokenizer) : -1})
    if (id >= 0 && std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
  return ids;
}

Conversation::Conversation(Session& session, const Tokenizer& tokenizer,
                           const jinja::Template& chat_template, std::string system)
    : session_(session), tokenizer_(tokenizer), template_(chat_template), tokens_(tokenizer) {
  if (!system.empty()) messages_.push_back({"system", std::move(system)});
  num_system_ = messages_.size();
}

void Conversation::reset() {
  messages_.resize(num_system_);
  tokens_.clear();
}

void Conversation::setMessages(std::vector<ChatMessage> messages) {
  messages_ = std::move(messages);
  num_system_ = !messages_.empty() && messages_[0].role == "system" ? 1 : 0;
}

Result<std::vector<int32_t>> Conversation::promptIds(std::string user) {
  const Rollback rollback{messages_, messages_.size()};
  messages_.push_back({"user", std::move(user)});
  LLMRT_ASSIGN_OR_RETURN(PromptTokens::Prompt prompt, nextPrompt());
  return std::move(prompt.ids);
}

Result<PromptTokens::Prompt> Conversation::nextPrompt() const {
  LLMRT_ASSIGN_OR_RETURN(
      std::string text,
      renderChat(template_, messages_, specialTokens(session_.plan().schema(), &tokenizer_)));
  LLMRT_ASSIGN_OR_RETURN(PromptTokens::Prompt prompt, tokens_.tokenize(std::move(text)));
  if (prompt.ids.empty()) return invalidArgument("the chat template renders no text at all");
  return prompt;
}

Result<Conversation::Answer> Conversation::generateAnswer(const std::vector<int32_t>& prompt,
                                                          GenerateOptions options) {
  const int64_t max_seq_len = session_.options().max_seq_len;
  if (static_cast<int64_t>(prompt.size()) > max_seq_len) {
    return invalidArgument(fmt::format(
        "the conversation no longer fits: it has {} tokens, the context holds {} (`max_seq_len`)",
        prompt.size(), max_seq_len));
  }
  options.own_text = true;
  LLMRT_ASSIGN_OR_RETURN(GenerateResult result,
                         generate(session_, &tokenizer_, prompt, options, kSeq));
  return Answer{prompt, std::move(result)};
}

Result<Conversation::Answer> Conversation::answer(std::string user, GenerateOptions options) {
  Rollback rollback{messages_, messages_.size()};
  messages_.push_back({"user", std::move(user)});
  LLMRT_ASSIGN_OR_RETURN(PromptTokens::Prompt prompt, nextPrompt());
  Result<Answer> answer = generateAnswer(prompt.ids, std::move(options));
  if (!answer.ok() ||
      (answer->result.finish_reason == FinishReason::kCancelled && answer->result.ids.empty()))
    return answer;
  const GenerateResult& result = answer->result;
  std::vector<int32_t> ids = result.ids;
  if (result.finish_reason == FinishReason::kEos && !ids.empty()) ids.pop_back();  // the template writes its own
  messages_.push_back({"assistant", result.text});
  tokens_.answered(std::move(prompt), std::move(ids), result.text);
  rollback.size = messages_.size();
  return answer;
}

}  // namespace llmrt
