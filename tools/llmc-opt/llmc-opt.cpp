// mlir-opt for the llm dialect and its passes.
#include <string>

#include "ir/LLM.h"
#include "llvm/Support/CommandLine.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "mlir/Transforms/Passes.h"
#ifdef LLMC_HAVE_PASSES
#include "passes/Passes.h"
#include "passes/Pipeline.h"
#endif

// The options that LLVM's library has registered by the time main() runs, hundreds of them, are of
// its code generators, which this program does not call. --help-hidden still lists them.
static void hideLibraryOptions() {
  for (auto& [name, option] : llvm::cl::getRegisteredOptions())
    if (!name.starts_with("help") && name != "version") option->setHiddenFlag(llvm::cl::Hidden);
}

// What --help begins with. Ours first: mlir-opt's flags fill screens.
static std::string overview() {
  std::string text = "mlir-opt for the llm dialect\n";
#ifdef LLMC_HAVE_PASSES
  text +=
      "\n  llmc compile MODEL --emit ir | llmc-opt --llm-fuse-norm-qkv --llm-fuse-norm-glu\n"
      "  llmc compile MODEL --emit ir | llmc-opt --llmc-pipeline\n\n"
      "The passes in the order of llmc's pipeline, --llmc-pipeline:\n" +
      llmc::describePasses();
#endif
  return text;
}

int main(int argc, char** argv) {
  hideLibraryOptions();
  mlir::DialectRegistry registry;
  registry.insert<llmc::llm::LLMDialect>();
  mlir::registerTransformsPasses();
#ifdef LLMC_HAVE_PASSES
  llmc::registerPasses();
  llmc::registerPipelines();
#endif
  return mlir::asMainReturnCode(mlir::MlirOptMain(argc, argv, overview(), registry));
}
