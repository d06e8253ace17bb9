// What the config.json of one architecture says and no other's does.
#pragma once

#include "frontend/JsonFields.h"
#include "models/Architectures.h"
#include "models/ModelSpec.h"
#include "runtime/io/status.h"

namespace llmc {

/// True where the biases are said by fields of the architecture's own.
bool readsOwnBiases(const Architecture& architecture);

/// Reads the architecture's own fields into `spec`, whose sizes, biases and window are set.
llmrt::Status readFamily(const Architecture& architecture, const JsonFields& config,
                         ModelSpec& spec);

/// What depends on the rotary embeddings, once they are set.
llmrt::Status finishFamily(const Architecture& architecture, const JsonFields& config,
                           ModelSpec& spec);

}  // namespace llmc
