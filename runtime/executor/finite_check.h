// Whether a model's numbers are finite. Logits are checked before a token is chosen from them.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "runtime/io/status.h"
#include "runtime/io/weight_layout.h"

namespace llmrt {

/// Neither NaN nor an infinity among them. Reads at the speed of the cache: 128000 logits take one
/// thread about 10 us.
bool allFinite(std::span<const float> values);
/// The same of `count` elements of a type.
bool allFinite(DType dtype, const uint8_t* elements, uint64_t count);

/// The error of a step whose logits are not finite. `first_op`: the op that made the first such
/// number; empty where that is not known.
Status notFiniteLogits(const std::string& plan_path, const std::string& first_op);

}  // namespace llmrt
