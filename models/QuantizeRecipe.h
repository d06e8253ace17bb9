// Which weight becomes which format where `llmc compile --quantize` quantises a model.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "models/ModelSpec.h"
#include "runtime/io/status.h"

namespace llmc {

/// "q4,lm_head=q8,down_proj=q6_k": a scheme for all matrices, and others for some by name.
struct QuantizeOptions {
  struct Override {
    std::string role;    // of ModelWeight, "lm_head" also of tied embeddings
    std::string scheme;  // a scheme's, a format's, or "plain"
  };
  std::string scheme;
  std::vector<Override> overrides;
};

/// The schemes: "q8, q6, q5, q4".
std::string quantizeSchemeNames();

/// Reads the value of --quantize; an error names the part that is wrong.
llmrt::Result<QuantizeOptions> parseQuantize(std::string_view text);

/// Sets spec.stored_formats: a tensor gets the format that its scheme has for it, the finest of
/// which are those of attention, of shared experts, and of embeddings and logits, as errors there
/// reach all that follows. Tensors whose rows are no whole blocks get a format of smaller blocks, or
/// stay plain; so do routers, and what a model cuts along the rows. An error where the model is
/// quantised already, an override names no weight of it, or weights of one tensor get two schemes.
llmrt::Status quantizeModel(ModelSpec& spec, const QuantizeOptions& options);

}  // namespace llmc
