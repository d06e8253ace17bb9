// The server from its command line to its end.
#pragma once

#include "runtime/io/status.h"
#include "tools/llmserve/options.h"

namespace llmrt::serve {

/// Returns when a signal has ended it: the exit status.
Result<int> serve(const Options& options);

}  // namespace llmrt::serve
