// What llmrun does once its command line is read.
#pragma once

#include "runtime/io/status.h"
#include "tools/llmrun/options.h"

namespace llmrt {

/// Returns the exit status: 0, or 130 after Ctrl-C.
Result<int> run(const RunOptions& o);

}  // namespace llmrt
