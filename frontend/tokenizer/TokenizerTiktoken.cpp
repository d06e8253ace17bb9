// Rank files as tiktoken reads them: a line for each token, its bytes in Base64 and its rank, which
// is its id. The file says neither how text is split nor which special tokens there are.
#include <charconv>
#include <string>
#include <vector>

#include "frontend/tokenizer/Base64.h"
#include "frontend/tokenizer/ImportTokenizer.h"
#include "frontend/tokenizer/PreTokenizerNames.h"
#include "frontend/tokenizer/TableSteps.h"
#include "frontend/tokenizer/TokenizerConfig.h"
#include "frontend/tokenizer/VocabularyBuilder.h"
#include "runtime/io/printable.h"
#include "runtime/text/byte_alphabet.h"

namespace llmc {

using llmrt::quotedName;
using llmrt::Result;
using llmrt::Status;
namespace schema = llmrt::schema;

namespace {

struct RankedToken {
  std::string bytes;
  int64_t rank = -1;
};

/// Nullopt where `line` is not a token and its rank.
std::optional<RankedToken> parseLine(std::string_view line) {
  size_t space = line.find(' ');
  if (space == line.npos || space == 0) return std::nullopt;
  RankedToken token;
  auto bytes = decodeBase64(line.substr(0, space));
  std::string_view rank = line.substr(space + 1);
  if (rank.ends_with('\r')) rank.remove_suffix(1);
  auto [end, error] = std::from_chars(rank.data(), rank.data() + rank.size(), token.rank);
  if (!bytes || bytes->empty() || error != std::errc() || end != rank.data() + rank.size() ||
      token.rank < 0) {
    return std::nullopt;
  }
  token.bytes = *std::move(bytes);
  return token;
}

/// How the models are used that have so many ranks, or such a tokenizer_class.
struct Family {
  size_t ranks;                 // 0: any
  std::string_view class_name;  // empty: any
  std::string_view regex;
  std::string_view bos;               // empty: none
  std::vector<std::string> specials;  // from the last rank on; "" is an id without a token
};

std::vector<std::string> llama3Specials() {
  std::vector<std::string> specials = {"<|begin_of_text|>",
                                       "<|end_of_text|>",
                                       "<|reserved_special_token_0|>",
                                       "<|reserved_special_token_1|>",
                                       "<|finetune_right_pad_id|>",
                                       "<|step_id|>",
                                       "<|start_header_id|>",
                                       "<|end_header_id|>",
                                       "<|eom_id|>",
                                       "<|eot_id|>",
                                       "<|python_tag|>"};
  for (int i = 2; specials.size() < 256; ++i) {
    specials.push_back("<|reserved_special_token_" + std::to_string(i) + "|>");
  }
  return specials;
}

std::vector<std::string> qwenSpecials() {
  std::vector<std::string> specials = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
  for (int i = 0; i < 205; ++i) specials.push_back("<|extra_" + std::to_string(i) + "|>");
  return specials;
}

const std::vector<Family>& families() {
  static const std::vector<Family> all = {
      {0, "QWenTokenizer", kQwen2Regex, "", qwenSpecials()},
      {0, "ChatGLM4Tokenizer", kLlama3Regex, "", {}},
      {128000, "", kLlama3Regex, "<|begin_of_text|>", llama3Specials()},
      {151643, "", kQwen2Regex, "", qwenSpecials()},
      {151329, "", kLlama3Regex, "", {}},  // GLM-4
      // OpenAI's own: r50k, cl100k and o200k.
      {50256, "", kGpt2Regex, "", {"<|endoftext|>"}},
      {100256,
       "",
       kLlama3Regex,
       "",
       {"", "<|endoftext|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"}},
      {199998,
       "",
       kGpt4oRegex,
       "",
       {"<|startoftext|>", "<|endoftext|>", "", "", "<|return|>", "<|constrain|>", "",
        "<|channel|>", "<|start|>", "<|end|>", "<|message|>", "", "", "", "<|call|>"}},
  };
  return all;
}

Result<const Family*> findFamily(size_t ranks, const std::string& class_name) {
  for (const Family& family : families()) {
    if (family.ranks != 0 ? family.ranks == ranks : family.class_name == class_name) return &family;
  }
  return llmrt::unsupported("a tiktoken file does not say how it splits text, and with " +
                            std::to_string(ranks) + " ranks and tokenizer_class " +
                            quotedName(class_name) +
                            " it is of no known model; give a tokenizer.json");
}

}  // namespace

bool looksLikeTiktoken(std::string_view file) {
  return parseLine(file.substr(0, std::min(file.find('\n'), size_t{4096}))).has_value();
}

Result<TokenizerTable> readTokenizerTiktoken(std::string_view file, const TokenizerConfig& config) {
  auto table = std::make_unique<schema::TokenizerT>();
  VocabularyBuilder builder(true);
  std::vector<double> scores;
  size_t ranks = 0;
  for (size_t line_number = 1; !file.empty(); ++line_number) {
    size_t end = std::min(file.find('\n'), file.size());
    std::string_view line = file.substr(0, end);
    file.remove_prefix(std::min(end + 1, file.size()));
    if (line.empty()) continue;
    auto token = parseLine(line);
    if (!token) {
      return llmrt::invalidData("line " + std::to_string(line_number) +
                                " is not a Base64 token and its rank");
    }
    LLMRT_RETURN_IF_ERROR(
        builder.addToken(token->rank, llmrt::spelledInAlphabet(token->bytes), kTokenInModel));
    ++ranks;
    scores.resize(static_cast<size_t>(builder.size()));
    scores[static_cast<size_t>(token->rank)] = -static_cast<double>(token->rank);
  }
  LLMRT_ASSIGN_OR_RETURN(const Family* family, findFamily(ranks, config.className()));
  LLMRT_RETURN_IF_ERROR(builder.addScoredMerges(scores));
  // The family's special tokens stand behind the ranks, whatever else the config adds: what it
  // names at another id, or under another name at theirs, is what it says. A config with
  // added_tokens_decoder names all of them.
  const int64_t first_special = builder.size();
  LLMRT_RETURN_IF_ERROR(config.addTokens(builder));
  for (size_t i = 0; i < family->specials.size() && !config.has("added_tokens_decoder"); ++i) {
    const int64_t id = first_special + static_cast<int64_t>(i);
    const bool taken = id < builder.size() && !builder.spelling(static_cast<int32_t>(id)).empty();
    if (taken || builder.hasAdded(family->specials[i])) continue;
    LLMRT_RETURN_IF_ERROR(builder.addAdded(id, family->specials[i], kAddedSpecial));
  }
  builder.write(false, *table);
  table->ignore_merges = true;
  LLMRT_RETURN_IF_ERROR(addSplit(*table, family->regex));
  addDecoder(*table, schema::DecoderKind::byte_level);
  table->bos_id = config.namedToken("bos_token", builder);
  table->eos_id = config.namedToken("eos_token", builder);
  if (table->bos_id < 0 && !family->bos.empty()) table->bos_id = builder.findAny(family->bos);
  if (table->eos_id < 0 && !family->bos.empty()) table->eos_id = builder.findAny("<|end_of_text|>");
  if (family->class_name == "ChatGLM4Tokenizer" || family->ranks == 151329) {
    for (const char* name : {"[gMASK]", "<sop>"}) {
      int32_t id = builder.findAny(name);
      if (id >= 0) table->prefix_ids.push_back(static_cast<uint32_t>(id));
    }
  } else {
    config.applyAround(!family->bos.empty(), false, *table);
  }
  return table;
}

}  // namespace llmc
