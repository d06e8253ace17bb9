#include "runtime/schema/schedule_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "runtime/schema/checking.h"
#include "runtime/schema/plan_generated.h"

namespace llmrt {
namespace {

constexpr uint64_t kAlignment = 64;

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
    uint32_t next_layer = 0;
    for (section_ = 0; section_ < entry_.sections.size(); ++section_) {
      const schema::SectionT* section = entry_.sections[section_].get();
      LLMRT_CHECK(section, "section {} is missing", section_);
      if (section->is_layers) {
        LLMRT_CHECK(section->num_layers > 0 && section->first_layer == next_layer &&
                        section->first_layer <= context_.num_layers &&
                        section->num_layers <= context_.num_layers - section->first_layer,
                    "section {}: layers {} + {} after layer {} of a model of {}", section_,
                    section->first_layer, section->num_layers, next_layer, context_.num_layers);
        next_layer = section->first_layer + section->num_layers;
      } else {
        LLMRT_CHECK(section->num_layers == 1, "section {} is no layers and runs {} times", section_,
                    section->num_layers);
      }
      // A third walk would find what the second left, as the second writes what the first wrote.
      const uint32_t walks = std::min<uint32_t>(section->num_layers, 2);
      for (uint32_t i = 0; i < walks; ++i) {
        // Each layer has keys and values of its own.
        keys_written_.assign(context_.kv_groups.size(), false);
        values_written_.assign(context_.kv_groups.size(), false);
        for (phase_ = 0; phase_ < section->phases.size(); ++phase_) {
          LLMRT_CHECK(section->phases[phase_], "phase {} of section {} is missing", phase_,
                      section_);
          LLMRT_RETURN_IF_ERROR(runPhase(*section, *section->phases[phase_]));
        }
      }
    }
    LLMRT_CHECK(next_layer == context_.num_layers, "its sections run {} layers of {}", next_layer,
                context_.num_layers);
    return checkLogits();
  }

 private:
  Status checkBuffers() const {
    LLMRT_CHECK(entry_.max_rows > 0 && entry_.max_logits_rows > 0 &&
                    entry_.max_logits_rows <= entry_.max_rows,
                "{} wanted rows of {}", entry_.max_logits_rows, entry_.max_rows);
    for (size_t i = 0; i < entry_.buffers.size(); ++i) {
      LLMRT_CHECK(entry_.buffers[i], "buffer {} is missing", i);
      const schema::BufferT& b = *entry_.buffers[i];
      LLMRT_CHECK(b.width > 0 && b.width <= b.row_stride,
                  "buffer {}: width {} in a row stride of {}", b.name, b.width, b.row_stride);
      uint64_t bytes = 0;
      LLMRT_CHECK(
          b.rows > 0 &&
              !__builtin_mul_overflow(uint64_t{b.rows} * 4, uint64_t{b.row_stride}, &bytes) &&
              bytes <= b.bytes,
          "buffer {}: {} rows of {} floats in {} bytes", b.name, b.rows, b.row_stride, b.bytes);
      LLMRT_CHECK(b.offset_bytes % kAlignment == 0, "buffer {}: offset {} is not aligned to {}",
                  b.name, b.offset_bytes, kAlignment);
      LLMRT_CHECK(
          b.offset_bytes <= entry_.arena_bytes && b.bytes <= entry_.arena_bytes - b.offset_bytes,
          "buffer {}: {} bytes at {} end outside an arena of {}", b.name, b.bytes, b.offset_bytes,
          entry_.arena_bytes);
    }
    LLMRT_CHECK(entry_.logits_buffer < entry_.buffers.size(), "logits_buffer is {} of {} buffers",
                entry_.logits_buffer, entry_.buffers.size());
    const schema::BufferT& logits = *entry_.buffers[entry_.logits_buffer];
    LLMRT_CHECK(logits.width == context_.vocab_size, "logits are {} wide for a vocabulary of {}",
                logits.width, context_.vocab_size);
    return {};
  }

  Status runPhase(const schema::SectionT& section, const schema::PhaseT& phase) {
    LLMRT_CHECK(phase.kernel < context_.num_kernels, "{}: kernel {} of {}", nameOf(phase),
                phase.kernel, context_.num_kernels);
    LLMRT_CHECK(phase.tiles > 0, "{}: no tiles", nameOf(phase));
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
        return {};
      case schema::Space::weights:
        LLMRT_CHECK(i < context_.weights.size(), "{}: weight {} of {}", nameOf(phase), i,
                    context_.weights.size());
        LLMRT_CHECK(reads_only, "{}: writes weight {}", nameOf(phase), i);
        // A layer's weight is another one in each layer, one of no layer is used outside of them.
        LLMRT_CHECK(section.is_layers ? covers(context_.weights[i], section)
                                      : context_.weights[i].count == 0,
                    "{}: weight {} is not one of every layer of section {}", nameOf(phase), i,
                    section_);
        return {};
      case schema::Space::kv_keys:
      case schema::Space::kv_values:
        LLMRT_CHECK(i < context_.kv_groups.size(), "{}: KV group {} of {}", nameOf(phase), i,
                    context_.kv_groups.size());
        LLMRT_CHECK(covers(context_.kv_groups[i], section),
                    "{}: KV group {} does not hold every layer of section {}", nameOf(phase), i,
                    section_);
        return {};
      case schema::Space::rope:
        LLMRT_CHECK(i < context_.num_rope_tables, "{}: rope table {} of {}", nameOf(phase), i,
                    context_.num_rope_tables);
        LLMRT_CHECK(reads_only, "{}: writes rope table {}", nameOf(phase), i);
        return {};
    }
    return invalidData(fmt::format("{}: an operand's space is unknown", nameOf(phase)));
  }

  Status read(const schema::PhaseT& phase, const schema::OperandT& operand) const {
    if (operand.space == schema::Space::kv_keys || operand.space == schema::Space::kv_values) {
      const bool keys = operand.space == schema::Space::kv_keys;
      LLMRT_CHECK((keys ? keys_written_ : values_written_)[operand.index],
                  "{}: reads the {} of its layer before they are written", nameOf(phase),
                  keys ? "keys" : "values");
    }
    if (operand.space != schema::Space::arena) return {};
    const Content& content = contents_[operand.index];
    const schema::BufferT& buffer = *entry_.buffers[operand.index];
    // A phase on the wanted rows may read those alone.
    LLMRT_CHECK(phase.on_logits_rows || buffer.rows >= entry_.max_rows,
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
    if (operand.space == schema::Space::kv_keys) keys_written_[operand.index] = true;
    if (operand.space == schema::Space::kv_values) values_written_[operand.index] = true;
    if (operand.space != schema::Space::arena) return {};

    const schema::BufferT& buffer = *entry_.buffers[operand.index];
    const uint32_t rows = phase.on_logits_rows ? entry_.max_logits_rows : entry_.max_rows;
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

  Status checkLogits() const {
    const schema::BufferT& logits = *entry_.buffers[entry_.logits_buffer];
    const Content& content = contents_[entry_.logits_buffer];
    LLMRT_CHECK(content.written, "no phase writes the logits buffer {}", logits.name);
    LLMRT_CHECK(content.overwritten_by < 0, "at the end buffer {} has taken bytes of the logits {}",
                entry_.buffers[content.overwritten_by]->name, logits.name);
    return {};
  }

  bool overlap(size_t a, size_t b) const {
    const schema::BufferT &x = *entry_.buffers[a], &y = *entry_.buffers[b];
    return x.offset_bytes < y.offset_bytes + y.bytes && y.offset_bytes < x.offset_bytes + x.bytes;
  }

  static bool covers(const LayerRange& range, const schema::SectionT& section) {
    return section.is_layers && section.first_layer >= range.first &&
           uint64_t{section.first_layer} - range.first + section.num_layers <= range.count;
  }

  std::string nameOf(const schema::PhaseT& phase) const {
    return fmt::format("section {} phase {} ({})", section_, phase_, phase.op);
  }

  const schema::EntryPointT& entry_;
  const ScheduleContext& context_;
  std::vector<Content> contents_;                    // of each buffer
  std::vector<bool> keys_written_, values_written_;  // of each KV group, in the layer at hand
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
  context.num_kernels = sizeOf(plan.kernels());
  context.num_rope_tables = sizeOf(plan.rope_tables());
  for (uint32_t i = 0; i < sizeOf(plan.weights()); ++i) {
    const schema::Weight& w = *plan.weights()->Get(i);
    context.weights.push_back({w.first_layer(), w.num_layers()});
  }
  for (uint32_t i = 0; i < sizeOf(plan.kv_groups()); ++i) {
    const schema::KvGroup& g = *plan.kv_groups()->Get(i);
    context.kv_groups.push_back({g.first_layer(), g.num_layers()});
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
