// What people give in place of a plan.
#pragma once

#include <string>

#include "runtime/io/status.h"

namespace llmrt {

/// Fails where nothing is at `path`, or something that is known and not a plan: a model (the
/// message has the command that compiles it), its weights, a plan's weights. What else is not a
/// plan is for whoever opens it to say.
Status checkIsPlan(const std::string& path);

}  // namespace llmrt
