// Descriptions of the CPUs we generate code for: everything tile sizes and instruction choices are
// derived from.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "llvm/Support/Error.h"

namespace llmc::cpu {

/// How a product with weights or a KV cache in bf16 is summed.
enum class Bf16Product {
  fma,  // as floats, in ascending order of k, like all other weights
  // By instructions that take the left operand rounded to bf16 too:
  dot,  // vdpbf16ps: per pair of k the odd one, then the even one, each by an FMA
  amx,  // tdpbf16ps: per 32 k the even ones and the odd ones, each from zero, and both sums added
};

/// What a target has for vectors of bytes.
enum class ByteInstructions {
  neon,        // lookups in 16 bytes
  neonDot,     // sdot too
  neonMatrix,  // smmla too
  avx2,        // the same, and vpmaddubsw, of 32 bytes
  avx512,      // of 64 bytes; lookups in 16 floats
  avx512Vnni,  // vpdpbusd too
};

/// Kernels are written on vectors of 16 floats whatever the target; LLVM splits them over its
/// registers. All targets whose bf16Product is fma therefore sum in the same order and give the
/// same bits, and so do the others where nothing is stored as bf16.
struct CpuTarget {
  std::string name;  // as the plan and --target spell it
  std::string triple;
  std::string cpu;           // LLVM's name
  std::string features;      // beyond `cpu`
  int64_t vectorFloats = 8;  // floats in one register
  int64_t registers = 16;    // vector registers
  int64_t l1Bytes = 32 << 10;
  int64_t l2Bytes = 512 << 10;

  /// Register tile of a matrix product: gemmRows x gemmPanels vectors of 16 outputs in
  /// accumulators.
  int64_t gemmRows = 6;
  int64_t gemmPanels = 1;
  /// Rows of the same of sums of integers; 0: half of gemmRows. And panels; 0: gemmPanels.
  int64_t int8Rows = 0, int8Panels = 0;
  int64_t tileRows(bool int8) const {
    return !int8 ? gemmRows : int8Rows ? int8Rows : gemmRows / 2;
  }
  int64_t tilePanels(bool int8) const { return int8 && int8Panels ? int8Panels : gemmPanels; }
  /// Panels whose weights are streamed at once, if the rows leave registers for them.
  int64_t gemvPanels = 4;
  /// Bytes a thread asks for ahead of their use when it streams weights, over all of its streams.
  int64_t streamAheadBytes = 2 << 10;

  ByteInstructions bytes = ByteInstructions::avx2;
  Bf16Product bf16Product = Bf16Product::fma;
  bool int8Tiles = false;  // tdpbssd
  /// For tests on machines without the instructions of bf16Product and int8Tiles: they become
  /// others of the same order. Slow.
  bool emulateBf16Product = false;
};

/// Null when there is no such target.
const CpuTarget* findCpuTarget(llvm::StringRef name);
/// Names of all targets, best first within an architecture.
std::vector<std::string> cpuTargetNames();

}  // namespace llmc::cpu
