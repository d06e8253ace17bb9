// The tokenizer of a model, from whichever file has it.
#pragma once

#include <memory>
#include <string>

#include "runtime/io/status.h"
#include "runtime/text/tokenizer.h"

namespace llmrt {
class GgufFile;
namespace schema {
struct TokenizerT;
}
}  // namespace llmrt

namespace llmc {

using TokenizerTable = std::unique_ptr<llmrt::schema::TokenizerT>;

/// A Hugging Face tokenizer.json, BPE models only; kUnsupported names the part that is missing
/// here. `config_path` is its tokenizer_config.json (names BOS and EOS), or empty.
llmrt::Result<TokenizerTable> readTokenizerJson(const std::string& path,
                                                const std::string& config_path);

/// The vocabulary in a GGUF file's metadata: tokenizer.ggml.model llama or gpt2. kNotFound where it
/// has none.
llmrt::Result<TokenizerTable> readTokenizerGguf(const llmrt::GgufFile& file);

/// `model`: a GGUF file, a Hugging Face directory, a config.json (tokenizer.json lies beside it),
/// or a file named tokenizer*.json itself. tokenizer_config.json is read where it lies beside.
/// kNotFound where the model has no tokenizer; what a tokenizer file holds has been checked by
/// building a Tokenizer from it.
llmrt::Result<TokenizerTable> importTokenizer(const std::string& model);

/// The runtime's tokenizer over a table that is not in a plan.
llmrt::Result<llmrt::Tokenizer> makeTokenizer(const llmrt::schema::TokenizerT& table);

}  // namespace llmc
