// Quantising: from the values of a weight to a block of a format, with little error.
#pragma once

#include <cstdint>

#include "runtime/io/weight_format.h"

namespace llmc {

/// Stores a block of values [format.block] as `format`, one of quants, has them: of several scales
/// and minimums those with the least squared error, in which large values count for more (|x|
/// beside the mean magnitude, as the activations are not known). planes[p]: its planes[p].per_block
/// elements. Several times slower than encodeBlock(), which looks at the range alone.
void quantizeBlock(const llmrt::WeightFormat& format, const float* values, uint8_t* const* planes);

}  // namespace llmc
