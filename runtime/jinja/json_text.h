// JSON to values and back, as Python's json has it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "runtime/io/status.h"
#include "runtime/jinja/value.h"

namespace llmrt::jinja {

/// A JSON text's value, keys in their order. `name` starts the error message. Nesting at most 64.
Result<Document> parseJsonValue(std::string_view text, const std::string& name);

struct JsonStyle {
  std::optional<std::string> indent;  // absent: one line
  std::string item_separator = ", ", key_separator = ": ";
  bool ensure_ascii = false, sort_keys = false;
};
/// json.dumps(); fails on what is not JSON.
Value jsonText(Budget& budget, const Value& value, const JsonStyle& style);

}  // namespace llmrt::jinja
