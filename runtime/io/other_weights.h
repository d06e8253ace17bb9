// Weights in formats that are not read, called what they are, with the way to safetensors.
#pragma once

#include <string>

#include "runtime/io/mapped_file.h"
#include "runtime/io/status.h"

namespace llmrt {

/// Does the file begin as torch.save() writes it, now (a zip) or before PyTorch 1.6 (a pickle)?
bool looksLikePyTorch(const MappedFile& file);

/// The refusal of such a file.
Status pyTorchRefused(const std::string& path);

/// "DIRECTORY: holds neither model.safetensors nor its index", and which other weights it holds and
/// what to do about them.
Status noSafetensors(const std::string& directory);

}  // namespace llmrt
