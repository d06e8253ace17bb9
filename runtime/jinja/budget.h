// What bounds a rendering, and how it ends when something is wrong. Inside this folder a failure is
// an exception; Template's functions turn it into a Status.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace llmrt::jinja {

/// Far above what a conversation that fills any context needs, far below what would be noticed as a
/// hang: a step is some tens of nanoseconds.
struct Limits {
  uint64_t steps = 50'000'000;           // evaluated nodes, items visited, 32 bytes looked at
  uint64_t memory_bytes = 512ull << 20;  // of all values made, also those that are gone again
  int depth = 600;                       // expressions, statements and macro calls within another
};

/// One line that says what is wrong; whoever catches it adds the template's line.
struct Failure {
  std::string message;
};

[[noreturn]] inline void fail(std::string message) { throw Failure{std::move(message)}; }

class Budget {
 public:
  explicit Budget(const Limits& limits)
      : steps_(limits.steps), bytes_(limits.memory_bytes), max_depth_(limits.depth) {}

  void step(uint64_t n = 1) {
    if (n > steps_) fail("the template runs for too long");
    steps_ -= n;
  }
  /// Looking at `bytes` of text.
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
};

/// Text that is charged as it grows.
class TextBuilder {
 public:
  explicit TextBuilder(Budget& budget) : budget_(&budget) {}
  void append(std::string_view text) {
    budget_->reserve(text.size());
    text_ += text;
  }
  void append(size_t count, char c) {
    budget_->reserve(count);
    text_.append(count, c);
  }
  Budget& budget() { return *budget_; }
  const std::string& text() const { return text_; }
  std::string take() { return std::exchange(text_, {}); }

 private:
  Budget* budget_;
  std::string text_;
};

}  // namespace llmrt::jinja
