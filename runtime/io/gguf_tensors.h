// The tensors of a GGUF file under their HF names.
#pragma once

#include <memory>
#include <string>

#include "runtime/io/gguf.h"
#include "runtime/io/status.h"
#include "runtime/io/tensor_source.h"

namespace llmrt {

/// Presents "blk.0.attn_q.weight" as "model.layers.0.self_attn.q_proj.weight" and so on; a tensor
/// without an HF name keeps its own. GGUF names the tensors of all families alike, and so does
/// this: with llama's names, whatever a family's HF checkpoints call them. The tensor of a layer's
/// experts is presented as one for each, "model.layers.0.mlp.experts.5.up_proj.weight", which are
/// views of it. q_proj and k_proj of architectures whose rows converters reorder (llama, granite
/// and others) carry Tensor::interleaved_heads. Quantised types have Tensor::blocks; one that is
/// neither plain nor a format of weight_format.h is an error, by name and type, when find() asks
/// for such a tensor. Messages call tensors what the file calls them. Fails when the head counts
/// that undoing the reordering needs are missing or do not fit the tensors, and where a tensor of
/// experts is none.
Result<std::unique_ptr<TensorSource>> ggufTensors(std::shared_ptr<const GgufFile> file);

/// "blk.3.ffn_up.weight" -> "model.layers.3.mlp.up_proj.weight"; the name itself when it has no HF
/// counterpart. Of all experts' tensor "{expert}" stands for their numbers.
std::string hfTensorName(std::string_view gguf_name, std::string_view architecture = "llama");
/// The other way; of several names that come to one, the architecture's own or llama's.
std::string ggufTensorName(std::string_view hf_name, std::string_view architecture = "llama");

}  // namespace llmrt
