#include "frontend/ChatTemplate.h"

#include <nlohmann/json.hpp>
#include <system_error>

#include "runtime/io/json.h"
#include "runtime/io/model_file.h"

namespace llmc {
namespace {

namespace fs = std::filesystem;
using llmrt::invalidData;
using llmrt::Result;

bool pathExists(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

// A template, or a list of named ones of which "default" counts; "" where there is none.
Result<std::string> templateOf(const nlohmann::json& config, const std::string& path) {
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) return std::string();
  if (found->is_string()) return found->get<std::string>();
  if (!found->is_array())
    return invalidData(path + ": chat_template is neither a string nor a list");
  for (const nlohmann::json& entry : *found) {
    if (entry.is_object() && entry.value("name", nlohmann::json()) == "default" &&
        entry.contains("template") && entry["template"].is_string())
      return entry["template"].get<std::string>();
  }
  return std::string();
}

// "<s>", or {"content": "<s>", ...}.
std::optional<std::string> tokenOf(const nlohmann::json& config, const char* name) {
  auto found = config.find(name);
  if (found == config.end()) return std::nullopt;
  const nlohmann::json& token =
      found->is_object() && found->contains("content") ? (*found)["content"] : *found;
  return token.is_string() ? std::optional(token.get<std::string>()) : std::nullopt;
}

Result<nlohmann::json> readObject(const std::string& path) {
  LLMRT_ASSIGN_OR_RETURN(nlohmann::json config, llmrt::readJsonFile(path));
  if (!config.is_object()) return invalidData(path + ": is not a JSON object");
  return config;
}

}  // namespace

Result<ChatTemplate> readChatTemplate(const fs::path& directory) {
  ChatTemplate out;
  if (const fs::path file = directory / "tokenizer_config.json"; pathExists(file)) {
    LLMRT_ASSIGN_OR_RETURN(const nlohmann::json config, readObject(file.string()));
    LLMRT_ASSIGN_OR_RETURN(out.text, templateOf(config, file.string()));
    out.bos_token = tokenOf(config, "bos_token");
    out.eos_token = tokenOf(config, "eos_token");
  }
  if (const fs::path file = directory / "chat_template.jinja"; pathExists(file)) {
    LLMRT_ASSIGN_OR_RETURN(const llmrt::MappedFile mapped, llmrt::openModelFile(file.string()));
    out.text = mapped.text();
  } else if (const fs::path json = directory / "chat_template.json";
             out.text.empty() && pathExists(json)) {
    LLMRT_ASSIGN_OR_RETURN(const nlohmann::json config, readObject(json.string()));
    LLMRT_ASSIGN_OR_RETURN(out.text, templateOf(config, json.string()));
  }
  return out;
}

}  // namespace llmc
