// mlir-opt for the llm dialect and its passes.
#include "ir/LLM.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"
#ifdef LLMC_HAVE_PASSES
#include "passes/Passes.h"
#include "passes/Pipeline.h"
#endif

int main(int argc, char** argv) {
  mlir::DialectRegistry registry;
  registry.insert<llmc::llm::LLMDialect>();
  mlir::registerTransformsPasses();
#ifdef LLMC_HAVE_PASSES
  llmc::registerPasses();
  llmc::registerPipelines();
#endif
  return mlir::asMainReturnCode(
      mlir::MlirOptMain(argc, argv, "mlir-opt for the llm dialect\n", registry));
}
