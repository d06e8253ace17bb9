// llmc compile MODEL -o PLAN
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "codegen/plan/PlanFile.h"
#include "codegen/plan/WeightPacker.h"
#include "ir/KernelOp.h"
#include "passes/Pipeline.h"
#include "runtime/executor/plan_verify.h"
#include "runtime/executor/weights.h"
#include "runtime/io/printable.h"
#include "tools/cli/command_line.h"
#include "tools/cli/foreign_flags.h"
#include "tools/llmc/Commands.h"
#include "tools/llmc/Compile.h"
#include "tools/llmc/OutputPaths.h"
#include "tools/llmc/PlanCache.h"
#include "tools/llmc/Progress.h"
#include "tools/llmc/SourceId.h"
#include "tools/llmc/Summary.h"
#include "tools/llmc/TuneModel.h"
#include "tools/llmc/Tunings.h"

namespace llmc {
namespace {

using llmrt::DType;
using llmrt::Result;
using llmrt::Status;

// Bounds of the plan format (runtime/executor/plan_verify.cpp).
constexpr int64_t kMaxBatch = 1 << 16;
constexpr int64_t kMaxRows = 1 << 20;

const std::map<std::string, DType> kDTypes = {
    {"f32", DType::kF32}, {"f16", DType::kF16}, {"bf16", DType::kBF16}};
const std::map<std::string, Emit> kEmits = {
    {"ir", Emit::kIr},     {"fused", Emit::kFused}, {"scheduled", Emit::kScheduled},
    {"llvm", Emit::kLlvm}, {"asm", Emit::kAsm},     {"cuda", Emit::kCuda},
    {"ptx", Emit::kPtx}};

bool emitsCode(Emit emit) {
  return emit == Emit::kLlvm || emit == Emit::kAsm || emit == Emit::kCuda || emit == Emit::kPtx;
}

struct Flags {
  CompileOptions options;
  std::string output;
  std::string disable_passes;
  std::string dtype, kv_dtype, quantize, activations, emit;
  int64_t max_seq_len = 0;
  bool force = false, cached = false, tune = false;
  CLI::Option* max_seq_len_option = nullptr;
};

/// The flags that shape the plan, as they could be typed again; paths are left out, they say
/// nothing elsewhere.
std::string commandText(const Flags& f) {
  const CompileOptions& o = f.options;
  std::string command;
  const auto flag = [&](const std::string& name, const std::string& value) {
    if (!command.empty()) command += ' ';
    command += name + ' ' + llmrt::shellQuoted(value);
  };
  std::string targets;
  for (const std::string& t : o.targets) targets += (targets.empty() ? "" : ",") + t;
  flag("--target", targets);
  if (o.dtype) flag("--dtype", llmrt::dtypeName(*o.dtype));
  if (o.quantize) flag("--quantize", f.quantize);
  if (o.floatActivations) flag("--activations", "float");
  if (o.kvDtype) flag("--kv-dtype", llmrt::dtypeName(*o.kvDtype));
  if (o.maxSeqLen) flag("--max-seq-len", std::to_string(*o.maxSeqLen));
  flag("--max-batch", std::to_string(o.maxBatch));
  flag("--prefill-chunk", std::to_string(o.prefillChunk));
  if (o.verifyRows) flag("--verify", std::to_string(o.verifyRows));
  if (o.mtp) command += " --mtp";
  if (o.noPtx) command += " --no-ptx";
  if (o.cudaPanels) flag("--cuda-panels", std::to_string(o.cudaPanels));
  if (o.cudaClusters > 1) flag("--cuda-clusters", std::to_string(o.cudaClusters));
  if (o.cudaTileRows != 128) flag("--cuda-tile-rows", std::to_string(o.cudaTileRows));
  if (!f.disable_passes.empty()) flag("--disable-pass", f.disable_passes);
  if (o.tuning == kNoTuning) flag("--tuning", o.tuning);
  return command;
}

Status writeText(const std::string& text, const std::string& path) {
  if (path.empty()) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    return {};
  }
  LLMRT_ASSIGN_OR_RETURN(llmrt::AtomicFile file, llmrt::AtomicFile::create(path));
  LLMRT_RETURN_IF_ERROR(file.write(text.data(), text.size()));
  return file.commit();
}

/// Tells what it does on a terminal while `work` runs.
template <typename Work>
auto withStages(CompileOptions& o, const Work& work) {
  StageLine line;
  o.onStage = [&line](const std::string& stage) { line.show(stage); };
  auto result = work();
  o.onStage = nullptr;
  line.clear();
  return result;
}

/// Says what it does on a terminal, and what to beware of on stderr.
Result<CompiledModel> compileAloud(CompileOptions& o) {
  Result<CompiledModel> compiled = withStages(o, [&] { return compileModel(o); });
  if (!compiled.ok()) return compiled;
  for (const std::string& warning : compiled->warnings)
    fmt::print(stderr, "llmc: warning: {}\n", llmrt::printableLine(warning));
  return compiled;
}

// Only of what was written: a failure is one line.
void printNotes(const CompiledModel& compiled) {
  for (const std::string& note : compiled.notes)
    fmt::print(stderr, "llmc: note: {}\n", llmrt::printableLine(note));
}

Status emitText(Flags& f) {
  if (!f.output.empty())
    LLMRT_RETURN_IF_ERROR(
        checkOutputs({f.output}, {f.options.model, f.options.weights, f.options.tokenizer}));
  LLMRT_ASSIGN_OR_RETURN(const CompiledModel compiled, compileAloud(f.options));
  LLMRT_RETURN_IF_ERROR(writeText(compiled.text, f.output));
  printNotes(compiled);
  return {};
}

Status tune(CompileOptions& o) {
  LLMRT_ASSIGN_OR_RETURN(const std::vector<std::string> targets, resolveTargets(o.targets));
  LLMRT_ASSIGN_OR_RETURN(const TuneReport report,
                         withStages(o, [&] { return tuneModel(o, targets); }));
  const std::string text = llmrt::printableLines(report.text());
  std::fwrite(text.data(), 1, text.size(), stdout);
  return {};
}

struct Written {
  std::vector<uint8_t> bytes;
  const llmrt::schema::Plan* plan;  // in them
  bool has_weights;
};

/// Compiles, and writes f.output and its weights.
Result<Written> compileAndWrite(Flags& f, uint64_t source_id) {
  LLMRT_ASSIGN_OR_RETURN(CompiledModel compiled, compileAloud(f.options));
  compiled.plan.source_id = source_id;

  // Weights first: the plan holds their hashes. Both files get their names only when both are
  // whole.
  std::optional<llmrt::AtomicFile> weights;
  if (compiled.weights) {
    Progress progress("packing");
    LLMRT_ASSIGN_OR_RETURN(
        weights,
        packWeights(compiled.plan, *compiled.weights, llmrt::defaultWeightsPath(f.output),
                    [&](uint64_t done, uint64_t total) { return progress.update(done, total); }));
  }
  LLMRT_ASSIGN_OR_RETURN(std::vector<uint8_t> bytes, serializePlan(compiled.plan));
  Result<const llmrt::schema::Plan*> verified = llmrt::verifyPlan(bytes);
  if (!verified.ok()) return llmrt::internalError("the plan " + verified.status().message());
  LLMRT_ASSIGN_OR_RETURN(llmrt::AtomicFile plan, writePlan(bytes, f.output));
  {
    StageLine line;
    line.show("writing to the disk");
    LLMRT_RETURN_IF_ERROR(commitPlanAndWeights(plan, weights ? &*weights : nullptr));
  }
  printNotes(compiled);
  return Written{std::move(bytes), *verified, weights.has_value()};
}

std::string absolutePath(const std::string& path) {
  return std::filesystem::absolute(path).lexically_normal().string();
}

/// All flags that tell plans of one model apart, for the cache.
std::string cacheCommand(const CompileOptions& o, const std::vector<std::string>& targets) {
  std::string command = fmt::format("{} targets {}", o.command, fmt::join(targets, ","));
  if (o.noWeights) command += " --no-weights";
  for (const auto& [flag, path] :
       {std::pair{"--weights", &o.weights}, {"--tokenizer", &o.tokenizer}, {"--tuning", &o.tuning}})
    if (!path->empty()) command += fmt::format(" {} {}", flag, absolutePath(*path));
  return command;
}

/// The same in the user's cache; prints the plan's path.
Status compileIntoCache(Flags& f) {
  const CompileOptions& o = f.options;
  LLMRT_ASSIGN_OR_RETURN(const std::vector<std::string> targets, resolveTargets(o.targets));
  LLMRT_ASSIGN_OR_RETURN(const PlanCache cache, PlanCache::open());
  const uint64_t source_id = sourceId(o, targets, {});
  if (source_id == 0)
    return llmrt::ioError(o.model +
                          ": a file of it, or one beside it, cannot be read, so nobody could tell "
                          "whether its plan is up to date: compile it with -o");
  const CacheOrigin origin{absolutePath(o.model), cacheCommand(o, targets)};
  StageLine line;
  LLMRT_ASSIGN_OR_RETURN(const CachePlace place, cache.take(origin, source_id, [&line] {
    line.show("waiting for another process that compiles it");
  }));
  line.clear();
  f.output = place.planPath();
  if (f.force || !o.dumpIr.empty() || !isUpToDate(f.output, source_id)) {
    const auto start = std::chrono::steady_clock::now();
    LLMRT_RETURN_IF_ERROR(compileAndWrite(f, source_id).status());
    if (const Status older = cache.removeOlder(place, origin); !older.ok())
      fmt::print(stderr, "llmc: warning: {}\n", llmrt::printableLine(older.message()));
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    fmt::print(stderr, "llmc: compiled {} in {:.1f} s, once: kept in {}\n",
               llmrt::printableLine(o.model), seconds, llmrt::printableLine(place.folder()));
  }
  fmt::print("{}\n", f.output);
  return {};
}

Status compile(Flags& f) {
  const auto start = std::chrono::steady_clock::now();
  CompileOptions& o = f.options;
  o.command = commandText(f);
  if (f.tune) LLMRT_RETURN_IF_ERROR(tune(o));
  if (o.emit != Emit::kPlan) return emitText(f);
  if (f.cached) return compileIntoCache(f);
  if (f.output.empty()) {
    LLMRT_ASSIGN_OR_RETURN(f.output, defaultPlanPath(o.model));
  }
  std::vector<std::string> outputs = {f.output};
  if (!o.noWeights) outputs.push_back(llmrt::defaultWeightsPath(f.output));
  LLMRT_RETURN_IF_ERROR(checkOutputs(outputs, {o.model, o.weights, o.tokenizer}));
  LLMRT_ASSIGN_OR_RETURN(const std::vector<std::string> targets, resolveTargets(o.targets));
  // Before anything is read: what changes from here on makes the plan one of older files.
  const uint64_t source_id = sourceId(o, targets, outputs);
  if (!f.force && o.dumpIr.empty() && isUpToDate(f.output, source_id)) {
    fmt::print("{}: up to date, {} and the flags are unchanged (--force compiles anyway)\n",
               llmrt::printableLine(f.output), llmrt::printableLine(o.model));
    return {};
  }
  LLMRT_ASSIGN_OR_RETURN(const Written written, compileAndWrite(f, source_id));
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return printSummary(
      *written.plan,
      {.plan_path = f.output,
       .plan_bytes = written.bytes.size(),
       .weights_path = written.has_weights ? llmrt::defaultWeightsPath(f.output) : "",
       .seconds = seconds});
}

}  // namespace

void addCompileCommand(CLI::App& app, Command& chosen) {
  auto f = std::make_shared<Flags>();
  CompileOptions& o = f->options;
  CLI::App* sub = app.add_subcommand("compile", "Compile a model into a plan and its weights");
  sub->add_option("MODEL", o.model, "config.json, Hugging Face directory or .gguf file")
      ->required();
  sub->add_option("-o,--output", f->output,
                  "The plan to write (default: the model's name with .fb, in the current "
                  "folder); its weights get its name with .weights. With --emit the text's "
                  "file (default: standard output)");
  auto* weights = sub->add_option(
      "--weights", o.weights,
      "safetensors file, index or directory, or .gguf (default: beside the config)");
  sub->add_option("--tokenizer", o.tokenizer,
                  "a tokenizer's file, its directory, or .gguf (default: beside the config); none: "
                  "without one");
  sub->add_flag("--no-weights", o.noWeights, "Code only; llmc pack makes the weights later")
      ->excludes(weights);
  sub->add_option("--target", o.targets,
                  "Comma-separated: host, or names that llmc targets lists (default: host)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check([](const std::string& name) {
        // What this machine lacks is no usage error; a name that nobody knows is.
        const auto resolved = resolveTargets({name});
        const bool unknown =
            !resolved.ok() && resolved.status().code() == llmrt::StatusCode::kInvalidArgument;
        return unknown ? resolved.status().message() : std::string();
      });
  const CLI::IsMember dtypes({"f32", "f16", "bf16"});
  sub->add_option("--dtype", f->dtype,
                  "bf16, f16 or f32: weights that are not quantised are kept as (default: the "
                  "config's, else bf16; of a GGUF each as it is stored)")
      ->check(dtypes);
  sub->add_option(
         "--quantize", f->quantize,
         fmt::format("Quantise weights: {}; attention, embeddings and logits are kept finer. "
                     "q4,lm_head=q8,down_proj=q6_k: others for some, by the names that "
                     "llmc inspect --ir has for them; also plain",
                     quantizeSchemeNames()))
      ->check([](const std::string& text) {
        const auto parsed = parseQuantize(text);
        return parsed.ok() ? std::string() : parsed.status().message();
      });
  sub->add_option(
         "--activations", f->activations,
         "int8 or float: what quantised weights are multiplied by. int8 (default) is faster, "
         "and sums integers, whose order does not matter")
      ->check(CLI::IsMember({"int8", "float"}));
  sub->add_option("--kv-dtype", f->kv_dtype,
                  "f32, f16 or bf16: KV cache (default: f32 with f32 weights, bf16 with "
                  "bf16, else f16; f16 with quantised ones)")
      ->check(dtypes);
  f->max_seq_len_option =
      sub->add_option(
             "--max-seq-len", f->max_seq_len,
             "Most tokens in a sequence (default: the model's own maximum; llmrun takes what fits)")
          ->check(CLI::Range(int64_t{1}, kMaxSeqLen));
  sub->add_option("--max-batch", o.maxBatch, "Most sequences in flight (default: 1)")
      ->check(CLI::Range(int64_t{1}, kMaxBatch));
  sub->add_option("--prefill-chunk", o.prefillChunk, "Most rows of a prefill step (default: 512)")
      ->check(CLI::Range(int64_t{1}, kMaxRows));
  sub->add_option(
         "--verify", o.verifyRows,
         "Code for checking trees of up to so many drafted tokens in one step (default: none)")
      ->check(CLI::Range(int64_t{1}, llm::kTreeMaxRows));
  sub->add_flag("--mtp", o.mtp,
                "Code for the model's layer of multi-token prediction, which guesses the token "
                "after the next, and its weights (CPUs only)");
  sub->add_flag("--no-ptx", o.noPtx,
                "CUDA: no PTX, which GPUs to come run from, beside the code for --target");
  sub->add_option("--cuda-panels", o.cudaPanels,
                  "CUDA, few rows: panels of 16 outputs a block makes (default: by their number)")
      ->check(CLI::Range(int64_t{1}, int64_t{64}));
  sub->add_option("--cuda-clusters", o.cudaClusters,
                  "CUDA, sm_90a, many rows: blocks that share the rows they read, 1 or 2 (default: "
                  "1; 2 has not been measured)")
      ->check(CLI::Range(int64_t{1}, int64_t{2}));
  sub->add_option(
         "--cuda-tile-rows", o.cudaTileRows,
         "CUDA, sm_90a, many rows: rows of the smallest tiles, 64 or 128 (default: 128; 64 "
         "has not been measured)")
      ->check(CLI::IsMember({int64_t{64}, int64_t{128}}));
  sub->add_flag("--dump-ir{all}", o.dumpIr,
                "Print the IR to standard error after the pass named by --dump-ir=PASS, or after "
                "every pass")
      ->check([](const std::string& pass) { return checkPassToPrint(pass).message(); });
  sub->add_option("--disable-pass", f->disable_passes, "Comma-separated passes to leave out")
      ->check([](const std::string& names) {
        const auto parsed = parseDisabledPasses(names);
        return parsed.ok() ? std::string() : parsed.status().message();
      });
  sub->add_option("--emit", f->emit,
                  "Print ir, fused, scheduled, llvm, asm, cuda or ptx instead of writing a plan")
      ->check(CLI::IsMember({"ir", "fused", "scheduled", "llvm", "asm", "cuda", "ptx"}));
  sub->add_option("--kernel", o.kernel,
                  "With --emit llvm, asm, cuda or ptx: this kernel alone, by its name in the "
                  "scheduled IR or in llmc inspect");
  sub->add_flag(
      "--tune", f->tune,
      "Measure on this machine, in a minute or two, how kernels of this model are fastest, "
      "keep it in the file of --tuning, and compile with it. Bits do not change");
  sub->add_option(
      "--tuning", o.tuning,
      "File of what --tune measured, here or elsewhere; none: only what follows from the "
      "target (default: ~/.config/llmc/tuning.json, else what llmc knows of the CPU)");
  sub->add_flag("--cached", f->cached,
                "Keep the plan in the cache that llmc cache lists, and print its path; nothing is "
                "compiled twice")
      ->excludes("--output")
      ->excludes("--emit")
      ->excludes("--tune");
  sub->add_flag("--force", f->force,
                "Compile although the plan is there and nothing it was made from has changed");
  sub->footer(llmrt::foreignFlagsHelp("llmc compile"));
  sub->callback([f, &chosen] {
    CompileOptions& options = f->options;
    if (!f->emit.empty()) options.emit = kEmits.at(f->emit);
    if (!options.kernel.empty() && !emitsCode(options.emit))
      throw CLI::ValidationError("--kernel", "is of --emit llvm, asm, cuda or ptx");
    if (f->tune && options.tuning == kNoTuning)
      throw CLI::ValidationError("--tune",
                                 "keeps what it measures: --tuning none has no place for it");
    if (!f->dtype.empty()) options.dtype = kDTypes.at(f->dtype);
    if (!f->quantize.empty()) options.quantize = *parseQuantize(f->quantize);
    options.floatActivations = f->activations == "float";
    if (!f->kv_dtype.empty()) options.kvDtype = kDTypes.at(f->kv_dtype);
    if (f->max_seq_len_option->count()) options.maxSeqLen = f->max_seq_len;
    if (auto passes = parseDisabledPasses(f->disable_passes); passes.ok())
      options.disabledPasses = *std::move(passes);
    chosen = [f] { return compile(*f); };
  });
}

}  // namespace llmc
