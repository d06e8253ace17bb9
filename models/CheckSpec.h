// The limits of what a ModelSpec may say, whatever file it was read from.
#pragma once

#include "models/ModelSpec.h"
#include "runtime/io/status.h"

namespace llmc {

/// Ok, or an error that names the field by its name in config.json, with its value. Checks sizes
/// and numbers against ranges that keep every product of sizes within 62 bits and a list of all
/// tensors within memory, then numParameters() against what a plan's weights may take.
llmrt::Status checkSpec(const ModelSpec& spec);

}  // namespace llmc
