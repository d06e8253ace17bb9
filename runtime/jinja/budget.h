// What bounds a rendering, and how it ends when something is wrong. Inside this folder a failure is
// an exception; Template's functions turn it into a Status.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace llmrt::jinja {

class Heap;

/// Far above what a conversation that fills any context needs, far below what would be noticed as a
/// hang: a step is from ten to some hundred nanoseconds, all of them are seconds. The allocator
/// holds up to 1.3 times the bytes of small values, 3 times those of a text or list that grows.
struct Limits {
  uint64_t steps = 50'000'000;  // nodes run, items visited, characters' kinds, 32 bytes compared
  uint64_t memory_bytes = 512ull << 20;  // of all values made; they live until the rendering ends
  int depth = 600;                       // expressions, statements and macro calls within another
};

/// One line that says what is wrong; whoever catches it adds the template's line.
struct Failure {
  std::string message;
};

[[noreturn]] inline void fail(std::string message) { throw Failure{std::move(message)}; }

/// What may still be spent, and the owner of everything that was made of it. Work is bounded
/// because it is one of two kinds: looking at what is there is paid in steps, making something in
/// bytes.
class Budget {
 public:
  explicit Budget(const Limits& limits);
  ~Budget();
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  void step(uint64_t n = 1) {
    if (n > steps_) fail("the template runs for too long");
    steps_ -= n;
  }
  /// Comparing or searching `bytes` of text; looking up a character's kind costs a step each.
  void scan(size_t bytes) { step(1 + bytes / 32); }
  /// Before making something that large.
  void reserve(uint64_t bytes) {
    if (bytes > bytes_) fail("the template uses too much memory");
    bytes_ -= bytes;
  }
  void reserve(uint64_t count, uint64_t bytes) {
    if (bytes > 0 && count > bytes_ / bytes) fail("the template uses too much memory");
    reserve(count * bytes);
  }
  Heap& heap() { return *heap_; }

  /// One level of recursion, as long as it lives.
  class Nesting {
   public:
    explicit Nesting(Budget& budget) : budget_(budget) {
      if (++budget.depth_ > budget.max_depth_) {
        --budget.depth_;
        fail("the template nests too deeply");
      }
    }
    ~Nesting() { --budget_.depth_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;

   private:
    Budget& budget_;
  };

 private:
  uint64_t steps_, bytes_;
  int max_depth_, depth_ = 0;
  std::unique_ptr<Heap> heap_;
};

}  // namespace llmrt::jinja
