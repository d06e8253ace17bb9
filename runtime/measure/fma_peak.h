// The compute limit of prefill: f32 multiply-adds per second with the instructions of a CPU target.
#pragma once

#include <string_view>

#include "runtime/io/status.h"

namespace llmrt {

/// FLOP/s (a multiply-add is two) of `threads` threads that keep every FMA unit busy for some 20
/// ms, with the widest f32 vectors of `cpu_target` ("x86-64-v3", "x86-64-v4", "sapphirerapids",
/// "aarch64"), which this machine must support.
Result<double> measureFmaPeak(std::string_view cpu_target, int threads);

}  // namespace llmrt
