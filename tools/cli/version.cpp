#include "tools/cli/version.h"

namespace llmrt {

extern const char kCommit[];  // in a file that the build writes

std::string versionText() { return std::string(LLMC_VERSION " (commit ") + kCommit + ")"; }

}  // namespace llmrt
