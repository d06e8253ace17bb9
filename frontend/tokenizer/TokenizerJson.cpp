// tokenizer.json, as Hugging Face's tokenizers library writes it.
#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "frontend/tokenizer/ImportTokenizer.h"
#include "frontend/tokenizer/TokenizerConfig.h"
#include "frontend/tokenizer/TokenizerJsonOverrides.h"
#include "frontend/tokenizer/TokenizerJsonPipeline.h"
#include "frontend/tokenizer/VocabularyBuilder.h"
#include "runtime/io/json.h"
#include "runtime/io/printable.h"
#include "runtime/schema/tokenizer_generated.h"
#include "runtime/text/vocabulary.h"

namespace llmc {

using llmrt::quotedName;
using llmrt::Result;
using llmrt::Status;
using nlohmann::json;

namespace {

Result<int64_t> readId(const json& value, std::string_view token) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > INT32_MAX) {
    return llmrt::invalidData("id of token " + quotedName(token) + " is not a token id");
  }
  return value.get<int64_t>();
}

/// BPE or Unigram; older files do not say.
Result<bool> isUnigram(const json& model) {
  std::string type = stringMember(model, "type");
  if (type == "BPE" || (type.empty() && model.contains("merges"))) return false;
  if (type == "Unigram" || (type.empty() && model.contains("unk_id"))) return true;
  return llmrt::unsupported("model of type " + quotedName(type) +
                            " is not supported, only BPE and Unigram are");
}

/// Members of a BPE model that would change the result and are not implemented.
Status refuseUnsupported(const json& model) {
  for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!stringMember(model, name).empty()) {
      return llmrt::unsupported(std::string("model.") + name + " is not supported");
    }
  }
  const json& dropout = member(model, "dropout");
  if (dropout.is_number() && dropout.get<double>() != 0) {
    return llmrt::unsupported("model.dropout is not supported");
  }
  return {};
}

Status readVocabulary(const json& model, VocabularyBuilder& builder) {
  const json& vocab = member(model, "vocab");
  if (!vocab.is_object()) return llmrt::invalidData("model.vocab is not an object");
  for (const auto& [token, id] : vocab.items()) {
    LLMRT_ASSIGN_OR_RETURN(int64_t number, readId(id, token));
    LLMRT_RETURN_IF_ERROR(builder.addToken(number, token, kTokenInModel));
  }
  return {};
}

/// Merges come as "a b" or, in newer files, as ["a", "b"].
Status readMerges(const json& model, VocabularyBuilder& builder) {
  const json& merges = member(model, "merges");
  if (!merges.is_array()) return llmrt::invalidData("model.merges is not a list");
  for (const json& merge : merges) {
    if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      LLMRT_RETURN_IF_ERROR(builder.addMerge(merge[0].get_ref<const std::string&>(),
                                             merge[1].get_ref<const std::string&>()));
      continue;
    }
    std::string_view text;
    if (merge.is_string()) text = merge.get_ref<const std::string&>();
    size_t space = text.find(' ');
    if (space == text.npos || text.find(' ', space + 1) != text.npos) {
      return llmrt::invalidData("a merge is neither \"a b\" nor [\"a\", \"b\"]: " +
                                quotedName(text));
    }
    LLMRT_RETURN_IF_ERROR(builder.addMerge(text.substr(0, space), text.substr(space + 1)));
  }
  return {};
}

Status readBpe(const json& model, VocabularyBuilder& builder, llmrt::schema::TokenizerT& table) {
  LLMRT_RETURN_IF_ERROR(refuseUnsupported(model));
  LLMRT_RETURN_IF_ERROR(readVocabulary(model, builder));
  LLMRT_RETURN_IF_ERROR(readMerges(model, builder));
  table.ignore_merges = boolMember(model, "ignore_merges", false);
  table.fuse_unk = boolMember(model, "fuse_unk", false);
  std::string unk = stringMember(model, "unk_token");
  if (!unk.empty()) {
    // An added token is none of the model's; then an unknown character is an error, and only that.
    int32_t id = builder.find(unk);
    table.unk_id = id >= 0 ? id : llmrt::Vocabulary::kUnkIsNoToken;
  }
  return {};
}

/// vocab is a list of tokens with their scores.
Status readUnigram(const json& model, VocabularyBuilder& builder,
                   llmrt::schema::TokenizerT& table) {
  constexpr double kUnkPenalty = 10;
  const json& vocab = member(model, "vocab");
  if (!vocab.is_array() || vocab.empty()) return llmrt::invalidData("model.vocab is not a list");
  double lowest = std::numeric_limits<double>::infinity();
  for (const json& entry : vocab) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number()) {
      return llmrt::invalidData("model.vocab: entry " + std::to_string(table.scores.size()) +
                                " is not a token and its score");
    }
    auto id = static_cast<int64_t>(table.scores.size());
    LLMRT_RETURN_IF_ERROR(
        builder.addToken(id, entry[0].get_ref<const std::string&>(), kTokenInModel));
    table.scores.push_back(entry[1].get<double>());
    lowest = std::min(lowest, table.scores.back());
  }
  table.unk_score = lowest - kUnkPenalty;
  const json& unk = member(model, "unk_id");
  if (!unk.is_number_unsigned() || unk.get<uint64_t>() >= vocab.size()) {
    return llmrt::unsupported("a Unigram model without model.unk_id is not supported");
  }
  table.unk_id = unk.get<int32_t>();
  return {};
}

/// The library reads their ids and numbers them anew.
Status readAddedTokens(const json& root, VocabularyBuilder& builder) {
  const json& added = member(root, "added_tokens");
  if (added.is_null()) return {};
  if (!added.is_array()) return llmrt::invalidData("added_tokens is not a list");
  for (const json& token : added) {
    std::string content = stringMember(token, "content");
    LLMRT_RETURN_IF_ERROR(readId(member(token, "id"), content).status());
    LLMRT_RETURN_IF_ERROR(builder.addNext(content, addedFlags(token)));
  }
  return {};
}

Result<TokenizerTable> readTable(const json& root, const TokenizerConfig& config) {
  using llmrt::schema::DecoderKind;
  if (!root.is_object()) return llmrt::invalidData("not a JSON object");
  const json& model = member(root, "model");
  if (!model.is_object()) return llmrt::invalidData("no model: not a tokenizer.json");
  LLMRT_ASSIGN_OR_RETURN(bool unigram, isUnigram(model));
  auto table = std::make_unique<llmrt::schema::TokenizerT>();
  LLMRT_RETURN_IF_ERROR(readNormalizer(root, *table));
  bool byte_level = false;
  LLMRT_RETURN_IF_ERROR(readPreTokenizer(root, prefixSpace(root, config), *table, byte_level));
  LLMRT_RETURN_IF_ERROR(readDecoder(root, *table));
  overrideLlama(config, *table);
  bool byte_decoder =
      std::any_of(table->decoder.begin(), table->decoder.end(),
                  [](const auto& step) { return step->kind == DecoderKind::byte_level; });
  if (byte_level != byte_decoder || (byte_level && unigram)) {
    return llmrt::unsupported(
        unigram ? "ByteLevel around a Unigram model is not supported"
                : "ByteLevel in one of pre_tokenizer and decoder only is not supported");
  }
  LLMRT_RETURN_IF_ERROR(readPostProcessor(root, *table));

  VocabularyBuilder builder(byte_level);
  LLMRT_RETURN_IF_ERROR(unigram ? readUnigram(model, builder, *table)
                                : readBpe(model, builder, *table));
  LLMRT_RETURN_IF_ERROR(readAddedTokens(root, builder));
  LLMRT_RETURN_IF_ERROR(config.addTokensNext(builder));
  builder.write(boolMember(model, "byte_fallback", false), *table);
  if (unigram) {
    table->kind = llmrt::schema::TokenizerKind::unigram;
    table->scores.resize(table->token_flags.size());
  }
  overrideAround(config, builder, *table);
  return table;
}

}  // namespace

Result<TokenizerTable> readTokenizerJson(const std::string& path, const TokenizerConfig& config) {
  LLMRT_ASSIGN_OR_RETURN(auto root, llmrt::readJsonFile(path));
  auto table = readTable(root, config);
  if (!table.ok()) return std::move(table).status().withContext(path);
  return table;
}

}  // namespace llmc
