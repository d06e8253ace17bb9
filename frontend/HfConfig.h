// config.json and generation_config.json of HF transformers -> ModelSpec.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "models/ModelSpec.h"
#include "runtime/io/status.h"

namespace llmc {

/// "silu", "gelu_new", ...: transformers' names.
llmrt::Result<Activation> parseActivation(const std::string& name);

/// Reads a parsed config.json the way HF transformers v5 does: both spellings of fields
/// (torch_dtype and dtype, rope_scaling and rope_parameters, type and rope_type), null as absent,
/// the defaults of the model_type's configuration class. What it does not support it refuses,
/// naming field and value. `path` starts every message.
llmrt::Result<ModelSpec> parseHfConfig(const nlohmann::json& config, const std::string& path,
                                       std::string name);

/// Sets spec.generation (frontend/GenerationConfig.h), and the BOS and EOS ids where the file has
/// them.
llmrt::Status parseGenerationConfig(const nlohmann::json& config, const std::string& path,
                                    ModelSpec& spec);

}  // namespace llmc
