// How an answer looks on a terminal while it comes: what the model thinks apart from what it says.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace llmrt {

/// Splits an answer that begins with a model's thinking: <think>...</think> and the like. Only at
/// the beginning: an answer may speak of such marks.
class ThinkingSplitter {
 public:
  using Emit = std::function<void(std::string_view text, bool thinking)>;

  /// `head`: the text before the answer. A chat template may have begun the thinking there.
  explicit ThinkingSplitter(std::string_view head);

  /// What is certain by now, without the marks and the white space around them.
  void push(std::string_view text, const Emit& emit);
  /// The answer is at its end.
  void finish(const Emit& emit);

 private:
  enum class State { kBegin, kThinking, kAnswer };
  void emitTrimmed(std::string_view text, bool thinking, const Emit& emit);

  State state_ = State::kBegin;
  std::string_view close_;  // the mark that ends the thinking
  std::string waiting_;     // may be a part of a mark
  bool at_start_ = true;    // nothing but white space since the last mark
};

/// Prints an answer to stdout: control characters filtered, thinking dimmed or left out.
class AnswerView {
 public:
  AnswerView(std::string_view head, bool show_thinking);

  void push(std::string_view text);  // whole characters
  void finish();                     // ends a line that was begun
  bool midLine() const { return last_ != '\n'; }

 private:
  void print(std::string_view text, bool thinking);

  ThinkingSplitter splitter_;
  bool show_thinking_, styles_;
  bool thought_ = false, answered_ = false;
  char last_ = '\n';
};

/// `text` in the style of what is not the answer itself, where the terminal has styles.
std::string dimmed(std::string_view text);

}  // namespace llmrt
