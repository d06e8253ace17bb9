// Of a step on CPUs whose logits are not finite: which op made the first such number.
#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "runtime/executor/cpu_executor.h"
#include "runtime/executor/finite_check.h"
#include "runtime/executor/input_layout.h"
#include "runtime/schema/plan_generated.h"
#include "runtime/schema/same_case.h"

namespace llmrt {

Status CpuExecutor::explainNotFinite() {
  // A step depends on its rows and what is cached before them alone: a second run does the same.
  // Not so where states go on in place.
  const auto* states = plan_.schema().states();
  if (states && std::any_of(states->begin(), states->end(), [](const schema::State* state) {
        return state->kind() == schema::StateKind::recurrent;
      }))
    return notFiniteLogits(plan_.path(), "");
  const std::vector<BoundPhase>& phases = schedules_[running()].phases();
  first_not_finite_ = phases.size();
  looks_for_not_finite_ = true;
  team_->run([](void* self, int worker) { static_cast<CpuExecutor*>(self)->runPhases(worker); },
             this);
  looks_for_not_finite_ = false;
  if (first_not_finite_ == phases.size()) return notFiniteLogits(plan_.path(), "");
  const BoundPhase& bound = phases[first_not_finite_];
  const schema::Section& section = *entry().sections()->Get(bound.section);
  std::string op = section.phases()->Get(bound.phase)->op()->str();
  if (section.is_layers()) op += fmt::format(" of layer {}", bound.layer);
  return notFiniteLogits(plan_.path(), op);
}

bool CpuExecutor::wroteFinite(const BoundPhase& bound) const {
  const auto* operands =
      entry().sections()->Get(bound.section)->phases()->Get(bound.phase)->operands();
  for (uint32_t k = 0; operands && k < operands->size(); ++k) {
    const schema::Operand& operand = *operands->Get(k);
    if (operand.access() == schema::Access::read) continue;
    const bool finite = operand.space() == schema::Space::arena
                            ? wroteFiniteRows(*entry().buffers()->Get(operand.index()), bound, k)
                            : wroteFiniteKeys(operand, bound, k);
    if (!finite) return false;
  }
  return true;
}

bool CpuExecutor::wroteFiniteRows(const schema::Buffer& buffer, const BoundPhase& bound,
                                  uint32_t k) const {
  const auto* const bytes = static_cast<const uint8_t*>(bound.operands[k]);
  const auto dtype = sameCase<DType>(buffer.dtype());
  const int64_t stride = buffer.row_stride() * dtypeBytes(dtype);
  for (int64_t row = 0; row < std::min<int64_t>(bound.numRows(counts()), buffer.rows()); ++row)
    if (!allFinite(dtype, bytes + row * stride, buffer.width())) return false;
  return true;
}

// Keys or values: the whole blocks that hold the step's rows. Tokens that were not written are zero
// there.
bool CpuExecutor::wroteFiniteKeys(const schema::Operand& operand, const BoundPhase& bound,
                                  uint32_t k) const {
  // Who writes keys reads where they go.
  const int32_t* const seq = input("seq");
  const int32_t* const slot = input("slot") ? input("slot") : input("pos");
  if (!slot) return true;
  const auto* const bytes = static_cast<const uint8_t*>(bound.operands[k]);
  const KvPool& pool = states_->kvPool(operand.index());
  const uint64_t block_bytes =
      operand.space() == schema::Space::keys ? pool.key_block_bytes : pool.value_block_bytes;
  const auto dtype = sameCase<DType>(plan_.schema().states()->Get(operand.index())->dtype());
  for (int64_t row = 0; row < counts().num_rows; ++row) {
    const int64_t entry =
        (seq ? seq[row] * counts().blocks_per_seq : 0) + slot[row] / LLMC_KV_BLOCK_TOKENS;
    const auto block = static_cast<uint64_t>(options_.tables[operand.index()][entry]);
    if (!allFinite(dtype, bytes + block * block_bytes, block_bytes / pool.element_bytes))
      return false;
  }
  return true;
}

const int32_t* CpuExecutor::input(std::string_view name) const {
  const InputLayout layout(entry(), options_.max_batch);
  for (uint32_t i = 0; entry().inputs() && i < entry().inputs()->size(); ++i)
    if (entry().inputs()->Get(i)->name()->string_view() == name)
      return reinterpret_cast<const int32_t*>(options_.inputs[running()] + layout.offsets[i]);
  return nullptr;
}

}  // namespace llmrt
