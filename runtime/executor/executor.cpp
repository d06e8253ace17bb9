#include "runtime/executor/executor.h"

#include <algorithm>
#include <utility>

#include "runtime/executor/input_layout.h"
#include "runtime/executor/token_chooser.h"
#include "runtime/schema/plan_generated.h"
#include "runtime/schema/same_case.h"

namespace llmrt {

Executor::Executor(const Plan& plan, int64_t max_choices) : plan_(plan), max_choices_(max_choices) {
  size_t most_logits_rows = 0;
  for (const schema::EntryPoint* entry : *plan.schema().entry_points()) {
    int logits = -1;
    for (uint32_t i = 0; entry->outputs() && i < entry->outputs()->size(); ++i)
      if (entry->outputs()->Get(i)->name()->string_view() == "logits") logits = static_cast<int>(i);
    logits_output_.push_back(logits);
    most_logits_rows = std::max<size_t>(most_logits_rows, entry->max_logits_rows());
  }
  choices_.reserve(most_logits_rows);
}

const schema::EntryPoint& Executor::entry() const {
  return *plan_.schema().entry_points()->Get(running_);
}

void Executor::begin(uint32_t entry_point, const Step& step) {
  running_ = entry_point;
  counts_ = step.counts;
  has_outputs_ = false;
}

Status Executor::readBlock(uint32_t, int32_t, std::span<uint8_t>) {
  return unsupported("blocks of this device are not read");
}

Status Executor::writeBlock(uint32_t, int32_t, std::span<const uint8_t>) {
  return unsupported("blocks of this device are not written");
}

Status Executor::run(uint32_t entry_point, const Step& step) {
  begin(entry_point, step);
  LLMRT_RETURN_IF_ERROR(execute(entry_point, step));
  has_outputs_ = true;
  return {};
}

bool Executor::isHosts(std::span<const Choice> choices, bool wants_outputs) const {
  // A step without choices is waited for: nobody would ask the device how it ended.
  return choices.empty() || wants_outputs || !choosesTokens() ||
         static_cast<int64_t>(choices.size()) > max_choices_ ||
         !std::all_of(choices.begin(), choices.end(),
                      [](const Choice& c) { return c.chooser->choosableElsewhere(); });
}

Status Executor::queue(uint32_t entry_point, const Step& step, std::span<const Choice> choices,
                       bool follows, bool wants_outputs) {
  if (isHosts(choices, wants_outputs)) {
    LLMRT_RETURN_IF_ERROR(run(entry_point, step));
    on_device_ = false;
  } else {
    begin(entry_point, step);
    // Of what the host chose the device has nothing. A step that fails may run in part: finish()
    // waits for it.
    const bool was_on_device = std::exchange(on_device_, true);
    LLMRT_RETURN_IF_ERROR(queueChoices(entry_point, step, choices, follows && was_on_device));
  }
  choices_.assign(choices.begin(), choices.end());
  return {};
}

Status Executor::take(std::span<int32_t> chosen) {
  if (!on_device_) {
    for (size_t i = 0; i < choices_.size(); ++i)
      chosen[i] = choices_[i].chooser->sample(logits(choices_[i].logits_row));
    return {};
  }
  LLMRT_RETURN_IF_ERROR(takeChoices(chosen));
  for (const Choice& c : choices_) c.chooser->sampledElsewhere();
  return {};
}

Status Executor::finish() { return on_device_ ? finishChoices() : Status(); }

Status Executor::queueChoices(uint32_t, const Step&, std::span<const Choice>, bool) {
  return internalError("this executor chooses no tokens");
}

Status Executor::takeChoices(std::span<int32_t>) {
  return internalError("this executor chooses no tokens");
}

std::span<const float> Executor::logitsRow(int64_t i) const {
  if (i < 0 || i >= logitsRows()) return {};
  const auto index = static_cast<uint32_t>(logits_output_[running_]);
  const schema::Buffer& buffer = *entry().buffers()->Get(entry().outputs()->Get(index)->buffer());
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
    const auto dtype = sameCase<DType>(buffer.dtype());
    return {outputData(i), dtype, countOf(output.axis(), counts_), buffer.width(),
            static_cast<uint64_t>(buffer.row_stride() * dtypeBytes(dtype))};
  }
  return {};
}

}  // namespace llmrt
