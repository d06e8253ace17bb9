#include "runtime/executor/cpu_features.h"

#include <algorithm>
#include <cstdint>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

#include "runtime/abi/cpu_targets.h"

namespace llmrt {

const std::vector<std::string>& knownCpuTargets() {
  static const std::vector<std::string> names(kCpuTargets.begin(), kCpuTargets.end());
  return names;
}

#if defined(__x86_64__)
namespace {

constexpr uint64_t bit(int n) { return uint64_t{1} << n; }

// XCR0: which register files the OS saves. 1: XMM, 2: YMM, 5-7: opmask and ZMM, 17-18: AMX
// configuration and tiles.
constexpr uint64_t kXcr0Avx = bit(1) | bit(2);
constexpr uint64_t kXcr0Avx512 = kXcr0Avx | bit(5) | bit(6) | bit(7);
constexpr uint64_t kXcr0Amx = bit(17) | bit(18);

// arch_prctl codes for extended states that a process must ask for (Linux 5.16).
constexpr int kArchGetXcompSupp = 0x1021;
constexpr int kArchReqXcompPerm = 0x1023;
constexpr int kXfeatureTileData = 18;

struct Leaf {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Leaf cpuid(uint32_t leaf, uint32_t subleaf) {
  Leaf r;
  // False when the CPU has no such leaf; r stays zero.
  (void)__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);
  return r;
}

bool has(uint32_t reg, uint64_t mask) { return (reg & mask) == mask; }

uint64_t readXcr0() {
  uint32_t low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

bool isAmd() {
  const Leaf vendor = cpuid(0, 0);  // "AuthenticAMD", four letters a register
  return vendor.ebx == signature_AMD_ebx && vendor.edx == signature_AMD_edx &&
         vendor.ecx == signature_AMD_ecx;
}

struct X86Levels {
  bool v3 = false, v4 = false, znver4 = false, sapphirerapids = false;
};

X86Levels detect() {
  X86Levels levels;
  const Leaf l1 = cpuid(1, 0);
  if (!has(l1.ecx, bit(27))) return levels;  // OSXSAVE: without it xgetbv faults
  const uint64_t xcr0 = readXcr0();
  const Leaf l7 = cpuid(7, 0);
  const Leaf l7_1 = l7.eax >= 1 ? cpuid(7, 1) : Leaf{};
  const Leaf extended = cpuid(0x80000001, 0);

  // FMA, SSSE3, CX16, SSE4.1, SSE4.2, MOVBE, POPCNT, AVX, F16C
  const uint64_t v3_l1 = bit(0) | bit(9) | bit(12) | bit(13) | bit(19) | bit(20) | bit(22) |
                         bit(23) | bit(28) | bit(29);
  const uint64_t v3_l7 = bit(3) | bit(5) | bit(8);  // BMI1, AVX2, BMI2
  levels.v3 = (xcr0 & kXcr0Avx) == kXcr0Avx && has(l1.ecx, v3_l1) && has(l7.ebx, v3_l7) &&
              has(extended.ecx, bit(5));  // LZCNT

  const uint64_t v4_l7 = bit(16) | bit(17) | bit(28) | bit(30) | bit(31);  // AVX512 F DQ CD BW VL
  levels.v4 = levels.v3 && (xcr0 & kXcr0Avx512) == kXcr0Avx512 && has(l7.ebx, v4_l7);

  // AVX512_BF16 and AVX512_VNNI. Intel's CPUs run vdpbf16ps at half the rate of an FMA: it is no
  // gain there.
  levels.znver4 = levels.v4 && has(l7_1.eax, bit(5)) && has(l7.ecx, bit(11)) && isAmd();

  // What -mcpu=sapphirerapids lets the compiler use in kernels.
  const uint64_t spr_ebx = bit(21);  // AVX512_IFMA
  const uint64_t spr_ecx = bit(1) | bit(6) | bit(8) | bit(9) | bit(10) | bit(11) | bit(12) |
                           bit(14);  // VBMI VBMI2 GFNI VAES VPCLMUL VNNI BITALG VPOPCNTDQ
  const uint64_t spr_edx =
      bit(22) | bit(23) | bit(24) | bit(25);  // AMX bf16, AVX512_FP16, AMX tile, int8
  const uint64_t spr_l7_1 = bit(4) | bit(5);  // AVX-VNNI, AVX512_BF16
  uint64_t permitted = 0;
  levels.sapphirerapids = levels.v4 && (xcr0 & kXcr0Amx) == kXcr0Amx && has(l7.ebx, spr_ebx) &&
                          has(l7.ecx, spr_ecx) && has(l7.edx, spr_edx) && has(l7_1.eax, spr_l7_1) &&
                          syscall(SYS_arch_prctl, kArchGetXcompSupp, &permitted) == 0 &&
                          (permitted & kXcr0Amx) == kXcr0Amx;
  return levels;
}

}  // namespace

std::vector<std::string> supportedCpuTargets() {
  const X86Levels levels = detect();
  std::vector<std::string> names;
  if (levels.sapphirerapids) names.emplace_back(kSapphireRapids);
  if (levels.znver4) names.emplace_back(kZnver4);
  if (levels.v4) names.emplace_back(kX86V4);
  if (levels.v3) names.emplace_back(kX86V3);
  return names;
}

Status enableCpuTarget(std::string_view target) {
  if (target != kSapphireRapids) return {};
  if (syscall(SYS_arch_prctl, kArchReqXcompPerm, kXfeatureTileData) != 0) {
    return unsupported("the operating system does not permit AMX tiles to this process");
  }
  return {};
}

#elif defined(__aarch64__)

std::vector<std::string> supportedCpuTargets() {
  constexpr unsigned long kHwcapAsimd = 1ul << 1, kHwcapAsimdDp = 1ul << 20,
                          kHwcap2I8mm = 1ul << 13;
  const unsigned long hwcap = getauxval(AT_HWCAP), hwcap2 = getauxval(AT_HWCAP2);
  std::vector<std::string> names;
  if (!(hwcap & kHwcapAsimd)) return names;
  if (hwcap & kHwcapAsimdDp) {
    if (hwcap2 & kHwcap2I8mm) names.emplace_back(kAarch64I8mm);
    names.emplace_back(kAarch64Dotprod);
  }
  names.emplace_back(kAarch64);
  return names;
}

Status enableCpuTarget(std::string_view) { return {}; }

#else
#error "llmrt runs on x86-64 and aarch64"
#endif

}  // namespace llmrt
