#include "passes/Remarks.h"

using namespace mlir;

namespace llmc {

RemarkCollector::RemarkCollector(MLIRContext* context)
    : handler_(context, [this](Diagnostic& diagnostic) -> LogicalResult {
        if (diagnostic.getSeverity() != DiagnosticSeverity::Remark) return failure();
        remarks_.push_back(diagnostic.str());
        return success();
      }) {}

}  // namespace llmc
