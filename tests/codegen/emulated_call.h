// What a program under qemu-user is told of one call of a kernel: a file that begins so, with
// scratch and operands behind it, where the call leaves its results.
#pragma once

#include <cstdint>

#include "runtime/abi/kernel_abi.h"

namespace llmc::test {

struct EmulatedCall {
  static constexpr int64_t kMaxOperands = 32;

  LlmcStep step;
  int64_t begin, end;  // tiles
  int64_t scratch;     // bytes from here on
  int64_t num_operands;
  int64_t operands[kMaxOperands];  // bytes from here on
};

}  // namespace llmc::test
