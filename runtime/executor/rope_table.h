// Tables of cos and sin, made when an executor is.
#pragma once

#include <cstdint>

namespace llmrt {

namespace schema {
struct Plan;
struct RopeTable;
}  // namespace schema

uint64_t ropeTableBytes(const schema::RopeTable& table, int64_t max_seq_len);

/// Fills [max_seq_len, 2, half] with cos and sin of a RopeTable, computed in double, rounded to
/// f32.
void fillRopeTable(const schema::Plan& plan, uint32_t table, int64_t max_seq_len, float* out);

}  // namespace llmrt
