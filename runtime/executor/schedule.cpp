#include "runtime/executor/schedule.h"

#include "runtime/executor/operand_address.h"

namespace llmrt {

Schedule::Schedule(const Plan& plan, uint32_t entry_point, const OperandPlaces<uint8_t*>& places,
                   const Weights& weights) {
  // Kernels take all operands as void*; the plan's verifier has seen that weights are only read.
  const auto weight_at = [&](uint32_t index, uint32_t layer) {
    return const_cast<uint8_t*>(weights.data(index, layer));
  };
  const schema::EntryPoint& entry = *plan.schema().entry_points()->Get(entry_point);
  if (!entry.sections()) return;
  std::vector<size_t>
      first_operand;  // of each phase; pointers follow when operands_ has stopped growing
  for (uint32_t s = 0; s < entry.sections()->size(); ++s) {
    const schema::Section& section = *entry.sections()->Get(s);
    if (!section.phases()) continue;
    for (uint32_t l = 0; l < section.num_layers(); ++l) {
      const uint32_t layer = section.first_layer() + l;
      for (uint32_t p = 0; p < section.phases()->size(); ++p) {
        const schema::Phase& phase = *section.phases()->Get(p);
        BoundPhase bound;
        bound.kernel = plan.kernel(phase.kernel());
        bound.tiles = static_cast<int64_t>(phase.tiles());
        bound.rows_per_tile = phase.rows_per_tile();
        bound.axis = phase.axis();
        bound.section = s;
        bound.phase = p;
        bound.layer = layer;
        bound.is_experts = phase.num_experts() > 0;
        if (phase.rows_per_tile() == 0 && phase.tiles() > 0) {
          const uint64_t bytes =
              phase.weight_bytes() + phase.expert_bytes() * phase.experts_per_row();
          bound.row_tile_bytes = static_cast<int64_t>(bytes / phase.tiles());
        }
        first_operand.push_back(operands_.size());
        if (phase.operands()) {
          for (const schema::Operand* operand : *phase.operands()) {
            operands_.push_back(
                operandAddress(plan.schema(), entry_point, *operand, layer, places, weight_at));
          }
        }
        phases_.push_back(bound);
      }
    }
  }
  for (size_t i = 0; i < phases_.size(); ++i)
    phases_[i].operands = operands_.data() + first_operand[i];
}

}  // namespace llmrt
