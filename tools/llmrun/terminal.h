// The terminal while a conversation has it: always given back as it was.
#pragma once

namespace llmrt {

/// Remembers the modes of the terminal at stdin and makes it mark what is pasted (bracketed paste).
/// While it lives, the terminal gets its modes back when Ctrl-Z stops the program or a signal ends
/// it, and loses them again when the program goes on. One at a time.
class TerminalLoan {
 public:
  TerminalLoan();
  ~TerminalLoan();
  TerminalLoan(const TerminalLoan&) = delete;
  TerminalLoan& operator=(const TerminalLoan&) = delete;
};

/// A key that was typed before Ctrl-Z stopped the program, and not read: it comes before those of
/// stdin.
bool takeKeptKey(char* key);

/// Whether the terminal at stdout takes escape sequences for how text looks: not where TERM is dumb
/// or NO_COLOR is set.
bool terminalHasStyles();

}  // namespace llmrt
