// Where an operand of a phase lies, on whatever has addresses: CPUs (pointers) and devices.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "runtime/schema/plan_generated.h"

namespace llmrt {

/// What a state has in memory: of each layer, pools of keys and values, slots, or kept rows (both
/// as `keys`).
template <typename Address>
struct StatePlace {
  Address keys{}, values{};
  uint64_t key_layer_bytes = 0, value_layer_bytes = 0;
  Address table{};  // its block table, or its sequences' slots
};

/// Where the memory of a session lies.
template <typename Address>
struct OperandPlaces {
  Address arena{};
  std::vector<Address> rope;                 // of each table
  std::vector<StatePlace<Address>> states;   // of each state
  std::vector<std::vector<Address>> inputs;  // of each entry point, of each input
};

/// The operand of a phase of entry point `entry_point` in layer `layer`. `weight_at(index, layer)`
/// is where a weight begins. The plan is verified.
template <typename Address, typename WeightAt>
Address operandAddress(const schema::Plan& plan, uint32_t entry_point,
                       const schema::Operand& operand, uint32_t layer,
                       const OperandPlaces<Address>& places, const WeightAt& weight_at) {
  const uint32_t i = operand.index();
  // The state's i-th pool is its i-th layer's, and that of the layers after it that have none.
  const auto poolOf = [&] {
    const auto& layers = *plan.states()->Get(i)->layers();
    return static_cast<uint64_t>(std::upper_bound(layers.begin(), layers.end(), layer) -
                                 layers.begin() - 1);
  };
  switch (operand.space()) {
    case schema::Space::arena:
      return places.arena +
             plan.entry_points()->Get(entry_point)->buffers()->Get(i)->offset_bytes() +
             uint64_t{layer} * operand.layer_columns() * sizeof(float);
    case schema::Space::weights: {
      const auto* planes = plan.weights()->Get(i)->planes();
      return weight_at(i, layer) + (planes ? planes->Get(operand.plane())->offset_bytes() : 0);
    }
    case schema::Space::keys:
    case schema::Space::recurrent:
    case schema::Space::kept:
      return places.states[i].keys + poolOf() * places.states[i].key_layer_bytes;
    case schema::Space::values:
      return places.states[i].values + poolOf() * places.states[i].value_layer_bytes;
    case schema::Space::rope:
      return places.rope[i];
    case schema::Space::input:
      return places.inputs[entry_point][i];
    case schema::Space::block_table:
    case schema::Space::slots:
      return places.states[i].table;
  }
  return {};  // verified: no other space
}

}  // namespace llmrt
