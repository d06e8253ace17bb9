#include "tools/llmrun/chat.h"

#include <fmt/format.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "runtime/chat/conversation.h"
#include "runtime/io/mapped_file.h"
#include "runtime/io/printable.h"
#include "runtime/schema/plan_generated.h"
#include "runtime/text/utf8.h"
#include "tools/cli/command_line.h"
#include "tools/llmrun/answer_view.h"
#include "tools/llmrun/chat_commands.h"
#include "tools/llmrun/chat_settings.h"
#include "tools/llmrun/generation.h"
#include "tools/llmrun/history_file.h"
#include "tools/llmrun/input.h"
#include "tools/llmrun/interrupt.h"
#include "tools/llmrun/line_editor.h"

namespace llmrt {
namespace {

Result<jinja::Template> chatTemplate(const LoadedModel& model, const std::string& file_path) {
  const std::string& path = model.plan->path();
  if (!model.tokenizer) {
    return unsupported(fmt::format(
        "{}: has no tokenizer, which --chat needs: compile from a model that has one", path));
  }
  if (!file_path.empty()) {
    LLMRT_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(file_path));
    return jinja::Template::parse(file.text(), file_path);
  }
  const auto* text = model.plan->schema().chat_template();
  if (!text || text->size() == 0) {
    return unsupported(
        fmt::format("{}: has no chat template: give one with --chat-template FILE, "
                    "or continue a text with --prompt",
                    path));
  }
  return jinja::Template::parse(text->string_view(), path + ": chat template");
}

class Chat {
 public:
  Chat(const LoadedModel& model, const GenerationOptions& generation, bool json,
       const std::string& system, const jinja::Template& chat_template)
      : model_(model),
        json_(json),
        conversation_(*model.session, *model.tokenizer, chat_template, system),
        settings_(startOptions(model, generation, chat_template), model.plan->vocabSize()) {}

  Result<int> runTerminal() {
    terminal_ = true;
    catchInterrupts(SecondInterrupt::kIsAnother);
    LLMRT_ASSIGN_OR_RETURN(editor_,
                           LineEditor::create(HistoryFile::defaultPath(), completeCommand));
    fmt::print("{}, {}. /help lists the commands.\n", modelName(), contextText(*model_.session));
    for (;;) {
      const LineEditor::Input input = editor_->read();
      if (input.kind == LineEditor::Kind::kEnd) return 0;
      if (input.kind == LineEditor::Kind::kInterrupt) {
        fmt::print("(Ctrl-D or /exit ends the program)\n");
        continue;
      }
      const Status status = handle(input.text);
      if (!status.ok())
        fmt::print(stderr, "llmrun: error: {}\n", withFlags(printableLine(status.message())));
      if (ended_) return 0;
    }
  }

  // Each line is a message, never a command.
  Result<int> runLines() {
    catchInterrupts(SecondInterrupt::kEndsProcess);
    InputLines lines;
    std::string line;
    for (;;) {
      LLMRT_ASSIGN_OR_RETURN(const bool more, lines.read(line));
      if (!more) break;
      if (line.find_first_not_of(" \t") != std::string::npos) LLMRT_RETURN_IF_ERROR(answer(line));
    }
    return interrupted ? kExitInterrupted : 0;
  }

  Result<int> runOne(std::string message, const std::string& from) {
    terminal_ = isatty(STDOUT_FILENO) && !json_;
    catchInterrupts(SecondInterrupt::kEndsProcess);
    while (message.ends_with('\n') || message.ends_with('\r')) message.pop_back();
    if (message.find_first_not_of(" \t\n") == std::string::npos)
      return invalidArgument(from + ": is empty, where a message is expected");
    LLMRT_RETURN_IF_ERROR(answer(message));
    return interrupted ? kExitInterrupted : 0;
  }

 private:
  static GenerateOptions startOptions(const LoadedModel& model, const GenerationOptions& o,
                                      const jinja::Template& chat_template) {
    // Whatever the context holds: an answer ends by itself.
    GenerateOptions options = generateOptions(model, o, chatSamplerOptions(*model.plan),
                                              model.session->options().max_seq_len);
    if (!o.ignore_eos) options.eos_ids = chatEosIds(*model.plan, *model.tokenizer, &chat_template);
    return options;
  }

  std::string modelName() const {
    const auto* name = model_.plan->schema().model()->name();
    return printableLine(name && name->size() > 0 ? name->string_view() : model_.plan->path());
  }

  Status handle(const std::string& text) {
    if (text.find_first_not_of(" \t\n") == std::string::npos) return {};
    LLMRT_ASSIGN_OR_RETURN(const std::optional<ParsedCommand> command, parseCommand(text));
    if (!command) return answerWithRoom(text);
    const std::string& argument = command->argument;
    switch (command->command) {
      case ChatCommand::kHelp:
        fmt::print("{}", commandHelp());
        return {};
      case ChatCommand::kExit:
        ended_ = true;
        return {};
      case ChatCommand::kReset:
        conversation_.reset();
        fmt::print("(a new conversation)\n");
        return {};
      case ChatCommand::kRetry:
        return retry();
      case ChatCommand::kSystem:
        return setSystem(argument);
      case ChatCommand::kSet:
        if (argument.empty()) {
          fmt::print("{}", settings_.list());
          return {};
        }
        return settings_.set(argument);
      case ChatCommand::kSave:
        LLMRT_RETURN_IF_ERROR(saveMessages(conversation_.messages(), argument));
        fmt::print("(saved in {})\n", printableText(argument));
        return {};
      case ChatCommand::kLoad: {
        LLMRT_ASSIGN_OR_RETURN(std::vector<ChatMessage> messages, loadMessages(argument));
        fmt::print("({} messages of {})\n", messages.size(), printableText(argument));
        conversation_.setMessages(std::move(messages));
        return {};
      }
    }
    return {};
  }

  Status setSystem(const std::string& argument) {
    std::vector<ChatMessage> messages = conversation_.messages();
    const bool has_one = !messages.empty() && messages[0].role == "system";
    if (argument.empty()) {
      fmt::print("{}\n", has_one ? printableText(messages[0].content) : "(no system message)");
      return {};
    }
    LLMRT_RETURN_IF_ERROR(checkUtf8(argument, "/system"));
    if (has_one) messages.erase(messages.begin());
    if (argument != "\"\"") messages.insert(messages.begin(), {"system", argument});
    conversation_.setMessages(std::move(messages));
    return {};
  }

  Status retry() {
    const std::vector<ChatMessage> before = conversation_.messages();
    std::vector<ChatMessage> messages = before;
    while (!messages.empty() && messages.back().role != "user") messages.pop_back();
    if (messages.empty()) return invalidArgument("/retry: there is no message to answer yet");
    const std::string user = messages.back().content;
    messages.pop_back();
    if (settings_.options.sampler.temperature == 0)
      fmt::print("{}\n", dimmed("(the same again at temperature 0: /set temperature 0.7)"));
    conversation_.setMessages(std::move(messages));
    answered_ = false;
    const Status status = answerWithRoom(user);
    // No other answer came: the old one stays.
    if (!answered_) conversation_.setMessages(before);
    return status;
  }

  // Where the context is full, offers to drop the oldest turns first.
  Status answerWithRoom(const std::string& user) {
    const int64_t max_seq_len = model_.session->options().max_seq_len;
    // An answer of a word or two is not worth beginning.
    const int64_t room =
        std::min(settings_.options.max_tokens, std::max<int64_t>(1, max_seq_len / 16));
    const auto fits = [&](int64_t wanted) -> Result<bool> {
      LLMRT_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, conversation_.promptIds(user));
      tokens_ = static_cast<int64_t>(ids.size());
      return tokens_ + wanted <= max_seq_len + 1;  // the last token needs no place
    };
    LLMRT_RETURN_IF_ERROR(checkUtf8(user, "the message"));
    LLMRT_ASSIGN_OR_RETURN(bool enough, fits(room));
    if (enough) return answer(user);

    const int64_t tokens = tokens_;
    const std::vector<ChatMessage> before = conversation_.messages();
    std::vector<ChatMessage> messages = before;
    const size_t first = !messages.empty() && messages[0].role == "system" ? 1 : 0;
    std::vector<ChatMessage> dropped;
    // A quarter of the context: the next message shall not ask again.
    const int64_t wanted = std::min(settings_.options.max_tokens, max_seq_len / 4);
    while (!enough && messages.size() > first) {
      do {
        dropped.push_back(std::move(messages[first]));
        messages.erase(messages.begin() + static_cast<ptrdiff_t>(first));
      } while (messages.size() > first && messages[first].role != "user");
      conversation_.setMessages(messages);
      Result<bool> fit = fits(wanted);
      conversation_.setMessages(before);  // nothing is dropped before somebody says so
      LLMRT_ASSIGN_OR_RETURN(enough, std::move(fit));
    }
    if (tokens_ > max_seq_len || dropped.empty()) return answer(user);  // which says what is wrong
    const auto turns = std::count_if(dropped.begin(), dropped.end(),
                                     [](const ChatMessage& m) { return m.role == "user"; });
    fmt::print("The context of {} tokens is full: the conversation has {}.\n", max_seq_len, tokens);
    const LineEditor::Input input =
        editor_->ask(fmt::format("Drop the oldest {} of it, to {} tokens? [y/n] ",
                                 turns == 1 ? "turn" : fmt::format("{} turns", turns), tokens_));
    if (input.kind != LineEditor::Kind::kText || (input.text != "y" && input.text != "yes")) {
      fmt::print("(not sent; /reset begins a new conversation)\n");
      return {};
    }
    for (const ChatMessage& m : dropped)
      if (m.role == "user") fmt::print("(dropped: {})\n", firstWords(m.content));
    conversation_.setMessages(std::move(messages));
    return answer(user);
  }

  static std::string firstWords(const std::string& text) {
    constexpr size_t kMaxBytes = 60;
    std::string line = printableText(text.substr(0, text.find('\n')));
    const bool whole = line.size() <= kMaxBytes && line.size() == text.size();
    if (line.size() > kMaxBytes) line.resize(previousCharacter(line, kMaxBytes + 1));
    return whole ? line : line + "...";
  }

  static Status checkUtf8(const std::string& text, const std::string& what) {
    const size_t invalid = findInvalidUtf8(text);
    if (invalid == text.size()) return {};
    return invalidArgument(fmt::format("{} is not UTF-8 at byte {}", what, invalid));
  }

  Status answer(const std::string& user) {
    LLMRT_RETURN_IF_ERROR(checkUtf8(user, "the message"));
    GenerateOptions options = settings_.options;
    std::optional<AnswerView> view;
    char last = '\n';
    if (terminal_) {
      LLMRT_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, conversation_.promptIds(user));
      constexpr size_t kHead = 16;  // ids that surely hold what a template begins an answer with
      view.emplace(model_.tokenizer->decode(std::span(ids).last(std::min(ids.size(), kHead)),
                                            /*skip_special=*/false),
                   settings_.think);
      options.on_text = [&view](std::string_view text) { view->push(text); };
    } else if (!json_) {
      options.on_text = [&last](std::string_view text) {
        std::fwrite(text.data(), 1, text.size(), stdout);
        std::fflush(stdout);
        last = text.back();
      };
    }
    const size_t num_messages = conversation_.messages().size();
    Result<Conversation::Answer> answered = conversation_.answer(user, options);
    answered_ = conversation_.messages().size() > num_messages;
    if (!answered.ok()) {
      if (view ? view->midLine() : last != '\n') std::fputc('\n', stdout);
      std::fflush(stdout);
      return std::move(answered).status();
    }
    const Conversation::Answer& answer = *answered;
    ++settings_.options.sampler.seed;  // or each answer would be drawn with the same numbers
    if (json_) {
      nlohmann::json json =
          resultJson(answer.prompt_ids, answer.result, settings_.options.top_logits > 0);
      json["cached_tokens"] = answer.result.cached_tokens;
      json["prefilled_tokens"] = answer.result.prompt_tokens;
      printJson(json);
    } else if (view) {
      view->finish();
      explainEnd(answer.result);
      if (settings_.figures) printFigures(answer);
    } else if (last != '\n' || answer.result.ids.empty()) {
      std::fputc('\n', stdout);
    }
    std::fflush(stdout);
    return {};
  }

  void printFigures(const Conversation::Answer& answer) {
    const GenerateResult& r = answer.result;
    const Speeds s = speedsOf(r);
    fmt::print("{}\n", dimmed(fmt::format(
                           "[prompt {} tokens, {} of them cached, {:.1f} tok/s; answer {} tokens, "
                           "{:.1f} tok/s; context {} of {}]",
                           answer.prompt_ids.size(), answer.result.cached_tokens, s.prefill_tok_s,
                           r.ids.size(), s.decode_tok_s, model_.session->kvLen(0),
                           model_.session->options().max_seq_len)));
  }

  // Where the model did not end the answer itself.
  void explainEnd(const GenerateResult& result) {
    // The exit status says it where one answer is all.
    if (result.finish_reason == FinishReason::kCancelled && editor_ && takeInterrupt())
      fmt::print("(stopped)\n");
    if (result.finish_reason != FinishReason::kLength) return;
    const int64_t max_tokens = settings_.options.max_tokens;
    if (static_cast<int64_t>(result.ids.size()) >= max_tokens &&
        max_tokens < model_.session->options().max_seq_len) {
      fmt::print("(ended by --max-tokens {})\n", max_tokens);
    } else {
      fmt::print("(the context of {} tokens is full{})\n", model_.session->options().max_seq_len,
                 editor_ ? ": /reset begins a new conversation, a message may drop old turns" : "");
    }
  }

  const LoadedModel& model_;
  const bool json_;
  Conversation conversation_;
  ChatSettings settings_;
  std::unique_ptr<LineEditor> editor_;  // of a conversation on a terminal
  int64_t tokens_ = 0;                  // of the prompt that was counted last
  bool terminal_ = false, ended_ = false;
  bool answered_ = false;  // the last message was, if only in part
};

}  // namespace

Result<int> runChat(const LoadedModel& model, const ChatOptions& o, const PromptOptions& prompt,
                    const GenerationOptions& generation, bool json) {
  LLMRT_ASSIGN_OR_RETURN(const jinja::Template chat_template, chatTemplate(model, o.template_file));
  const size_t invalid = findInvalidUtf8(o.system);
  if (invalid != o.system.size())
    return invalidArgument(fmt::format("--system: is not UTF-8 at byte {}", invalid));
  Chat chat(model, generation, json, o.system, chat_template);
  if (prompt.text) return chat.runOne(*prompt.text, "--prompt");
  if (prompt.file) {
    LLMRT_ASSIGN_OR_RETURN(std::string text, readInput(*prompt.file));
    return chat.runOne(std::move(text), *prompt.file);
  }
  const bool terminal = isatty(STDIN_FILENO);
  if (terminal && isatty(STDOUT_FILENO) && !json && !o.lines) return chat.runTerminal();
  if (terminal || json || o.lines) return chat.runLines();
  LLMRT_ASSIGN_OR_RETURN(std::string text, readInput(""));
  return chat.runOne(std::move(text), "stdin");
}

}  // namespace llmrt
