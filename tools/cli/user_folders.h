// Where a user's files of this project lie: the XDG base directories.
#pragma once

#include <string>

namespace llmrt {

/// "$VARIABLE/llmc", or "$HOME/IN_HOME/llmc": userFolder("XDG_CACHE_HOME", ".cache"). Empty where
/// neither is known.
std::string userFolder(const char* variable, const char* in_home);

}  // namespace llmrt
