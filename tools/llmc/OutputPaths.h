// Keeps what llmc writes away from what it reads.
#pragma once

#include <string>
#include <vector>

#include "runtime/io/status.h"

namespace llmc {

/// An error when writing one of `outputs` would replace a file of a model: one of `inputs` itself,
/// or a config, tokenizer or weights file in the same directory (an input that is a directory: in
/// it). Links count as what they lead to. Empty inputs, and paths with nothing there, are skipped.
llmrt::Status checkOutputs(const std::vector<std::string>& outputs,
                           const std::vector<std::string>& inputs);

/// The plan's name where none is given: that of the model with .fb, in the current folder. Fails
/// where something that is no plan, or weights of none, have that name.
llmrt::Result<std::string> defaultPlanPath(const std::string& model);

}  // namespace llmc
