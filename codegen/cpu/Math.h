// Elementary functions on vectors, from arithmetic alone: kernels call no library, and all targets
// give the same bits.
#pragma once

#include "codegen/cpu/KernelBuilder.h"

namespace llmc::cpu {

/// e^x within 2 ulp; 0 below -87.3, e^88 above 88. exp(0) is exactly 1.
/// Polynomial and reduction constants: Cephes Math Library, expf.c (S. L. Moshier).
Value emitExp(KernelBuilder& k, Value x);
/// The MLP's nonlinearity.
Value emitActivationValue(KernelBuilder& k, llm::ActivationKind kind, Value x);

}  // namespace llmc::cpu
