#include "tests/jinja/allocations.h"

#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <new>

namespace {

constexpr int64_t kNever = -1;
constexpr int64_t kHeader = sizeof(size_t);  // of a block, malloc's own
int64_t left = kNever;
bool failed = false;
int64_t held = 0, peak = 0;

void release(void* p) {
  if (p) held -= static_cast<int64_t>(malloc_usable_size(p)) + kHeader;
  std::free(p);
}

}  // namespace

// Replaces the global operators: new[] and the rest call these. So would the nothrow forms, but a
// sanitizer brings its own of each that is not here, and frees must find the same malloc.
void* operator new(size_t bytes) {
  if (left != kNever && left-- == 0) {
    failed = true;
    throw std::bad_alloc();
  }
  void* p = std::malloc(bytes ? bytes : 1);
  if (!p) throw std::bad_alloc();
  held += static_cast<int64_t>(malloc_usable_size(p)) + kHeader;
  peak = std::max(peak, held);
  return p;
}
void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  try {
    return operator new(bytes);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void operator delete(void* p) noexcept { release(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { release(p); }
void operator delete(void* p, size_t) noexcept { release(p); }

namespace llmrt::jinja {

void failAllocationAfter(int64_t n) {
  failed = false;
  left = n;
}

bool stopFailingAllocations() {
  left = kNever;
  return failed;
}

void startCountingBytes() { held = peak = 0; }
int64_t peakBytes() { return peak; }

}  // namespace llmrt::jinja
