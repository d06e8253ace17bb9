// What a model's author recommends for generation: generation_config.json of HF transformers, and
// general.sampling.* of GGUF.
#pragma once

#include "frontend/JsonFields.h"
#include "models/ModelSpec.h"
#include "runtime/io/gguf.h"
#include "runtime/io/status.h"

namespace llmc {

/// Sets spec.generation from the fields of a generation_config.json but those of special tokens,
/// which must be in `spec` already. What is not supported and would change what is generated goes
/// into spec.generation.unused; fields at HF's defaults do not.
llmrt::Status readGenerationFields(const JsonFields& config, ModelSpec& spec);

/// The same from a GGUF file's metadata, which llama.cpp takes as its defaults.
llmrt::Status readGgufSampling(const llmrt::GgufFile& file, ModelSpec& spec);

}  // namespace llmc
