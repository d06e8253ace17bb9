// What a step must move and compute, from the plan's own figures: bytes and FLOPs to hold
// measurements against. The only formula: profiles, benchmarks and reports all ask it.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <span>
#include <string>

namespace llmrt {

namespace schema {
enum class StepKind : int8_t;
struct Plan;
struct Phase;
}  // namespace schema

struct Cost {
  double weight_bytes = 0;  // read once
  double kv_bytes = 0;      // read from the KV cache
  double flops = 0;
  double state_bytes = 0;  // of recurrent states, read and written

  double bytes() const { return weight_bytes + kv_bytes + state_bytes; }
  Cost& operator+=(const Cost& other);
  Cost operator*(double times) const;
};

/// What a step does for one sequence: rows with positions first_pos, first_pos + 1, ..., of which
/// the last `logits_rows` want logits.
struct SequenceRows {
  int64_t rows = 0, first_pos = 0, logits_rows = 0;
};

/// One layer of one phase, for a step of these sequences.
///
/// Weights are read once for all rows. Of experts those that some row chose: as many as are
/// expected when each row of the step chooses at random. The KV cache is read once a sequence:
/// every token that some row of it attends to, the step's own among them, counts once, and with a
/// window those that no row reaches do not count. (Kernels read whole blocks of tokens; what of a
/// block nobody attends to is not needed and not counted.) Recurrent states are read and written
/// once a sequence. Operations are counted per row and attended token.
Cost phaseCost(const schema::Phase& phase, std::span<const SequenceRows> step);

/// A whole step, through the entry point that selectEntryPoint() gives. There must be one.
Cost stepCost(const schema::Plan& plan, std::span<const SequenceRows> step);

/// All steps of a prompt of `tokens` that go in behind `first_pos` tokens, `chunk` at a time, and
/// of which the last wants logits.
Cost prefillCost(const schema::Plan& plan, int64_t first_pos, int64_t tokens, int64_t chunk);

/// FLOPs by the format of the weights they multiply (runtime/io/weight_format.h's names; of a
/// phase with several, by their sizes); under "" those of attention, norms and the like.
using FlopsByFormat = std::map<std::string, double>;
FlopsByFormat stepFlops(const schema::Plan& plan, std::span<const SequenceRows> step);
/// Of prefillCost()'s steps.
FlopsByFormat prefillFlops(const schema::Plan& plan, int64_t first_pos, int64_t tokens,
                           int64_t chunk);

/// The entry point of one of `kinds` that runs a step: the one of fewest max_rows that takes it; -1
/// when none does.
int selectEntryPoint(const schema::Plan& plan, int64_t rows, int64_t logits_rows,
                     std::initializer_list<schema::StepKind> kinds);
/// That of a prompt's tokens or of decoding.
int selectEntryPoint(const schema::Plan& plan, int64_t rows, int64_t logits_rows);

}  // namespace llmrt
