// Plans and texts that tests of shared tokens have in common.
#pragma once

#include <cstdint>
#include <ostream>
#include <random>
#include <vector>

#include "runtime/schema/plan_generated.h"
#include "tests/runtime/example_plan.h"

namespace llmrt::example {

using Ids = std::vector<int32_t>;

constexpr int32_t kRefused = 13;  // the toy model's kernels fail at this token

/// Random ones, none of them refused.
inline Ids someTokens(size_t count, std::mt19937& random) {
  Ids ids(count);
  for (int32_t& id : ids) {
    id = static_cast<int32_t>(random() % kVocab);
    if (id == kRefused) id = 14;
  }
  return ids;
}

/// A plan, and most tokens of its caches (0: any mix of sequences fits).
struct Case {
  const char* name;
  void (*change)(schema::PlanT&);
  int64_t kv_tokens;
};
inline void PrintTo(const Case& c, std::ostream* os) { *os << c.name; }

inline void plain(schema::PlanT& plan) { addRefusing(plan); }
inline void everyState(schema::PlanT& plan) {
  addWindow(plan);
  addRecurrent(plan);
  addRefusing(plan);
}

}  // namespace llmrt::example
