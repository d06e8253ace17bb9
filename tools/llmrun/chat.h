// llmrun --chat.
#pragma once

#include "runtime/io/status.h"
#include "tools/llmrun/load_model.h"
#include "tools/llmrun/options.h"

namespace llmrt {

/// Reads messages and writes answers until the input ends. On a terminal a failed message is one
/// line and the conversation goes on; in a pipe it ends the run. Returns the exit status.
Result<int> runChat(const LoadedModel& model, const RunOptions& options);

}  // namespace llmrt
