// The CPUs that qemu-user emulates for aarch64's targets.
#pragma once

#include <string>
#include <string_view>

namespace llmc_tests {

/// qemu's name of a CPU that runs `target` of aarch64's and no better one.
inline std::string emulatedCpu(std::string_view target) {
  if (target == "aarch64-i8mm") return "max";
  return target == "aarch64-dotprod" ? "neoverse-n1" : "cortex-a72";
}

}  // namespace llmc_tests
