// tokenizer.json writes regular expressions for Oniguruma; plans carry them for PCRE2.
#pragma once

#include <string>
#include <string_view>

#include "runtime/io/status.h"

namespace llmc {

/// The PCRE2 pattern (UTF, UCP) that matches what `pattern` matches in Oniguruma's Ruby syntax.
/// kUnsupported names a construct on which the two differ and that has no translation here.
llmrt::Result<std::string> pcreFromOniguruma(std::string_view pattern);

/// The pattern that matches `text` itself.
std::string escapeRegex(std::string_view text);

}  // namespace llmc
