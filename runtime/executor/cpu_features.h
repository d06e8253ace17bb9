// Which of the CPU targets a plan can carry this machine and its operating system really support.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/io/status.h"

namespace llmrt {

/// Names of the supported targets, best first: sapphirerapids, znver4 (AMD's from Zen 4 on),
/// x86-64-v4, x86-64-v3; or aarch64-i8mm, aarch64-dotprod, aarch64. An instruction set counts only
/// when the CPU has it (cpuid, HWCAP) and the OS saves its registers (XCR0, and for AMX the
/// kernel's permission mask).
std::vector<std::string> supportedCpuTargets();

/// Best first, whatever this machine is: the order in which a plan's targets are tried.
const std::vector<std::string>& knownCpuTargets();

/// What a process must ask of the OS before it runs code of `target`: AMX tile data on
/// sapphirerapids, else nothing.
Status enableCpuTarget(std::string_view target);

}  // namespace llmrt
