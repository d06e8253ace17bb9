// Which build this is.
#pragma once

#include <string>

namespace llmrt {

/// "0.1.0 (commit abc1234)"; "abc1234+" with changes beside the commit, "unknown" outside git.
std::string versionText();

}  // namespace llmrt
