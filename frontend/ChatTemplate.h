// The chat template of a Hugging Face directory.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "runtime/io/status.h"

namespace llmc {

struct ChatTemplate {
  std::string text;  // Jinja; empty: none
  // As tokenizer_config.json has them.
  std::optional<std::string> bos_token, eos_token;
};

/// chat_template.jinja wins over `chat_template` in tokenizer_config.json, as in HF; where neither
/// has one, chat_template.json counts. Of named templates it is "default".
llmrt::Result<ChatTemplate> readChatTemplate(const std::filesystem::path& directory);

}  // namespace llmc
