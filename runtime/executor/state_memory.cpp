#include "runtime/executor/state_memory.h"

#include <cstring>
#include <utility>

#include "runtime/schema/plan_generated.h"

namespace llmrt {
namespace {

SlotPool slotsOf(const schema::State& state, int64_t max_batch) {
  return {state, state.kind() == schema::StateKind::kept ? int64_t{state.rows()} : max_batch};
}

}  // namespace

StateMemory::Bytes StateMemory::bytesNeeded(const schema::Plan& plan, int64_t max_batch,
                                            std::span<const int64_t> num_blocks) {
  Bytes bytes;
  for (uint32_t i = 0; plan.states() && i < plan.states()->size(); ++i) {
    const schema::State& state = *plan.states()->Get(i);
    const double layers = state.layers()->size();
    // Verified sizes are far from 64 bits, but not so their products for many sequences.
    if (state.kind() != schema::StateKind::kv) {
      bytes.recurrent += layers * static_cast<double>(slotsOf(state, max_batch).layer_bytes);
      continue;
    }
    const KvPool pool(state, 1);
    bytes.kv += layers * static_cast<double>(num_blocks[i]) *
                static_cast<double>(pool.key_block_bytes + pool.value_block_bytes);
  }
  return bytes;
}

StateMemory::StateMemory(const schema::Plan& plan, int64_t max_batch,
                         std::span<const int64_t> num_blocks, uint8_t*& next) {
  const auto take = [&next](uint64_t bytes) { return std::exchange(next, next + bytes); };
  for (uint32_t i = 0; plan.states() && i < plan.states()->size(); ++i) {
    const schema::State& of_plan = *plan.states()->Get(i);
    State& state = states_.emplace_back();
    if (of_plan.kind() != schema::StateKind::kv) {
      state.slots = slotsOf(of_plan, max_batch);
      state.slots->slots = take(state.slots->bytes());
      state.is_kept = of_plan.kind() == schema::StateKind::kept;
    } else {
      state.kv.emplace(of_plan, num_blocks[i]);
      state.kv->keys = take(state.kv->key_layer_bytes * state.kv->num_layers);
      state.kv->values = take(state.kv->value_layer_bytes * state.kv->num_layers);
    }
  }
}

std::vector<StatePlace<uint8_t*>> StateMemory::places(
    std::span<const int32_t* const> tables) const {
  std::vector<StatePlace<uint8_t*>> places;
  for (size_t i = 0; i < states_.size(); ++i) {
    const State& state = states_[i];
    // Kernels take all operands as void*; the plan's verifier has seen that tables are only read.
    auto* const table = const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(tables[i]));
    if (state.slots) {
      places.push_back({state.slots->slots, nullptr, state.slots->layer_bytes, 0, table});
    } else {
      places.push_back({state.kv->keys, state.kv->values, state.kv->key_layer_bytes,
                        state.kv->value_layer_bytes, table});
    }
  }
  return places;
}

template <typename Body>
void StateMemory::forSlots(int32_t seq, Body&& body) const {
  for (const State& state : states_) {
    if (!state.slots || state.is_kept) continue;
    const SlotPool& pool = *state.slots;
    for (uint32_t l = 0; l < pool.num_layers; ++l)
      body(pool.slots + l * pool.layer_bytes + static_cast<uint64_t>(seq) * pool.slot_bytes,
           pool.slot_bytes);
  }
}

void StateMemory::clearSlots(int32_t seq) {
  forSlots(seq, [](uint8_t* slot, uint64_t bytes) { std::memset(slot, 0, bytes); });
}

void StateMemory::readSlots(int32_t seq, std::span<uint8_t> out) const {
  uint8_t* next = out.data();
  forSlots(seq, [&](const uint8_t* slot, uint64_t bytes) {
    std::memcpy(next, slot, bytes);
    next += bytes;
  });
}

void StateMemory::writeSlots(int32_t seq, std::span<const uint8_t> from) {
  const uint8_t* next = from.data();
  forSlots(seq, [&](uint8_t* slot, uint64_t bytes) {
    std::memcpy(slot, next, bytes);
    next += bytes;
  });
}

}  // namespace llmrt
