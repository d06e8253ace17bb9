// llmrun --profile: each op's time beside the least time this machine could need.
#pragma once

#include <cstdio>

#include "runtime/io/status.h"
#include "runtime/session/session.h"

namespace llmrt {

/// Runs a chunk of a prompt and two decode steps, and forgets them: what only a process's first
/// steps pay, to map weights and wake threads, is no part of a profile.
Status warmUpProfile(Session& session);

/// Measures the machine's read bandwidth and FMA peak, then prints a table. Where the run had no
/// prompt long enough for the prefill code, a chunk made up for it is measured first.
Status printProfile(Session& session, std::FILE* out);

}  // namespace llmrt
