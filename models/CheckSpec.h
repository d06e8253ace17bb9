// The limits of what a ModelSpec may say, whatever file it was read from.
#pragma once

#include <string>

#include "models/ModelSpec.h"
#include "runtime/io/status.h"

namespace llmc {

/// Ok where `value` is finite and above 0, or an error that names `field`, with its value.
llmrt::Status checkPositive(const std::string& field, double value);

/// Ok, or an error that names the field by its name in config.json, with its value. Checks sizes
/// and numbers against ranges that keep every product of sizes within 62 bits and a list of all
/// tensors within memory, then numParameters() against what a plan's weights may take.
llmrt::Status checkSpec(const ModelSpec& spec);

}  // namespace llmc
