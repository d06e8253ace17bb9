// Looks at the allocations of the program it is linked into, which has one thread, and makes them
// fail.
#pragma once

#include <cstdint>

namespace llmrt::jinja {

/// The allocation behind `n` more throws std::bad_alloc, once.
void failAllocationAfter(int64_t n);
/// No allocation fails any more. Whether one did.
bool stopFailingAllocations();

/// Begins to count bytes, as the allocator rounds them.
void startCountingBytes();
/// The most that was allocated and not freed at one time since then.
int64_t peakBytes();

}  // namespace llmrt::jinja
