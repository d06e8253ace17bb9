#include "runtime/executor/input_layout.h"

#include "runtime/executor/memory.h"
#include "runtime/io/weight_layout.h"
#include "runtime/schema/plan_generated.h"
#include "runtime/schema/same_case.h"

namespace llmrt {

int64_t countOf(schema::Axis axis, const LlmcStep& step) {
  switch (axis) {
    case schema::Axis::row:
      return step.num_rows;
    case schema::Axis::logits_row:
      return step.num_logits_rows;
    case schema::Axis::sequence:
      return step.num_sequences;
    case schema::Axis::step:
      return 1;
  }
  return 0;  // verified: no other axis
}

uint64_t mostElements(const schema::Input& input, const schema::EntryPoint& entry,
                      int64_t max_batch) {
  return static_cast<uint64_t>(countOf(input.axis(), {.num_rows = entry.max_rows(),
                                                      .num_logits_rows = entry.max_logits_rows(),
                                                      .num_sequences = max_batch}));
}

uint64_t elementBytes(const schema::Input& input) {
  return input.width() * static_cast<uint64_t>(dtypeBytes(sameCase<DType>(input.dtype())));
}

InputLayout::InputLayout(const schema::EntryPoint& entry, int64_t max_batch) {
  for (uint32_t i = 0; entry.inputs() && i < entry.inputs()->size(); ++i) {
    const schema::Input& input = *entry.inputs()->Get(i);
    offsets.push_back(bytes);
    bytes += alignUp(mostElements(input, entry, max_batch) * elementBytes(input));
  }
}

}  // namespace llmrt
