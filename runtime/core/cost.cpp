#include "runtime/core/cost.h"

#include <algorithm>
#include <cmath>

#include "runtime/schema/plan_generated.h"

namespace llmrt {
namespace {

// Sum over rows i of min(first_pos + i + 1, window): keys attended by a causal chunk.
double attendedTokens(int64_t rows, int64_t first_pos, int64_t window) {
  double sum = 0;
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t kv_len = first_pos + i + 1;
    sum += static_cast<double>(window > 0 ? std::min(kv_len, window) : kv_len);
  }
  return sum;
}

}  // namespace

Cost& Cost::operator+=(const Cost& other) {
  weight_bytes += other.weight_bytes;
  kv_bytes += other.kv_bytes;
  flops += other.flops;
  return *this;
}

Cost phaseCost(const schema::Phase& phase, int64_t rows, int64_t first_pos, int64_t logits_rows) {
  if (phase.axis() == schema::Axis::logits_row) rows = logits_rows;
  Cost cost;
  if (rows == 0) return cost;
  cost.weight_bytes = static_cast<double>(phase.weight_bytes());
  if (phase.num_experts() > 0) {
    const auto experts = static_cast<double>(phase.num_experts());
    const double unchosen = std::pow(1 - phase.experts_per_row() / experts, rows);  // by no row
    cost.weight_bytes += static_cast<double>(phase.expert_bytes()) * experts * (1 - unchosen);
  }
  cost.flops = static_cast<double>(phase.flops_per_row()) * static_cast<double>(rows);
  if (phase.kv_bytes_per_token() > 0 || phase.flops_per_row_per_token() > 0) {
    const double tokens = attendedTokens(rows, first_pos, phase.window());
    cost.kv_bytes = static_cast<double>(phase.kv_bytes_per_token()) * tokens;
    cost.flops += static_cast<double>(phase.flops_per_row_per_token()) * tokens;
  }
  return cost;
}

Cost stepCost(const schema::Plan& plan, uint32_t entry_point, int64_t rows, int64_t first_pos,
              int64_t logits_rows) {
  Cost total;
  const schema::EntryPoint* entry = plan.entry_points()->Get(entry_point);
  if (!entry->sections()) return total;
  for (const schema::Section* section : *entry->sections()) {
    if (!section->phases()) continue;
    for (const schema::Phase* phase : *section->phases()) {
      const Cost one = phaseCost(*phase, rows, first_pos, logits_rows);
      const double layers = section->num_layers();
      total += {one.weight_bytes * layers, one.kv_bytes * layers, one.flops * layers};
    }
  }
  return total;
}

int selectEntryPoint(const schema::Plan& plan, int64_t rows, int64_t logits_rows,
                     std::initializer_list<schema::StepKind> kinds) {
  int best = -1;
  for (uint32_t i = 0; i < plan.entry_points()->size(); ++i) {
    const schema::EntryPoint* entry = plan.entry_points()->Get(i);
    if (std::find(kinds.begin(), kinds.end(), entry->kind()) == kinds.end()) continue;
    if (rows > entry->max_rows() || logits_rows > entry->max_logits_rows()) continue;
    if (best < 0 ||
        entry->max_rows() < plan.entry_points()->Get(static_cast<uint32_t>(best))->max_rows()) {
      best = static_cast<int>(i);
    }
  }
  return best;
}

int selectEntryPoint(const schema::Plan& plan, int64_t rows, int64_t logits_rows) {
  return selectEntryPoint(plan, rows, logits_rows,
                          {schema::StepKind::prefill, schema::StepKind::decode});
}

}  // namespace llmrt
