// Inverse frequencies of rotary position embeddings.
#pragma once

#include "models/ModelSpec.h"

namespace llmc {

/// Fills rope.inv_freq from the other members, step by step as HF transformers'
/// modeling_rope_utils.py (v5) and LlamaRotaryEmbedding.compute_default_rope_parameters do. Both
/// compute in f32, and models were trained with those values, so every step is rounded to f32 here
/// too. The caller has checked theta > 0, factor > 0, 0 < low_freq_factor < high_freq_factor and
/// original_max_position_embeddings > 0.
void computeInvFreq(Rope& rope, int64_t head_dim);

}  // namespace llmc
