// What a step must move and compute, from the plan's own figures: bytes and FLOPs to hold
// measurements against.
#pragma once

#include <cstdint>
#include <initializer_list>

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

  double bytes() const { return weight_bytes + kv_bytes; }
  Cost& operator+=(const Cost& other);
};

/// One layer of one phase, for a step of `rows` rows of one sequence with positions first_pos,
/// first_pos + 1, ..., of which `logits_rows` want logits. A phase reads KV as far as its window
/// reaches, and of experts as many as its rows choose if each chooses at random.
Cost phaseCost(const schema::Phase& phase, int64_t rows, int64_t first_pos, int64_t logits_rows);

/// A whole step through entry point `entry_point`.
Cost stepCost(const schema::Plan& plan, uint32_t entry_point, int64_t rows, int64_t first_pos,
              int64_t logits_rows);

/// The entry point of one of `kinds` that runs a step: the one of fewest max_rows that takes it; -1
/// when none does.
int selectEntryPoint(const schema::Plan& plan, int64_t rows, int64_t logits_rows,
                     std::initializer_list<schema::StepKind> kinds);
/// That of a prompt's tokens or of decoding.
int selectEntryPoint(const schema::Plan& plan, int64_t rows, int64_t logits_rows);

}  // namespace llmrt
