// Ctrl-C, as a flag.
#pragma once

#include <atomic>

namespace llmrt {

inline constexpr int kExitInterrupted = 130;  // as a shell reports SIGINT

/// Set by the first Ctrl-C after catchInterrupt(); a second one ends the process at once.
extern std::atomic<bool> interrupted;

/// Clears the flag and waits for the next Ctrl-C. With `ends_reads` a blocking read then ends with
/// EINTR; but so does a write, and what it was to show is lost.
void catchInterrupt(bool ends_reads = false);

}  // namespace llmrt
