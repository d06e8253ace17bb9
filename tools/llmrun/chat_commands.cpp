#include "tools/llmrun/chat_commands.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "runtime/io/atomic_file.h"
#include "runtime/io/json.h"
#include "runtime/io/printable.h"
#include "tools/llmrun/chat_settings.h"

namespace llmrt {
namespace {

struct Command {
  std::string_view name, argument;
  ChatCommand command;
  std::string_view meaning;
};
constexpr Command kCommands[] = {
    {"/help", "", ChatCommand::kHelp, "this list"},
    {"/reset", "", ChatCommand::kReset, "begins a new conversation"},
    {"/clear", "", ChatCommand::kReset, "the same"},
    {"/retry", "", ChatCommand::kRetry, "another answer to the last message"},
    {"/system", "TEXT", ChatCommand::kSystem,
     "another system message; \"\": none; alone: shows it"},
    {"/set", "NAME VALUE", ChatCommand::kSet, "temperature, seed, think, ...; alone: lists them"},
    {"/save", "FILE", ChatCommand::kSave, "writes the conversation as JSON"},
    {"/load", "FILE", ChatCommand::kLoad, "goes on with one that /save wrote"},
    {"/exit", "", ChatCommand::kExit, "ends the program; so does Ctrl-D"},
};

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\n";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) + 1 - begin);
}

// `~/` as a shell reads it.
std::string expanded(const std::string& path) {
  const char* home = std::getenv("HOME");
  return home && path.starts_with("~/") ? home + path.substr(1) : path;
}

Completions completeFile(std::string_view before, size_t from) {
  Completions out{from, {}};
  const std::string typed(before.substr(from));
  const size_t slash = typed.rfind('/') + 1;  // npos + 1 is 0
  const std::string folder = typed.substr(0, slash), name = typed.substr(slash);
  std::error_code error;
  std::filesystem::directory_iterator files(folder.empty() ? "." : expanded(folder), error);
  for (; !error && files != std::filesystem::directory_iterator(); files.increment(error)) {
    const std::string file = files->path().filename().string();
    if (!file.starts_with(name) || (name.empty() && file.starts_with('.'))) continue;
    std::error_code ignored;
    out.words.push_back(folder + file + (files->is_directory(ignored) ? "/" : ""));
  }
  std::sort(out.words.begin(), out.words.end());
  return out;
}

}  // namespace

Result<std::optional<ParsedCommand>> parseCommand(std::string_view text) {
  if (!text.starts_with('/')) return std::optional<ParsedCommand>();
  const std::string_view line = trimmed(text);
  const std::string_view name = line.substr(0, line.find_first_of(" \t\n"));
  const std::string argument(trimmed(line.substr(name.size())));
  for (const Command& c : kCommands) {
    if (c.name != name) continue;
    if (c.argument.empty() && !argument.empty())
      return invalidArgument(fmt::format("{}: takes nothing behind it", name));
    if (c.argument == "FILE" && argument.empty())
      return invalidArgument(fmt::format("{}: takes a file's name", name));
    if (c.argument == "FILE") return std::optional(ParsedCommand{c.command, expanded(argument)});
    return std::optional(ParsedCommand{c.command, argument});
  }
  if (name.find('/', 1) != std::string_view::npos) return std::optional<ParsedCommand>();
  return invalidArgument(
      fmt::format("there is no command {}: /help lists them; a space before it makes it a message",
                  quotedName(name)));
}

std::string commandHelp() {
  std::string out;
  for (const Command& c : kCommands)
    out += fmt::format("{:<18}{}\n", fmt::format("{} {}", c.name, c.argument), c.meaning);
  return out +
         "Anything else is a message. A line that ends in \\ goes on in the next; Alt-Enter begins "
         "a line;\n\"\"\" begins and ends a text of several; what is pasted is one message. Ctrl-C "
         "stops an answer.\n";
}

Completions completeCommand(std::string_view before) {
  if (!before.starts_with('/')) return {};
  const size_t space = before.find(' ');
  Completions out;
  if (space == std::string_view::npos) {
    for (const Command& c : kCommands)
      if (c.name.starts_with(before)) out.words.emplace_back(c.name);
    return out;
  }
  const std::string_view name = before.substr(0, space);
  out.from = std::min(before.find_first_not_of(' ', space), before.size());
  if (name == "/save" || name == "/load") return completeFile(before, out.from);
  if (name == "/set")
    for (const std::string& setting : ChatSettings::names())
      if (setting.starts_with(before.substr(out.from))) out.words.push_back(setting);
  return out;
}

Status saveMessages(const std::vector<ChatMessage>& messages, const std::string& path) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const ChatMessage& m : messages) list.push_back({{"role", m.role}, {"content", m.content}});
  const std::string text = nlohmann::ordered_json{{"messages", list}}.dump(
                               2, ' ', false, nlohmann::json::error_handler_t::replace) +
                           "\n";
  LLMRT_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path));
  LLMRT_RETURN_IF_ERROR(file.write(text.data(), text.size()));
  return file.commit();
}

Result<std::vector<ChatMessage>> loadMessages(const std::string& path) {
  LLMRT_ASSIGN_OR_RETURN(const nlohmann::json json, readJsonFile(path));
  const auto wrong = [&](const std::string& what) {
    return invalidArgument(fmt::format("{}: {}; /load takes what /save wrote", path, what));
  };
  if (!json.is_object() || !json.contains("messages") || !json["messages"].is_array())
    return wrong("has no list of messages");
  std::vector<ChatMessage> messages;
  for (const nlohmann::json& m : json["messages"]) {
    const std::string where = fmt::format("message {}", messages.size());
    if (!m.is_object() || !m.contains("role") || !m["role"].is_string())
      return wrong(where + " has no role");
    if (!m.contains("content") || !m["content"].is_string())
      return wrong(where + " has no content that is a text");
    ChatMessage message{m["role"].get<std::string>(), m["content"].get<std::string>()};
    const bool system = message.role == "system";
    if (!(system ? messages.empty() : message.role == "user" || message.role == "assistant"))
      return wrong(fmt::format("{} is of the role {}", where, quotedName(message.role)));
    messages.push_back(std::move(message));
  }
  return messages;
}

}  // namespace llmrt
