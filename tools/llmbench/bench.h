// Measures prefill and decode of a plan, and the machine's limits, in one run.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/io/status.h"
#include "tools/llmrun/load_model.h"

namespace llmrt {

struct BenchOptions {
  ModelOptions model;
  int64_t prefill = 512;  // tokens of the prompt that is timed; 0: no prefill
  int64_t decode = 64;    // tokens decoded one by one, of each sequence; 0: no decode
  int64_t batch = 1;      // sequences that are decoded at once, a token of each in a step
  int64_t depth = 0;      // tokens in each sequence before the first decoded one
  int repeat = 5;
  std::vector<std::string> ablate;  // plans of the same model, measured in the same rounds
  bool json = false;

  void addTo(CLI::App& app);
};

/// Each round measures bandwidth, FMA peak, prefill and decode one after another, so that a slow
/// spell of the machine hits them alike. One round more than `repeat` is run, and the first is
/// thrown away. Prints medians and spreads. The plans of --ablate, which were compiled with
/// something switched off, take their turn in every round and are given as ratios to the first.
Result<int> bench(const BenchOptions& options);

}  // namespace llmrt
