// Preloaded into a program on a CPU with AVX-512 and AVX512_BF16, it makes that a Sapphire Rapids
// for code that uses AMX tiles of bf16 and int8. The script `amx` beside this file does so.
//
// The program's own CPUID and XGETBV become UD2, of the same length, and the system says that tiles
// are permitted; what the CPU does not know, those and the AMX instructions, ends here as SIGILL.
// AVX512_FP16 is told of too, but not emulated: kernels do without it.
#include <cpuid.h>
#include <dlfcn.h>
#include <immintrin.h>
#include <link.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

constexpr uint64_t bit(int n) { return uint64_t{1} << n; }

[[noreturn]] void fail(const char* what, const uint8_t* code) {
  char line[160];
  int n = std::snprintf(line, sizeof line, "amx: %s:", what);
  for (int i = 0; code && i < 10; ++i)
    n += std::snprintf(line + n, sizeof line - static_cast<size_t>(n), " %02x", code[i]);
  line[n] = '\n';
  (void)!write(2, line, static_cast<size_t>(n) + 1);
  _exit(99);
}

//===----------------------------------------------------------------------===//
// What the CPU says of itself
//===----------------------------------------------------------------------===//

// Where UD2 stands for them. Plain arrays: start() runs before this file's objects are constructed.
struct Places {
  const uint8_t* at[64];
  int count;

  void add(const uint8_t* p) {
    if (count == 64) fail("too many places to patch", p);
    at[count++] = p;
  }
  bool contain(const uint8_t* p) const { return std::find(at, at + count, p) != at + count; }
};
Places cpuids, xgetbvs;

void cpuid(greg_t* r) {
  const auto leaf = static_cast<uint32_t>(r[REG_RAX]), subleaf = static_cast<uint32_t>(r[REG_RCX]);
  uint32_t a, b, c, d;
  __cpuid_count(leaf, subleaf, a, b, c, d);
  if (leaf == 7 && subleaf == 0) {
    d |= bit(22) | bit(23) | bit(24) | bit(25);  // AMX bf16, AVX512_FP16, AMX tile, AMX int8
    if (a == 0) a = 1;
  }
  if (leaf == 7 && subleaf == 1) a |= bit(4);  // AVX-VNNI
  r[REG_RAX] = a, r[REG_RBX] = b, r[REG_RCX] = c, r[REG_RDX] = d;
}

void xgetbv(greg_t* r) {
  uint32_t low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(static_cast<uint32_t>(r[REG_RCX])));
  r[REG_RAX] = low | bit(17) | bit(18), r[REG_RDX] = high;  // tiles and their configuration
}

//===----------------------------------------------------------------------===//
// Tiles
//===----------------------------------------------------------------------===//

constexpr int kTiles = 8, kRows = 16, kRowBytes = 64;

struct Tiles {
  alignas(64) uint8_t data[kTiles][kRows][kRowBytes];
  uint16_t row_bytes[kTiles];
  uint8_t rows[kTiles];
};
thread_local Tiles tiles;

float widened(const uint8_t* bf16) {
  uint16_t half;
  std::memcpy(&half, bf16, sizeof half);
  const uint32_t word = uint32_t{half} << 16;
  float value;
  std::memcpy(&value, &word, sizeof value);
  return value;
}

// As Intel's manual has it: the even and the odd k are summed from zero, each by fused
// multiply-adds, then added.
void tdpbf16ps(int to, int a, int b) {
  _mm_setcsr(0x9fc0);  // subnormals are zero, whatever the program's own setting, which comes back
                       // with its state
  for (int m = 0; m < tiles.rows[to]; ++m) {
    float even[kRows] = {}, odd[kRows] = {};
    for (int k = 0; k < tiles.row_bytes[a] / 4; ++k) {
      const float a_even = widened(&tiles.data[a][m][4 * k]),
                  a_odd = widened(&tiles.data[a][m][4 * k + 2]);
      for (int n = 0; n < tiles.row_bytes[to] / 4; ++n) {
        even[n] = std::fma(a_even, widened(&tiles.data[b][k][4 * n]), even[n]);
        odd[n] = std::fma(a_odd, widened(&tiles.data[b][k][4 * n + 2]), odd[n]);
      }
    }
    for (int n = 0; n < tiles.row_bytes[to] / 4; ++n) {
      float sum;
      std::memcpy(&sum, &tiles.data[to][m][4 * n], sizeof sum);
      sum += even[n] + odd[n];
      std::memcpy(&tiles.data[to][m][4 * n], &sum, sizeof sum);
    }
  }
}

void tdpbssd(int to, int a, int b) {
  for (int m = 0; m < tiles.rows[to]; ++m) {
    for (int n = 0; n < tiles.row_bytes[to] / 4; ++n) {
      int32_t sum;
      std::memcpy(&sum, &tiles.data[to][m][4 * n], sizeof sum);
      for (int k = 0; k < tiles.row_bytes[a]; ++k)
        sum += static_cast<int8_t>(tiles.data[a][m][k]) *
               static_cast<int8_t>(tiles.data[b][k / 4][4 * n + k % 4]);
      std::memcpy(&tiles.data[to][m][4 * n], &sum, sizeof sum);
    }
  }
}

void configure(const uint8_t* config) {
  if (config[0] != 1) fail("a palette that is not 1", config);
  std::memset(&tiles, 0, sizeof tiles);
  for (int t = 0; t < kTiles; ++t) {
    std::memcpy(&tiles.row_bytes[t], config + 16 + 2 * t, 2);
    tiles.rows[t] = config[48 + t];
    if (tiles.row_bytes[t] > kRowBytes || tiles.rows[t] > kRows)
      fail("a tile that is too large", config);
  }
}

//===----------------------------------------------------------------------===//
// Instructions
//===----------------------------------------------------------------------===//

greg_t& reg(greg_t* r, int number) {
  static const int kIndex[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                               REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                               REG_R12, REG_R13, REG_R14, REG_R15};
  return r[kIndex[number]];
}

struct Memory {
  uint8_t* address = nullptr;
  int64_t index = 0;  // what its index register adds: of a tile, the bytes from row to row
  const uint8_t* end = nullptr;  // of the instruction
};

/// The operand in memory of the ModRM byte at `p`. `x`, `b`: the bits of VEX that make registers
/// of 16.
Memory memoryAt(greg_t* r, const uint8_t* p, bool x, bool b) {
  const int mod = *p >> 6, rm = *p & 7;
  ++p;
  Memory m;
  int64_t base = 0;
  bool wide = mod == 2, relative = false;
  if (rm == 4) {
    const int scale = *p >> 6, index = (*p >> 3 & 7) | (x ? 8 : 0), of_base = *p & 7;
    ++p;
    if (index != 4) m.index = static_cast<int64_t>(reg(r, index)) << scale;
    if (of_base == 5 && mod == 0)
      wide = true;
    else
      base = reg(r, of_base | (b ? 8 : 0));
  } else if (rm == 5 && mod == 0) {
    wide = relative = true;
  } else {
    base = reg(r, rm | (b ? 8 : 0));
  }
  int32_t displacement = 0;
  if (wide) {
    std::memcpy(&displacement, p, 4);
    p += 4;
  } else if (mod == 1) {
    displacement = static_cast<int8_t>(*p++);
  }
  if (relative) base = reinterpret_cast<int64_t>(p);
  m.address = reinterpret_cast<uint8_t*>(base + displacement);
  m.end = p;
  return m;
}

/// Where the instruction at `p` ends, when it is of AMX and done; else null.
const uint8_t* amx(greg_t* r, const uint8_t* p) {
  if (p[0] != 0xc4 || (p[1] & 0x1f) != 2) return nullptr;  // VEX, 0F 38
  const bool x = !(p[1] & 0x40), b = !(p[1] & 0x20);
  const int prefix = p[2] & 3, vvvv = ~(p[2] >> 3) & 15, opcode = p[3], modrm = p[4];
  const int tile = modrm >> 3 & 7, rm = modrm & 7;
  const bool in_register = modrm >= 0xc0;
  enum { kNone, k66, kF3, kF2 };
  if (opcode == 0x49 && prefix == kNone && !in_register) {
    const Memory m = memoryAt(r, p + 4, x, b);
    configure(m.address + m.index);
    return m.end;
  }
  if (opcode == 0x49 && prefix == kNone && modrm == 0xc0) {  // tilerelease
    std::memset(&tiles, 0, sizeof tiles);
    return p + 5;
  }
  if (opcode == 0x49 && prefix == kF2 && in_register) {  // tilezero
    std::memset(tiles.data[tile], 0, sizeof tiles.data[tile]);
    return p + 5;
  }
  if (opcode == 0x4b && (prefix == kF2 || prefix == k66) && rm == 4) {  // tileloadd, tileloaddt1
    const Memory m = memoryAt(r, p + 4, x, b);
    std::memset(tiles.data[tile], 0, sizeof tiles.data[tile]);
    for (int i = 0; i < tiles.rows[tile]; ++i)
      std::memcpy(tiles.data[tile][i], m.address + i * m.index, tiles.row_bytes[tile]);
    return m.end;
  }
  if (opcode == 0x4b && prefix == kF3 && rm == 4) {  // tilestored
    const Memory m = memoryAt(r, p + 4, x, b);
    for (int i = 0; i < tiles.rows[tile]; ++i)
      std::memcpy(m.address + i * m.index, tiles.data[tile][i], tiles.row_bytes[tile]);
    return m.end;
  }
  if (opcode == 0x5c && prefix == kF3 && in_register) {
    tdpbf16ps(tile, rm, vvvv);
    return p + 5;
  }
  if (opcode == 0x5e && prefix == kF2 && in_register) {
    tdpbssd(tile, rm, vvvv);
    return p + 5;
  }
  return nullptr;
}

void onIllegal(int, siginfo_t*, void* context) {
  greg_t* r = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const auto* code = reinterpret_cast<const uint8_t*>(r[REG_RIP]);
  const uint8_t* end = nullptr;
  if (cpuids.contain(code)) {
    cpuid(r);
    end = code + 2;
  } else if (xgetbvs.contain(code)) {
    xgetbv(r);
    end = code + 3;
  } else {
    end = amx(r, code);
  }
  if (!end) fail("an instruction that is not emulated", code);
  r[REG_RIP] = reinterpret_cast<greg_t>(end);
}

// AMX_PLACES lists the addresses in the program's file, in hexadecimal. The loader and the C
// library ask the true CPU.
int patchProgram(dl_phdr_info* info, size_t, void*) {
  const char* places = std::getenv("AMX_PLACES");
  if (!places) fail("AMX_PLACES is not set: tests/emulated/amx does", nullptr);
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  while (*places) {
    char* end = nullptr;
    const uintptr_t address = info->dlpi_addr + std::strtoull(places, &end, 16);
    places = *end ? end + 1 : end;
    auto* p = reinterpret_cast<uint8_t*>(address);
    auto* pages = reinterpret_cast<void*>(address & ~(page - 1));
    if (mprotect(pages, 2 * page, PROT_READ | PROT_WRITE | PROT_EXEC) != 0)
      fail("mprotect fails", p);
    const bool is_cpuid = p[0] == 0x0f && p[1] == 0xa2;
    if (!is_cpuid && !(p[0] == 0x0f && p[1] == 0x01 && p[2] == 0xd0))
      fail("neither CPUID nor XGETBV", p);
    (is_cpuid ? cpuids : xgetbvs).add(p);
    p[1] = 0x0b;  // UD2
    mprotect(pages, 2 * page, PROT_READ | PROT_EXEC);
  }
  return 1;  // the first object is the program
}

template <typename F>
F* next(const char* name) {
  return reinterpret_cast<F*>(dlsym(RTLD_NEXT, name));
}

__attribute__((constructor)) void start() {
  struct sigaction action = {};
  action.sa_sigaction = onIllegal;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  next<decltype(sigaction)>("sigaction")(SIGILL, &action, nullptr);
  dl_iterate_phdr(patchProgram, nullptr);
}

}  // namespace

// The system calls that ask for tiles; all others go on.
extern "C" long syscall(long number, ...) {
  va_list list;
  va_start(list, number);
  long a[6];
  for (long& argument : a) argument = va_arg(list, long);
  va_end(list);
  constexpr long kGetSupported = 0x1021, kAsk = 0x1023;
  if (number == SYS_arch_prctl && a[0] == kGetSupported) {
    *reinterpret_cast<uint64_t*>(a[1]) = bit(17) | bit(18);
    return 0;
  }
  if (number == SYS_arch_prctl && a[0] == kAsk) return 0;
  return next<decltype(syscall)>("syscall")(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

// LLVM would have SIGILL for its reports of crashes.
extern "C" int sigaction(int signal, const struct sigaction* action,
                         struct sigaction* old) noexcept {
  if (signal == SIGILL) action = nullptr;
  return next<decltype(sigaction)>("sigaction")(signal, action, old);
}
