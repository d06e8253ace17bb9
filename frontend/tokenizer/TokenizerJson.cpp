// tokenizer.json, as Hugging Face's tokenizers library writes it.
#include <nlohmann/json.hpp>

#include "frontend/tokenizer/ImportTokenizer.h"
#include "frontend/tokenizer/TokenizerJsonPipeline.h"
#include "frontend/tokenizer/VocabularyBuilder.h"
#include "runtime/io/json.h"
#include "runtime/io/printable.h"
#include "runtime/schema/tokenizer_generated.h"

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

/// Members of `model` that would change the result and are not implemented.
Status refuseUnsupported(const json& model) {
  std::string type = stringMember(model, "type");
  if (!(type == "BPE" || (type.empty() && model.contains("merges")))) {
    return llmrt::unsupported("model of type " + quotedName(type) +
                              " is not supported, only BPE is");
  }
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
    LLMRT_RETURN_IF_ERROR(builder.addToken(number, token, true));
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

Status readAddedTokens(const json& root, VocabularyBuilder& builder) {
  const json& added = member(root, "added_tokens");
  if (added.is_null()) return {};
  if (!added.is_array()) return llmrt::invalidData("added_tokens is not a list");
  for (const json& token : added) {
    std::string content = stringMember(token, "content");
    LLMRT_ASSIGN_OR_RETURN(int64_t id, readId(member(token, "id"), content));
    bool special = boolMember(token, "special", false);
    int flags = (special ? kAddedSpecial : 0) |
                (boolMember(token, "lstrip", false) ? kAddedLstrip : 0) |
                (boolMember(token, "rstrip", false) ? kAddedRstrip : 0) |
                (boolMember(token, "single_word", false) ? kAddedSingleWord : 0) |
                (boolMember(token, "normalized", !special) ? kAddedNormalized : 0);
    LLMRT_RETURN_IF_ERROR(builder.addAdded(id, content, static_cast<uint8_t>(flags)));
  }
  return {};
}

/// "<s>" or {"content": "<s>"}; -1 where absent, null or not in the vocabulary.
int32_t namedToken(const json& config, const char* name, const VocabularyBuilder& builder) {
  const json& value = member(config, name);
  std::string content =
      value.is_object() ? stringMember(value, "content") : stringMember(config, name);
  return content.empty() ? -1 : builder.findAny(content);
}

/// BOS and EOS of tokenizer_config.json. For the classes whose loader builds the post-processor
/// from add_bos_token and add_eos_token, these decide, whatever tokenizer.json says.
void applyConfig(const json& config, const VocabularyBuilder& builder,
                 llmrt::schema::TokenizerT& table) {
  table.bos_id = namedToken(config, "bos_token", builder);
  table.eos_id = namedToken(config, "eos_token", builder);
  std::string name = stringMember(config, "tokenizer_class");
  bool decides = false;
  for (std::string_view stem :
       {"LlamaTokenizer", "CodeLlamaTokenizer", "GemmaTokenizer", "CohereTokenizer"}) {
    decides = decides || name == stem || name == std::string(stem) + "Fast";
  }
  if (!decides || !member(config, "add_bos_token").is_boolean()) return;
  table.prefix_ids.clear();
  table.suffix_ids.clear();
  if (boolMember(config, "add_bos_token", false) && table.bos_id >= 0) {
    table.prefix_ids.push_back(static_cast<uint32_t>(table.bos_id));
  }
  if (boolMember(config, "add_eos_token", false) && table.eos_id >= 0) {
    table.suffix_ids.push_back(static_cast<uint32_t>(table.eos_id));
  }
}

Result<TokenizerTable> readTable(const json& root, const json& config) {
  if (!root.is_object()) return llmrt::invalidData("not a JSON object");
  const json& model = member(root, "model");
  if (!model.is_object()) return llmrt::invalidData("no model: not a tokenizer.json");
  LLMRT_RETURN_IF_ERROR(refuseUnsupported(model));
  auto table = std::make_unique<llmrt::schema::TokenizerT>();
  LLMRT_RETURN_IF_ERROR(readNormalizer(root, *table));
  bool byte_level = false;
  LLMRT_RETURN_IF_ERROR(readPreTokenizer(root, *table, byte_level));
  LLMRT_RETURN_IF_ERROR(readDecoder(root, *table));
  bool byte_decoder = false;
  for (const auto& step : table->decoder) {
    byte_decoder = byte_decoder || step->kind == llmrt::schema::DecoderKind::byte_level;
  }
  if (byte_level != byte_decoder) {
    return llmrt::unsupported(
        "ByteLevel in one of pre_tokenizer and decoder only is not supported");
  }
  LLMRT_RETURN_IF_ERROR(readPostProcessor(root, *table));

  VocabularyBuilder builder(byte_level);
  LLMRT_RETURN_IF_ERROR(readVocabulary(model, builder));
  LLMRT_RETURN_IF_ERROR(readMerges(model, builder));
  LLMRT_RETURN_IF_ERROR(readAddedTokens(root, builder));
  builder.write(boolMember(model, "byte_fallback", false), *table);
  table->ignore_merges = boolMember(model, "ignore_merges", false);
  table->fuse_unk = boolMember(model, "fuse_unk", false);
  std::string unk = stringMember(model, "unk_token");
  if (!unk.empty()) {
    table->unk_id = builder.find(unk);
    if (table->unk_id < 0) {
      return llmrt::invalidData("model.unk_token " + quotedName(unk) + " is not in the vocabulary");
    }
  }
  applyConfig(config, builder, *table);
  return table;
}

}  // namespace

Result<TokenizerTable> readTokenizerJson(const std::string& path, const std::string& config_path) {
  LLMRT_ASSIGN_OR_RETURN(auto root, llmrt::readJsonFile(path));
  json config;
  if (!config_path.empty()) {
    LLMRT_ASSIGN_OR_RETURN(config, llmrt::readJsonFile(config_path));
  }
  auto table = readTable(root, config);
  if (!table.ok()) return std::move(table).status().withContext(path);
  return table;
}

}  // namespace llmc
