// Ctrl-C, as a flag.
#pragma once

#include <atomic>

namespace llmrt {

inline constexpr int kExitInterrupted = 130;  // as a shell reports SIGINT

/// Set by the first Ctrl-C after catchInterrupt(); a second one ends the process at once.
extern std::atomic<bool> interrupted;

/// Clears the flag and waits for the next Ctrl-C. Blocking reads then end with EINTR.
void catchInterrupt();

}  // namespace llmrt
