#include "frontend/SpecialTokens.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <vector>

namespace llmc {
namespace {

using llmrt::invalidData;
using llmrt::Status;
using nlohmann::json;

constexpr std::string_view kStandard[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                          "pad_token", "cls_token", "mask_token"};

bool isStandard(const std::string& name) {
  return std::find(std::begin(kStandard), std::end(kStandard), name) != std::end(kStandard);
}

// "<s>", or {"content": "<s>", ...}.
std::optional<std::string> textOf(const json& token) {
  if (token.is_string()) return token.get<std::string>();
  if (!token.is_object()) return std::nullopt;
  const auto content = token.find("content");
  if (content == token.end() || !content->is_string()) return std::nullopt;
  return content->get<std::string>();
}

class Reader {
 public:
  // The members of one file; what was read before gives way, but for the list, which grows.
  Status read(const json& file, const std::string& path) {
    for (const auto& [name, value] : file.items()) {
      if (name == llmrt::kAdditionalSpecialTokens) {
        LLMRT_RETURN_IF_ERROR(readList(name, value, path));
      } else if (name == "extra_special_tokens") {
        LLMRT_RETURN_IF_ERROR(readExtra(name, value, path));
      } else if (name.ends_with("_token")) {
        LLMRT_RETURN_IF_ERROR(readToken(name, value, path));
      }
    }
    return {};
  }

  NamedTokens take() {
    NamedTokens out;
    for (auto& [name, text] : tokens_)
      if (text) out.tokens.push_back({name, std::move(*text)});
    for (std::string& text : additional_)
      out.tokens.push_back({std::string(llmrt::kAdditionalSpecialTokens), std::move(text)});
    out.says_bos = tokens_.contains("bos_token");
    out.says_eos = tokens_.contains("eos_token");
    return out;
  }

 private:
  Status readToken(const std::string& name, const json& value, const std::string& path) {
    std::optional<std::string> text = textOf(value);
    if (!text && !isStandard(name)) return {};  // add_bos_token and other settings
    if (!text && !value.is_null())
      return invalidData(path + ": " + name + " is neither a string nor a token's object");
    tokens_[name] = std::move(text);
    return {};
  }

  Status readList(const std::string& name, const json& value, const std::string& path) {
    if (value.is_null()) return {};
    if (!value.is_array()) return invalidData(path + ": " + name + " is not a list");
    for (const json& token : value) {
      std::optional<std::string> text = textOf(token);
      if (!text)
        return invalidData(path + ": " + name + " holds what is neither a string nor a token");
      if (listed_.insert(*text).second) additional_.push_back(std::move(*text));
    }
    return {};
  }

  // An object names its tokens; a list, which Transformers 5 writes, is of tokens without names.
  Status readExtra(const std::string& name, const json& value, const std::string& path) {
    if (value.is_null() || value.is_array()) return {};
    if (!value.is_object())
      return invalidData(path + ": " + name + " is neither an object nor a list");
    for (const auto& [member, token] : value.items()) {
      std::optional<std::string> text = textOf(token);
      if (!text)
        return invalidData(path + ": " + name + "." + member +
                           " is neither a string nor a token's object");
      tokens_[member] = std::move(text);
    }
    return {};
  }

  std::map<std::string, std::optional<std::string>> tokens_;
  std::vector<std::string> additional_;
  std::set<std::string> listed_;  // the same
};

}  // namespace

llmrt::Result<NamedTokens> namedTokens(const json& config, const std::string& config_path,
                                       const json& map, const std::string& map_path) {
  Reader reader;
  LLMRT_RETURN_IF_ERROR(reader.read(config, config_path));
  if (!config.contains("added_tokens_decoder")) LLMRT_RETURN_IF_ERROR(reader.read(map, map_path));
  return reader.take();
}

}  // namespace llmc
