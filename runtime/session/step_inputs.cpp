#include "runtime/session/step_inputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "runtime/io/printable.h"
#include "runtime/schema/plan_generated.h"
#include "runtime/schema/same_case.h"

namespace llmrt {

/// An input that follows from a step's rows. One of f32 is as wide as the plan says.
struct StepInputs::Source {
  std::string_view name;
  schema::Axis axis;
  Fill fill;
  DType dtype = DType::kI32;
};

namespace {

/// value(i) of the i-th row.
template <typename Value>
void fillRows(const StepRows& rows, uint8_t* out, Value&& value) {
  auto* const values = reinterpret_cast<int32_t*>(out);
  for (size_t i = 0; i < rows.tokens.size(); ++i) values[i] = value(i);
}
void fillFrom(const StepRows& rows, uint8_t* out, const int32_t* from) {
  if (from) std::copy_n(from, rows.tokens.size(), reinterpret_cast<int32_t*>(out));
}

}  // namespace

const StepInputs::Source* StepInputs::sourceOf(std::string_view name) {
  // One more input of this kind is one more entry here.
  static constexpr Source kSources[] = {
      {"token_id", schema::Axis::row,
       [](const StepRows& rows, uint8_t* out) {
         fillRows(rows, out, [&](size_t i) { return rows.tokens[i].token; });
       }},
      {"pos", schema::Axis::row,
       [](const StepRows& rows, uint8_t* out) { fillFrom(rows, out, rows.pos); }},
      {"slot", schema::Axis::row,
       [](const StepRows& rows, uint8_t* out) {
         fillFrom(rows, out, rows.slot ? rows.slot : rows.pos);
       }},
      {"parent", schema::Axis::row,
       [](const StepRows& rows, uint8_t* out) { fillFrom(rows, out, rows.parent); }},
      {"kept_row", schema::Axis::row,
       [](const StepRows& rows, uint8_t* out) { fillFrom(rows, out, rows.kept_row); }},
      {"seq", schema::Axis::row,
       [](const StepRows& rows, uint8_t* out) {
         fillRows(rows, out, [&](size_t i) { return rows.tokens[i].seq; });
       }},
      {"logits_rows", schema::Axis::logits_row,
       [](const StepRows& rows, uint8_t* out) {
         std::copy(rows.logits_rows.begin(), rows.logits_rows.end(),
                   reinterpret_cast<int32_t*>(out));
       }},
      {"hidden", schema::Axis::row,
       [](const StepRows& rows, uint8_t* out) {
         std::copy(rows.hidden.begin(), rows.hidden.end(), reinterpret_cast<float*>(out));
       },
       DType::kF32},
  };
  for (const Source& source : kSources)
    if (source.name == name) return &source;
  return nullptr;
}

namespace {

std::string shapeText(DType dtype, schema::Axis axis, int64_t width) {
  return fmt::format("{} x {} by {}", width, dtypeName(dtype), schema::EnumNameAxis(axis));
}

}  // namespace

Status StepInputs::check(const schema::Plan& plan, std::span<const CallersInput> callers) {
  for (const schema::EntryPoint* entry : *plan.entry_points()) {
    for (uint32_t i = 0; entry->inputs() && i < entry->inputs()->size(); ++i) {
      const schema::Input& input = *entry->inputs()->Get(i);
      const std::string_view name = input.name()->string_view();
      const auto callers_input = std::find_if(callers.begin(), callers.end(),
                                              [&](const auto& c) { return c.name == name; });
      CallersInput given{"", DType::kI32, schema::Axis::row};
      if (callers_input != callers.end()) {
        given = *callers_input;
      } else if (const Source* source = sourceOf(name)) {
        given.axis = source->axis;
        given.dtype = source->dtype;
        if (source->dtype == DType::kF32) given.width = input.width();
      } else {
        return unsupported(
            fmt::format("entry point {} asks for the input {}, which this runtime does not know",
                        entry->name()->string_view(), quotedName(name)));
      }
      const auto dtype = sameCase<DType>(input.dtype());
      if (given.dtype != dtype || given.axis != input.axis() || given.width != input.width()) {
        return unsupported(fmt::format("entry point {} asks for the input {} as {}, it is {}",
                                       entry->name()->string_view(), quotedName(name),
                                       shapeText(dtype, input.axis(), input.width()),
                                       shapeText(given.dtype, given.axis, given.width)));
      }
    }
  }
  return {};
}

double StepInputs::bytesNeeded(const schema::Plan& plan, int64_t max_batch) {
  double bytes = 0;
  for (const schema::EntryPoint* entry : *plan.entry_points())
    bytes += static_cast<double>(InputLayout(*entry, max_batch).bytes);
  return bytes;
}

Result<StepInputs> StepInputs::create(const schema::Plan& plan, int64_t max_batch,
                                      std::span<const CallersInput> callers) {
  StepInputs inputs;
  LLMRT_ASSIGN_OR_RETURN(
      inputs.memory_, AnonymousMemory::allocate(static_cast<uint64_t>(bytesNeeded(plan, max_batch)),
                                                "the inputs of a step"));
  uint8_t* memory = inputs.memory_.data();
  for (const schema::EntryPoint* from : *plan.entry_points()) {
    Entry entry{from->name()->str(), InputLayout(*from, max_batch), memory, {}};
    memory += entry.layout.bytes;
    for (uint32_t i = 0; from->inputs() && i < from->inputs()->size(); ++i) {
      const schema::Input& input = *from->inputs()->Get(i);
      Input made{input.name()->str(), nullptr, input.axis(), elementBytes(input),
                 mostElements(input, *from, max_batch)};
      if (std::none_of(callers.begin(), callers.end(),
                       [&](const CallersInput& c) { return c.name == made.name; }))
        made.fill = sourceOf(made.name)->fill;
      entry.inputs.push_back(std::move(made));
    }
    inputs.entries_.push_back(std::move(entry));
  }
  return inputs;
}

Status StepInputs::set(std::string_view name, std::span<const std::byte> values) {
  struct Place {
    Input* input;
    uint8_t* data;
  };
  std::vector<Place> places;
  uint64_t most = 0;
  for (Entry& entry : entries_) {
    for (size_t i = 0; i < entry.inputs.size(); ++i) {
      Input& input = entry.inputs[i];
      if (input.name != name || input.fill) continue;
      places.push_back({&input, entry.data + entry.layout.offsets[i]});
      most = std::max(most, input.most);
    }
  }
  if (places.empty()) {
    return invalidArgument(
        fmt::format("no entry point of the plan has an input {} that is the session's user's to "
                    "fill in",
                    quotedName(name)));
  }
  // All have one shape: check() has seen it.
  const uint64_t element_bytes = places[0].input->element_bytes;
  const uint64_t count = values.size() / element_bytes;
  if (values.size() % element_bytes != 0 || count > most) {
    return invalidArgument(fmt::format("input {}: {} bytes are not 0 to {} elements of {} bytes",
                                       quotedName(name), values.size(), most, element_bytes));
  }
  for (const Place& place : places) {
    // An entry point of fewer rows cannot run what these are for.
    place.input->count = count <= place.input->most ? count : 0;
    if (place.input->count > 0) std::memcpy(place.data, values.data(), values.size());
  }
  return {};
}

Status StepInputs::fill(uint32_t entry_point, const StepRows& rows, const LlmcStep& step) {
  Entry& entry = entries_[entry_point];
  for (size_t i = 0; i < entry.inputs.size(); ++i) {
    const Input& input = entry.inputs[i];
    if (input.fill) {
      input.fill(rows, entry.data + entry.layout.offsets[i]);
      continue;
    }
    const auto wanted = static_cast<uint64_t>(countOf(input.axis, step));
    if (input.count != wanted) {
      return invalidArgument(
          fmt::format("input {} of entry point {} has values for {}, the step has {} by {}",
                      quotedName(input.name), entry.name, input.count, wanted,
                      schema::EnumNameAxis(input.axis)));
    }
  }
  return {};
}

}  // namespace llmrt
