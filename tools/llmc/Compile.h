// The way from a model to a plan, as one function.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/QuantizeRecipe.h"
#include "runtime/io/status.h"
#include "runtime/io/tensor_source.h"
#include "runtime/io/weight_layout.h"
#include "runtime/schema/plan_generated.h"

namespace llmc {

namespace llm {
class ModelOp;
}

/// What `llmc compile` gives: a plan, or the text of what lies on the way to it.
enum class Emit { kPlan, kIr, kFused, kScheduled, kLlvm, kAsm, kCuda, kPtx };

/// Most positions of a plan.
constexpr int64_t kMaxSeqLen = int64_t{1} << 28;

struct CompileOptions {
  std::string model;      // config.json, HF directory or .gguf
  std::string weights;    // empty: beside the config
  std::string tokenizer;  // empty: beside the config; "none": without one
  bool noWeights = false;
  std::vector<std::string> targets = {"host"};  // of cpuTargetNames(), cudaTargetNames(), "host"
  // Of weights that are not quantised; default: the config's, otherwise bf16; as a GGUF stores each
  std::optional<llmrt::DType> dtype;
  std::optional<QuantizeOptions> quantize;  // plain weights become quantised ones
  bool floatActivations = false;        // quantised weights are multiplied by floats, not by int8
  std::optional<llmrt::DType> kvDtype;  // default: follows from dtype
  bool int8Activations = false;         // llm.activations (ir/LLM.h)
  std::optional<int64_t> maxSeqLen;     // default: the model's own maximum
  int64_t maxBatch = 1;
  int64_t prefillChunk = 512;
  int64_t verifyRows = 0;                   // most rows of a tree of tokens; 0: code for none
  bool mtp = false;                         // the model's MTP block too
  bool noPtx = false;                       // no PTX beside the code for CUDA targets
  int64_t cudaPanels = 0;                   // cuda::EmitOptions::panelsPerBlock
  int64_t cudaClusters = 1;                 // cuda::EmitOptions::clusterBlocks
  int64_t cudaTileRows = 128;               // cuda::EmitOptions::tileRows
  std::string dumpIr;                       // a pass, or "all": IR to stderr after it
  std::vector<std::string> disabledPasses;  // from parseDisabledPasses()
  Emit emit = Emit::kPlan;
  std::string tuning;   // a file, "none", or empty: the user's or llmc's own (Tunings.h)
  std::string kernel;   // of the code that `emit` asks for, this one's alone; empty: all
  std::string command;  // flags, kept in the plan for people
  std::function<void(const std::string&)> onStage;  // told what takes its time next; may be empty
};

struct CompiledModel {
  llmrt::schema::PlanT plan;                     // code only; Emit::kPlan
  std::unique_ptr<llmrt::TensorSource> weights;  // null: there are none to pack
  std::string text;                              // other values of Emit
  std::vector<std::string> warnings;
  std::vector<std::string> notes;  // what a pass could not fuse, and why
};

/// Reads, imports, fuses, schedules and generates code. Writes nothing but the dump.
llmrt::Result<CompiledModel> compileModel(const CompileOptions& options);

/// Shows the scheduled model that compileModel() would generate code for.
llmrt::Status withScheduled(const CompileOptions& options,
                            const std::function<llmrt::Status(llm::ModelOp)>& visit);

/// "host" becomes the best target that this machine runs and this compiler knows; duplicates go. A
/// name nobody knows is an error that lists the names there are.
llmrt::Result<std::vector<std::string>> resolveTargets(const std::vector<std::string>& names);

}  // namespace llmc
