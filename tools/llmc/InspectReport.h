// What is worth knowing of a plan, as data and as text.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "runtime/io/status.h"
#include "tools/llmc/Summary.h"

namespace llmrt::schema {
struct Plan;
}

namespace llmc {

/// Tokens of context that a token's cost is told at, where a plan holds more and nobody says how
/// many.
constexpr int64_t kReportedContext = 4096;

/// One phase of a decode step, over all the layers that it runs in.
struct OpCost {
  std::string op, kernel, description;
  uint64_t layers = 1;
  double weight_bytes = 0, kv_bytes = 0, flops = 0;
  double limit_us = 0;  // bytes at the bandwidth
  double share = 0;     // of the step's limit
};

/// One launch of a kernel on one CUDA target, with what the compiler said of it.
struct CudaLaunchReport {
  size_t target = 0;  // of InspectReport::targets
  std::string symbol;
  uint32_t min_rows = 0, max_rows = 0, threads = 0, registers = 0, spill_bytes = 0;
  uint32_t shared_bytes = 0, dynamic_shared_bytes = 0;
};

struct KernelReport {
  std::string symbol, op, description;
  std::vector<uint64_t> code_bytes;  // per target, 0 where the image does not tell
  std::vector<CudaLaunchReport> cuda;
};

struct TargetReport {
  std::string name;
  uint64_t code_bytes = 0, scratch_bytes = 0;
  uint32_t cuda_min_driver = 0;  // as the plan has it; 0: any, or code for a CPU
};

/// A decode step of one token at position kv_len - 1.
struct InspectReport {
  int64_t kv_len = 0;
  double bandwidth = 0;  // bytes per second
  std::vector<OpCost> ops;
  OpCost total;
  double prefill_flops_per_token = 0;  // at kv_len / 2, the mean of a prompt of kv_len
  MemoryBound memory;
  std::vector<KernelReport> kernels;
  std::vector<TargetReport> targets;
};

llmrt::Result<InspectReport> makeReport(const llmrt::schema::Plan& plan, int64_t kv_len,
                                        double bandwidth);

std::string reportText(const llmrt::schema::Plan& plan, const InspectReport& report);
/// Names in snake_case; `ir` is left out.
nlohmann::ordered_json reportJson(const llmrt::schema::Plan& plan, const InspectReport& report);

}  // namespace llmc
