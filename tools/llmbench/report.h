// What llmbench measured, as a table, as Markdown and as JSON.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tools/common/load_model.h"

namespace llmrt {

/// One setting of everything that is varied.
struct BenchCase {
  int64_t prefill = 0, decode = 0, batch = 1, depth = 0;
  int32_t threads = 0;  // 0: the CPUs of this process

  bool operator==(const BenchCase&) const = default;
};

/// One quantity over all rounds.
struct Samples {
  std::vector<double> values;

  double median() const {
    std::vector<double> sorted = values;
    std::sort(sorted.begin(), sorted.end());
    const size_t n = sorted.size();
    return n == 0 ? 0 : n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
  }
  double min() const {
    return values.empty() ? 0 : *std::min_element(values.begin(), values.end());
  }
  double max() const {
    return values.empty() ? 0 : *std::max_element(values.begin(), values.end());
  }
};

struct Rounds {
  Samples read_gb_s, peak_gflop_s, prefill_tok_s, prefill_gflop_s;
  Samples decode_tok_s, decode_gb_s, decode_gflop_s;  // tok/s: of all sequences
  // Of plans that multiply quantised weights as integers, whose FMA peak says nothing:
  std::map<std::string, Samples> inner_loop_gflop_s;  // of each format
  Samples prefill_ceiling_gflop_s;  // of the whole prompt, each FLOP at what its format reaches
  Samples decode_limit_tok_s;       // of several sequences: by reading or computing, the slower one
  double bytes_per_step = 0;
  uint64_t cached_bytes = 0;  // read_gb_s is of so many, which stay in caches; 0: of memory
};

/// A plan that takes its turn in every round.
struct Entrant {
  LoadedModel model;
  Rounds rounds;

  std::string path() const { return model.plan->path(); }
  /// What was switched off in it.
  std::string disabledPasses() const;
};

/// How the results of all cases are printed.
enum class BenchFormat { kTable, kMarkdown, kJson };

/// Prints one case once it is measured: entrants[0] is the plan, the others those of --ablate.
/// `first`: it is the first case, which the Markdown table begins with.
void printCase(BenchFormat format, const std::vector<Entrant>& entrants, const BenchCase& c,
               int repeat, bool first);

}  // namespace llmrt
