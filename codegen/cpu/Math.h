// Elementary functions on vectors, from arithmetic alone: kernels call no library, and all targets
// give the same bits.
#pragma once

#include "codegen/cpu/KernelBuilder.h"

namespace llmc::cpu {

/// e^x within 2 ulp; 0 below -87.3, e^88 above 88. exp(0) is exactly 1.
/// Polynomial and reduction constants: Cephes Math Library, expf.c (S. L. Moshier).
Value emitExp(KernelBuilder& k, Value x);
/// 1 / (1 + e^-x)
Value emitSigmoid(KernelBuilder& k, Value x);
/// tanh(x) within 3 ulp. Polynomial: Cephes Math Library, tanhf.c (S. L. Moshier).
Value emitTanh(KernelBuilder& k, Value x);
/// ln(x) of x >= 1, within 2 ulp; of 1 exactly 0.
Value emitLog(KernelBuilder& k, Value x);
/// ln(1 + e^x) within 3 ulp, also where that is far below 1. Logarithm: Cephes Math Library, logf.c
/// (S. L. Moshier).
Value emitSoftplus(KernelBuilder& k, Value x);
/// cap * tanh(x / cap)
Value emitSoftcap(KernelBuilder& k, Value x, double cap);
/// The MLP's nonlinearity.
Value emitActivationValue(KernelBuilder& k, llm::ActivationKind kind, Value x);

}  // namespace llmc::cpu
