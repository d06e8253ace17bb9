// Replays a trace of requests through the engine: throughput, and what each request waits for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/io/status.h"
#include "tools/common/load_model.h"

namespace llmrt {

/// A line of a trace.
struct Arrival {
  double time = 0;     // seconds from the first, at which it comes
  int64_t prompt = 0;  // tokens of its prompt,
  int64_t prefix = 0;  // of which so many are the same in all prompts of the trace
  int64_t tokens = 0;  // to generate
};

/// Lines of JSON: {"time": 0.5, "prompt": 300, "prefix": 120, "tokens": 64}; prefix may be absent.
/// An error names the line.
Result<std::vector<Arrival>> readArrivals(const std::string& path);

struct ArrivalsOptions {
  ModelOptions model;  // session.max_batch 0: the plan's
  std::string trace;
  bool json = false;
};

/// Loads the model, waits for each arrival, and prints: tokens a second of all requests, and at the
/// 50th, 95th and 99th percentile the time to the first token and the time per token after it.
Result<int> replayArrivals(const ArrivalsOptions& options);

}  // namespace llmrt
