// A program on a terminal of its own, as a person meets it.
#pragma once

#include <string>
#include <vector>

#include "tests/runtime/example_plan.h"

namespace llmrt {

class Terminal {
 public:
  /// `args[0]` is the program's path. `state`: the folder of what it keeps (XDG_STATE_HOME); empty:
  /// one of its own.
  explicit Terminal(const std::vector<std::string>& args, const std::string& state = "");
  ~Terminal();  // ends the program

  void type(const std::string& keys);
  /// Ctrl-C as the program gets it, at any time: the key would also throw away what was typed.
  void interrupt();
  void signal(int number);
  /// Whether the terminal shows what is typed and gives it out in lines, as a shell wants it.
  bool isOrdinary() const;
  /// Waits until `text` is shown, behind what was waited for before. False after 30 seconds, or
  /// when the program has ended.
  bool waitFor(const std::string& text);
  /// Waits until anything is shown behind that.
  bool waitForMore();
  /// Waits for the prompt "> " and for the line editor behind it: what is typed before the editor
  /// has the terminal is echoed by the kernel, and Ctrl-C throws it away.
  bool waitForPrompt();
  /// Waits for the end: the exit status, -1 where a signal ended it.
  int wait();
  const std::string& shown() const { return shown_; }

 private:
  bool readMore(int timeout_ms);
  example::TempDir own_state_;
  int fd_ = -1, pid_ = -1;
  std::string shown_;
  size_t seen_ = 0;
};

}  // namespace llmrt
