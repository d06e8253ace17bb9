// JSON text from files nobody vouches for: bounded depth, errors with a position, no exceptions.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "runtime/io/status.h"

namespace llmrt {

/// Parses `text`; `name` (the file) starts the error message. Refuses nesting deeper than 64 and
/// invalid UTF-8. NaN, Infinity and -Infinity, which are no JSON but which Python writes and reads,
/// are the numbers they say: whoever reads a number checks that it is finite.
Result<nlohmann::json> parseJson(std::string_view text, const std::string& name);

/// Reads and parses a file of at most 256 MiB.
Result<nlohmann::json> readJsonFile(const std::string& path);

/// The line of a caught nlohmann exception without its "[json.exception...] " prefix, cut to a
/// readable length.
std::string jsonErrorText(const std::exception& error);

}  // namespace llmrt
