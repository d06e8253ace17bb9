// llmrun --profile: each op's time beside the least time this machine could need.
#pragma once

#include <cstdio>

#include "runtime/core/session.h"
#include "runtime/io/status.h"

namespace llmrt {

/// Measures the machine's read bandwidth and FMA peak, then prints a table.
Status printProfile(const Session& session, std::FILE* out);

}  // namespace llmrt
