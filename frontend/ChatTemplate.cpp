#include "frontend/ChatTemplate.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <system_error>

#include "runtime/io/gguf.h"
#include "runtime/io/json.h"
#include "runtime/io/model_file.h"
#include "runtime/schema/plan_generated.h"
#include "runtime/text/utf8.h"

namespace llmc {
namespace {

namespace fs = std::filesystem;
using llmrt::ChatTemplates;
using llmrt::invalidData;
using llmrt::Result;
using llmrt::Status;

bool pathExists(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

void addTemplate(std::string name, std::string text, ChatTemplates& out) {
  if (name == "default") {
    out.text = std::move(text);
  } else {
    out.named.push_back({std::move(name), std::move(text)});
  }
}

// The last one of a name counts.
void dropEarlierOnes(std::vector<ChatTemplates::Named>& named) {
  std::set<std::string> seen;
  std::vector<ChatTemplates::Named> kept;
  for (auto one = named.rbegin(); one != named.rend(); ++one)
    if (seen.insert(one->name).second) kept.push_back(std::move(*one));
  std::reverse(kept.begin(), kept.end());
  named = std::move(kept);
}

// The member chat_template of a JSON file; none where it is absent.
Result<ChatTemplates> templatesOf(const nlohmann::json& config, const std::string& path) {
  ChatTemplates out;
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) return out;
  if (found->is_string()) {
    out.text = found->get<std::string>();
  } else if (found->is_array()) {
    for (const nlohmann::json& entry : *found) {
      if (!entry.is_object() || !entry.value("name", nlohmann::json()).is_string() ||
          !entry.value("template", nlohmann::json()).is_string())
        return invalidData(path + ": chat_template holds what is not {name, template}");
      addTemplate(entry["name"].get<std::string>(), entry["template"].get<std::string>(), out);
    }
    dropEarlierOnes(out.named);
  } else if (found->is_object()) {
    for (const auto& [name, text] : found->items()) {
      if (!text.is_string())
        return invalidData(path + ": chat_template." + name + " is not a string");
      addTemplate(name, text.get<std::string>(), out);
    }
  } else {
    return invalidData(path + ": chat_template is neither a string nor a list nor an object");
  }
  return out;
}

// The JSON object in a file; an empty one where there is no such file.
Result<nlohmann::json> readObject(const fs::path& path) {
  if (!pathExists(path)) return nlohmann::json::object();
  LLMRT_ASSIGN_OR_RETURN(nlohmann::json config, llmrt::readJsonFile(path.string()));
  if (!config.is_object()) return invalidData(path.string() + ": is not a JSON object");
  return config;
}

Status addTemplateFile(std::string name, const fs::path& path, ChatTemplates& out) {
  LLMRT_ASSIGN_OR_RETURN(const llmrt::MappedFile file, llmrt::openModelFile(path.string()));
  addTemplate(std::move(name), std::string(file.text()), out);
  return {};
}

// chat_template.jinja and additional_chat_templates/NAME.jinja.
Result<ChatTemplates> templateFiles(const fs::path& directory) {
  ChatTemplates out;
  if (const fs::path file = directory / "chat_template.jinja"; pathExists(file))
    LLMRT_RETURN_IF_ERROR(addTemplateFile("default", file, out));
  std::error_code none;
  std::vector<fs::path> files;
  for (fs::directory_iterator it(directory / "additional_chat_templates", none), end; it != end;
       it.increment(none)) {
    if (none) break;
    if (it->path().extension() == ".jinja") files.push_back(it->path());
  }
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files)
    LLMRT_RETURN_IF_ERROR(addTemplateFile(file.stem().string(), file, out));
  return out;
}

}  // namespace

Result<ChatFiles> readChatFiles(const fs::path& directory) {
  ChatFiles out;
  const fs::path config_path = directory / "tokenizer_config.json";
  const fs::path map_path = directory / "special_tokens_map.json";
  LLMRT_ASSIGN_OR_RETURN(const nlohmann::json config, readObject(config_path));
  LLMRT_ASSIGN_OR_RETURN(const nlohmann::json map, readObject(map_path));
  LLMRT_ASSIGN_OR_RETURN(out.special,
                         namedTokens(config, config_path.string(), map, map_path.string()));
  LLMRT_ASSIGN_OR_RETURN(out.templates, templateFiles(directory));
  if (out.templates.empty()) {
    LLMRT_ASSIGN_OR_RETURN(out.templates, templatesOf(config, config_path.string()));
  }
  if (out.templates.empty()) {
    const fs::path json_path = directory / "chat_template.json";
    LLMRT_ASSIGN_OR_RETURN(const nlohmann::json json, readObject(json_path));
    LLMRT_ASSIGN_OR_RETURN(out.templates, templatesOf(json, json_path.string()));
  }
  return out;
}

Result<ChatFiles> readChatFiles(const llmrt::GgufFile& gguf) {
  ChatFiles out;
  const std::string key = "tokenizer.chat_template";
  LLMRT_ASSIGN_OR_RETURN(const auto text, gguf.getString(key));
  out.templates.text = text.value_or("");
  LLMRT_ASSIGN_OR_RETURN(const auto listed, gguf.getStrings(key + "s"));
  std::set<std::string_view> names = {"tool_use"};
  if (listed) names = {listed->begin(), listed->end()};
  for (std::string_view name : names) {
    // A name may be left of a template that somebody took out of the file.
    LLMRT_ASSIGN_OR_RETURN(const auto named, gguf.getString(key + "." + std::string(name)));
    if (named) addTemplate(std::string(name), std::string(*named), out.templates);
  }
  constexpr std::pair<const char*, const char*> kTokens[] = {
      {"unk_token", "unknown"},
      {"pad_token", "padding"},
      {"sep_token", "seperator"},  // so spelled in the format
      {"mask_token", "mask"},
      {"cls_token", "cls"}};
  LLMRT_ASSIGN_OR_RETURN(const auto pieces, gguf.getStrings("tokenizer.ggml.tokens"));
  for (const auto& [name, id_name] : kTokens) {
    LLMRT_ASSIGN_OR_RETURN(const auto id,
                           gguf.getInt(std::string("tokenizer.ggml.") + id_name + "_token_id"));
    // Beyond the vocabulary (-1, 4294967295) is how some files say that there is none.
    if (!id || !pieces || *id < 0 || static_cast<uint64_t>(*id) >= pieces->size()) continue;
    const std::string_view piece = (*pieces)[static_cast<size_t>(*id)];
    if (llmrt::isValidUtf8(piece)) out.special.tokens.push_back({name, std::string(piece)});
  }
  return out;
}

void addTokenizersTokens(const llmrt::schema::TokenizerT& tokenizer, NamedTokens& special) {
  const auto add = [&](const char* name, int32_t id, bool& says) {
    const auto i = static_cast<size_t>(id);
    if (std::exchange(says, true) || id < 0 || i + 1 >= tokenizer.piece_offsets.size()) return;
    const auto* pieces = reinterpret_cast<const char*>(tokenizer.pieces.data());
    const std::string_view piece(pieces + tokenizer.piece_offsets[i],
                                 tokenizer.piece_offsets[i + 1] - tokenizer.piece_offsets[i]);
    if (llmrt::isValidUtf8(piece)) special.tokens.push_back({name, std::string(piece)});
  };
  add("bos_token", tokenizer.bos_id, special.says_bos);
  add("eos_token", tokenizer.eos_id, special.says_eos);
}

}  // namespace llmc
