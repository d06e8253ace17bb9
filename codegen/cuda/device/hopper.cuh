// What Hopper's chips (sm_90a) alone have: copies of whole blocks of bytes that a barrier in shared
// memory waits for, clusters of blocks that reach into each other's, and products of a warpgroup,
// whose operand B is read from shared memory. Each instruction is a named function, as in the
// prelude; tests/cuda/shim.h has their twins.

#ifdef LLMC_WGMMA  // the target is sm_90a
#ifndef LLMC_CUDA_SHIM
DEVICE u32 sharedAddress(const void* p) { return static_cast<u32>(__cvta_generic_to_shared(p)); }

// A barrier in shared memory: 8 bytes. Its phase ends when as many threads have arrived as it
// counts and the bytes that were expected have come; then the next phase begins.
DEVICE void barrierInit(u64* barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(sharedAddress(barrier)),
               "r"(arrivals)
               : "memory");
}
/// After barrierInit() and before the block's next __syncthreads(): copies may then use it.
DEVICE void barrierFence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
DEVICE void barrierArrive(u64* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(sharedAddress(barrier)) : "memory");
}
/// Arrives; the phase waits for `bytes` of copies too.
DEVICE void barrierExpect(u64* barrier, int bytes) {
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(sharedAddress(barrier)),
      "r"(bytes)
      : "memory");
}
/// Arrives at the barrier that lies where this one does in the cluster's block `rank`. What the
/// thread has read is behind it; of what it wrote nothing is promised: with .release.cluster, which
/// would, ptxas has every arrival wait for all memory of the GPU.
DEVICE void barrierArriveAt(u64* barrier, int rank) {
  asm volatile(
      "{\n.reg .u32 there;\nmapa.shared::cluster.u32 there, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [there];\n}" ::"r"(sharedAddress(barrier)),
      "r"(rank)
      : "memory");
}
/// Waits until a phase of this parity has ended; of parity 1 one has, before the first. A try gives
/// up after about a microsecond; four million in vain, some seconds at most, are a bug. A kernel
/// that fails says so; one that waits on keeps the GPU from whoever comes next. In one piece: with
/// a count in C++ the products of 256 rows spill.
DEVICE void barrierWait(u64* barrier, int parity) {
  asm volatile(
      "{\n.reg .pred p;\n.reg .u32 tries;\nmov.u32 tries, 0;\n"
      "AGAIN:\nmbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1, 1000;\n@p bra ENDED;\n"
      "add.u32 tries, tries, 1;\nsetp.lt.u32 p, tries, 4194304;\n@p bra AGAIN;\ntrap;\n"
      "ENDED:\n}" ::"r"(sharedAddress(barrier)),
      "r"(parity)
      : "memory");
}
/// `bytes` (a multiple of 16, as both addresses are) from global to shared memory; the barrier's
/// phase waits for them.
DEVICE void bulkCopy(void* shared, const void* global, int bytes, u64* barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(sharedAddress(shared)),
      "l"(global), "r"(bytes), "r"(sharedAddress(barrier))
      : "memory");
}
/// The same to this place in the shared memory of each of the cluster's kBlocks; the barrier that
/// lies where this one does in each waits for the copy there.
template <int kBlocks>
DEVICE void bulkCopyToAll(void* shared, const void* global, int bytes, u64* barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster "
      "[%0], [%1], %2, [%3], %4;" ::"r"(sharedAddress(shared)),
      "l"(global), "r"(bytes), "r"(sharedAddress(barrier)),
      "h"(static_cast<unsigned short>((1 << kBlocks) - 1))
      : "memory");
}
/// A barrier of all threads of a cluster's blocks, behind barrierFence(): before it none may reach
/// into another block, which may not have begun. It orders no other memory.
DEVICE void syncCluster() {
  asm volatile("barrier.cluster.arrive.relaxed.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::
                   : "memory");
}

/// A barrier of the 256 threads that multiply.
DEVICE void syncMultipliers() { asm volatile("bar.sync 1, 256;" ::: "memory"); }

/// A warpgroup's share of the registers, as it needs more or fewer than the others.
template <int kRegisters>
DEVICE void takeRegisters() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
DEVICE void giveRegisters() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

/// Before the first product, and where registers that a product reads or writes were written since.
DEVICE void wgmmaFence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEVICE void wgmmaCommit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/// Waits until at most N groups of products are under way.
template <int N>
DEVICE void wgmmaWait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}
/// Sums are not to be read before this, nor is what comes after moved ahead of it.
template <int kSums>
DEVICE void wgmmaKeep(float (&d)[kSums]) {
#pragma unroll
  for (int i = 0; i < kSums; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

// The registers of sums, 32 at a time: their names in the instruction, and what they are.
#define LLMC_NAMES_0                                                                           \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, " \
  "%20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define LLMC_NAMES_32                                                                          \
  "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, " \
  "%50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define LLMC_NAMES_64                                                                          \
  "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, " \
  "%82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define LLMC_NAMES_96                                                                            \
  "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
  "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define LLMC_EIGHT_SUMS(i)                                                                    \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), \
      "+f"(d[i + 6]), "+f"(d[i + 7])
#define LLMC_SUMS(i) \
  LLMC_EIGHT_SUMS(i), LLMC_EIGHT_SUMS(i + 8), LLMC_EIGHT_SUMS(i + 16), LLMC_EIGHT_SUMS(i + 24)
// The operands' names come after those of the sums, which follow the names as arguments.
#define LLMC_WGMMA_OF(type, columns, names, a_names, b_name, ...)                              \
  asm volatile("wgmma.mma_async.sync.aligned.m64n" columns "k16.f32." type "." type " {" names \
               "}, {" a_names "}, " b_name ", 1, 1, 1, 0;"                                     \
               : __VA_ARGS__                                                                   \
               : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "l"(b))
#define LLMC_WGMMA_64(type) \
  LLMC_WGMMA_OF(type, "64", LLMC_NAMES_0, "%32, %33, %34, %35", "%36", LLMC_SUMS(0))
#define LLMC_WGMMA_128(type)                                                               \
  LLMC_WGMMA_OF(type, "128", LLMC_NAMES_0 ", " LLMC_NAMES_32, "%64, %65, %66, %67", "%68", \
                LLMC_SUMS(0), LLMC_SUMS(32))
#define LLMC_WGMMA_192(type)                                                     \
  LLMC_WGMMA_OF(type, "192", LLMC_NAMES_0 ", " LLMC_NAMES_32 ", " LLMC_NAMES_64, \
                "%96, %97, %98, %99", "%100", LLMC_SUMS(0), LLMC_SUMS(32), LLMC_SUMS(64))
#define LLMC_WGMMA_256(type)                                                              \
  LLMC_WGMMA_OF(                                                                          \
      type, "256", LLMC_NAMES_0 ", " LLMC_NAMES_32 ", " LLMC_NAMES_64 ", " LLMC_NAMES_96, \
      "%128, %129, %130, %131", "%132", LLMC_SUMS(0), LLMC_SUMS(32), LLMC_SUMS(64), LLMC_SUMS(96))
/// d += a b, asynchronously: a [64, 16], of which each warp of the warpgroup has 16 rows in the
/// fragment order of mma.m16n8k16; b [16, 2 kSums] where wgmmaOperand() says; d in fragments of
/// m16n8, one after the other.
DEVICE void wgmma(BF16, float (&d)[32], const uint4& a, u64 b) { LLMC_WGMMA_64("bf16"); }
DEVICE void wgmma(BF16, float (&d)[64], const uint4& a, u64 b) { LLMC_WGMMA_128("bf16"); }
DEVICE void wgmma(BF16, float (&d)[96], const uint4& a, u64 b) { LLMC_WGMMA_192("bf16"); }
DEVICE void wgmma(BF16, float (&d)[128], const uint4& a, u64 b) { LLMC_WGMMA_256("bf16"); }
DEVICE void wgmma(F16, float (&d)[32], const uint4& a, u64 b) { LLMC_WGMMA_64("f16"); }
DEVICE void wgmma(F16, float (&d)[64], const uint4& a, u64 b) { LLMC_WGMMA_128("f16"); }
DEVICE void wgmma(F16, float (&d)[96], const uint4& a, u64 b) { LLMC_WGMMA_192("f16"); }
DEVICE void wgmma(F16, float (&d)[128], const uint4& a, u64 b) { LLMC_WGMMA_256("f16"); }
#undef LLMC_NAMES_0
#undef LLMC_NAMES_32
#undef LLMC_NAMES_64
#undef LLMC_NAMES_96
#undef LLMC_EIGHT_SUMS
#undef LLMC_SUMS
#undef LLMC_WGMMA_OF
#undef LLMC_WGMMA_64
#undef LLMC_WGMMA_128
#undef LLMC_WGMMA_192
#undef LLMC_WGMMA_256
#endif  // LLMC_CUDA_SHIM

/// Operand B of a product, 16 of the 64 values of k that its rows of 128 bytes in shared memory
/// hold: eight rows after one another are 1024 bytes, which they begin a multiple of, and their
/// chunks of 16 bytes are swizzled (tileByte). The next 16 values: 2 more.
DEVICE u64 wgmmaOperand(const u8* tile) {
  constexpr u64 kSwizzle128 = u64{1} << 62, kEightRows = u64{1024 >> 4} << 32,
                kUnused = u64{1} << 16;
  return kSwizzle128 | kEightRows | kUnused | ((sharedAddress(tile) & 0x3ffff) >> 4);
}
/// Where byte `byte` (of 128) of row `row` lies in a tile.
DEVICE int tileByte(int row, int byte) { return row * 128 + (byte ^ row % 8 * 16); }
#endif  // LLMC_WGMMA
