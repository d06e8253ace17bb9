// What `llmc compile` and `llmc pack` say when they are done.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/io/status.h"

namespace llmrt::schema {
struct Plan;
}

namespace llmc {

struct SummaryFacts {
  std::string plan_path;
  uint64_t plan_bytes = 0;
  std::string weights_path;  // empty: none were written
  double seconds = 0;
};

/// Most memory that a session of a plan takes, in bytes: its longest sequences on all of this
/// machine's CPUs.
struct MemoryBound {
  uint64_t weights = 0, kv_cache = 0, recurrent = 0, activations = 0, rope = 0;
  uint64_t total() const { return weights + kv_cache + recurrent + activations + rope; }
};
llmrt::Result<MemoryBound> memoryBound(const llmrt::schema::Plan& plan);

/// Prints to stdout. The plan has been verified.
llmrt::Status printSummary(const llmrt::schema::Plan& plan, const SummaryFacts& facts);

}  // namespace llmc
