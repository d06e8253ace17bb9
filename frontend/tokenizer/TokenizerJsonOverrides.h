// Where tokenizer_config.json goes before the tokenizer.json beside it. Transformers 4.57 and 5.24
// were asked; where they differ, what the config says is followed (as in 4.57, with which such
// files were made), and what it leaves unsaid is the file's.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>

#include "frontend/tokenizer/TokenizerConfig.h"
#include "frontend/tokenizer/VocabularyBuilder.h"
#include "runtime/schema/tokenizer_generated.h"

namespace llmc {

/// The add_prefix_space of `root`'s ByteLevel; none: its own. Saying nothing is false for classes
/// that build their own ByteLevel. The parts of a Sequence are left alone, but by two classes.
std::optional<bool> prefixSpace(const nlohmann::json& root, const TokenizerConfig& config);

/// The pipeline that LlamaTokenizer builds where add_prefix_space is said: "legacy" puts the prefix
/// behind added tokens as well.
void overrideLlama(const TokenizerConfig& config, llmrt::schema::TokenizerT& table);

/// bos_id and eos_id; and what is put around a text, of the classes that build the post-processor
/// from add_bos_token and add_eos_token. GPT-NeoX's does where it says nothing, too.
void overrideAround(const TokenizerConfig& config, const VocabularyBuilder& builder,
                    llmrt::schema::TokenizerT& table);

}  // namespace llmc
