#include "codegen/cpu/Target.h"

namespace llmc::cpu {

// Register tiles: x86-64-v4 has 32 registers of 16 floats and FMAs of latency 4 at two a cycle: 12
// x 2 vectors keep 24 chains going with two loads and a broadcast to spare; znver4's vdpbf16ps has
// a latency of 6. x86-64-v3 has 16 registers of 8: 6 rows x 16 outputs are 12 accumulators. NEON
// has 32 registers of 4: 6 rows x 16 outputs are 24.
//
// Streams: on Zen 5, four panels with 1.5 KB ahead in each read f16 at 93 % of the fastest plain
// reads and bf16 at 92 %; 2 KB in each 96 and 90 %, two panels with 3 KB in each 92 and 92 %, 512
// bytes in each of four 78 % (medians, one thread or two). On Zen 3, 256 to 512 bytes in each of
// four gained 3-6 % over none.
//
// znver4 is for AMD's CPUs from Zen 4 on, whose vdpbf16ps multiplies twice as much a cycle as an
// FMA does. On Intel's it has half the rate of an FMA: they are better served by x86-64-v4. LLVM's
// own znver4 model makes no faster prefill and, on Zen 5, a decode slower by 3 %.
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
     .bytes = ByteInstructions::avx512Vnni,
     .bf16Product = Bf16Product::amx},
    {.name = "znver4",
     .triple = "x86_64-unknown-linux-gnu",
     .cpu = "x86-64-v4",
     .features = "-prefer-256-bit,+avx512bf16,+avx512vnni",
     .vectorFloats = 16,
     .registers = 32,
     .l1Bytes = 32 << 10,
     .l2Bytes = 1 << 20,
     .gemmRows = 12,
     .gemmPanels = 2,
     .gemvPanels = 4,
     .streamAheadBytes = 6 << 10,
     .bytes = ByteInstructions::avx512Vnni,
     .bf16Product = Bf16Product::dot},
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
     .gemvPanels = 4,
     .streamAheadBytes = 6 << 10,
     .bytes = ByteInstructions::avx512},
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
     .gemvPanels = 4,
     .bytes = ByteInstructions::neon},
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
