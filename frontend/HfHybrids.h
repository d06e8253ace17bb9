// Families whose layers are not all of attention: what their configs say of state spaces and short
// convolutions.
#pragma once

#include "frontend/JsonFields.h"
#include "models/ModelSpec.h"

namespace llmc {

llmrt::Status readLfm2(const JsonFields& config, ModelSpec& spec);
llmrt::Status readLfm3(const JsonFields& config, ModelSpec& spec);
llmrt::Status readLfm2Moe(const JsonFields& config, ModelSpec& spec);
llmrt::Status readMamba2(const JsonFields& config, ModelSpec& spec);
llmrt::Status readNemotronH(const JsonFields& config, ModelSpec& spec);
/// Of Granite's hybrids, what Granite has not.
llmrt::Status readGraniteMamba(const JsonFields& config, ModelSpec& spec);

}  // namespace llmc
