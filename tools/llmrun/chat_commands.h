// The commands of a conversation on a terminal: what there is, and what Tab makes of their
// beginnings.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/chat/conversation.h"
#include "runtime/io/status.h"
#include "tools/llmrun/line_editor.h"

namespace llmrt {

enum class ChatCommand { kHelp, kReset, kRetry, kSystem, kSet, kSave, kLoad, kExit };

struct ParsedCommand {
  ChatCommand command;
  std::string argument;  // without the white space around it
};

/// What a line asks for; none: it is a message. kInvalidArgument where it looks like a command and
/// is none: "/nope". A path ("/etc/hosts is a file") is a message.
Result<std::optional<ParsedCommand>> parseCommand(std::string_view text);

/// The text of /help.
std::string commandHelp();

/// Names of commands, of settings behind /set, of files behind /save and /load.
Completions completeCommand(std::string_view before);

/// A conversation as a context of `llmc render`: {"messages": [{"role", "content"}, ...]}.
Status saveMessages(const std::vector<ChatMessage>& messages, const std::string& path);
Result<std::vector<ChatMessage>> loadMessages(const std::string& path);

}  // namespace llmrt
