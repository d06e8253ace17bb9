// The CPUs that kernels are compiled for, by the names that plans and flags have for them.
#pragma once

#include <array>
#include <string_view>

namespace llmrt {

inline constexpr std::string_view kSapphireRapids = "sapphirerapids", kZnver4 = "znver4",
                                  kX86V4 = "x86-64-v4", kX86V3 = "x86-64-v3",
                                  kAarch64I8mm = "aarch64-i8mm",
                                  kAarch64Dotprod = "aarch64-dotprod", kAarch64 = "aarch64";
/// The best for a machine first. codegen/cpu/Target.cpp describes each;
/// runtime/executor/cpu_features.cpp knows which a machine runs.
inline constexpr std::array kCpuTargets = {kSapphireRapids, kZnver4,         kX86V4,  kX86V3,
                                           kAarch64I8mm,    kAarch64Dotprod, kAarch64};

}  // namespace llmrt
