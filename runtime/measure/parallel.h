// Runs a function on several threads that start together, and times it.
#pragma once

#include <functional>

#include "runtime/io/status.h"

namespace llmrt {

/// Seconds from the common start to the last end of fn(0) ... fn(threads - 1).
Result<double> timeOnThreads(int threads, const std::function<void(int thread)>& fn);

}  // namespace llmrt
