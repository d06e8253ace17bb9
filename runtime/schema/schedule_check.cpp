#include "runtime/schema/schedule_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string>

#include "runtime/schema/checking.h"
#include "runtime/schema/plan_generated.h"

namespace llmrt {
namespace {

constexpr uint64_t kAlignment = 64;

/// Which of a state the layer at hand has written. Slots and kept rows count as `keys`.
struct Written {
  bool keys = false, values = false;
};

/// The kind of state that an operand is of; `per_layer`: each layer has its own.
struct StateSpace {
  schema::StateKind kind;
  bool per_layer;
};
StateSpace stateSpaceOf(schema::Space space) {
  switch (space) {
    case schema::Space::recurrent:
      return {schema::StateKind::recurrent, true};
    case schema::Space::slots:
      return {schema::StateKind::recurrent, false};
    case schema::Space::kept:
      return {schema::StateKind::kept, true};
    default:
      return {schema::StateKind::kv, space != schema::Space::block_table};
  }
}

/// What a buffer's bytes are at a point of the walk.
struct Content {
  bool written = false;
  int64_t overwritten_by =
      -1;  // the buffer that took its bytes since; -1: none, it holds its value
};

class Walk {
 public:
  Walk(const schema::EntryPointT& entry, const ScheduleContext& context)
      : entry_(entry), context_(context), contents_(entry.buffers.size()) {}

  Status run() {
    LLMRT_RETURN_IF_ERROR(checkBuffers());
    LLMRT_RETURN_IF_ERROR(checkInputs());
    LLMRT_RETURN_IF_ERROR(checkOutputs());
    written_layers_.assign(context_.states.size(), 0);
    uint32_t next_layer = 0;
    for (section_ = 0; section_ < entry_.sections.size(); ++section_) {
      const schema::SectionT* section = entry_.sections[section_].get();
      LLMRT_CHECK(section, "section {} is missing", section_);
      if (section->is_layers) {
        LLMRT_CHECK(section->num_layers > 0 && section->first_layer == next_layer &&
                        section->first_layer <= numLayers() &&
                        section->num_layers <= numLayers() - section->first_layer,
                    "section {}: layers {} + {} after layer {} of a model of {}", section_,
                    section->first_layer, section->num_layers, next_layer, numLayers());
        next_layer = section->first_layer + section->num_layers;
      } else {
        LLMRT_CHECK(section->num_layers == 1, "section {} is no layers and runs {} times", section_,
                    section->num_layers);
      }
      // A third walk would find what the second left, as the second writes what the first wrote.
      const uint32_t walks = std::min<uint32_t>(section->num_layers, 2);
      for (uint32_t i = 0; i < walks; ++i) {
        written_.assign(context_.states.size(), {});  // each layer has a part of a state of its own
        for (phase_ = 0; phase_ < section->phases.size(); ++phase_) {
          LLMRT_CHECK(section->phases[phase_], "phase {} of section {} is missing", phase_,
                      section_);
          LLMRT_RETURN_IF_ERROR(runPhase(*section, *section->phases[phase_]));
        }
      }
      for (size_t i = 0; i < written_.size(); ++i)
        if (isWhole(i)) written_layers_[i] += section->num_layers;
    }
    LLMRT_CHECK(next_layer == numLayers(), "its sections run {} layers of {}", next_layer,
                numLayers());
    LLMRT_RETURN_IF_ERROR(checkStates());
    return checkWrittenOutputs();
  }

 private:
  Status checkBuffers() const {
    LLMRT_CHECK(entry_.kind >= schema::StepKind::MIN && entry_.kind <= schema::StepKind::MAX,
                "its kind is unknown");
    LLMRT_CHECK(entry_.max_rows > 0 && (entry_.max_logits_rows > 0 || !makesLogits()) &&
                    entry_.max_logits_rows <= entry_.max_rows,
                "{} wanted rows of {}", entry_.max_logits_rows, entry_.max_rows);
    for (size_t i = 0; i < entry_.buffers.size(); ++i) {
      LLMRT_CHECK(entry_.buffers[i], "buffer {} is missing", i);
      const schema::BufferT& b = *entry_.buffers[i];
      LLMRT_CHECK(b.width > 0 && b.width <= b.row_stride,
                  "buffer {}: width {} in a row stride of {}", b.name, b.width, b.row_stride);
      LLMRT_CHECK(isDType(b.dtype), "buffer {}: its dtype is unknown", b.name);
      uint64_t bytes = 0;
      LLMRT_CHECK(
          b.rows > 0 &&
              !__builtin_mul_overflow(b.rows * bytesOf(b.dtype), uint64_t{b.row_stride}, &bytes) &&
              bytes <= b.bytes,
          "buffer {}: {} rows of {} {} in {} bytes", b.name, b.rows, b.row_stride,
          schema::EnumNameDType(b.dtype), b.bytes);
      LLMRT_CHECK(b.offset_bytes % kAlignment == 0, "buffer {}: offset {} is not aligned to {}",
                  b.name, b.offset_bytes, kAlignment);
      LLMRT_CHECK(
          b.offset_bytes <= entry_.arena_bytes && b.bytes <= entry_.arena_bytes - b.offset_bytes,
          "buffer {}: {} bytes at {} end outside an arena of {}", b.name, b.bytes, b.offset_bytes,
          entry_.arena_bytes);
    }
    return {};
  }

  Status checkInputs() const {
    for (size_t i = 0; i < entry_.inputs.size(); ++i) {
      LLMRT_CHECK(entry_.inputs[i], "input {} is missing", i);
      const schema::InputT& input = *entry_.inputs[i];
      LLMRT_CHECK(isDType(input.dtype), "input {}: its dtype is unknown", input.name);
      LLMRT_CHECK(isAxis(input.axis), "input {}: its axis is unknown", input.name);
      LLMRT_CHECK(input.width > 0, "input {}: its width is 0", input.name);
      for (size_t j = 0; j < i; ++j)
        LLMRT_CHECK(entry_.inputs[j]->name != input.name, "two inputs are called {}", input.name);
    }
    return {};
  }

  Status checkOutputs() const {
    bool has_logits = false;
    for (size_t i = 0; i < entry_.outputs.size(); ++i) {
      LLMRT_CHECK(entry_.outputs[i], "output {} is missing", i);
      const schema::OutputT& output = *entry_.outputs[i];
      for (size_t j = 0; j < i; ++j)
        LLMRT_CHECK(entry_.outputs[j]->name != output.name, "two outputs are called {}",
                    output.name);
      LLMRT_CHECK(isAxis(output.axis), "output {}: its axis is unknown", output.name);
      LLMRT_CHECK(output.buffer < entry_.buffers.size(), "output {}: buffer {} of {}", output.name,
                  output.buffer, entry_.buffers.size());
      const schema::BufferT& buffer = *entry_.buffers[output.buffer];
      LLMRT_CHECK(buffer.rows >= countOf(output.axis), "output {}: {} rows in buffer {} of {}",
                  output.name, countOf(output.axis), buffer.name, buffer.rows);
      if (output.name != "logits") continue;
      has_logits = true;
      LLMRT_CHECK(buffer.width == context_.vocab_size, "logits are {} wide for a vocabulary of {}",
                  buffer.width, context_.vocab_size);
      LLMRT_CHECK(buffer.dtype == schema::DType::f32 && output.axis == schema::Axis::logits_row,
                  "logits are {} by {}, not f32 by logits_row", schema::EnumNameDType(buffer.dtype),
                  schema::EnumNameAxis(output.axis));
    }
    LLMRT_CHECK(has_logits || !makesLogits(), "no output is called logits");
    return {};
  }

  Status runPhase(const schema::SectionT& section, const schema::PhaseT& phase) {
    LLMRT_CHECK(phase.kernel < context_.num_kernels, "{}: kernel {} of {}", nameOf(phase),
                phase.kernel, context_.num_kernels);
    LLMRT_CHECK(phase.tiles > 0, "{}: no tiles", nameOf(phase));
    LLMRT_CHECK(isAxis(phase.axis), "{}: its axis is unknown", nameOf(phase));
    for (size_t i = 0; i < phase.operands.size(); ++i) {
      LLMRT_CHECK(phase.operands[i], "{}: operand {} is missing", nameOf(phase), i);
      LLMRT_RETURN_IF_ERROR(checkIndex(section, phase, *phase.operands[i]));
    }
    // All reads happen before any write is known to have happened.
    for (const auto& operand : phase.operands)
      if (operand->access != schema::Access::write) LLMRT_RETURN_IF_ERROR(read(phase, *operand));
    for (const auto& operand : phase.operands)
      if (operand->access != schema::Access::read) LLMRT_RETURN_IF_ERROR(write(phase, *operand));
    return {};
  }

  Status checkIndex(const schema::SectionT& section, const schema::PhaseT& phase,
                    const schema::OperandT& operand) const {
    const uint32_t i = operand.index;
    const bool reads_only = operand.access == schema::Access::read;
    LLMRT_CHECK(operand.access >= schema::Access::MIN && operand.access <= schema::Access::MAX,
                "{}: an operand's access is unknown", nameOf(phase));
    switch (operand.space) {
      case schema::Space::arena:
        LLMRT_CHECK(i < entry_.buffers.size(), "{}: buffer {} of {}", nameOf(phase), i,
                    entry_.buffers.size());
        return checkLayerColumns(section, phase, operand);
      case schema::Space::weights:
        LLMRT_CHECK(i < context_.weights.size(), "{}: weight {} of {}", nameOf(phase), i,
                    context_.weights.size());
        LLMRT_CHECK(reads_only, "{}: writes weight {}", nameOf(phase), i);
        // A layer's weight is another one in each layer, one of no layer is used outside of them;
        // an MTP block's are all of no layer.
        LLMRT_CHECK(section.is_layers && !guesses() ? covers(context_.weights[i], section)
                                                    : context_.weights[i].count == 0,
                    "{}: weight {} is not one of every layer of section {}", nameOf(phase), i,
                    section_);
        return {};
      case schema::Space::keys:
      case schema::Space::values:
      case schema::Space::block_table:
      case schema::Space::recurrent:
      case schema::Space::slots:
      case schema::Space::kept:
        return checkState(section, phase, operand);
      case schema::Space::input:
        LLMRT_CHECK(i < entry_.inputs.size(), "{}: input {} of {}", nameOf(phase), i,
                    entry_.inputs.size());
        LLMRT_CHECK(reads_only, "{}: writes input {}", nameOf(phase), entry_.inputs[i]->name);
        return {};
      case schema::Space::rope:
        LLMRT_CHECK(i < context_.num_rope_tables, "{}: rope table {} of {}", nameOf(phase), i,
                    context_.num_rope_tables);
        LLMRT_CHECK(reads_only, "{}: writes rope table {}", nameOf(phase), i);
        return {};
    }
    return invalidData(fmt::format("{}: an operand's space is unknown", nameOf(phase)));
  }

  /// A layer's own columns are there, and floats that the layers only read.
  Status checkLayerColumns(const schema::SectionT& section, const schema::PhaseT& phase,
                           const schema::OperandT& operand) const {
    if (operand.layer_columns == 0) return {};
    const schema::BufferT& buffer = *entry_.buffers[operand.index];
    LLMRT_CHECK(section.is_layers && operand.access == schema::Access::read &&
                    buffer.dtype == schema::DType::f32 &&
                    uint64_t{operand.layer_columns} * context_.num_layers <= buffer.width,
                "{}: {} columns of buffer {} of {} for each of {} layers", nameOf(phase),
                operand.layer_columns, buffer.name, buffer.width, context_.num_layers);
    return {};
  }

  Status checkState(const schema::SectionT& section, const schema::PhaseT& phase,
                    const schema::OperandT& operand) const {
    const uint32_t i = operand.index;
    LLMRT_CHECK(i < context_.states.size(), "{}: state {} of {}", nameOf(phase), i,
                context_.states.size());
    const ScheduleState& state = context_.states[i];
    const auto [kind, per_layer] = stateSpaceOf(operand.space);
    LLMRT_CHECK(state.kind == kind, "{}: state {} is of kind {}, the operand {} of kind {}",
                nameOf(phase), i, schema::EnumNameStateKind(state.kind),
                schema::EnumNameSpace(operand.space), schema::EnumNameStateKind(kind));
    const bool writes = operand.access != schema::Access::read;
    LLMRT_CHECK(state.mtp == guesses(), "{}: state {} is {} MTP block's", nameOf(phase), i,
                state.mtp ? "the" : "not the");
    LLMRT_CHECK(per_layer || !writes, "{}: writes the {} of state {}", nameOf(phase),
                kind == schema::StateKind::recurrent ? "slots' numbers" : "block table", i);
    const bool others = !writes && kind == schema::StateKind::kv && isBefore(state, section);
    LLMRT_CHECK(!per_layer || covers(state, section) || others,
                "{}: state {} is not one of every layer of section {}", nameOf(phase), i, section_);
    LLMRT_CHECK(
        kind != schema::StateKind::recurrent || !writes || entry_.kind != schema::StepKind::verify,
        "{}: writes recurrent state {}, which a verify step leaves as it is", nameOf(phase), i);
    if (kind != schema::StateKind::kept) return {};
    const auto its_kind = writes ? schema::StepKind::verify : schema::StepKind::commit;
    LLMRT_CHECK(operand.access != schema::Access::read_write && entry_.kind == its_kind,
                "{}: {} kept rows of state {}, which a verify step writes and a commit step reads",
                nameOf(phase), schema::EnumNameAccess(operand.access), i);
    LLMRT_CHECK(entry_.max_rows <= state.rows, "{}: state {} keeps {} rows of {}", nameOf(phase), i,
                state.rows, entry_.max_rows);
    return {};
  }

  Status read(const schema::PhaseT& phase, const schema::OperandT& operand) const {
    if (operand.space == schema::Space::keys || operand.space == schema::Space::values) {
      const bool keys = operand.space == schema::Space::keys;
      const Written& written = written_[operand.index];
      // What a verify step wrote is moved in place.
      const bool moves =
          entry_.kind == schema::StepKind::commit && operand.access == schema::Access::read_write;
      LLMRT_CHECK(
          (keys ? written.keys : written.values) || moves || wroteLayersBefore(operand.index),
          "{}: reads the {} of its layer before they are written", nameOf(phase),
          keys ? "keys" : "values");
    }
    if (operand.space != schema::Space::arena) return {};
    const Content& content = contents_[operand.index];
    const schema::BufferT& buffer = *entry_.buffers[operand.index];
    // A phase on the wanted rows, or on sequences, may read a few rows alone.
    LLMRT_CHECK(phase.axis != schema::Axis::row || buffer.rows >= entry_.max_rows,
                "{}: reads {} rows of buffer {} of {}", nameOf(phase), entry_.max_rows, buffer.name,
                buffer.rows);
    LLMRT_CHECK(content.written, "{}: reads buffer {} before it is written", nameOf(phase),
                buffer.name);
    LLMRT_CHECK(content.overwritten_by < 0,
                "{}: reads buffer {} after buffer {} has taken its bytes", nameOf(phase),
                buffer.name, entry_.buffers[content.overwritten_by]->name);
    return {};
  }

  Status write(const schema::PhaseT& phase, const schema::OperandT& operand) {
    if (operand.space == schema::Space::keys || operand.space == schema::Space::recurrent ||
        operand.space == schema::Space::kept)
      written_[operand.index].keys = true;
    if (operand.space == schema::Space::values) written_[operand.index].values = true;
    if (operand.space != schema::Space::arena) return {};

    const schema::BufferT& buffer = *entry_.buffers[operand.index];
    const uint32_t rows = countOf(phase.axis);
    LLMRT_CHECK(buffer.rows >= rows, "{}: writes {} rows to buffer {} of {}", nameOf(phase), rows,
                buffer.name, buffer.rows);
    for (const auto& other : phase.operands) {
      if (other.get() == &operand || other->space != schema::Space::arena) continue;
      LLMRT_CHECK(!overlap(operand.index, other->index),
                  "{}: writes buffer {} over bytes of its other operand {}", nameOf(phase),
                  buffer.name, entry_.buffers[other->index]->name);
    }
    for (size_t i = 0; i < contents_.size(); ++i)
      if (i != operand.index && overlap(operand.index, i))
        contents_[i].overwritten_by = operand.index;
    contents_[operand.index] = {.written = true};
    return {};
  }

  // What a step leaves out of a state the sequence would not carry.
  Status checkStates() const {
    for (size_t i = 0; i < context_.states.size(); ++i) {
      if (!writes(context_.states[i])) continue;
      LLMRT_CHECK(written_layers_[i] == context_.states[i].layers.size(),
                  "its phases write state {} in {} of its {} layers", i, written_layers_[i],
                  context_.states[i].layers.size());
    }
    return {};
  }

  Status checkWrittenOutputs() const {
    for (const auto& output : entry_.outputs) {
      const Content& content = contents_[output->buffer];
      LLMRT_CHECK(content.written, "no phase writes the output {}", output->name);
      LLMRT_CHECK(content.overwritten_by < 0,
                  "at the end buffer {} has taken bytes of the output {}",
                  entry_.buffers[content.overwritten_by]->name, output->name);
    }
    return {};
  }

  /// Whether a sequence goes on from what the step leaves.
  bool makesText() const {
    return entry_.kind == schema::StepKind::prefill || entry_.kind == schema::StepKind::decode;
  }
  bool makesLogits() const {
    return makesText() || guesses() || entry_.kind == schema::StepKind::verify;
  }
  bool guesses() const { return entry_.kind == schema::StepKind::mtp; }
  /// That its sections run: the model's, or the MTP block's.
  uint32_t numLayers() const { return guesses() ? 1 : context_.num_layers; }
  /// Whether the step must write the state: verify leaves keys and values, and what a commit makes
  /// of recurrent states; commit moves keys and values.
  bool writes(const ScheduleState& state) const {
    if (state.mtp || guesses()) return state.mtp && guesses();
    switch (entry_.kind) {
      case schema::StepKind::verify:
        return state.kind != schema::StateKind::recurrent;
      case schema::StepKind::commit:
        return state.kind != schema::StateKind::kept;
      default:
        return makesText() && state.kind != schema::StateKind::kept;
    }
  }

  /// Whether the layer at hand has written all its part of a state.
  bool isWhole(size_t state) const {
    const Written& w = written_[state];
    return w.keys && (w.values || context_.states[state].kind != schema::StateKind::kv);
  }

  /// The most there can be of an axis in a step.
  uint32_t countOf(schema::Axis axis) const {
    switch (axis) {
      case schema::Axis::row:
        return entry_.max_rows;
      case schema::Axis::logits_row:
        return entry_.max_logits_rows;
      case schema::Axis::sequence:
        return context_.max_batch;
      case schema::Axis::step:
        return 1;
    }
    return 0;  // isAxis() was asked
  }

  static bool isAxis(schema::Axis a) { return a >= schema::Axis::MIN && a <= schema::Axis::MAX; }
  static bool isDType(schema::DType t) {
    return t >= schema::DType::MIN && t < schema::DType::half_e8m0;
  }
  static uint64_t bytesOf(schema::DType t) {
    constexpr uint64_t kBytes[] = {4, 2, 2, 4, 1, 1};
    static_assert(std::size(kBytes) == static_cast<size_t>(schema::DType::half_e8m0));
    return kBytes[static_cast<size_t>(t)];
  }

  bool overlap(size_t a, size_t b) const {
    const schema::BufferT &x = *entry_.buffers[a], &y = *entry_.buffers[b];
    return x.offset_bytes < y.offset_bytes + y.bytes && y.offset_bytes < x.offset_bytes + x.bytes;
  }

  static bool covers(const LayerRange& range, const schema::SectionT& section) {
    return section.is_layers && section.first_layer >= range.first &&
           uint64_t{section.first_layer} - range.first + section.num_layers <= range.count;
  }

  static bool covers(const ScheduleState& state, const schema::SectionT& section) {
    const auto& layers = state.layers;
    const auto at = std::lower_bound(layers.begin(), layers.end(), section.first_layer);
    // Ascending: as many as the section has lie in between where both ends are there.
    const auto left = static_cast<size_t>(layers.end() - at);
    return section.is_layers && section.num_layers <= left && *at == section.first_layer &&
           at[section.num_layers - 1] == section.first_layer + section.num_layers - 1;
  }

  /// Whether none of the section's layers has the state, but one before them, whose part they read.
  static bool isBefore(const ScheduleState& state, const schema::SectionT& section) {
    const auto& layers = state.layers;
    const auto at = std::lower_bound(layers.begin(), layers.end(), section.first_layer);
    return section.is_layers && at != layers.begin() &&
           (at == layers.end() || *at - section.first_layer >= section.num_layers);
  }

  /// Whether the section at hand reads a part of an earlier layer's, and the step has written all
  /// of those.
  bool wroteLayersBefore(size_t state) const {
    const auto& layers = context_.states[state].layers;
    const schema::SectionT& section = *entry_.sections[section_];
    const auto at = std::lower_bound(layers.begin(), layers.end(), section.first_layer);
    return isBefore(context_.states[state], section) &&
           written_layers_[state] == static_cast<uint64_t>(at - layers.begin());
  }

  std::string nameOf(const schema::PhaseT& phase) const {
    return fmt::format("section {} phase {} ({})", section_, phase_, phase.op);
  }

  const schema::EntryPointT& entry_;
  const ScheduleContext& context_;
  std::vector<Content> contents_;         // of each buffer
  std::vector<Written> written_;          // of each state, in the layer at hand
  std::vector<uint64_t> written_layers_;  // of each state, in how many layers it is whole
  size_t section_ = 0, phase_ = 0;
};

}  // namespace

Status checkSchedule(const schema::EntryPointT& entry, const ScheduleContext& context) {
  return Walk(entry, context).run();
}

Status checkSchedules(const schema::Plan& plan) {
  LLMRT_CHECK(plan.model(), "model is missing");
  ScheduleContext context;
  context.num_layers = plan.model()->num_layers();
  context.vocab_size = plan.model()->vocab_size();
  context.max_batch = plan.model()->max_batch();
  context.num_kernels = sizeOf(plan.kernels());
  context.num_rope_tables = sizeOf(plan.rope_tables());
  for (uint32_t i = 0; i < sizeOf(plan.weights()); ++i) {
    const schema::Weight& w = *plan.weights()->Get(i);
    context.weights.push_back({w.first_layer(), w.num_layers()});
  }
  for (uint32_t i = 0; i < sizeOf(plan.states()); ++i) {
    const schema::State& state = *plan.states()->Get(i);
    ScheduleState of_context{state.kind(), state.rows(), {}, state.mtp()};
    if (state.layers()) of_context.layers.assign(state.layers()->begin(), state.layers()->end());
    context.states.push_back(std::move(of_context));
  }
  for (uint32_t i = 0; i < sizeOf(plan.entry_points()); ++i) {
    schema::EntryPointT entry;
    plan.entry_points()->Get(i)->UnPackTo(&entry);
    if (Status s = checkSchedule(entry, context); !s.ok())
      return std::move(s).withContext(fmt::format("entry point {}", entry.name));
  }
  return {};
}

}  // namespace llmrt
