// Proves a schedule: that walking its phases in order computes what they say, in memory that is
// there, and ends.
//
// The proof is by walking: the phases of an entry point once in program order, the phases of a
// section of layers twice, since all its layers look alike and the second differs from the first
// only in what it finds in the arena. The walk knows of every buffer whether it holds what was last
// written to it. A read of a buffer that was never written, or whose bytes another buffer has taken
// since, is an error, and so is a phase that writes bytes it also reads, as its tiles run at the
// same time. Hence
//   - every read of the arena and of a layer's keys and values follows its write (a commit may also
//     move what an earlier step wrote; recurrent states carry over, so they are read before they
//     are written),
//   - a step of a prompt or of decoding writes every state that sequences carry in each of its
//     layers; a verify step all keys and values, no recurrent state, and all that a commit reads;
//     a commit step all keys and values and recurrent states,
//   - two buffers whose lives overlap share no byte,
//   - no buffer is overwritten between its write and its last read, nor from layer to layer,
//   - all outputs are written and still there at the end, logits among them where tokens are
//     chosen,
//   - all offsets lie in the arena and all indices in their lists; layers use their own weights and
//     states, or read keys and values that a layer before them has written in this step; where a
//     buffer has columns for each layer, the layer's are there,
//   - every layer of the model runs once, in ascending order; in a step of kind mtp the one of its
//     block, which alone touches that block's states and writes all of them,
//   - the walk ends: lists are finite, tiles are counted.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/io/status.h"

namespace llmrt {

namespace schema {
struct EntryPointT;
struct Plan;
enum class StateKind : int8_t;
}  // namespace schema

/// Layers [first, first + count); count 0: not per layer.
struct LayerRange {
  uint32_t first = 0, count = 0;
};

/// What a sequence carries (plan.fbs: State), as far as a schedule can be wrong about it.
struct ScheduleState {
  schema::StateKind kind{};
  uint32_t rows = 0;             // of kept ones
  std::vector<uint32_t> layers;  // ascending
  bool mtp = false;
};

/// What a schedule refers to.
struct ScheduleContext {
  uint32_t num_layers = 0;
  uint32_t vocab_size = 0;
  uint32_t max_batch = 1;
  uint32_t num_kernels = 0;
  uint32_t num_rope_tables = 0;
  std::vector<LayerRange> weights;
  std::vector<ScheduleState> states;
};

/// Ok, or invalidData with one line that names the phase and the buffer.
Status checkSchedule(const schema::EntryPointT& entry, const ScheduleContext& context);

/// checkSchedule() of every entry point of a plan whose structure FlatBuffers has verified.
Status checkSchedules(const schema::Plan& plan);

}  // namespace llmrt
