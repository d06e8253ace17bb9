// Tables of cos and sin.
#pragma once

#include <cstdint>

namespace llmrt {

namespace schema {
struct Plan;
struct RopeTable;
}  // namespace schema

uint64_t ropeTableBytes(const schema::RopeTable& table, int64_t max_seq_len);

/// Fills positions [first, end) of a RopeTable's [max_seq_len, 2, half] at `out`, with cos and sin
/// computed in double, rounded to f32.
void fillRopeTable(const schema::Plan& plan, uint32_t table, int64_t max_seq_len, int64_t first,
                   int64_t end, float* out);

}  // namespace llmrt
