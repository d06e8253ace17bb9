// The default pipeline, and how a user switches its passes off or looks between them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "mlir/Pass/PassManager.h"
#include "runtime/io/status.h"

namespace llmc {

struct PipelineOptions {
  std::vector<std::string> disabledPasses;  // from parseDisabledPasses()

  bool isDisabled(std::string_view pass) const;
};

/// Canonicalises and fuses: what `llmc inspect` shows and the plan keeps as text. `pm` runs on a
/// builtin.module.
void buildFusionPipeline(mlir::OpPassManager& pm, const PipelineOptions& options);

/// From fused entry points to checked schedules and kernels.
void buildSchedulePipeline(mlir::OpPassManager& pm, const PipelineOptions& options);

/// Both, one after the other.
void buildPipeline(mlir::OpPassManager& pm, const PipelineOptions& options);

/// Parses "llm-fuse-norm-qkv,llm-plan-memory". An unknown name is an error that lists the names
/// there are; so is a pass that the result would be no schedule without.
llmrt::Result<std::vector<std::string>> parseDisabledPasses(std::string_view names);

/// Ok for the name of a pass, "all" and "after-all"; else an error that lists the names there are.
llmrt::Status checkPassToPrint(std::string_view which);

/// Prints the IR to `os` after the pass `which`, or after every pass with "all" or "after-all". An
/// unknown name is checkPassToPrint()'s error. `os` must outlive the pass manager.
llmrt::Status printIrAfter(mlir::PassManager& pm, std::string_view which, llvm::raw_ostream& os);

/// The passes in the order of the pipeline, a line each: "  --NAME  summary". They are registered.
std::string describePasses();

/// Registers the pipeline as `llmc-pipeline` for llmc-opt, with the option `disable-pass`.
void registerPipelines();

}  // namespace llmc
