// Parses a program's command line, and says what is wrong with it in one line.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/io/status.h"

namespace CLI {
class App;
}

namespace llmrt {

/// Parses into what `app` declares. False: --help or --version was printed and there is nothing
/// else to do. An error is the first wrong thing in the user's order: an unknown flag or subcommand
/// (with the one that was meant, where something is near), a bad value, a word too many; then what
/// only the whole line shows (what is missing, what excludes each other). It ends with how to get
/// help.
///
/// Flags of other programs that mean the same (foreign_flags.h) are taken as ours; others are
/// explained. Each option takes one value, or none.
Result<bool> parseCommandLine(CLI::App& app, int argc, char** argv);

/// What of `known` was meant by `typed`; empty: nothing is near enough to say.
std::string_view nearestName(std::string_view typed, const std::vector<std::string>& known);

/// A library's message in the words of a command line: `max_seq_len`, a field, becomes
/// --max-seq-len.
std::string withFlags(std::string_view message);

/// `word` as one word of the shell, for commands that messages and plans quote.
std::string shellQuoted(const std::string& word);

}  // namespace llmrt
