// What the GGUF files of one architecture have and no other's, and what they leave to their reader.
#pragma once

#include "frontend/GgufFields.h"
#include "models/Architectures.h"
#include "models/ModelSpec.h"
#include "runtime/io/status.h"

namespace llmc {

/// The architecture of general.architecture; null when its files are not read. Mixtral's files say
/// "llama" and that there are experts.
llmrt::Result<const Architecture*> architectureOfGguf(const GgufFields& fields);

/// How GGUF files hold what `architecture` has in another form in HF checkpoints: under one set of
/// names, nothing transposed, q, k and v apart or one behind the other.
Form formOfGguf(const Architecture& architecture, const GgufFields& fields);

/// Whether a layer of the model has the tensor "blk.LAYER." + `tensor`.
bool anyLayerHas(const GgufFields& fields, const ModelSpec& spec, const char* tensor);

/// Whether keys and values in the family's cache are latents (attention.kv_lora_rank).
bool hasLatentsInGguf(const Architecture& architecture);

/// Whether the family reads what differs from layer to layer in keys that are one number elsewhere.
bool readsLayerInts(const Architecture& architecture);

/// Refuses, by its key, what other architectures have and this one has no use for.
llmrt::Status refuseForeignGgufFields(const Architecture& architecture, const GgufFields& fields);

/// The fields of one family; `spec` has its sizes, scales that all share, and rotary embeddings.
llmrt::Status readGgufFamily(const Architecture& architecture, const GgufFields& fields,
                             ModelSpec& spec);

}  // namespace llmc
