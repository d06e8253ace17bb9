// What a program says when a file that it has mapped is cut short under it.
#pragma once

namespace llmrt {

/// From here on a SIGBUS of a mapped file ends the process with exit status 1 and one line,
/// "PROGRAM: error: FILE: ...", whatever thread it comes to; any other SIGBUS ends it as before.
/// For programs: a library leaves signals to its user. `program`: lives as long as the process.
void explainLostMappings(const char* program);

}  // namespace llmrt
