// The passes over the llm dialect; what each does is documented in Passes.td.
#pragma once

#include <memory>

#include "ir/LLM.h"
#include "mlir/Pass/Pass.h"

namespace llmc {

#define GEN_PASS_DECL
#include "passes/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "passes/Passes.h.inc"

}  // namespace llmc
