// Tensors of a safetensors checkpoint, mapped.
// Format: https://github.com/huggingface/safetensors#format
#pragma once

#include <memory>
#include <string>

#include "runtime/io/status.h"
#include "runtime/io/tensor_source.h"

namespace llmrt {

/// `path`: a .safetensors file, an index (model.safetensors.index.json), or a directory with
/// model.safetensors or the index. Headers are validated whole by the reference implementation's
/// rules (safetensors/src/tensor.rs): the tensors cover the data exactly, without overlap or hole,
/// and each has the bytes its shape and dtype say. `__metadata__` may be absent, null, or map
/// strings to strings; an entry "a": "b" where only b is a stored tensor makes a an alias of b,
/// which is how safetensors.torch.save_model records tensors that share memory.
///
/// A tensor of a dtype other than F32, F16 and BF16 is an error only when find() asks for it.
Result<std::unique_ptr<TensorSource>> openSafetensors(const std::string& path);

/// Is there something in `directory` that openSafetensors would open?
bool hasSafetensors(const std::string& directory);

}  // namespace llmrt
