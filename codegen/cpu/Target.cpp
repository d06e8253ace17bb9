#include "codegen/cpu/Target.h"

#include "runtime/abi/cpu_targets.h"

namespace llmc::cpu {

// Register tiles: x86-64-v4 has 32 registers of 16 floats and FMAs of latency 4 at two a cycle: 12
// x 2 vectors keep 24 chains going with two loads and a broadcast to spare; znver4's vdpbf16ps has
// a latency of 6. Of int8, where a group's integers take as many registers, one panel leaves a
// piece twice as long as two and brings weights to bytes as often: on Zen 5 prefill with q6_k
// was 1.22 times, with q8_0 1.09 times as fast, with q4_k as fast. x86-64-v3 has 16 registers of 8:
// 6 rows x 16 outputs are 12 accumulators. NEON has 32 registers of 4: 6 rows x 16 outputs are 24.
//
// Of sapphirerapids' AVX512_FP16 kernels would have conversions alone, which F16C does as well, and
// that nothing emulates (tests/emulated).
//
// aarch64-i8mm is for cores from Neoverse V1 and N2 on, which have first-level caches of 64 KB and
// second-level ones of 1 MB; aarch64-dotprod for those from Cortex-A76 and Neoverse N1 on. Of int8
// their tiles have 8 rows: README.md counts why.
//
// Streams: on Zen 5, four panels with 1.5 KB ahead in each read f16 at 93 % of the fastest plain
// reads and bf16 at 92 %; 2 KB in each 96 and 90 %, two panels with 3 KB in each 92 and 92 %, 512
// bytes in each of four 78 % (medians, one thread or two). On Zen 3, 256 to 512 bytes in each of
// four gained 3-6 % over none.
//
// znver4 is for AMD's CPUs from Zen 4 on, whose vdpbf16ps multiplies twice as much a cycle as an
// FMA does. On Intel's it has half the rate of an FMA: they are better served by x86-64-v4. LLVM's
// own znver4 model makes no faster prefill and, on Zen 5, a decode slower by 3 %. Without
// fast-dpwssd LLVM makes two instructions of vpdpwssd.
static const CpuTarget kTargets[] = {
    {.name = std::string(llmrt::kSapphireRapids),
     .triple = "x86_64-unknown-linux-gnu",
     .cpu = "sapphirerapids",
     .features = "-prefer-256-bit,-avx512fp16,+fast-dpwssd",
     .vectorFloats = 16,
     .registers = 32,
     .l1Bytes = 48 << 10,
     .l2Bytes = 2 << 20,
     .gemmRows = 12,
     .gemmPanels = 2,
     .int8Rows = 12,
     .int8Panels = 1,
     .gemvPanels = 4,
     .bytes = ByteInstructions::avx512Vnni,
     .bf16Product = Bf16Product::amx,
     .int8Tiles = true},
    {.name = std::string(llmrt::kZnver4),
     .triple = "x86_64-unknown-linux-gnu",
     .cpu = "x86-64-v4",
     .features = "-prefer-256-bit,+avx512bf16,+avx512vnni,+fast-dpwssd",
     .vectorFloats = 16,
     .registers = 32,
     .l1Bytes = 32 << 10,
     .l2Bytes = 1 << 20,
     .gemmRows = 12,
     .gemmPanels = 2,
     .int8Rows = 12,
     .int8Panels = 1,
     .gemvPanels = 4,
     .streamAheadBytes = 6 << 10,
     .bytes = ByteInstructions::avx512Vnni,
     .bf16Product = Bf16Product::dot},
    {.name = std::string(llmrt::kX86V4),
     .triple = "x86_64-unknown-linux-gnu",
     .cpu = "x86-64-v4",
     .features = "-prefer-256-bit",
     .vectorFloats = 16,
     .registers = 32,
     .l1Bytes = 48 << 10,
     .l2Bytes = 1 << 20,
     .gemmRows = 12,
     .gemmPanels = 2,
     .int8Rows = 12,
     .int8Panels = 1,
     .gemvPanels = 4,
     .streamAheadBytes = 6 << 10,
     .bytes = ByteInstructions::avx512},
    {.name = std::string(llmrt::kX86V3),
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
    {.name = std::string(llmrt::kAarch64I8mm),
     .triple = "aarch64-unknown-linux-gnu",
     .cpu = "generic",
     .features = "+neon,+dotprod,+i8mm",
     .vectorFloats = 4,
     .registers = 32,
     .l1Bytes = 64 << 10,
     .l2Bytes = 1 << 20,
     .gemmRows = 6,
     .gemmPanels = 1,
     .int8Rows = 8,
     .gemvPanels = 4,
     .bytes = ByteInstructions::neonMatrix},
    {.name = std::string(llmrt::kAarch64Dotprod),
     .triple = "aarch64-unknown-linux-gnu",
     .cpu = "generic",
     .features = "+neon,+dotprod",
     .vectorFloats = 4,
     .registers = 32,
     .l1Bytes = 64 << 10,
     .l2Bytes = 512 << 10,
     .gemmRows = 6,
     .gemmPanels = 1,
     .int8Rows = 8,
     .gemvPanels = 4,
     .bytes = ByteInstructions::neonDot},
    {.name = std::string(llmrt::kAarch64),
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
