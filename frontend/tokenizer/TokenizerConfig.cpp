#include "frontend/tokenizer/TokenizerConfig.h"

#include <charconv>
#include <filesystem>

#include "runtime/io/json.h"
#include "runtime/io/printable.h"

namespace llmc {

using llmrt::quotedName;
using llmrt::Result;
using llmrt::Status;
using nlohmann::json;
namespace fs = std::filesystem;

const json& member(const json& object, const char* name) {
  static const json null;
  if (!object.is_object()) return null;
  auto it = object.find(name);
  return it == object.end() ? null : *it;
}

std::string stringMember(const json& object, const char* name) {
  const json& value = member(object, name);
  return value.is_string() ? value.get_ref<const std::string&>() : std::string();
}

bool boolMember(const json& object, const char* name, bool absent) {
  const json& value = member(object, name);
  return value.is_boolean() ? value.get<bool>() : absent;
}

namespace {

Result<json> readIfThere(const fs::path& file) {
  std::error_code error;
  if (!fs::exists(file, error)) return json();
  return llmrt::readJsonFile(file.string());
}

/// "<s>" or {"content": "<s>"}.
std::string contentOf(const json& token) {
  if (token.is_string()) return token.get<std::string>();
  return stringMember(token, "content");
}

// What Transformers knows as special by its name.
constexpr const char* kNames[] = {
    "bos_token",           "eos_token", "unk_token",  "sep_token",
    "pad_token",           "cls_token", "mask_token", "additional_special_tokens",
    "extra_special_tokens"};

/// The tokens of a member: one, or those of a list or by names of their own.
std::vector<const json*> tokensOf(const json& value) {
  std::vector<const json*> tokens;
  if (value.is_array() || (value.is_object() && !value.contains("content"))) {
    for (const json& token : value) tokens.push_back(&token);
  } else {
    tokens.push_back(&value);
  }
  return tokens;
}

bool isTokenId(const json& id) {
  return id.is_number_unsigned() && id.get<uint64_t>() <= INT32_MAX;
}

Status badId(const std::string& content) {
  return llmrt::invalidData("id of token " + quotedName(content) + " is not a token id");
}

}  // namespace

uint8_t addedFlags(const json& token) {
  bool special = boolMember(token, "special", false);
  int flags = (special ? kAddedSpecial : 0) |
              (boolMember(token, "lstrip", false) ? kAddedLstrip : 0) |
              (boolMember(token, "rstrip", false) ? kAddedRstrip : 0) |
              (boolMember(token, "single_word", false) ? kAddedSingleWord : 0) |
              (boolMember(token, "normalized", !special) ? kAddedNormalized : 0);
  return static_cast<uint8_t>(flags);
}

Status addJsonToken(const json& token, const json& id, VocabularyBuilder& builder) {
  std::string content = stringMember(token, "content");
  if (!isTokenId(id)) return badId(content);
  return builder.addAdded(id.get<int64_t>(), content, addedFlags(token));
}

Result<TokenizerConfig> TokenizerConfig::read(const std::string& directory) {
  TokenizerConfig config;
  fs::path base(directory);
  LLMRT_ASSIGN_OR_RETURN(config.config_, readIfThere(base / "tokenizer_config.json"));
  LLMRT_ASSIGN_OR_RETURN(config.special_, readIfThere(base / "special_tokens_map.json"));
  LLMRT_ASSIGN_OR_RETURN(config.added_, readIfThere(base / "added_tokens.json"));
  return config;
}

std::string TokenizerConfig::className() const {
  std::string name = stringMember(config_, "tokenizer_class");
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  return name;
}

bool TokenizerConfig::flag(const char* name, bool absent) const {
  return boolMember(config_, name, absent);
}

bool TokenizerConfig::has(const char* name) const { return !member(config_, name).is_null(); }

const json& TokenizerConfig::named(const char* name) const {
  const json& mapped = member(special_, name);
  return mapped.is_null() || has("added_tokens_decoder") ? member(config_, name) : mapped;
}

std::set<std::string> TokenizerConfig::namedContents() const {
  std::set<std::string> contents;
  for (const char* name : kNames)
    for (const json* token : tokensOf(named(name))) contents.insert(contentOf(*token));
  contents.erase("");
  return contents;
}

Result<std::map<int64_t, const json*>> TokenizerConfig::decoderTokens() const {
  std::map<int64_t, const json*> tokens;
  const json& decoder = member(config_, "added_tokens_decoder");
  if (!decoder.is_object()) return tokens;
  for (const auto& [key, token] : decoder.items()) {
    int64_t id = -1;
    auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0 || id > INT32_MAX) {
      return llmrt::invalidData("tokenizer_config.json: added_tokens_decoder has the id " +
                                quotedName(key));
    }
    tokens[id] = &token;
  }
  return tokens;
}

Status TokenizerConfig::addTokens(VocabularyBuilder& builder) const {
  LLMRT_ASSIGN_OR_RETURN(auto tokens, decoderTokens());
  for (const auto& [id, token] : tokens) {
    std::string content = stringMember(*token, "content");
    if (builder.hasAdded(content)) {
      // These files know no normalizer that added tokens could go through.
      builder.changeAdded(content, (addedFlags(*token) & ~kAddedNormalized) |
                                       (builder.addedFlags(content) & kAddedNormalized));
      continue;
    }
    LLMRT_RETURN_IF_ERROR(addJsonToken(*token, json(static_cast<uint64_t>(id)), builder));
  }
  if (!added_.is_object()) return {};
  const std::set<std::string> special = namedContents();
  for (const auto& [content, id] : added_.items()) {
    if (builder.hasAdded(content)) continue;
    // What the map or the config names is special, the rest is not; neither is normalized.
    json token = {
        {"content", content}, {"special", special.contains(content)}, {"normalized", false}};
    LLMRT_RETURN_IF_ERROR(addJsonToken(token, id, builder));
  }
  return {};
}

Status TokenizerConfig::addTokensNext(VocabularyBuilder& builder) const {
  LLMRT_ASSIGN_OR_RETURN(auto tokens, decoderTokens());
  const std::set<std::string> special = namedContents();
  for (const auto& [id, token] : tokens) {
    std::string content = stringMember(*token, "content");
    uint8_t flag = special.contains(content) ? kAddedSpecial : 0;
    LLMRT_RETURN_IF_ERROR(builder.addNext(content, addedFlags(*token) | flag));
  }
  if (!has("added_tokens_decoder") && added_.is_object()) {
    std::multimap<int64_t, std::string> by_id;
    for (const auto& [content, id] : added_.items()) {
      if (!isTokenId(id)) return badId(content);
      by_id.emplace(id.get<int64_t>(), content);
    }
    for (const auto& [id, content] : by_id) {
      if (builder.hasAdded(content)) continue;
      json token = {{"content", content}, {"special", special.contains(content)}};
      LLMRT_RETURN_IF_ERROR(builder.addNext(content, addedFlags(token)));
    }
  }
  for (const char* name : kNames) {
    for (const json* token : tokensOf(named(name))) {
      std::string content = contentOf(*token);
      if (content.empty() || builder.hasAdded(content)) continue;
      json flags = token->is_object() ? *token : json::object();
      flags["special"] = true;
      LLMRT_RETURN_IF_ERROR(builder.addNext(content, addedFlags(flags)));
    }
  }
  return {};
}

int32_t TokenizerConfig::namedToken(const char* name, const VocabularyBuilder& builder) const {
  std::string content = contentOf(named(name));
  return content.empty() ? -1 : builder.findAny(content);
}

void TokenizerConfig::applyAround(bool add_bos, bool add_eos,
                                  llmrt::schema::TokenizerT& table) const {
  table.prefix_ids.clear();
  table.suffix_ids.clear();
  if (flag("add_bos_token", add_bos) && table.bos_id >= 0) {
    table.prefix_ids.push_back(static_cast<uint32_t>(table.bos_id));
  }
  if (flag("add_eos_token", add_eos) && table.eos_id >= 0) {
    table.suffix_ids.push_back(static_cast<uint32_t>(table.eos_id));
  }
}

}  // namespace llmc
