// The chat templates of a model's files, and the special tokens that they may write.
#pragma once

#include <filesystem>

#include "frontend/SpecialTokens.h"
#include "runtime/io/status.h"
#include "runtime/text/chat_templates.h"

namespace llmrt {
class GgufFile;
namespace schema {
struct TokenizerT;
}
}  // namespace llmrt

namespace llmc {

struct ChatFiles {
  llmrt::ChatTemplates templates;
  NamedTokens special;
};

/// Of a Hugging Face directory. Where there is chat_template.jinja (the default template) or a
/// folder additional_chat_templates (NAME.jinja each), they are all there are, as in Transformers;
/// else it is `chat_template` in tokenizer_config.json: one template, a list of {name, template},
/// or an object of names; where it has none, that in chat_template.json.
llmrt::Result<ChatFiles> readChatFiles(const std::filesystem::path& directory);

/// tokenizer.chat_template, those that tokenizer.chat_templates names, and the tokens that the
/// file's ids name, but for BOS and EOS.
llmrt::Result<ChatFiles> readChatFiles(const llmrt::GgufFile& gguf);

/// What no file says of bos_token and eos_token is as the tokenizer has them.
void addTokenizersTokens(const llmrt::schema::TokenizerT& tokenizer, NamedTokens& special);

}  // namespace llmc
