// The compute limit of products with quantised weights: what their format's own inner loop reaches.
#pragma once

#include <string_view>

#include "runtime/io/status.h"
#include "runtime/io/weight_format.h"

namespace llmrt {

/// FLOP/s (a multiply-add is two) of `threads` threads that run the loop by which `cpu_target`
/// multiplies rows of int8 with weights of `format`, on data in the first-level cache, for some 10
/// ms with each of its register tiles (quants_loop.h says what it counts): the best of them. 0
/// where nobody wrote one: of plain formats, and on aarch64. On sapphirerapids it is VNNI's loop,
/// also of the formats that prefill multiplies by AMX there, which may be faster. The machine must
/// support the target.
Result<double> measureQuantsPeak(std::string_view cpu_target, const WeightFormat& format,
                                 int threads);

}  // namespace llmrt
