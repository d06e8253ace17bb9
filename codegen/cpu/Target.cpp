#include "codegen/cpu/Target.h"

namespace llmc::cpu {

// Register tiles: x86-64-v4 has 32 registers of 16 floats and FMAs of latency 4 at two a cycle: 12
// x 2 vectors keep 24 chains going with two loads and a broadcast to spare. x86-64-v3 has 16
// registers of 8: 6 rows x 16 outputs are 12 accumulators. NEON has 32 registers of 4: 6 rows x 16
// outputs are 24.
static const CpuTarget kTargets[] = {
    {.name = "sapphirerapids",
     .triple = "x86_64-unknown-linux-gnu",
     .cpu = "sapphirerapids",
     .features = "-prefer-256-bit",
     .vectorFloats = 16,
     .registers = 32,
     .l1Bytes = 48 << 10,
     .l2Bytes = 2 << 20,
     .gemmRows = 12,
     .gemmPanels = 2,
     .gemvPanels = 4,
     .amxBf16 = true},
    {.name = "x86-64-v4",
     .triple = "x86_64-unknown-linux-gnu",
     .cpu = "x86-64-v4",
     .features = "-prefer-256-bit",
     .vectorFloats = 16,
     .registers = 32,
     .l1Bytes = 48 << 10,
     .l2Bytes = 1 << 20,
     .gemmRows = 12,
     .gemmPanels = 2,
     .gemvPanels = 4},
    {.name = "x86-64-v3",
     .triple = "x86_64-unknown-linux-gnu",
     .cpu = "x86-64-v3",
     .features = "",
     .vectorFloats = 8,
     .registers = 16,
     .l1Bytes = 32 << 10,
     .l2Bytes = 512 << 10,
     .gemmRows = 6,
     .gemmPanels = 1,
     .gemvPanels = 4},
    {.name = "aarch64",
     .triple = "aarch64-unknown-linux-gnu",
     .cpu = "generic",
     .features = "+neon",
     .vectorFloats = 4,
     .registers = 32,
     .l1Bytes = 32 << 10,
     .l2Bytes = 512 << 10,
     .gemmRows = 6,
     .gemmPanels = 1,
     .gemvPanels = 4},
};

const CpuTarget* findCpuTarget(llvm::StringRef name) {
  for (const CpuTarget& target : kTargets)
    if (target.name == name) return &target;
  return nullptr;
}

std::vector<std::string> cpuTargetNames() {
  std::vector<std::string> names;
  for (const CpuTarget& target : kTargets) names.push_back(target.name);
  return names;
}

}  // namespace llmc::cpu
