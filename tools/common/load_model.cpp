#include "tools/common/load_model.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <exception>
#include <new>

#include "runtime/cuda/device.h"
#include "runtime/executor/cpu_features.h"
#include "runtime/executor/memory.h"
#include "runtime/io/mapped_file_fault.h"
#include "runtime/io/printable.h"
#include "runtime/schema/plan_generated.h"
#include "tools/cli/command_line.h"
#include "tools/cli/foreign_flags.h"
#include "tools/cli/version.h"
#include "tools/common/plan_of_model.h"

namespace llmrt {

namespace {

// This machine's targets may be known and yet not run here.
Status checkCpuTarget(const std::string& name) {
  const auto holds = [&](const std::vector<std::string>& names) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  const std::vector<std::string> supported = supportedCpuTargets();
  if (name.empty() || holds(supported) || !holds(knownCpuTargets())) return {};
  return unsupported(fmt::format("--cpu-target {}: is code for another machine, this one runs {}",
                                 name, fmt::join(supported, ", ")));
}

// Everything that a session takes must fit before any of it is touched.
Status checkMemory(const Plan& plan, const SessionOptions& options, uint64_t weights_bytes) {
  Result<SessionMemory> bytes = Session::memory(plan, options);
  if (!bytes.ok()) return std::move(bytes).status().withContext(plan.path());
  return checkMemoryAvailable(bytes->total() + weights_bytes,
                              weights_bytes > 0
                                  ? "the context (--max-seq-len) and synthetic weights"
                                  : "the tokens of the context (--max-seq-len)");
}

// A context that was asked for by number, or bounded, is taken as it is, or refused.
Status setMemory(const Plan& plan, int64_t most_context, SessionOptions& options) {
  if (options.max_seq_len == 0 && most_context > 0 && plan.maxSeqLen() > most_context)
    options.max_seq_len = most_context;
  return Session::boundMemory(plan, options);
}

// Text beyond the context is refused, so nobody should learn of a short one by that.
void sayWhatFits(const Session& session) {
  const int64_t taken = session.options().max_seq_len, whole = session.plan().maxSeqLen();
  if (taken == whole) return;
  fmt::print(stderr,
             "The context has {} tokens of the plan's {}: so many fit in {:.2f} GiB beside the "
             "weights (--memory)\n",
             taken, whole, static_cast<double>(session.options().memory_bytes) / 0x1p30);
}

}  // namespace

void ModelOptions::addTo(CLI::App& app) {
  addWithoutThreads(app);
  app.add_option("-t,--threads", session.threads, "Threads; default: the CPUs of this process")
      ->check(CLI::Range(1, kMaxThreads));
}

void ModelOptions::addWithoutThreads(CLI::App& app) {
  app.add_option(
         "PLAN|MODEL", plan_path,
         "A plan made by llmc (plan.fb). Or a model, as llmc compile takes it: the llmc beside "
         "this program compiles it for this machine, once (llmc cache)")
      ->required();
  auto* weights =
      app.add_option("--weights", weights_path,
                     "Weights file; default: the plan's name with .weights. Of a model: its "
                     "safetensors");
  // A flag, so that only --synthetic-weights=SEED takes a value and PLAN may follow.
  auto* synthetic = app.add_flag_function(
      "--synthetic-weights{1}",
      [this](int64_t seed) { synthetic_seed = static_cast<uint64_t>(seed); },
      "Random weights made up in memory, the same for the same SEED (=SEED, default 1)");
  synthetic->excludes(weights);
  app.add_flag("--verify-weights", verify_weights,
               "Compare the weights with the plan's hashes before the run")
      ->excludes(synthetic);
  app.add_flag("--no-cache", no_cache, "Of a model: keep nothing of what is compiled");
  app.add_option("--device", device, "cpu, cuda (the first GPU) or cuda:NUMBER")
      ->capture_default_str();
  app.add_option("--cpu-target", cpu_target,
                 "Run this target's code, not the best of plan and machine");
  app.add_option("-c,--max-seq-len", session.max_seq_len,
                 "Context in tokens; default: the plan's, or what fits in --memory")
      ->check(CLI::PositiveNumber);
  app.add_option("--memory", session.memory_bytes,
                 "Most bytes of memory beside the weights; default: nine tenths of what is free")
      ->check(CLI::PositiveNumber);
  app.add_option("--prefill-chunk", session.prefill_chunk,
                 "Most tokens of a prompt in one step; default: the plan's")
      ->check(CLI::PositiveNumber);
}

Result<LoadedModel> loadModel(const ModelOptions& options) {
  LLMRT_RETURN_IF_ERROR(checkCpuTarget(options.cpu_target));
  LLMRT_ASSIGN_OR_RETURN(const PlanOfModel source, planOf(options));
  ModelOptions o = options;
  if (source.plan() != o.plan_path) {
    o.plan_path = source.plan();
    o.weights_path.clear();  // the plan's own, beside it
  }
  LoadedModel model;
  SessionOptions session = o.session;
  if (o.device != "cpu") {
    if (!o.cpu_target.empty())
      return invalidArgument("--cpu-target " + o.cpu_target + ": is of --device cpu");
    LLMRT_ASSIGN_OR_RETURN(model.device, cuda::CudaDevice::open(o.device));
    session.device = model.device.get();
  }
  LLMRT_ASSIGN_OR_RETURN(
      model.plan, Plan::open(o.plan_path, {.cpu_target = o.cpu_target, .device = session.device}));
  if (const auto* data = model.plan->schema().tokenizer()) {
    Result<Tokenizer> tokenizer = Tokenizer::create(data);
    if (!tokenizer.ok()) return std::move(tokenizer).status().withContext(o.plan_path);
    model.tokenizer.emplace(*std::move(tokenizer));
  }
  LLMRT_RETURN_IF_ERROR(setMemory(*model.plan, o.most_context, session));
  LLMRT_RETURN_IF_ERROR(checkMemory(*model.plan, session,
                                    o.synthetic_seed ? model.plan->schema().weights_bytes() : 0));
  if (o.synthetic_seed) {
    const int threads = o.session.threads > 0 ? o.session.threads : defaultThreads();
    LLMRT_ASSIGN_OR_RETURN(auto team, ThreadTeam::create(threads));
    LLMRT_ASSIGN_OR_RETURN(model.weights,
                           Weights::synthesize(*model.plan, *o.synthetic_seed, *team));
  } else {
    LLMRT_ASSIGN_OR_RETURN(model.weights, Weights::map(*model.plan, o.weights_path));
    if (o.verify_weights) LLMRT_RETURN_IF_ERROR(model.weights->verifyHashes());
  }
  LLMRT_ASSIGN_OR_RETURN(model.session, Session::create(*model.plan, *model.weights, session));
  if (session.max_seq_len == 0) sayWhatFits(*model.session);
  return model;
}

Status replaceSession(LoadedModel& model, const SessionOptions& options) {
  SessionOptions session = options;
  session.device = model.device.get();
  model.session.reset();
  LLMRT_RETURN_IF_ERROR(setMemory(*model.plan, 0, session));
  LLMRT_RETURN_IF_ERROR(checkMemory(*model.plan, session, 0));
  LLMRT_ASSIGN_OR_RETURN(model.session, Session::create(*model.plan, *model.weights, session));
  return {};
}

int runProgram(const char* name, const char* description, int argc, char** argv,
               void (*declare)(CLI::App&, void*), Result<int> (*body)(void*), void* state) {
  const auto fail = [name](const std::string& message, int status) {
    // Messages quote names of files and what stands in them.
    if (!message.empty())
      fmt::print(stderr, "{}: error: {}\n", name, withFlags(printableLine(message)));
    return status;
  };
  explainLostMappings(name);
  try {
    CLI::App app{description, name};
    app.set_version_flag("--version", fmt::format("{} {}", name, versionText()));
    declare(app, state);
    const std::string own = app.get_footer();
    app.footer(own + (own.empty() ? "" : "\n") + foreignFlagsHelp(name));
    const Result<bool> parsed = parseCommandLine(app, argc, argv);
    if (!parsed.ok()) return fail(parsed.status().message(), 2);
    if (!*parsed) return 0;
    Result<int> status = body(state);
    if (!status.ok())
      return fail(status.status().message(),
                  status.status().code() == StatusCode::kCancelled ? kExitInterrupted : 1);
    if (std::fflush(stdout) != 0 || std::ferror(stdout))
      return fail("stdout: cannot be written", 1);
    return *status;
  } catch (const std::bad_alloc&) {
    return fail("out of memory", 1);
  } catch (const std::exception& e) {
    return fail(e.what(), 1);
  }
}

}  // namespace llmrt
