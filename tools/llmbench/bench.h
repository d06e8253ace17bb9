// Measures prefill and decode of a plan, and the machine's limits, in one run.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/io/status.h"
#include "tools/common/load_model.h"

namespace llmrt {

/// Of what is a list, every combination is measured.
struct BenchOptions {
  ModelOptions model;
  std::vector<int64_t> prefill = {512};  // tokens of the prompt that is timed; 0: no prefill
  std::vector<int64_t> decode = {64};    // tokens decoded one by one, of each sequence; 0: none
  std::vector<int64_t> batch = {1};      // sequences decoded at once, a token of each in a step
  std::vector<int64_t> depth = {0};      // tokens in each sequence before the first decoded one
  std::vector<int32_t> threads = {0};    // 0: the CPUs of this process
  int repeat = 5;
  std::vector<std::string> ablate;  // plans of the same model, measured in the same rounds
  std::string output = "table";     // "table", "md" or "json"
  std::string arrivals;             // a trace to replay in place of all that

  void addTo(CLI::App& app);
};

/// Each round measures bandwidth, FMA peak, prefill and decode one after another, so that a slow
/// spell of the machine hits them alike. One round more than `repeat` is run, and the first is
/// thrown away. Prints medians and spreads. The plans of --ablate, which were compiled with
/// something switched off, take their turn in every round and are given as ratios to the first.
Result<int> bench(const BenchOptions& options);

}  // namespace llmrt
