#include "runtime/executor/rope_table.h"

#include <cmath>

#include "runtime/schema/plan_generated.h"

namespace llmrt {

uint64_t ropeTableBytes(const schema::RopeTable& table, int64_t max_seq_len) {
  return static_cast<uint64_t>(max_seq_len) * 2 * table.inv_freq()->size() * sizeof(float);
}

void fillRopeTable(const schema::Plan& plan, uint32_t table, int64_t max_seq_len, int64_t first,
                   int64_t end, float* out) {
  const schema::RopeTable& t = *plan.rope_tables()->Get(table);
  const uint32_t half = t.inv_freq()->size();
  // One table for the life of the session: rotated keys cannot be turned again.
  const bool longer =
      t.long_inv_freq() && t.long_inv_freq()->size() == half && max_seq_len > t.long_above();
  const auto& inv_freq = longer ? *t.long_inv_freq() : *t.inv_freq();
  out += first * 2 * half;
  for (int64_t pos = first; pos < end; ++pos, out += 2 * half) {
    for (uint32_t k = 0; k < half; ++k) {
      const double angle = static_cast<double>(pos) * inv_freq.Get(k);
      out[k] = static_cast<float>(std::cos(angle) * t.scale());
      out[half + k] = static_cast<float>(std::sin(angle) * t.scale());
    }
  }
}

}  // namespace llmrt
