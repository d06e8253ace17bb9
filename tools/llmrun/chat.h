// llmrun --chat.
#pragma once

#include "runtime/io/status.h"
#include "tools/common/load_model.h"
#include "tools/llmrun/options.h"

namespace llmrt {

/// Answers one message (--prompt, --prompt-file, a pipe) or several (lines, a person at a
/// terminal). On a terminal a failed message is one line and the conversation goes on; otherwise it
/// ends the run. Only a person gives commands: what comes through a pipe is text. Returns the exit
/// status.
Result<int> runChat(const LoadedModel& model, const ChatOptions& chat, const PromptOptions& prompt,
                    const GenerationOptions& generation, bool json);

}  // namespace llmrt
