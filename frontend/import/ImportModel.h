// From a ModelSpec to the unfused `llm` module: every op a primitive one, as the papers draw it.
#pragma once

#include <cstdint>
#include <optional>

#include "ir/LLM.h"
#include "mlir/IR/OwningOpRef.h"
#include "models/ModelSpec.h"

namespace llmc {

/// The bounds and types that a plan fixes. All bounds but verifyRows must be positive.
struct ImportOptions {
  int64_t maxSeqLen = 4096;                  // positions a sequence may have
  int64_t maxBatch = 1;                      // sequences that may be alive at once
  int64_t prefillChunk = 512;                // rows of a step of @prefill; clipped to maxSeqLen
  int64_t verifyRows = 0;                    // of @verify and @commit, clipped too; 0: neither
  llmrt::DType dtype = llmrt::DType::kBF16;  // of weights that are not in spec.stored_formats
  std::optional<llmrt::DType> kvDtype;       // default: defaultKvDtype(spec, dtype)
  bool int8Activations = false;              // left operands of quantised weights become int8
};

/// f32 with f32 weights, bf16 with bf16, otherwise f16: with f16 ones, and with quantised ones,
/// whatever the others are.
llmrt::DType defaultKvDtype(const ModelSpec& spec, llmrt::DType dtype);

/// The f32, f16 or bf16 type of MLIR.
mlir::Type elementType(mlir::MLIRContext& context, llmrt::DType dtype);

/// A module that holds one llm.model with entries @decode and @prefill, and @verify and @commit
/// where token trees are asked for, and @mtp where the model's MTP block is. Loads the llm dialect
/// into the context. `spec` is consistent (see ModelSpec). Null, after a diagnostic, when a bound
/// in `options` is not positive or the module does not verify.
///
/// A sliding window that no sequence can outgrow (sliding_window >= maxSeqLen) masks nothing and is
/// left out.
mlir::OwningOpRef<mlir::ModuleOp> importModel(mlir::MLIRContext& context, const ModelSpec& spec,
                                              const ImportOptions& options);

}  // namespace llmc
