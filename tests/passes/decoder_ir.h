// Small decoder models as IR, in the forms that passes must tell apart.
#pragma once

#include <string>

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace llmc::test {

/// Two layers, hidden_size 24, head_dim 8, intermediate_size 40, vocab_size 50, entries @decode of
/// 4 rows and @prefill of 20, max_batch 3.
struct DecoderForm {
  std::string name = "plain";
  int numHeads = 3, numKvHeads = 3;
  bool attentionBias = false, mlpBias = false, outputBias = false;
  bool rope = true;
  bool tied = false;
  int window = 0;
  int windowedLayers = 2;  // of the window: the first so many, in a region of their own if not both
  std::string type = "bf16";  // of the weights
  std::string kvType = "bf16";
  std::string activation = "silu";
  bool residualFirst = true;  // add(residual, linear) or add(linear, residual)
  bool swappedGlu = false;    // mul(up, act(gate))

  /// How many llm.layers an entry has.
  int regions() const { return window && windowedLayers == 1 ? 2 : 1; }
};

/// The module's text, unfused.
std::string decoderText(const DecoderForm& form);

/// Parses and verifies it; null when that fails.
mlir::OwningOpRef<mlir::ModuleOp> decoderModule(mlir::MLIRContext& context,
                                                const DecoderForm& form);

}  // namespace llmc::test
