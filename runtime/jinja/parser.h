// A template's text to its syntax tree: Jinja2's grammar without what reads other templates.
#pragma once

#include <string_view>

#include "runtime/jinja/ast.h"

namespace llmrt::jinja {

/// A syntax error is a Failure, with the line in `line`. `source` is UTF-8.
Ast parse(std::string_view source, int& line);

}  // namespace llmrt::jinja
