// Counts the C++ allocations of every thread of the program it is linked into.
#pragma once

#include <cstdint>

namespace llmrt::example {

void startCountingAllocations();
/// Allocations since the start of counting, which ends.
int64_t stopCountingAllocations();

}  // namespace llmrt::example
