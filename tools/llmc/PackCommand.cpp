// llmc pack PLAN --weights PATH
#include <CLI/CLI.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "codegen/plan/PlanFile.h"
#include "codegen/plan/WeightPacker.h"
#include "frontend/Checkpoint.h"
#include "models/Architectures.h"
#include "runtime/executor/plan_verify.h"
#include "runtime/executor/weights.h"
#include "tools/llmc/Commands.h"
#include "tools/llmc/OpenPlan.h"
#include "tools/llmc/OutputPaths.h"
#include "tools/llmc/Progress.h"
#include "tools/llmc/Summary.h"

namespace llmc {
namespace {

using llmrt::Status;

struct Flags {
  std::string plan, weights;
};

/// Tied plans read the embeddings alone, which a checkpoint may store as the logits' matrix.
bool isTied(const llmrt::schema::PlanT& plan, const TensorNames& names) {
  for (const auto& weight : plan.weights)
    for (const auto& source : weight->sources)
      if (source->name == std::string(names.lm_head) + ".weight") return false;
  return true;
}

Status pack(const Flags& f) {
  const auto start = std::chrono::steady_clock::now();
  const std::string weights_path = llmrt::defaultWeightsPath(f.plan);
  llmrt::schema::PlanT plan;
  {
    LLMRT_ASSIGN_OR_RETURN(const OpenPlan open, openPlan(f.plan));
    open.plan->UnPackTo(&plan);
    plan.source_id = 0;  // other weights than those that `llmc compile` saw
  }
  LLMRT_RETURN_IF_ERROR(checkOutputs({f.plan, weights_path}, {f.weights}));
  LLMRT_ASSIGN_OR_RETURN(std::unique_ptr<llmrt::TensorSource> source, openWeights(f.weights));
  ModelSpec spec;
  if (const Architecture* architecture = findArchitecture(plan.model->architecture))
    spec.form = architecture->form;
  const bool tied = isTied(plan, spec.form.names);
  spec.tie_word_embeddings = tied;
  LLMRT_ASSIGN_OR_RETURN(source, tieEmbeddings(std::move(source), spec));
  if (tied && !spec.tie_word_embeddings) {
    return llmrt::invalidData(
        f.weights +
        ": holds an lm_head.weight that differs from the embeddings, the plan was compiled for "
        "one tensor: compile it again with these weights");
  }

  std::optional<llmrt::AtomicFile> weights;
  {
    Progress progress("packing");
    LLMRT_ASSIGN_OR_RETURN(
        weights, packWeights(plan, *source, weights_path, [&](uint64_t done, uint64_t total) {
          return progress.update(done, total);
        }));
  }
  LLMRT_ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes, serializePlan(plan));
  LLMRT_ASSIGN_OR_RETURN(llmrt::AtomicFile file, writePlan(bytes, f.plan));
  {
    StageLine line;
    line.show("writing to the disk");
    LLMRT_RETURN_IF_ERROR(commitPlanAndWeights(file, &*weights));
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return printSummary(*llmrt::schema::GetPlan(bytes.data()), {.plan_path = f.plan,
                                                              .plan_bytes = bytes.size(),
                                                              .weights_path = weights->path(),
                                                              .seconds = seconds});
}

}  // namespace

void addPackCommand(CLI::App& app, Command& chosen) {
  auto f = std::make_shared<Flags>();
  CLI::App* sub =
      app.add_subcommand("pack", "Make the weights of a plan that has none yet, or has other ones");
  sub->add_option("PLAN", f->plan, "The plan; its weights get its name with .weights")->required();
  sub->add_option("--weights", f->weights, "safetensors file, index or directory, or .gguf")
      ->required();
  sub->callback([f, &chosen] { chosen = [f] { return pack(*f); }; });
}

}  // namespace llmc
