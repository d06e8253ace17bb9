// The compute limit of prefill: multiply-adds per second with the instructions of a CPU target.
#pragma once

#include <string_view>

#include "runtime/io/status.h"

namespace llmrt {

/// FLOP/s (a multiply-add is two) of `threads` threads that keep the units busy for some 20 ms that
/// `cpu_target` (of cpu_targets.h) multiplies weights with: where they are bf16, AMX on random data
/// on sapphirerapids and dot products of pairs on znver4; f32 FMAs on the widest vectors otherwise.
/// The machine must support the target, and AMX must be permitted (enableCpuTarget()).
Result<double> measureComputePeak(std::string_view cpu_target, bool bf16_weights, int threads);

}  // namespace llmrt
