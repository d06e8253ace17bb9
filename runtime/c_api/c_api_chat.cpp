// The C interface of chats.
#include <memory>
#include <string>
#include <vector>

#include "runtime/c_api/c_api_handles.h"
#include "runtime/chat/conversation.h"
#include "runtime/jinja/json_text.h"
#include "runtime/schema/plan_generated.h"
#include "runtime/text/utf8.h"

struct llmrt_conversation {
  llmrt_session* session;
  llmrt::jinja::Template chat_template;
  llmrt::Conversation conversation;
  std::string text;  // of the last answer

  llmrt_conversation(llmrt_session* of, llmrt::jinja::Template its_template, std::string system)
      : session(of),
        chat_template(std::move(its_template)),
        conversation(*of->session, *of->plan->tokenizer, chat_template, std::move(system)) {}
};

namespace {

using llmrt::Result;
using llmrt::Status;
using namespace llmrt::c_api;  // NOLINT: this file is its interface

Result<llmrt::jinja::Template> chatTemplateOf(const llmrt_plan* plan, bool has_tools = false) {
  const std::string& path = plan->plan->path();
  const llmrt::ChatTemplates templates = llmrt::chatTemplates(plan->plan->schema());
  const Result<std::string_view> text = templates.choose("", has_tools);
  if (!text.ok()) return llmrt::unsupported(path + ": " + text.status().message());
  return llmrt::jinja::Template::parse(*text, path + ": chat template");
}

Result<std::string> utf8(const char* text, const char* what) {
  LLMRT_RETURN_IF_ERROR(notNull({{text, what}}));
  if (!llmrt::isValidUtf8(text)) return llmrt::invalidArgument(std::string(what) + " is not UTF-8");
  return std::string(text);
}

}  // namespace

extern "C" {

llmrt_status llmrt_render_chat(const llmrt_plan* plan, const llmrt_chat_message* messages,
                               size_t num_messages, const char* variables_json, char* text,
                               size_t capacity, size_t* count) {
  return guarded([&]() -> Status {
    LLMRT_RETURN_IF_ERROR(notNull({{plan, "plan"}, {count, "count"}}));
    if (num_messages > 0) LLMRT_RETURN_IF_ERROR(notNull({{messages, "messages"}}));
    if (capacity > 0) LLMRT_RETURN_IF_ERROR(notNull({{text, "text"}}));
    std::vector<llmrt::ChatMessage> all(num_messages);
    for (size_t i = 0; i < num_messages; ++i) {
      LLMRT_ASSIGN_OR_RETURN(all[i].role, utf8(messages[i].role, "a message's role"));
      LLMRT_ASSIGN_OR_RETURN(all[i].content, utf8(messages[i].content, "a message's content"));
    }
    LLMRT_ASSIGN_OR_RETURN(
        const llmrt::jinja::Document variables,
        llmrt::jinja::parseJsonValue(variables_json ? variables_json : "{}", "variables_json"));
    if (!variables.value.asDict())
      return llmrt::invalidArgument("variables_json is not a JSON object");
    const llmrt::jinja::Dict& given = *variables.value.asDict();
    LLMRT_ASSIGN_OR_RETURN(const llmrt::jinja::Template chat_template,
                           chatTemplateOf(plan, llmrt::hasTools(given)));
    const llmrt::SpecialTokens tokens =
        llmrt::specialTokens(plan->plan->schema(), plan->tokenizer ? &*plan->tokenizer : nullptr);
    LLMRT_ASSIGN_OR_RETURN(const std::string rendered,
                           llmrt::renderChat(chat_template, all, tokens, given));
    copyOut(rendered.data(), rendered.size(), text, capacity, count);
    return {};
  });
}

llmrt_status llmrt_eos_ids(const llmrt_plan* plan, int32_t* ids, size_t capacity, size_t* count) {
  return guarded([&]() -> Status {
    LLMRT_RETURN_IF_ERROR(notNull({{plan, "plan"}, {count, "count"}}));
    if (capacity > 0) LLMRT_RETURN_IF_ERROR(notNull({{ids, "ids"}}));
    std::vector<int32_t> all;
    if (plan->tokenizer) {
      // A template that cannot be used adds no id.
      const Result<llmrt::jinja::Template> chat_template = chatTemplateOf(plan);
      all = llmrt::chatEosIds(*plan->plan, *plan->tokenizer,
                              chat_template.ok() ? &*chat_template : nullptr);
    } else {
      all = llmrt::defaultEosIds(*plan->plan, nullptr);
    }
    copyOut(all.data(), all.size(), ids, capacity, count);
    return {};
  });
}

llmrt_status llmrt_conversation_create(llmrt_session* session, const char* system,
                                       llmrt_conversation** out) {
  return guarded([&]() -> Status {
    LLMRT_RETURN_IF_ERROR(notNull({{session, "session"}, {out, "out"}}));
    LLMRT_RETURN_IF_ERROR(tokenizerOf(session->plan).status());
    LLMRT_ASSIGN_OR_RETURN(llmrt::jinja::Template chat_template, chatTemplateOf(session->plan));
    LLMRT_ASSIGN_OR_RETURN(std::string begin, utf8(system ? system : "", "system"));
    *out = new llmrt_conversation(session, std::move(chat_template), std::move(begin));
    return {};
  });
}

void llmrt_conversation_destroy(llmrt_conversation* conversation) { delete conversation; }

llmrt_status llmrt_conversation_answer(llmrt_conversation* conversation, const char* user,
                                       const llmrt_generate_options* options, llmrt_answer* out) {
  return guarded([&]() -> Status {
    LLMRT_RETURN_IF_ERROR(notNull({{conversation, "conversation"}}));
    if (out) LLMRT_RETURN_IF_ERROR(checkSize(out, "llmrt_answer"));
    LLMRT_ASSIGN_OR_RETURN(std::string message, utf8(user, "user"));
    const llmrt_plan* plan = conversation->session->plan;
    CallersOptions o;
    LLMRT_RETURN_IF_ERROR(o.read(plan, options, llmrt::chatSamplerOptions(*plan->plan)));
    // Each answer has a seed of its own: with the same one all would be drawn alike.
    if (!o.has_sampler) o.generate.sampler.seed = conversation->conversation.messages().size();
    if (!o.ignore_eos)
      o.generate.eos_ids =
          llmrt::chatEosIds(*plan->plan, *plan->tokenizer, &conversation->chat_template);
    const Settled settled{*conversation->session, 0};
    conversation->session->tokens[0].clear();
    LLMRT_ASSIGN_OR_RETURN(
        llmrt::Conversation::Answer answer,
        conversation->conversation.answer(std::move(message), std::move(o.generate)));
    conversation->session->note(0, answer.prompt_ids);
    conversation->session->note(0, answer.result.ids);
    conversation->text = std::move(answer.result.text);
    llmrt_answer full{};
    full.reason = static_cast<llmrt_finish_reason>(answer.result.finish_reason);
    full.cached_tokens = answer.result.cached_tokens;
    full.prompt_tokens = answer.result.prompt_tokens;
    full.answer_tokens = static_cast<int64_t>(answer.result.ids.size());
    full.text = conversation->text.data();
    full.text_bytes = conversation->text.size();
    if (out) writeOut(full, out);
    return {};
  });
}

void llmrt_conversation_reset(llmrt_conversation* conversation) {
  if (conversation) conversation->conversation.reset();
}

}  // extern "C"
