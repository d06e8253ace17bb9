// What people give in place of a plan.
#pragma once

#include <string>

#include "runtime/io/status.h"

namespace llmrt {

/// The model at `path`, as llmc compile takes it: `path` itself, or the folder of weights that lie
/// beside their config. Empty where a plan is there, or what is not known: that is for whoever
/// opens it to say. Fails where nothing is there, or something that is known and neither: weights
/// alone, a plan's weights.
Result<std::string> modelAt(const std::string& path);

/// Fails where modelAt() does, and where a model is at `path`: the message has the command that
/// compiles it.
Status checkIsPlan(const std::string& path);

}  // namespace llmrt
