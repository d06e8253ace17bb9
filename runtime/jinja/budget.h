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
/// holds up to 1.3 times the bytes of small values.
struct Limits {
  uint64_t steps = 50'000'000;  // nodes run, items visited, characters' kinds, 32 bytes compared
  uint64_t memory_bytes = 256ull << 20;  // of all values made; they live until the rendering ends
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
  /// `subject`, a literal: whose budget it is, in error messages.
  explicit Budget(const Limits& limits, const char* subject = "the template");
  ~Budget();
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  void step(uint64_t n = 1) {
    if (n > steps_) failSteps();
    steps_ -= n;
  }
  /// Comparing or searching `bytes` of text; looking up a character's kind costs a step each.
  void scan(size_t bytes) { step(1 + bytes / 32); }
  /// Before making something that large.
  void reserve(uint64_t bytes) {
    if (bytes > bytes_) failMemory();
    bytes_ -= bytes;
  }
  void reserve(uint64_t count, uint64_t bytes) {
    if (bytes > 0 && count > bytes_ / bytes) failMemory();
    reserve(count * bytes);
  }
  /// After something that reserve() paid for was freed.
  void release(uint64_t bytes) { bytes_ += bytes; }
  uint64_t left() const { return bytes_; }
  /// Pays for something that is freed with the loan.
  class Loan {
   public:
    Loan(Budget& budget, uint64_t bytes) : budget_(budget), bytes_(bytes) { budget.reserve(bytes); }
    ~Loan() { budget_.release(bytes_); }
    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;

   private:
    Budget& budget_;
    uint64_t bytes_;
  };
  Heap& heap() { return *heap_; }

  /// One level of recursion, as long as it lives.
  class Nesting {
   public:
    explicit Nesting(Budget& budget) : budget_(budget) {
      if (++budget.depth_ > budget.limits_.depth) {
        --budget.depth_;
        budget.failDepth();
      }
    }
    ~Nesting() { --budget_.depth_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;

   private:
    Budget& budget_;
  };

 private:
  [[noreturn]] void failSteps() const;
  [[noreturn]] void failMemory() const;
  [[noreturn]] void failDepth() const;

  const Limits limits_;
  const char* subject_;
  uint64_t steps_, bytes_;
  int depth_ = 0;
  std::unique_ptr<Heap> heap_;
};

}  // namespace llmrt::jinja
