// Inverse frequencies of rotary position embeddings.
#pragma once

#include "models/ModelSpec.h"

namespace llmc {

/// Fills rope.inv_freq (and long_inv_freq of kLongrope) from the other members, step by step as HF
/// transformers' modeling_rope_utils.py (v5) and
/// LlamaRotaryEmbedding.compute_default_rope_parameters do. Both compute in f32, and models were
/// trained with those values, so every step is rounded to f32 here too. `head_dim` stands in for a
/// rope.dim of 0. The caller has checked theta > 0, factor > 0, 0 < low_freq_factor <
/// high_freq_factor, original_max_position_embeddings > 0 and the lengths of the factor lists.
void computeInvFreq(Rope& rope, int64_t head_dim);

/// Of kDynamic: the frequencies of sequences of up to `length` tokens, more than
/// original_max_position_embeddings.
std::vector<double> dynamicInvFreq(const Rope& rope, int64_t length);

/// yarn's scale of cos and sin for a context `factor` times as long: 0.1 mscale ln(factor) + 1.
double yarnScale(double factor, double mscale);

}  // namespace llmc
