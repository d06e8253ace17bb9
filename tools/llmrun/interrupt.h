// Ctrl-C, as something that happened: it stays so until somebody acts on it, whatever the program
// was doing when it came.
#pragma once

#include <atomic>

namespace llmrt {

/// Whether a Ctrl-C waits to be acted on. Set by the signal alone, cleared by takeInterrupt().
extern std::atomic<bool> interrupted;

enum class SecondInterrupt { kEndsProcess, kIsAnother };

/// Begins to catch Ctrl-C. `second`: whether the next but one still ends the process, as it must
/// where the program cannot be ended otherwise.
void catchInterrupts(SecondInterrupt second);

/// Whether Ctrl-C came and was not taken yet.
bool takeInterrupt();

enum class Wake { kInput, kInterrupt, kRedraw };
/// Blocks until stdin can be read (or is at its end), a Ctrl-C is there, or wakeForRedraw() was
/// called since the last kRedraw.
Wake waitForInput();

/// What the terminal shows is no longer what was printed. A signal handler may call it.
void wakeForRedraw();
/// Nothing is shown yet that could have been lost.
void forgetRedraw();

}  // namespace llmrt
