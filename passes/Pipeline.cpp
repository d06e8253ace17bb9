#include "passes/Pipeline.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"
#include "mlir/Pass/PassOptions.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"
#include "passes/Passes.h"

using namespace mlir;

namespace llmc {

namespace {

struct KnownPass {
  std::string_view name;
  bool optional;  // the pipeline's result is a schedule without it, too
};

// In the order of the pipeline.
constexpr KnownPass kPasses[] = {
    {"canonicalize", true},           {"llm-fuse-norm-qkv", true},
    {"llm-fuse-norm-glu", true},      {"llm-fuse-norm-projections", true},
    {"llm-fuse-norm-linear", true},   {"llm-fuse-residual", true},
    {"llm-fuse-norm-residual", true}, {"llm-fuse-norm-logits", true},
    {"llm-pack-weights", false},      {"llm-schedule", false},
    {"llm-plan-memory", true},        {"llm-check-schedule", true},
};

const KnownPass* findPass(std::string_view name) {
  const auto* found = llvm::find_if(kPasses, [&](const KnownPass& p) { return p.name == name; });
  return found == std::end(kPasses) ? nullptr : found;
}

std::string passNames(bool optionalOnly) {
  std::string names;
  for (const KnownPass& pass : kPasses)
    if (pass.optional || !optionalOnly) names.append(names.empty() ? "" : ", ").append(pass.name);
  return names;
}

bool meansEveryPass(std::string_view which) { return which == "all" || which == "after-all"; }

struct Options : PassPipelineOptions<Options> {
  ListOption<std::string> disablePass{*this, "disable-pass", llvm::cl::desc("passes to leave out")};
};

}  // namespace

bool PipelineOptions::isDisabled(std::string_view pass) const {
  return llvm::is_contained(disabledPasses, pass);
}

void buildFusionPipeline(OpPassManager& pm, const PipelineOptions& options) {
  OpPassManager& model = pm.nest<llm::ModelOp>();
  auto add = [&](std::string_view name, std::unique_ptr<Pass> pass) {
    if (!options.isDisabled(name)) model.addPass(std::move(pass));
  };
  // 1. Values that nothing uses go first: an unused op would count as the second use that forbids a
  // fusion.
  add("canonicalize", createCanonicalizerPass());
  // 2. The projections of attention before anything else takes a linear: a bias + add after a
  // projection must not be mistaken for a residual.
  add("llm-fuse-norm-qkv", createFuseNormQkv());
  // 3. The MLP's two projections, for the same reason before residuals.
  add("llm-fuse-norm-glu", createFuseNormGlu());
  // 4. A norm that several products still read is that of a recurrent layer, of latents, of gates.
  add("llm-fuse-norm-projections", createFuseNormProjections());
  // 5. An activation that is left belongs to an MLP without a gate, or is a gate alone.
  add("llm-fuse-norm-linear", createFuseNormLinear());
  // 6. What linears are left feed the residual stream, some through a norm.
  add("llm-fuse-residual", createFuseResidual());
  add("llm-fuse-norm-residual", createFuseNormResidual());
  // 7. The last norm, on wanted rows only. Nothing depends on it; it stands where the model ends.
  add("llm-fuse-norm-logits", createFuseNormLogits());
}

void buildSchedulePipeline(OpPassManager& pm, const PipelineOptions& options) {
  OpPassManager& model = pm.nest<llm::ModelOp>();
  auto add = [&](std::string_view name, std::unique_ptr<Pass> pass) {
    if (!options.isDisabled(name)) model.addPass(std::move(pass));
  };
  // 8. Layouts follow from the ops that read the weights, so fusion must have ended; all entry
  // points at once, since they share the weights.
  add("llm-pack-weights", createPackWeights());
  // 9. The order of the phases is the order of the ops. Buffers do not share bytes yet.
  add("llm-schedule", createSchedule());
  // 10. Lifetimes are known once there are phases.
  add("llm-plan-memory", createPlanMemory());
  // 11. Last, on what the plan writer will see, and trusting nothing of 8 to 10.
  add("llm-check-schedule", createCheckSchedule());
}

void buildPipeline(OpPassManager& pm, const PipelineOptions& options) {
  buildFusionPipeline(pm, options);
  buildSchedulePipeline(pm, options);
}

llmrt::Result<std::vector<std::string>> parseDisabledPasses(std::string_view names) {
  std::vector<std::string> disabled;
  llvm::SmallVector<llvm::StringRef> parts;
  llvm::StringRef(names).split(parts, ',', -1, /*KeepEmpty=*/false);
  for (llvm::StringRef part : parts) {
    const std::string name = part.trim().str();
    const KnownPass* pass = findPass(name);
    if (!pass)
      return llmrt::invalidArgument("there is no pass '" + name + "', use one of " +
                                    passNames(/*optionalOnly=*/true));
    if (!pass->optional)
      return llmrt::invalidArgument("'" + name + "' is needed to make a plan, use one of " +
                                    passNames(/*optionalOnly=*/true));
    disabled.push_back(name);
  }
  return disabled;
}

llmrt::Status checkPassToPrint(std::string_view which) {
  if (meansEveryPass(which) || findPass(which)) return {};
  return llmrt::invalidArgument("there is no pass '" + std::string(which) +
                                "', use all or one of " + passNames(/*optionalOnly=*/false));
}

llmrt::Status printIrAfter(PassManager& pm, std::string_view which, llvm::raw_ostream& os) {
  LLMRT_RETURN_IF_ERROR(checkPassToPrint(which));
  const bool all = meansEveryPass(which);
  pm.enableIRPrinting([](Pass*, Operation*) { return false; },
                      [all, name = std::string(which)](Pass* pass, Operation*) {
                        return all ? !pass->getArgument().empty() : pass->getArgument() == name;
                      },
                      /*printModuleScope=*/false, /*printAfterOnlyOnChange=*/false,
                      /*printAfterOnlyOnFailure=*/false, os);
  return {};
}

std::string describePasses() {
  std::string text;
  llvm::raw_string_ostream os(text);
  for (const KnownPass& pass : kPasses)
    if (const PassInfo* info = PassInfo::lookup(pass.name))
      os << "  --" << llvm::left_justify(pass.name, 26) << info->getPassDescription() << "\n";
  return text;
}

void registerPipelines() {
  PassPipelineRegistration<Options>(
      "llmc-pipeline", "the default pipeline, from the importer's IR to checked schedules",
      [](OpPassManager& pm, const Options& options) {
        buildPipeline(pm,
                      {.disabledPasses = {options.disablePass.begin(), options.disablePass.end()}});
      });
}

}  // namespace llmc
