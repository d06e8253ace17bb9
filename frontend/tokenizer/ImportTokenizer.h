// The tokenizer of a model, from whichever file has it.
#pragma once

#include <memory>
#include <string>
#include <string_view>

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

class TokenizerConfig;

/// A Hugging Face tokenizer.json, BPE and Unigram models; kUnsupported names the part that is
/// missing here. As the two after it, `config` is what lies beside.
llmrt::Result<TokenizerTable> readTokenizerJson(const std::string& path,
                                                const TokenizerConfig& config);

/// SentencePiece's tokenizer.model, of type BPE or UNIGRAM.
llmrt::Result<TokenizerTable> readTokenizerSentencePiece(std::string_view file,
                                                         const TokenizerConfig& config);

/// tiktoken's rank file (also called tokenizer.model, by Llama 3 and GLM-4).
bool looksLikeTiktoken(std::string_view file);
llmrt::Result<TokenizerTable> readTokenizerTiktoken(std::string_view file,
                                                    const TokenizerConfig& config);

/// GPT-2's vocab.json with the merges.txt beside it.
llmrt::Result<TokenizerTable> readTokenizerVocabMerges(const std::string& vocab_path,
                                                       const TokenizerConfig& config);

/// The vocabulary in a GGUF file's metadata: tokenizer.ggml.model llama, gpt2, gemma4 or t5.
/// kNotFound where it has none.
llmrt::Result<TokenizerTable> readTokenizerGguf(const llmrt::GgufFile& file);

/// `model`: a GGUF file, a Hugging Face directory or a config.json in one, or a tokenizer's file
/// itself: tokenizer*.json, *vocab*.json, and of any name SentencePiece's and tiktoken's.
/// kNotFound where the model has no tokenizer; what a tokenizer file holds has been checked by
/// building a Tokenizer from it.
llmrt::Result<TokenizerTable> importTokenizer(const std::string& model);

/// The runtime's tokenizer over a table that is not in a plan.
llmrt::Result<llmrt::Tokenizer> makeTokenizer(const llmrt::schema::TokenizerT& table);

}  // namespace llmc
