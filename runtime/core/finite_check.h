// Whether numbers are finite: what a model made, before anybody chooses from it.
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

/// What is said of logits that are not. `first_op`: who made the first such number, where that is
/// known.
Status notFiniteLogits(const std::string& plan_path, const std::string& first_op);

}  // namespace llmrt
