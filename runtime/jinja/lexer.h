// A template's text to tokens, with Jinja2's rules for white space around tags as Hugging Face sets
// them: trim_blocks and lstrip_blocks.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace llmrt::jinja {

struct Token {
  enum class Kind {
    kText,           // outside of tags
    kBlockBegin,     // {%
    kBlockEnd,       // %}
    kVariableBegin,  // {{
    kVariableEnd,    // }}
    kName,
    kString,   // text: what the literal stands for
    kInteger,  // integer, where it `fits`; else text, its decimal digits
    kFloat,    // number
    kOperator,
    kEnd
  };
  Kind kind = Kind::kEnd;
  int line = 1;
  std::string text;
  int64_t integer = 0;
  bool fits = true;
  double number = 0;
};

/// A syntax error is a Failure, with the line in `line`. The last token is kEnd. `source` is UTF-8.
std::vector<Token> tokenize(std::string_view source, int& line);

}  // namespace llmrt::jinja
