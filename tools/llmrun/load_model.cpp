#include "tools/llmrun/load_model.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <new>
#include <stdexcept>

#include "runtime/core/memory.h"
#include "runtime/cuda/device.h"
#include "runtime/io/mapped_file_fault.h"
#include "runtime/io/printable.h"
#include "runtime/schema/plan_generated.h"

namespace llmrt {

void ModelOptions::addTo(CLI::App& app) {
  app.add_option("PLAN", plan_path, "A plan made by llmc (plan.fb)")->required();
  auto* weights = app.add_option("--weights", weights_path,
                                 "Weights file; default: the plan's name with .weights");
  // A flag, so that only --synthetic-weights=SEED takes a value and PLAN may follow.
  auto* synthetic = app.add_flag_function(
      "--synthetic-weights{1}",
      [this](int64_t seed) { synthetic_seed = static_cast<uint64_t>(seed); },
      "Random weights made up in memory, the same for the same SEED (=SEED, default 1)");
  synthetic->excludes(weights);
  app.add_flag("--verify-weights", verify_weights,
               "Compare the weights with the plan's hashes before the run")
      ->excludes(synthetic);
  app.add_option("--device", device, "cpu, cuda (the first GPU) or cuda:NUMBER")
      ->capture_default_str();
  app.add_option("--cpu-target", cpu_target,
                 "Run this target's code, not the best of plan and machine");
  app.add_option("--threads", session.threads, "Threads; default: the CPUs of this process")
      ->check(CLI::Range(1, kMaxThreads));
  app.add_option("--max-seq-len", session.max_seq_len, "Context in tokens; default: the plan's")
      ->check(CLI::PositiveNumber);
  app.add_option("--prefill-chunk", session.prefill_chunk,
                 "Most tokens of a prompt in one step; default: the plan's")
      ->check(CLI::PositiveNumber);
}

Result<LoadedModel> loadModel(const ModelOptions& o) {
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
  Result<SessionMemory> bytes = Session::memory(*model.plan, session);
  if (!bytes.ok()) return std::move(bytes).status().withContext(o.plan_path);
  const SessionMemory memory = *bytes;
  const uint64_t weights_bytes = o.synthetic_seed ? model.plan->schema().weights_bytes() : 0;
  LLMRT_RETURN_IF_ERROR(checkMemoryAvailable(
      memory.total() + weights_bytes, o.synthetic_seed
                                          ? "the context (--max-seq-len) and synthetic weights"
                                          : "the tokens of the context (--max-seq-len)"));
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
  return model;
}

int runProgram(const char* name, const char* description, int argc, char** argv,
               void (*declare)(CLI::App&, void*), Result<int> (*body)(void*), void* state) {
  const auto fail = [name](const std::string& message, int status) {
    // Messages quote names of files and what stands in them.
    fmt::print(stderr, "{}: error: {}\n", name, printableLine(message));
    return status;
  };
  explainLostMappings(name);
  try {
    CLI::App app{description, name};
    app.set_version_flag("--version", "llmrt 0.1.0");
    declare(app, state);
    try {
      app.parse(argc, argv);
    } catch (const CLI::Success& e) {
      return app.exit(e);  // --help, --version
    } catch (const CLI::ParseError& e) {
      return fail(fmt::format("{} (--help shows the usage)", e.what()), 2);
    } catch (const std::logic_error&) {  // what the C++ library's number parsing throws
      return fail("a flag's value is not a number or out of range (--help shows the usage)", 2);
    }
    Result<int> status = body(state);
    if (!status.ok()) return fail(status.status().message(), 1);
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
