#include "runtime/executor/profile.h"

#include "runtime/schema/plan_generated.h"

namespace llmrt {

Profile::Profile(const Plan& plan) : plan_(plan) {
  for (const schema::EntryPoint* entry : *plan.schema().entry_points()) {
    Entry out;
    out.choice.entry_point = entry->name()->str();
    out.choice.op = "sample";
    for (uint32_t s = 0; entry->sections() && s < entry->sections()->size(); ++s) {
      const schema::Section& section = *entry->sections()->Get(s);
      const size_t first_op = out.ops.size();
      const uint32_t phases = section.phases() ? section.phases()->size() : 0;
      for (uint32_t p = 0; p < phases; ++p) {
        const auto* op = section.phases()->Get(p)->op();
        out.ops.push_back({entry->name()->str(), op ? op->str() : "", 0, 0, {}, {}});
        out.section.push_back(s);
        out.phase.push_back(p);
      }
      for (uint32_t l = 0; l < section.num_layers(); ++l)
        for (uint32_t p = 0; p < phases; ++p) out.op_of_phase.push_back(first_op + p);
    }
    entries_.push_back(std::move(out));
  }
}

void Profile::addTime(uint32_t entry_point, size_t phase,
                      std::chrono::steady_clock::duration time) {
  Entry& entry = entries_[entry_point];
  entry.ops[entry.op_of_phase[phase]].seconds += std::chrono::duration<double>(time).count();
}

void Profile::addKernelTime(uint32_t entry_point, size_t phase, const std::string& symbol,
                            double seconds) {
  Entry& entry = entries_[entry_point];
  OpProfile& op = phase == kChoice ? entry.choice : entry.ops[entry.op_of_phase[phase]];
  op.seconds += seconds;
  for (KernelProfile& kernel : op.kernels) {
    if (kernel.symbol != symbol) continue;
    kernel.seconds += seconds;
    return;
  }
  op.kernels.push_back({symbol, seconds});
}

void Profile::addStep(uint32_t entry_point, std::span<const SequenceRows> step) {
  Entry& entry = entries_[entry_point];
  ++entry.steps;
  for (size_t i = 0; i < entry.ops.size(); ++i) {
    const schema::Section& section =
        *plan_.schema().entry_points()->Get(entry_point)->sections()->Get(entry.section[i]);
    entry.ops[i].cost +=
        phaseCost(*section.phases()->Get(entry.phase[i]), step) * section.num_layers();
  }
}

void Profile::clear() {
  const auto zero = [](OpProfile& op) {
    op.seconds = 0;
    op.cost = {};
    for (KernelProfile& kernel : op.kernels) kernel.seconds = 0;
  };
  for (Entry& entry : entries_) {
    entry.steps = 0;
    for (OpProfile& op : entry.ops) zero(op);
    zero(entry.choice);
  }
}

std::vector<OpProfile> Profile::ops() const {
  std::vector<OpProfile> all;
  for (const Entry& entry : entries_) {
    if (entry.steps == 0) continue;
    for (OpProfile op : entry.ops) {
      op.steps = entry.steps;
      all.push_back(std::move(op));
    }
    if (!entry.choice.kernels.empty()) {
      all.push_back(entry.choice);
      all.back().steps = entry.steps;
    }
  }
  return all;
}

}  // namespace llmrt
