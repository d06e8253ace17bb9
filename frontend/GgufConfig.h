// Metadata of a GGUF file -> ModelSpec.
#pragma once

#include <string>

#include "models/ModelSpec.h"
#include "runtime/io/gguf.h"
#include "runtime/io/status.h"

namespace llmc {

/// Reads the keys of https://github.com/ggml-org/ggml/blob/master/docs/gguf.md for the architectures
/// that models/Architectures.cpp names for them. What metadata does not say follows from the
/// tensors: biases and tied embeddings from which tensors there are, scaled frequencies from
/// rope_freqs.weight and rope_factors_*.weight. What is not supported is refused, naming key and
/// value.
llmrt::Result<ModelSpec> parseGgufConfig(const llmrt::GgufFile& file, std::string name);

}  // namespace llmc
