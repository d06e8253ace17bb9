// What the files of a Hugging Face directory say of the special tokens that chat templates may
// write.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "runtime/io/status.h"
#include "runtime/text/chat_templates.h"

namespace llmc {

struct NamedTokens {
  llmrt::SpecialTokens tokens;
  /// Whether a file says what it is, be it that there is none.
  bool says_bos = false, says_eos = false;
};

/// As Transformers reads them: bos_token, eos_token, unk_token, sep_token, pad_token, cls_token,
/// mask_token, additional_special_tokens (which its 5.x no longer gives to templates), the members
/// of extra_special_tokens, and whatever else is called ..._token. `map`, special_tokens_map.json,
/// wins over `config`, tokenizer_config.json, but counts only where the config has no
/// added_tokens_decoder, which newer files have. Both are objects; the paths start error messages.
llmrt::Result<NamedTokens> namedTokens(const nlohmann::json& config, const std::string& config_path,
                                       const nlohmann::json& map, const std::string& map_path);

}  // namespace llmc
