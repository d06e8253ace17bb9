#include "runtime/executor/executor.h"

#include "runtime/executor/input_layout.h"
#include "runtime/schema/plan_generated.h"

namespace llmrt {

Executor::Executor(const Plan& plan) : plan_(plan) {
  for (const schema::EntryPoint* entry : *plan.schema().entry_points()) {
    int logits = -1;
    for (uint32_t i = 0; entry->outputs() && i < entry->outputs()->size(); ++i)
      if (entry->outputs()->Get(i)->name()->string_view() == "logits") logits = static_cast<int>(i);
    logits_output_.push_back(logits);
  }
}

const schema::EntryPoint& Executor::entry() const {
  return *plan_.schema().entry_points()->Get(running_);
}

Status Executor::run(uint32_t entry_point, const Step& step) {
  running_ = entry_point;
  counts_ = step.counts;
  has_outputs_ = false;
  LLMRT_RETURN_IF_ERROR(execute(entry_point, step));
  has_outputs_ = true;
  return {};
}

Status Executor::queueChoice(uint32_t entry_point, const Step& step, const SamplerState* first) {
  has_outputs_ = false;
  return queue(entry_point, step, first);
}

std::span<const float> Executor::logitsRow(int64_t i) const {
  if (i < 0 || i >= logitsRows()) return {};
  const auto index = static_cast<uint32_t>(logits_output_[running_]);
  const schema::Buffer& buffer =
      *entry().buffers()->Get(entry().outputs()->Get(index)->buffer());
  const auto* const logits = reinterpret_cast<const float*>(outputData(index));
  return {logits + i * buffer.row_stride(), static_cast<size_t>(plan_.vocabSize())};
}

std::span<const float> Executor::logits(int64_t i) const {
  return has_outputs_ ? logitsRow(i) : std::span<const float>();
}

StepOutput Executor::output(std::string_view name) const {
  if (!has_outputs_) return {};
  for (uint32_t i = 0; entry().outputs() && i < entry().outputs()->size(); ++i) {
    const schema::Output& output = *entry().outputs()->Get(i);
    if (output.name()->string_view() != name) continue;
    const schema::Buffer& buffer = *entry().buffers()->Get(output.buffer());
    const auto dtype = static_cast<DType>(buffer.dtype());
    return {outputData(i), dtype, countOf(output.axis(), counts_), buffer.width(),
            static_cast<uint64_t>(buffer.row_stride() * dtypeBytes(dtype))};
  }
  return {};
}

}  // namespace llmrt
