// The chat templates of a model and the special tokens that they may write, whatever file they come
// from.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/io/status.h"

namespace llmrt {

/// A variable that templates get: "pad_token" is "<pad>".
struct SpecialToken {
  std::string name, text;
};

/// additional_special_tokens is a list: each of its tokens, in order, is an entry of that name. Of
/// every other name there is one.
using SpecialTokens = std::vector<SpecialToken>;
constexpr std::string_view kAdditionalSpecialTokens = "additional_special_tokens";

struct ChatTemplates {
  struct Named {
    std::string name, text;
  };
  std::string text;          // what a conversation uses: the only one, or "default"; empty: none
  std::vector<Named> named;  // those beside it: "tool_use"

  bool empty() const { return text.empty() && named.empty(); }
  /// The text that Hugging Face's apply_chat_template() uses: the one called `name`, or else
  /// "tool_use" where there are tools and one of that name, or else the default. kNotFound names
  /// those there are.
  Result<std::string_view> choose(std::string_view name, bool has_tools) const;
};

}  // namespace llmrt
