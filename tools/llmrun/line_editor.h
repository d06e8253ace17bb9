// Lines typed by a person: editing, history, Ctrl-C.
#pragma once

#include <memory>
#include <string>

#include "runtime/io/status.h"

namespace llmrt {

/// On a terminal at stdin and stdout. libedit underneath: Emacs keys, arrows, the history of this
/// run, Ctrl-R.
class LineEditor {
 public:
  static Result<std::unique_ptr<LineEditor>> create();
  virtual ~LineEditor() = default;

  enum class Kind { kLine, kEnd, kInterrupt };  // kEnd: Ctrl-D; kInterrupt: Ctrl-C
  struct Input {
    Kind kind;
    std::string line;  // of kLine; a line that ends in a backslash goes on in the next
  };
  virtual Input read() = 0;
};

}  // namespace llmrt
