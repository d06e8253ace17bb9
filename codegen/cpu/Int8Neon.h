// Products of rows of int8 by NEON's sdot and smmla, which multiply bytes with a sign.
#pragma once

#include "codegen/cpu/Int8Rows.h"

namespace llmc::cpu {

/// Whether the target has sdot.
inline bool hasSdot(const CpuTarget& target) {
  return target.bytes == ByteInstructions::neonDot || target.bytes == ByteInstructions::neonMatrix;
}

/// multiplyInt8() on a target that has sdot.
Values multiplyInt8Neon(KernelBuilder& k, const Rows& a, const Int8Layout& layout, const Panels& b,
                        int64_t rows, int64_t panels, int64_t kCount, Values acc,
                        const std::function<void(Value)>& each,
                        const std::function<void(Value)>& eachGroup);

}  // namespace llmc::cpu
