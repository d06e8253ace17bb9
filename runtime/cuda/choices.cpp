// The choice of tokens on a GPU: a step goes on from the one before, while the host looks on.
#include <fmt/format.h>

#include <algorithm>

#include "runtime/cuda/session.h"
#include "runtime/executor/finite_check.h"
#include "runtime/schema/plan_generated.h"

namespace llmrt::cuda {
namespace {

/// llmc_sample's phases: which of them an option needs.
constexpr uint32_t kTopKPhases = 0b110, kTopPPhases = 0b111000, kDrawPhase = 0b1000000;

uint32_t phasesOf(const SamplerState& s) {
  if (s.temperature == 0) return 1;
  return 1 | kDrawPhase | (s.top_k > 0 ? kTopKPhases : 0) | (s.top_p > 0 ? kTopPPhases : 0);
}

}  // namespace

Status CudaSession::queueChoices(uint32_t entry_point, const Step& step,
                                 std::span<const Choice> choices, bool follows) {
  if (follows) {
    LLMRT_RETURN_IF_ERROR(uploadTables());
  } else {
    LLMRT_RETURN_IF_ERROR(device_.use());
    LLMRT_RETURN_IF_ERROR(wait());
    LLMRT_RETURN_IF_ERROR(startChoosing(entry_point, choices));
    LLMRT_RETURN_IF_ERROR(uploadStep(entry_point, step));
    choice_phases_ = choosesEveryRow(step, choices) ? choices_[0].phases : 0;
  }
  LLMRT_RETURN_IF_ERROR(start(shapeOf(entry_point, step, choice_phases_)));
  return choice_phases_ == 0 ? launchChoices() : Status();
}

bool CudaSession::choosesEveryRow(const Step& step, std::span<const Choice> choices) const {
  const auto count = static_cast<int64_t>(choices.size());
  if (count == 0 || count != step.counts.num_rows || count != step.counts.num_logits_rows)
    return false;
  for (int32_t i = 0; i < count; ++i) {
    const auto at = static_cast<size_t>(i);
    if (choices[at].row != i || choices[at].logits_row != i ||
        choices_[at].phases != choices_[0].phases)
      return false;
  }
  return true;
}

Result<uint64_t> CudaSession::inputAddress(uint32_t entry_point, std::string_view name) const {
  const schema::EntryPoint& entry = *plan_.schema().entry_points()->Get(entry_point);
  for (uint32_t i = 0; entry.inputs() && i < entry.inputs()->size(); ++i)
    if (entry.inputs()->Get(i)->name()->string_view() == name)
      return session_memory_.address() + places_.inputs + inputs_[entry_point].offsets[i];
  return unsupported(fmt::format("{}: entry point {} takes no {}, so no device can go on by itself",
                                 plan_.path(), entry.name()->string_view(), name));
}

Status CudaSession::startChoosing(uint32_t entry_point, std::span<const Choice> choices) {
  const schema::EntryPoint& entry = *plan_.schema().entry_points()->Get(entry_point);
  LLMRT_ASSIGN_OR_RETURN(const uint64_t token_id, inputAddress(entry_point, "token_id"));
  LLMRT_ASSIGN_OR_RETURN(const uint64_t pos, inputAddress(entry_point, "pos"));
  uint64_t logits = 0, row_bytes = 0;  // verified: one of the outputs of a step that wants logits
  for (const schema::Output* output : *entry.outputs()) {
    if (output->name()->string_view() != "logits") continue;
    const schema::Buffer& buffer = *entry.buffers()->Get(output->buffer());
    logits = session_memory_.address() + places_.arena + buffer.offset_bytes();
    row_bytes = uint64_t{buffer.row_stride()} * sizeof(float);
  }
  choices_.clear();
  chosen_taken_ = 0;
  for (const Choice& c : choices) {
    const SamplerState state = c.chooser->state();
    choices_.push_back({token_id + static_cast<uint64_t>(c.row) * sizeof(int32_t),
                        pos + static_cast<uint64_t>(c.row) * sizeof(int32_t),
                        logits + static_cast<uint64_t>(c.logits_row) * row_bytes, phasesOf(state)});
    LLMRT_RETURN_IF_ERROR(uploadSampler(choices_.size() - 1, state));
  }
  return {};
}

Status CudaSession::uploadSampler(size_t i, const SamplerState& from) {
  ChoiceMail& m = *mail(i);
  std::fill(std::begin(m.ring), std::end(m.ring), UINT64_MAX);
  m.options = {};
  m.options.seed = from.seed;
  m.options.position = from.position;
  m.options.top_p = from.top_p;
  m.options.min_weight = from.min_weight;
  m.options.repetition_penalty = from.repetition_penalty;
  m.options.temperature = from.temperature;
  // Of a greedy choice the first phase is the last: nothing is counted.
  m.options.top_k = from.temperature > 0 ? from.top_k : 0;
  // What lies behind the options is zero at first, and the kernel leaves it as it needs it.
  const uint64_t base = session_memory_.address();
  LLMRT_CUDA_CHECK(driver_,
                   driver_.copy_to_device(base + places_.sample + i * places_.sample_bytes,
                                          &m.options, sizeof m.options, stream_.get()),
                   "starting to decode");
  // Of no consequence where nothing is penalized: times 1, or over 1.
  if (from.repetition_penalty == 1) return {};
  std::copy(from.seen.begin(), from.seen.end(), m.seen());
  return driver_.check(driver_.copy_to_device(base + places_.seen + i * places_.seen_bytes,
                                              m.seen(), from.seen.size(), stream_.get()),
                       "starting to decode");
}

LlmcCudaSample CudaSession::sampleArgument(size_t choice, int phase) const {
  const BoundChoice& c = choices_[choice];
  const uint64_t base = session_memory_.address();
  return {c.logits,
          c.token_id,
          c.pos,
          base + places_.sample + choice * places_.sample_bytes,
          base + places_.seen + choice * places_.seen_bytes,
          reinterpret_cast<uint64_t>(mail(choice)->ring),
          plan_.vocabSize(),
          phase};
}

Status CudaSession::takeChoices(std::span<int32_t> chosen) {
  LLMRT_RETURN_IF_ERROR(device_.use());
  // The host is told through its own memory: that is microseconds sooner than the stream's end.
  constexpr int kLooks = 1 << 12;
  const uint32_t step = chosen_taken_++;
  bool ended = false;
  for (size_t i = 0; i < choices_.size(); ++i) {
    const volatile uint64_t& told = mail(i)->ring[step % LLMC_CUDA_RING];
    int looks = 0;
    while (told >> 32 != step) {
      if (++looks < kLooks) continue;
      if (ended) return internalError("a step on " + device_.name() + " ended without a token");
      const CuResult result = driver_.stream_query(stream_.get());
      if (result != kCuNotReady) LLMRT_CUDA_CHECK(driver_, result, "a step on " + device_.name());
      ended = result == 0;
      looks = 0;
    }
    const auto id = static_cast<uint32_t>(told);
    if (id == LLMC_CUDA_NOT_FINITE) return notFiniteLogits(plan_.path(), "");
    chosen[i] = static_cast<int32_t>(id);
  }
  return {};
}

Status CudaSession::wait() const {
  LLMRT_RETURN_IF_ERROR(device_.use());
  return driver_.check(driver_.stream_synchronize(stream_.get()), "a step on " + device_.name());
}

}  // namespace llmrt::cuda
