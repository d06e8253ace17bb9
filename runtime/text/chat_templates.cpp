#include "runtime/text/chat_templates.h"

#include <algorithm>

namespace llmrt {

Result<std::string_view> ChatTemplates::choose(std::string_view name, bool has_tools) const {
  if (empty()) return notFound("has no chat template");
  const auto find = [this](std::string_view wanted) {
    const auto found = std::find_if(named.begin(), named.end(),
                                    [wanted](const Named& one) { return one.name == wanted; });
    return found == named.end() ? std::string_view() : std::string_view(found->text);
  };
  std::string_view chosen = name.empty() && has_tools ? find("tool_use") : find(name);
  if (chosen.empty() && (name.empty() || name == "default")) chosen = text;
  if (!chosen.empty()) return chosen;
  std::string names = text.empty() ? "" : "default";
  for (const Named& one : named) names += (names.empty() ? "" : ", ") + one.name;
  if (name.empty()) return notFound("has no default chat template, only: " + names);
  return notFound("has no chat template '" + std::string(name) + "', only: " + names);
}

}  // namespace llmrt
