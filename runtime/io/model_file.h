// Opening the files of a model or a plan: the usual mistakes are called what they are.
#pragma once

#include <filesystem>
#include <string>

#include "runtime/io/mapped_file.h"
#include "runtime/io/status.h"

namespace llmrt {

/// MappedFile::open(), except that a Git LFS pointer in place of the file is refused as that, and a
/// missing file is noSuchModel().
Result<MappedFile> openModelFile(const std::string& path);

/// "PATH: no such file or directory". Where the path looks like a name of the Hugging Face Hub
/// (org/model, and there is no folder org), it says how to download that model.
Status noSuchModel(const std::string& path);

/// What a model is called: "models/mistral.json" is "mistral", a config.json is named after its
/// directory, the parts of a split GGUF file after what they have in common.
std::string modelName(const std::filesystem::path& path);

}  // namespace llmrt
