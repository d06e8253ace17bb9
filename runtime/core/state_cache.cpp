#include "runtime/core/state_cache.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "runtime/core/device.h"
#include "runtime/core/operand_address.h"

namespace llmrt {
namespace {

SlotPool slotsOf(const schema::State& state, int64_t max_batch) {
  return {state, state.kind() == schema::StateKind::kept ? int64_t{state.rows()} : max_batch};
}

}  // namespace

StateCache::Bytes StateCache::bytesNeeded(const schema::Plan& plan, const StateCacheOptions& o) {
  Bytes bytes;
  for (uint32_t i = 0; plan.states() && i < plan.states()->size(); ++i) {
    const schema::State& state = *plan.states()->Get(i);
    const double layers = state.layers()->size();
    // Verified sizes are far from 64 bits, but not so their products for many sequences.
    if (state.kind() != schema::StateKind::kv) {
      bytes.recurrent += layers * static_cast<double>(slotsOf(state, o.max_batch).layer_bytes);
      continue;
    }
    const int64_t blocks =
        KvBlocks::blocksNeeded(o.max_batch, o.max_seq_len, state.window(), o.max_rows);
    const KvPool pool(state, 1);
    bytes.kv += layers * static_cast<double>(blocks) *
                static_cast<double>(pool.key_block_bytes + pool.value_block_bytes);
    bytes.blocks = std::max(bytes.blocks, static_cast<double>(blocks));
  }
  return bytes;
}

StateCache::StateCache(const schema::Plan& plan, const StateCacheOptions& o)
    : blocks_per_seq_((o.max_seq_len + LLMC_KV_BLOCK_TOKENS - 1) / LLMC_KV_BLOCK_TOKENS),
      is_used_(static_cast<size_t>(o.max_batch)) {
  for (uint32_t i = 0; plan.states() && i < plan.states()->size(); ++i) {
    const schema::State& of_plan = *plan.states()->Get(i);
    State state;
    if (of_plan.kind() == schema::StateKind::kept) {
      state.kept = slotsOf(of_plan, o.max_batch);
    } else if (of_plan.kind() == schema::StateKind::recurrent) {
      state.recurrent = slotsOf(of_plan, o.max_batch);
      slots_bytes_ += state.recurrent->num_layers * state.recurrent->slot_bytes;
      slots_.resize(is_used_.size());
    } else {
      state.blocks.emplace(o.max_batch, o.max_seq_len, of_plan.window(), o.max_rows);
      state.kv.emplace(of_plan, state.blocks->numBlocks());
    }
    states_.push_back(std::move(state));
  }
  std::iota(slots_.begin(), slots_.end(), 0);
  for (const State& state : states_)
    tables_.push_back(state.blocks ? state.blocks->tables() : slots_.data());
}

void StateCache::place(uint8_t*& next) {
  const auto take = [&next](uint64_t bytes) { return std::exchange(next, next + bytes); };
  for (State& state : states_) {
    if (SlotPool* const slots = state.slots()) {
      slots->slots = take(slots->bytes());
    } else {
      state.kv->keys = take(state.kv->key_layer_bytes * state.kv->num_layers);
      state.kv->values = take(state.kv->value_layer_bytes * state.kv->num_layers);
    }
  }
}

std::vector<StatePlace<uint8_t*>> StateCache::places() const {
  std::vector<StatePlace<uint8_t*>> places;
  for (size_t i = 0; i < states_.size(); ++i) {
    const State& state = states_[i];
    // Kernels take all operands as void*; the plan's verifier has seen that tables are only read.
    auto* const table = const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(tables_[i]));
    if (const SlotPool* const slots = state.slots()) {
      places.push_back({slots->slots, nullptr, slots->layer_bytes, 0, table});
    } else {
      places.push_back({state.kv->keys, state.kv->values, state.kv->key_layer_bytes,
                        state.kv->value_layer_bytes, table});
    }
  }
  return places;
}

std::vector<int64_t> StateCache::numBlocks() const {
  std::vector<int64_t> blocks;
  for (const State& state : states_) blocks.push_back(state.blocks ? state.blocks->numBlocks() : 0);
  return blocks;
}

Status StateCache::begin(int32_t seq, int64_t now, int64_t tokens) {
  if (hasRecurrent() && now == 0) {
    uint8_t& used = is_used_[static_cast<size_t>(seq)];
    if (used) LLMRT_RETURN_IF_ERROR(clearSlots(seq));
    used = 1;
  }
  for (State& state : states_) {
    if (!state.blocks) continue;
    // A device's kernels read no tokens that the sequence has not written.
    state.blocks->grow(seq, tokens, [&](int32_t block) {
      if (!device_) state.kv->clear(static_cast<uint64_t>(block), 0);
    });
  }
  return {};
}

void StateCache::pass(int32_t seq, int64_t tokens) {
  for (State& state : states_)
    if (state.blocks) state.blocks->pass(seq, tokens);
}

void StateCache::drop(int32_t seq, int64_t tokens) {
  const int64_t first = tokens % LLMC_KV_BLOCK_TOKENS;
  for (State& state : states_) {
    if (!state.blocks) continue;
    state.blocks->shrink(seq, tokens);
    // Else nothing that is dropped shares a block with what stays.
    if (!device_ && first > 0)
      state.kv->clear(static_cast<uint64_t>(state.blocks->block(seq, tokens)),
                      static_cast<uint64_t>(first));
  }
}

bool StateCache::holds(int32_t seq, int64_t tokens, int64_t now) const {
  return (tokens == now || !hasRecurrent()) && holdsKeys(seq, tokens);
}

bool StateCache::holdsKeys(int32_t seq, int64_t tokens) const {
  return std::all_of(states_.begin(), states_.end(), [&](const State& state) {
    return !state.blocks || state.blocks->holds(seq, tokens);
  });
}

void StateCache::reset(int32_t seq) {
  for (State& state : states_)
    if (state.blocks) state.blocks->shrink(seq, 0);
}

template <typename Body>
void StateCache::forSlots(int32_t seq, Body&& body) const {
  for (const State& state : states_) {
    if (!state.recurrent) continue;
    const SlotPool& pool = *state.recurrent;
    for (uint32_t l = 0; l < pool.num_layers; ++l)
      body(pool.slots + l * pool.layer_bytes + static_cast<uint64_t>(seq) * pool.slot_bytes,
           pool.slot_bytes);
  }
}

Status StateCache::clearSlots(int32_t seq) {
  if (device_) return device_->clearSlots(seq);
  forSlots(seq, [](uint8_t* slot, uint64_t bytes) { std::memset(slot, 0, bytes); });
  return {};
}

Status StateCache::readSlots(int32_t seq, std::span<uint8_t> out) const {
  if (device_) return device_->readSlots(seq, out);
  uint8_t* next = out.data();
  forSlots(seq, [&](const uint8_t* slot, uint64_t bytes) {
    std::memcpy(next, slot, bytes);
    next += bytes;
  });
  return {};
}

Status StateCache::writeSlots(int32_t seq, std::span<const uint8_t> from) {
  if (device_) return device_->writeSlots(seq, from);
  const uint8_t* next = from.data();
  forSlots(seq, [&](uint8_t* slot, uint64_t bytes) {
    std::memcpy(slot, next, bytes);
    next += bytes;
  });
  return {};
}

}  // namespace llmrt
