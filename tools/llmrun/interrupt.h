// Ctrl-C, as something that happened: it stays so until somebody acts on it, whatever the program
// was doing when it came.
#pragma once

#include <atomic>

namespace llmrt {

inline constexpr int kExitInterrupted = 130;  // as a shell reports SIGINT

/// Whether a Ctrl-C waits to be acted on. Set by the signal alone, cleared by takeInterrupt().
extern std::atomic<bool> interrupted;

enum class SecondInterrupt { kEndsProcess, kIsAnother };

/// Begins to catch Ctrl-C. `second`: whether the next but one still ends the process, as it must
/// where the program cannot be ended otherwise.
void catchInterrupts(SecondInterrupt second);

/// Whether Ctrl-C came and was not taken yet.
bool takeInterrupt();

/// Blocks until stdin can be read (or is at its end): true; or until a Ctrl-C is there: false.
bool waitForInput();

}  // namespace llmrt
