// The subcommands of llmc. Each declares its flags on `app` and says what to do once they are
// parsed.
#pragma once

#include <functional>

#include "runtime/io/status.h"

namespace CLI {
class App;
}

namespace llmc {

/// Runs the subcommand that was chosen.
using Command = std::function<llmrt::Status()>;

void addCompileCommand(CLI::App& app, Command& chosen);
void addPackCommand(CLI::App& app, Command& chosen);
void addInspectCommand(CLI::App& app, Command& chosen);
void addTokenizeCommand(CLI::App& app, Command& chosen);
void addRenderCommand(CLI::App& app, Command& chosen);
void addCacheCommand(CLI::App& app, Command& chosen);
void addTargetsCommand(CLI::App& app, Command& chosen);

}  // namespace llmc
