#include "tools/llmrun/chat.h"

#include <fmt/format.h>
#include <stdio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "runtime/core/conversation.h"
#include "runtime/io/atomic_file.h"
#include "runtime/io/mapped_file.h"
#include "runtime/io/printable.h"
#include "runtime/schema/plan_generated.h"
#include "runtime/text/utf8.h"
#include "tools/llmrun/generation.h"
#include "tools/llmrun/interrupt.h"
#include "tools/llmrun/line_editor.h"

namespace llmrt {
namespace {

constexpr char kHelp[] =
    "/help        this list\n"
    "/reset       begins a new conversation\n"
    "/save FILE   writes the conversation as JSON\n"
    "/exit        ends the program; so does Ctrl-D\n"
    "Ctrl-C stops an answer. A line that ends in \\ goes on in the next. Anything else is a "
    "message.\n";

Result<jinja::Template> chatTemplate(const LoadedModel& model, const RunOptions& o) {
  const std::string& path = model.plan->path();
  if (!model.tokenizer) {
    return unsupported(fmt::format(
        "{}: has no tokenizer, which --chat needs: compile from a model that has one", path));
  }
  if (!o.chat_template.empty()) {
    LLMRT_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(o.chat_template));
    return jinja::Template::parse(file.text(), o.chat_template);
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

// Lines that are messages, from a pipe or a file. Not through stdio, whose reads no signal ends.
class PipedLines {
 public:
  /// False at the end, and when Ctrl-C came.
  Result<bool> read(std::string& out) {
    for (;;) {
      if (interrupted) return false;
      if (const size_t end = waiting_.find('\n', searched_); end != std::string::npos) {
        out = waiting_.substr(0, end);
        waiting_.erase(0, end + 1);
        searched_ = 0;
        break;
      }
      searched_ = waiting_.size();
      char bytes[4096];
      if (!waitForInput()) return false;
      const ssize_t n = ::read(STDIN_FILENO, bytes, sizeof bytes);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return ioError(fmt::format("stdin: {}", std::strerror(errno)));
      waiting_.append(bytes, static_cast<size_t>(n));
      if (n > 0) continue;
      if (waiting_.empty()) return false;
      out = std::exchange(waiting_, {});  // the last line has no newline
      searched_ = 0;
      break;
    }
    while (out.ends_with('\r')) out.pop_back();
    return true;
  }

 private:
  std::string waiting_;
  size_t searched_ = 0;  // how much of it has no newline
};

class Chat {
 public:
  Chat(const LoadedModel& model, const RunOptions& o, const jinja::Template& chat_template)
      : model_(model),
        o_(o),
        conversation_(*model.session, *model.tokenizer, chat_template, o.system) {
    // Whatever the context holds: an answer ends by itself.
    options_ = generateOptions(model, o, model.session->options().max_seq_len);
    if (!o.ignore_eos) options_.eos_ids = chatEosIds(*model.plan, *model.tokenizer);
  }

  Result<int> runTerminal() {
    terminal_ = true;
    catchInterrupts(SecondInterrupt::kIsAnother);
    LLMRT_ASSIGN_OR_RETURN(const auto editor, LineEditor::create());
    fmt::print("{}, a context of {} tokens. /help lists the commands.\n", modelName(),
               model_.session->options().max_seq_len);
    for (;;) {
      const LineEditor::Input input = editor->read();
      if (input.kind == LineEditor::Kind::kEnd) return 0;
      if (input.kind == LineEditor::Kind::kInterrupt) {
        fmt::print("(Ctrl-D or /exit ends the program)\n");
        continue;
      }
      const Status status = handle(input.line);
      if (!status.ok()) fmt::print(stderr, "llmrun: error: {}\n", status.message());
      if (ended_) return 0;
    }
  }

  Result<int> runPipe() {
    catchInterrupts(SecondInterrupt::kEndsProcess);
    PipedLines lines;
    std::string line;
    while (!ended_) {
      LLMRT_ASSIGN_OR_RETURN(const bool more, lines.read(line));
      if (!more) break;
      LLMRT_RETURN_IF_ERROR(handle(line));
    }
    return interrupted ? kExitInterrupted : 0;
  }

 private:
  std::string modelName() const {
    const auto* name = model_.plan->schema().model()->name();
    return printableText(name && name->size() > 0 ? name->string_view() : model_.plan->path());
  }

  Status handle(const std::string& line) {
    const size_t begin = line.find_first_not_of(" \t\n");
    if (begin == std::string::npos) return {};
    if (line[0] != '/') return answer(line);
    const size_t name_end = line.find(' ');
    const std::string name = line.substr(1, name_end - 1);
    // "/usr/bin is what?" is a message, "/reste" a mistake.
    if (name_end != std::string::npos && name != "save") return answer(line);
    if (name == "help") {
      fmt::print(terminal_ ? stdout : stderr, "{}", kHelp);
    } else if (name == "reset") {
      conversation_.reset();
      if (terminal_) fmt::print("(a new conversation)\n");
    } else if (name == "exit" || name == "quit") {
      ended_ = true;
    } else if (name == "save") {
      const size_t path = line.find_first_not_of(' ', name.size() + 1);
      if (path == std::string::npos) return invalidArgument("/save takes a file's name");
      return save(line.substr(path));
    } else if (name.find('/') != std::string::npos) {
      return answer(line);
    } else {
      return invalidArgument(
          fmt::format("there is no command {}: /help lists them", quotedName(line)));
    }
    return {};
  }

  Status save(const std::string& path) {
    nlohmann::ordered_json messages = nlohmann::ordered_json::array();
    for (const ChatMessage& m : conversation_.messages())
      messages.push_back({{"role", m.role}, {"content", m.content}});
    const std::string text = nlohmann::ordered_json{{"messages", messages}}.dump(
                                 2, ' ', false, nlohmann::json::error_handler_t::replace) +
                             "\n";
    LLMRT_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path));
    LLMRT_RETURN_IF_ERROR(file.write(text.data(), text.size()));
    LLMRT_RETURN_IF_ERROR(file.commit());
    if (terminal_) fmt::print("(saved in {})\n", printableText(path));
    return {};
  }

  Status answer(const std::string& line) {
    const size_t invalid = findInvalidUtf8(line);
    if (invalid != line.size())
      return invalidArgument(fmt::format("the message is not UTF-8 at byte {}", invalid));
    char last = '\n';
    if (!o_.json) {
      options_.on_text = [this, &last](std::string_view text) {
        const std::string shown = terminal_ ? printableText(text) : std::string(text);
        std::fwrite(shown.data(), 1, shown.size(), stdout);
        std::fflush(stdout);
        if (!shown.empty()) last = shown.back();
      };
    }
    Result<Conversation::Answer> answered = conversation_.answer(line, options_);
    if (!answered.ok()) {
      if (last != '\n') std::fputc('\n', stdout);  // behind a part of the answer
      std::fflush(stdout);
      return std::move(answered).status();
    }
    const Conversation::Answer& answer = *answered;
    ++options_.sampler.seed;  // or each answer would be drawn with the same numbers
    if (o_.json) {
      nlohmann::json json = resultJson(answer.prompt_ids, answer.result, o_.top_logits > 0);
      json["cached_tokens"] = answer.cached_tokens;
      json["prefilled_tokens"] = answer.result.prompt_tokens;
      printJson(json);
      std::fflush(stdout);
      return {};
    }
    if (last != '\n' || answer.result.ids.empty()) std::fputc('\n', stdout);
    if (terminal_) explainEnd(answer.result);
    std::fflush(stdout);
    return {};
  }

  // Where the model did not end the answer itself.
  void explainEnd(const GenerateResult& result) {
    if (result.finish_reason == FinishReason::kCancelled && takeInterrupt())
      fmt::print("(stopped)\n");
    if (result.finish_reason != FinishReason::kLength) return;
    if (o_.max_tokens && static_cast<int64_t>(result.ids.size()) >= *o_.max_tokens) {
      fmt::print("(ended by --max-tokens {})\n", *o_.max_tokens);
    } else {
      fmt::print("(the context of {} tokens is full: /reset begins a new conversation)\n",
                 model_.session->options().max_seq_len);
    }
  }

  const LoadedModel& model_;
  const RunOptions& o_;
  Conversation conversation_;
  GenerateOptions options_;
  bool terminal_ = false, ended_ = false;
};

}  // namespace

Result<int> runChat(const LoadedModel& model, const RunOptions& o) {
  LLMRT_ASSIGN_OR_RETURN(const jinja::Template chat_template, chatTemplate(model, o));
  const size_t invalid = findInvalidUtf8(o.system);
  if (invalid != o.system.size())
    return invalidArgument(fmt::format("--system: is not UTF-8 at byte {}", invalid));
  Chat chat(model, o, chat_template);
  const bool terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && !o.json;
  return terminal ? chat.runTerminal() : chat.runPipe();
}

}  // namespace llmrt
