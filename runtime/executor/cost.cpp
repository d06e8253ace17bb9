#include "runtime/executor/cost.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "runtime/schema/plan_generated.h"

namespace llmrt {
namespace {

// Sum over the rows of min(pos + 1, window): what they attend to, each for itself.
double attendedByRows(const SequenceRows& s, int64_t window) {
  const int64_t growing =
      window > 0 ? std::clamp<int64_t>(window - s.first_pos, 0, s.rows) : s.rows;
  return static_cast<double>(growing * s.first_pos + growing * (growing + 1) / 2 +
                             (s.rows - growing) * window);
}

// Tokens that some row attends to: from the first that the first row reaches to the last row's own.
double attendedBySequence(const SequenceRows& s, int64_t window) {
  const int64_t first = window > 0 ? std::max<int64_t>(s.first_pos + 1 - window, 0) : 0;
  return static_cast<double>(s.first_pos + s.rows - first);
}

}  // namespace

Cost& Cost::operator+=(const Cost& other) {
  weight_bytes += other.weight_bytes;
  kv_bytes += other.kv_bytes;
  flops += other.flops;
  state_bytes += other.state_bytes;
  return *this;
}

Cost Cost::operator*(double times) const {
  return {weight_bytes * times, kv_bytes * times, flops * times, state_bytes * times};
}

Cost phaseCost(const schema::Phase& phase, std::span<const SequenceRows> step) {
  Cost cost;
  double rows = 0;
  for (SequenceRows s : step) {
    if (phase.axis() == schema::Axis::logits_row)
      s = {s.logits_rows, s.first_pos + s.rows - s.logits_rows, 0};
    if (s.rows == 0) continue;
    rows += static_cast<double>(s.rows);
    cost.kv_bytes +=
        static_cast<double>(phase.kv_bytes_per_token()) * attendedBySequence(s, phase.window());
    cost.state_bytes += static_cast<double>(phase.state_bytes_per_sequence());
    cost.flops +=
        static_cast<double>(phase.flops_per_row_per_token()) * attendedByRows(s, phase.window());
  }
  if (rows == 0) return cost;
  cost.weight_bytes = static_cast<double>(phase.weight_bytes());
  if (phase.num_experts() > 0) {
    const auto experts = static_cast<double>(phase.num_experts());
    const double unchosen = std::pow(1 - phase.experts_per_row() / experts, rows);  // by no row
    cost.weight_bytes += static_cast<double>(phase.expert_bytes()) * experts * (1 - unchosen);
  }
  cost.flops += static_cast<double>(phase.flops_per_row()) * rows;
  return cost;
}

namespace {

/// body(phase, layers) of the entry point that runs the step.
template <typename Body>
void forPhases(const schema::Plan& plan, std::span<const SequenceRows> step, const Body& body) {
  int64_t rows = 0, logits_rows = 0;
  for (const SequenceRows& s : step) {
    rows += s.rows;
    logits_rows += s.logits_rows;
  }
  const int entry_point = selectEntryPoint(plan, rows, logits_rows);
  assert(entry_point >= 0);
  const schema::EntryPoint* entry = plan.entry_points()->Get(static_cast<uint32_t>(entry_point));
  if (!entry->sections()) return;
  for (const schema::Section* section : *entry->sections()) {
    if (!section->phases()) continue;
    for (const schema::Phase* phase : *section->phases()) body(*phase, section->num_layers());
  }
}

/// body(step) of a prompt, chunk by chunk.
template <typename Body>
void forChunks(int64_t first_pos, int64_t tokens, int64_t chunk, const Body& body) {
  for (int64_t done = 0; done < tokens;) {
    const int64_t rows = std::min(tokens - done, chunk);
    body(SequenceRows{rows, first_pos + done, done + rows == tokens});
    done += rows;
  }
}

/// The weights that a phase multiplies, in panels: body(format, values).
template <typename Body>
void forMatrices(const schema::Plan& plan, const schema::Phase& phase, const Body& body) {
  if (!phase.operands()) return;
  for (const schema::Operand* operand : *phase.operands()) {
    if (operand->space() != schema::Space::weights) continue;
    const schema::Weight& weight = *plan.weights()->Get(operand->index());
    if (weight.layout() != schema::Layout::panels) continue;
    const bool plain = !weight.format() || weight.format()->size() == 0;
    body(plain ? std::string(schema::EnumNameDType(weight.dtype())) : weight.format()->str(),
         static_cast<double>(weight.panels()) * static_cast<double>(weight.cols()));
  }
}

}  // namespace

Cost stepCost(const schema::Plan& plan, std::span<const SequenceRows> step) {
  Cost total;
  forPhases(plan, step, [&](const schema::Phase& phase, uint32_t layers) {
    total += phaseCost(phase, step) * layers;
  });
  return total;
}

Cost prefillCost(const schema::Plan& plan, int64_t first_pos, int64_t tokens, int64_t chunk) {
  Cost total;
  forChunks(first_pos, tokens, chunk, [&](const SequenceRows& step) {
    total += stepCost(plan, {&step, 1});
  });
  return total;
}

FlopsByFormat stepFlops(const schema::Plan& plan, std::span<const SequenceRows> step) {
  FlopsByFormat flops;
  forPhases(plan, step, [&](const schema::Phase& phase, uint32_t layers) {
    const double all = phaseCost(phase, step).flops * layers;
    double values = 0;
    forMatrices(plan, phase, [&](const std::string&, double of_one) { values += of_one; });
    if (values == 0) flops[""] += all;
    forMatrices(plan, phase, [&](const std::string& format, double of_one) {
      flops[format] += all * of_one / values;
    });
  });
  return flops;
}

FlopsByFormat prefillFlops(const schema::Plan& plan, int64_t first_pos, int64_t tokens,
                           int64_t chunk) {
  FlopsByFormat flops;
  forChunks(first_pos, tokens, chunk, [&](const SequenceRows& step) {
    for (const auto& [format, some] : stepFlops(plan, {&step, 1})) flops[format] += some;
  });
  return flops;
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
