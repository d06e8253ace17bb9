// Collects what passes say they did and could not do.
#pragma once

#include <string>
#include <vector>

#include "mlir/IR/Diagnostics.h"

namespace llmc {

/// While it lives, remarks of `context` go into a list; errors and warnings go on to the handlers
/// below.
class RemarkCollector {
 public:
  explicit RemarkCollector(mlir::MLIRContext* context);

  /// In the order of their emission: "norm_qkv: fused @input_norm, @q_proj, ...".
  const std::vector<std::string>& remarks() const { return remarks_; }

 private:
  std::vector<std::string> remarks_;
  mlir::ScopedDiagnosticHandler handler_;
};

}  // namespace llmc
