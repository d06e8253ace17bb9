// A model as the user names it - a directory, a config.json or a GGUF file - opened: what it is and
// where its parts are.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "frontend/ChatTemplate.h"
#include "models/ModelSpec.h"
#include "runtime/io/gguf.h"
#include "runtime/io/status.h"
#include "runtime/io/tensor_source.h"

namespace llmc {

/// Where the tokenizer is to be read from.
struct TokenizerOrigin {
  enum class Kind {
    kNone,  // the checkpoint has none
    kFile,  // path: a tokenizer's file; what configures it may lie beside it
    kGguf   // gguf: the open file
  };
  Kind kind = Kind::kNone;
  std::string path;
  std::shared_ptr<const llmrt::GgufFile> gguf;
};

struct Checkpoint {
  ModelSpec spec;
  std::unique_ptr<llmrt::TensorSource> weights;  // null: code only
  TokenizerOrigin tokenizer;
  ChatFiles chat;  // as the files have it, without the tokenizer's own tokens
  std::vector<std::string> warnings;
};

struct CheckpointOptions {
  std::string weights;    // safetensors file, index, directory or GGUF; empty: beside the config
  std::string tokenizer;  // a tokenizer's file, a directory that holds one, or GGUF; empty: beside
                          // the config
  bool no_weights = false;  // leave the weights alone, even where there are some
  bool mtp = false;         // the model's block of multi-token prediction too
};

/// `path`: an HF directory (config.json and safetensors), a config.json (weights beside it are used
/// where there are any), a GGUF file, or a directory of one. What is none of these but often named
/// as one (a LoRA adapter, PyTorch's weights, a name of the Hugging Face Hub) is called that.
/// Weights are opened and checked against the config (checkTensors), not read.
///
/// Tied embeddings: whichever of embed_tokens and lm_head is stored, `weights` finds
/// model.embed_tokens.weight. When both are stored and differ, spec.tie_word_embeddings becomes
/// false, as in HF.
llmrt::Result<Checkpoint> openCheckpoint(const std::string& path,
                                         const CheckpointOptions& options = {});

/// Opens weights alone: safetensors (file, index, directory) or GGUF, under HF names.
llmrt::Result<std::unique_ptr<llmrt::TensorSource>> openWeights(const std::string& path);

/// Makes `weights` answer for tied embeddings as described above; unties `spec` when it must.
llmrt::Result<std::unique_ptr<llmrt::TensorSource>> tieEmbeddings(
    std::unique_ptr<llmrt::TensorSource> weights, ModelSpec& spec);

/// Whether two tensors are one, to the bit.
bool sameValues(const llmrt::Tensor& a, const llmrt::Tensor& b);

/// Every tensor of requiredTensors(spec) exists, in a dtype we read and in the right shape; the
/// error names the tensor, its shape and the expected one.
llmrt::Status checkTensors(const ModelSpec& spec, const llmrt::TensorSource& weights);

}  // namespace llmc
