// Descriptions of the CPUs we generate code for: everything tile sizes and instruction choices are
// derived from.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "llvm/Support/Error.h"

namespace llmc::cpu {

/// Kernels are written on vectors of 16 floats whatever the target; LLVM splits them over its
/// registers. All targets without AMX therefore sum in the same order and give the same bits, and
/// so do those with it for weights that are not bf16.
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
  /// Panels whose weights are streamed at once when there is one row.
  int64_t gemvPanels = 4;

  /// bf16 weights are multiplied by AMX, with the left operand rounded to bf16: another order of
  /// summation than the FMA targets have.
  bool amxBf16 = false;
  /// For tests on machines without AMX: its instructions become loops of the same order. Slow.
  bool emulateAmx = false;
};

/// Null when there is no such target.
const CpuTarget* findCpuTarget(llvm::StringRef name);
/// Names of all targets, best first within an architecture.
std::vector<std::string> cpuTargetNames();

}  // namespace llmc::cpu
