// The parts of a tokenizer.json around its model: normalizer, pre-tokenizer, decoder,
// post-processor.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>

#include "frontend/tokenizer/VocabularyBuilder.h"
#include "runtime/io/status.h"

namespace llmc {

/// Each reads the field of its name in `root` (absent and null are the same) and appends to
/// `table`; messages name the field's type or member that is missing here.
llmrt::Status readNormalizer(const nlohmann::json& root, llmrt::schema::TokenizerT& table);
/// `prefix_space`: ByteLevel's add_prefix_space where it is not the file's; `byte_level`: whether
/// it ends in words of bytes.
llmrt::Status readPreTokenizer(const nlohmann::json& root, std::optional<bool> prefix_space,
                               llmrt::schema::TokenizerT& table, bool& byte_level);
llmrt::Status readDecoder(const nlohmann::json& root, llmrt::schema::TokenizerT& table);
/// What is put around a single text.
llmrt::Status readPostProcessor(const nlohmann::json& root, llmrt::schema::TokenizerT& table);

}  // namespace llmc
