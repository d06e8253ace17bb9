// Lines typed by a person: editing, history, completion, pastes, Ctrl-C.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/io/status.h"

namespace llmrt {

/// What may stand in place of the last part of `before`, the text before the cursor.
struct Completions {
  size_t from = 0;                 // where that part begins
  std::vector<std::string> words;  // whole; empty: Tab is a tab here
};
using Completer = std::function<Completions(std::string_view before)>;

/// On a terminal at stdin and stdout. libedit underneath: Emacs keys, arrows, history, Ctrl-R. What
/// is pasted is text whatever it contains; Alt-Enter begins a line. Between two reads keys are kept
/// for the next, not shown. Ctrl-Z works at any time.
class LineEditor {
 public:
  /// `history_path`: a file that keeps the history; empty: this run's alone.
  static Result<std::unique_ptr<LineEditor>> create(const std::string& history_path,
                                                    Completer completer);
  virtual ~LineEditor() = default;

  enum class Kind { kText, kEnd, kInterrupt };  // kEnd: Ctrl-D; kInterrupt: Ctrl-C
  struct Input {
    Kind kind;
    std::string text;  // of kText
  };
  /// A line; several where one ends in a backslash, and those between """ and """.
  virtual Input read() = 0;
  /// One line, which the history does not keep.
  virtual Input ask(const std::string& question) = 0;
};

}  // namespace llmrt
