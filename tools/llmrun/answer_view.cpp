#include "tools/llmrun/answer_view.h"

#include <algorithm>
#include <cstdio>

#include "runtime/io/printable.h"
#include "tools/llmrun/terminal.h"

namespace llmrt {
namespace {

struct Marks {
  std::string_view open, close;
};
// Qwen, DeepSeek and most others; Gemma; Mistral; Seed.
constexpr Marks kMarks[] = {{"<think>", "</think>"},
                            {"<|channel>thought", "<channel|>"},
                            {"[THINK]", "[/THINK]"},
                            {"<seed:think>", "</seed:think>"}};

constexpr std::string_view kSpace = " \t\r\n";
constexpr char kDim[] = "\033[2m", kNotDim[] = "\033[22m";

std::string_view trimFront(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
  return text;
}

// How much of `text`'s end may be the beginning of `mark`.
size_t overlap(std::string_view text, std::string_view mark) {
  size_t n = std::min(text.size(), mark.size() - 1);
  while (!mark.starts_with(text.substr(text.size() - n))) --n;
  return n;
}

}  // namespace

ThinkingSplitter::ThinkingSplitter(std::string_view head) {
  head = head.substr(0, head.find_last_not_of(kSpace) + 1);  // npos + 1 is 0
  for (const Marks& marks : kMarks) {
    if (!head.ends_with(marks.open)) continue;
    state_ = State::kThinking;
    close_ = marks.close;
  }
}

void ThinkingSplitter::emitTrimmed(std::string_view text, bool thinking, const Emit& emit) {
  if (at_start_) text = trimFront(text);
  if (text.empty()) return;
  at_start_ = false;
  emit(text, thinking);
}

void ThinkingSplitter::push(std::string_view text, const Emit& emit) {
  waiting_ += text;
  if (state_ == State::kBegin) {
    const std::string_view begin = trimFront(waiting_);
    bool may_begin = false;
    for (const Marks& marks : kMarks) {
      if (begin.starts_with(marks.open)) {
        state_ = State::kThinking;
        close_ = marks.close;
        waiting_ = begin.substr(marks.open.size());
        break;
      }
      may_begin = may_begin || marks.open.starts_with(begin);
    }
    if (state_ == State::kBegin) {
      if (may_begin) return;
      state_ = State::kAnswer;
      at_start_ = false;  // white space before an answer without thinking is the model's
    }
  }
  if (state_ == State::kThinking) {
    const size_t end = waiting_.find(close_);
    if (end == std::string::npos) {
      const size_t certain = waiting_.size() - overlap(waiting_, close_);
      emitTrimmed(std::string_view(waiting_).substr(0, certain), true, emit);
      waiting_.erase(0, certain);
      return;
    }
    emitTrimmed(std::string_view(waiting_).substr(0, end), true, emit);
    waiting_.erase(0, end + close_.size());
    state_ = State::kAnswer;
    at_start_ = true;
  }
  emitTrimmed(waiting_, false, emit);
  waiting_.clear();
}

void ThinkingSplitter::finish(const Emit& emit) {
  emitTrimmed(waiting_, state_ == State::kThinking, emit);
  waiting_.clear();
}

AnswerView::AnswerView(std::string_view head, bool show_thinking)
    : splitter_(head), show_thinking_(show_thinking), styles_(terminalHasStyles()) {}

void AnswerView::push(std::string_view text) {
  splitter_.push(text, [this](std::string_view part, bool thinking) { print(part, thinking); });
  std::fflush(stdout);
}

void AnswerView::finish() {
  splitter_.finish([this](std::string_view part, bool thinking) { print(part, thinking); });
  if (last_ != '\n' || !answered_) std::fputc('\n', stdout);
  std::fflush(stdout);
}

void AnswerView::print(std::string_view text, bool thinking) {
  const std::string clean = printableText(text);
  std::string shown;
  if (thinking) {
    if (!thought_ && (!show_thinking_ || !styles_)) shown = "(thinking)\n";
    thought_ = true;
    if (show_thinking_) shown += clean;
    if (!shown.empty()) last_ = shown.back();
    if (styles_ && !shown.empty()) shown = kDim + shown + kNotDim;
  } else {
    // A line between the two.
    if (thought_ && !answered_ && show_thinking_) shown = last_ == '\n' ? "\n" : "\n\n";
    if (thought_ && !answered_ && show_thinking_ && !styles_) shown += "(answer)\n";
    answered_ = true;
    shown += clean;
    if (!shown.empty()) last_ = shown.back();
  }
  std::fwrite(shown.data(), 1, shown.size(), stdout);
}

std::string dimmed(std::string_view text) {
  return terminalHasStyles() ? kDim + std::string(text) + kNotDim : std::string(text);
}

}  // namespace llmrt
