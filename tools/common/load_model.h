// What every program that executes a plan does first: plan, tokenizer, weights, session.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "runtime/executor/plan.h"
#include "runtime/executor/weights.h"
#include "runtime/io/status.h"
#include "runtime/session/session.h"
#include "runtime/text/tokenizer.h"

namespace CLI {
class App;
}

namespace llmrt {

inline constexpr int kExitInterrupted = 130;  // as a shell reports SIGINT

struct ModelOptions {
  std::string plan_path;                   // or a model's: llmc compiles it, once
  std::string weights_path;                // empty: beside the plan
  std::optional<uint64_t> synthetic_seed;  // instead of a weights file
  bool verify_weights = false;
  bool no_cache = false;   // of a model: its plan goes when the program ends
  int64_t most_batch = 1;  // of a model: sequences at once that its plan is compiled for
  std::string device = "cpu";
  std::string cpu_target;
  int64_t most_context = 0;  // tokens, where session.max_seq_len says nothing; 0: the plan's
  SessionOptions session;    // memory_bytes 0: what is free, unless session.max_seq_len says it all

  /// Declares the positional PLAN|MODEL and the flags for the fields above.
  void addTo(CLI::App& app);
  /// The same for a program that takes --threads its own way.
  void addWithoutThreads(CLI::App& app);
};

struct LoadedModel {
  std::unique_ptr<Device> device;  // null: this machine's CPUs
  std::unique_ptr<Plan> plan;
  std::optional<Tokenizer> tokenizer;
  std::unique_ptr<Weights> weights;
  std::unique_ptr<Session> session;

  const Tokenizer* tokenizerOrNull() const { return tokenizer ? &*tokenizer : nullptr; }
};

/// Checks that everything fits in memory before any weight is read.
Result<LoadedModel> loadModel(const ModelOptions& options);

/// Gives a loaded model another session, over the same weights; the one it had is gone.
Status replaceSession(LoadedModel& model, const SessionOptions& options);

/// Runs a program's body: parses, prints errors as "NAME: error: ...", maps them to exit statuses
/// 0, 1, 2. An error without a message has been printed by another program. `declare` adds flags;
/// `body` returns the exit status.
int runProgram(const char* name, const char* description, int argc, char** argv,
               void (*declare)(CLI::App&, void* state), Result<int> (*body)(void* state),
               void* state);

}  // namespace llmrt
