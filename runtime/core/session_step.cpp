// A session's steps: their rows and inputs, the walk over the phases, and whether it ended well.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "runtime/core/cost.h"
#include "runtime/core/finite_check.h"
#include "runtime/core/session.h"
#include "runtime/io/printable.h"
#include "runtime/schema/plan_generated.h"

namespace llmrt {

Status Session::decodeAlone(int32_t seq, int32_t token, int64_t count, Sampler& sampler,
                            const std::function<bool(int32_t)>& on_token) {
  const StepToken first{seq, token, true};
  LLMRT_RETURN_IF_ERROR(check({&first, 1}, max_rows_));
  forgetTrees();
  count = std::min(count, options_.max_seq_len - kvLen(seq));
  if (device_) return decodeAloneOnDevice(first, count, sampler, on_token);
  for (int64_t i = 0; i < count; ++i) {
    LLMRT_RETURN_IF_ERROR(decode(seq, token));
    token = sampler.sample(logits());
    if (!on_token(token)) break;
  }
  num_logits_rows_ = 0;
  has_outputs_ = false;
  return {};
}

Status Session::decodeAloneOnDevice(const StepToken& first, int64_t count, Sampler& sampler,
                                    const std::function<bool(int32_t)>& on_token) {
  const auto entry = static_cast<uint32_t>(selectEntryPoint(plan_.schema(), 1, 1));
  int64_t& kv_len = kv_len_[static_cast<size_t>(first.seq)];
  const int64_t begin = kv_len;
  // One step ahead: the device never waits for the host to look at a token. What such a step writes
  // of keys and values the next one writes again; a recurrent state would have gone on.
  const int64_t ahead = states_.hasRecurrent() ? 1 : 2;
  int64_t queued = 0;
  const SamplerState state = sampler.state();
  num_logits_rows_ = 0;
  has_outputs_ = false;
  logits_rows_[0] = 0;
  rows_ = {{&first, 1}, pos_.data(), {logits_rows_.data(), 1}};
  step_ = {1, 1, options_.max_batch, states_.blocksPerSeq()};
  pos_[0] = static_cast<int32_t>(begin);
  LLMRT_RETURN_IF_ERROR(inputs_.fill(entry, rows_, step_));
  const auto steps = [&]() -> Status {
    for (int64_t taken = 0; taken < count; ++taken) {
      for (; queued < std::min(count, taken + ahead); ++queued) {
        pos_[0] = static_cast<int32_t>(begin + queued);
        LLMRT_RETURN_IF_ERROR(states_.begin(first.seq, pos_[0], pos_[0] + 1));
        LLMRT_RETURN_IF_ERROR(
            device_->queueChoice(entry, deviceStep(entry), queued == 0 ? &state : nullptr));
        profileStep(entry);
      }
      LLMRT_ASSIGN_OR_RETURN(const int32_t chosen, device_->takeChoice());
      sampler.sampledElsewhere();
      ++kv_len;
      ++num_changes_[static_cast<size_t>(first.seq)];
      states_.pass(first.seq, kv_len);
      if (!on_token(chosen)) break;
    }
    return {};
  };
  const Status status = steps();
  const Status finished = device_->finish();
  if (status.ok() && finished.ok()) {
    states_.drop(first.seq, kv_len);
  } else {
    undoStep(first.seq);
  }
  return status.ok() ? finished : status;
}

Status Session::check(std::span<const StepToken> tokens, int64_t max_rows) const {
  if (tokens.empty()) return invalidArgument("a step needs at least one token");
  if (static_cast<int64_t>(tokens.size()) > max_rows) {
    return invalidArgument(
        fmt::format("{} tokens in a step, the plan was compiled for {}", tokens.size(), max_rows));
  }
  std::fill(seen_.begin(), seen_.end(), uint8_t{0});
  int64_t in_sequence = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const StepToken& t = tokens[i];
    if (t.seq < 0 || t.seq >= options_.max_batch) {
      return invalidArgument(fmt::format("sequence {} of {}", t.seq, options_.max_batch));
    }
    if (t.token < 0 || t.token >= plan_.vocabSize()) {
      return invalidArgument(
          fmt::format("token id {} is not in the vocabulary of {}", t.token, plan_.vocabSize()));
    }
    if (i == 0 || t.seq != tokens[i - 1].seq) {
      if (std::exchange(seen_[static_cast<size_t>(t.seq)], uint8_t{1})) {
        return invalidArgument(fmt::format("tokens of sequence {} are not adjacent", t.seq));
      }
      in_sequence = 0;
    }
    if (kvLen(t.seq) + ++in_sequence > options_.max_seq_len) {
      return invalidArgument(
          fmt::format("the context is full: {} tokens (--max-seq-len)", options_.max_seq_len));
    }
  }
  return {};
}

Status Session::step(std::span<const StepToken> tokens) {
  return runStep(tokens, max_rows_, {schema::StepKind::prefill, schema::StepKind::decode});
}

Status Session::step(std::span<const StepToken> tokens, schema::StepKind kind) {
  if (kind != schema::StepKind::prefill && kind != schema::StepKind::decode &&
      kind != schema::StepKind::embed)
    return unsupported(
        fmt::format("a session runs no steps of kind {}", schema::EnumNameStepKind(kind)));
  return runStep(tokens, static_cast<int64_t>(pos_.size()), {kind});
}

Status Session::setInput(std::string_view name, std::span<const std::byte> values) {
  return inputs_.set(name, values);
}

Status Session::runStep(std::span<const StepToken> tokens, int64_t max_rows,
                        std::initializer_list<schema::StepKind> kinds) {
  LLMRT_RETURN_IF_ERROR(check(tokens, max_rows));
  forgetTrees();
  int64_t logits_rows = 0;
  for (const StepToken& t : tokens) logits_rows += t.want_logits;
  const auto count = static_cast<int64_t>(tokens.size());
  const int entry = selectEntryPoint(plan_.schema(), count, logits_rows, kinds);
  if (entry < 0) {
    return invalidArgument(
        fmt::format("{} wanted logits in a step of {} tokens: the plan was "
                    "compiled for {}",
                    logits_rows, tokens.size(), max_logits_rows_));
  }
  int64_t logits_row = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const StepToken& t = tokens[i];
    pos_[i] =
        i > 0 && t.seq == tokens[i - 1].seq ? pos_[i - 1] + 1 : static_cast<int32_t>(kvLen(t.seq));
    if (t.want_logits) logits_rows_[static_cast<size_t>(logits_row++)] = static_cast<int32_t>(i);
  }
  rows_ = {tokens, pos_.data(), {logits_rows_.data(), static_cast<size_t>(logits_rows)}};
  step_ = {count, logits_rows, options_.max_batch, states_.blocksPerSeq()};
  const Status status = runRows(static_cast<uint32_t>(entry));
  if (!status.ok()) {
    forSequences([&](int32_t seq, int64_t) { undoStep(seq); });
    return status;
  }
  keepRows();
  return {};
}

void Session::keepRows() {
  forSequences([&](int32_t seq, int64_t n) {
    kv_len_[static_cast<size_t>(seq)] += n;
    num_changes_[static_cast<size_t>(seq)] += static_cast<uint64_t>(n);
    states_.pass(seq, kvLen(seq));
  });
}

Status Session::runRows(uint32_t entry_point) {
  LLMRT_RETURN_IF_ERROR(inputs_.fill(entry_point, rows_, step_));
  Status status;
  forSequences([&](int32_t seq, int64_t n) {
    if (status.ok()) status = states_.begin(seq, kvLen(seq), kvLen(seq) + n);
  });
  return status.ok() ? execute(entry_point) : status;
}

void Session::undoStep(int32_t seq) {
  if (states_.hasRecurrent()) {
    reset(seq);
  } else {
    states_.drop(seq, kvLen(seq));
  }
}

DeviceStep Session::deviceStep(uint32_t entry_point) const {
  int64_t kv_len = 0;
  for (size_t i = 0; i < rows_.tokens.size(); ++i)
    kv_len = std::max<int64_t>(kv_len, rows_.pos[i] + 1);
  return {step_, inputs_.data(entry_point), states_.tables(), kv_len};
}

Status Session::execute(uint32_t entry_point) {
  const schema::EntryPoint& entry = *plan_.schema().entry_points()->Get(entry_point);
  running_ = entry_point;
  failure_.store(0, std::memory_order_relaxed);
  num_logits_rows_ = 0;
  has_outputs_ = false;
  const int logits = logits_output_[entry_point];
  if (logits >= 0) {
    const schema::Buffer& buffer =
        *entry.buffers()->Get(entry.outputs()->Get(static_cast<uint32_t>(logits))->buffer());
    logits_ = reinterpret_cast<const float*>(arena_ + buffer.offset_bytes());
    logits_stride_ = buffer.row_stride();
  }
  const int64_t logits_rows = logits < 0 ? 0 : step_.num_logits_rows;
  if (device_) {
    LLMRT_RETURN_IF_ERROR(device_->run(entry_point, deviceStep(entry_point)));
    profileStep(entry_point);
    if (logits >= 0)
      logits_ = reinterpret_cast<const float*>(device_->output(static_cast<uint32_t>(logits)));
    num_logits_rows_ = logits_rows;
    for (int64_t i = 0; i < logits_rows; ++i) {
      if (allFinite(this->logits(i))) continue;
      num_logits_rows_ = 0;
      return notFiniteLogits(plan_.path(), "");
    }
    has_outputs_ = true;
    return {};
  }
  finite_.store(true, std::memory_order_relaxed);
  team_->run([](void* self, int worker) { static_cast<Session*>(self)->runPhases(worker); }, this);
  if (const uint64_t failure = failure_.load(std::memory_order_relaxed)) {
    const BoundPhase& bound = schedules_[entry_point].phases()[failure >> 32];
    const schema::Phase& phase = *entry.sections()->Get(bound.section)->phases()->Get(bound.phase);
    const schema::Kernel& kernel = *plan_.schema().kernels()->Get(phase.kernel());
    return internalError(fmt::format("{}: kernel {} of layer {} returned {}", plan_.path(),
                                     quotedName(kernel.symbol()->string_view()), bound.layer,
                                     static_cast<int32_t>(failure)));
  }
  if (!finite_.load(std::memory_order_relaxed)) return explainNotFinite();
  num_logits_rows_ = logits_rows;
  has_outputs_ = true;
  profileStep(entry_point);
  return {};
}

void Session::profileStep(uint32_t entry_point) {
  if (!profile_) return;
  sequences_.clear();
  int64_t end = 0;
  size_t wanted = 0;
  forSequences([&](int32_t, int64_t n) {
    SequenceRows& s = sequences_.emplace_back(SequenceRows{n, rows_.pos[end], 0});
    end += n;
    for (; wanted < rows_.logits_rows.size() && rows_.logits_rows[wanted] < end; ++wanted)
      ++s.logits_rows;
  });
  profile_->addStep(entry_point, sequences_);
}

void Session::runPhases(int worker) {
  using Clock = std::chrono::steady_clock;
  const std::vector<BoundPhase>& phases = schedules_[running_].phases();
  void* const scratch = scratch_ + static_cast<uint64_t>(worker) * scratch_stride_;
  const bool timed = profile_ && worker == 0;
  Clock::time_point start;
  if (timed) start = Clock::now();
  for (size_t i = 0; i < phases.size(); ++i) {
    const BoundPhase& phase = phases[i];
    const int64_t tiles = phase.numTiles(step_);
    if (tiles == 0) continue;  // for every thread alike
    tile_shares_->forEach(tiles, phase.leastTiles(step_), worker, [&](int64_t begin, int64_t end) {
      if (failure_.load(std::memory_order_relaxed) != 0) return;
      const int32_t status = phase.kernel(&step_, phase.operands, begin, end, scratch);
      if (status != 0) {
        uint64_t none = 0;
        failure_.compare_exchange_strong(none, uint64_t{i} << 32 | static_cast<uint32_t>(status));
      }
    });
    // The next phase reads what other threads wrote in this one.
    team_->barrier();
    if (looks_for_not_finite_) {
      if (worker == 0 && i < first_not_finite_ && !wroteFinite(phase)) first_not_finite_ = i;
      team_->barrier();  // the next phase may write over what is looked at
    }
    if (timed) {
      const Clock::time_point now = Clock::now();
      profile_->addTime(running_, i, now - start);
      start = now;
    }
  }
  if (!looks_for_not_finite_ && !logitsAreFinite(worker))
    finite_.store(false, std::memory_order_relaxed);
}

bool Session::logitsAreFinite(int worker) const {
  if (logits_output_[running_] < 0) return true;
  const int64_t begin = plan_.vocabSize() * worker / team_->size(),
                end = plan_.vocabSize() * (worker + 1) / team_->size();
  for (int64_t row = 0; row < step_.num_logits_rows; ++row) {
    if (!allFinite({logits_ + row * logits_stride_ + begin, static_cast<size_t>(end - begin)}))
      return false;
  }
  return true;
}

Status Session::explainNotFinite() {
  // A step depends on its tokens and what is cached before them alone: a second run does the same.
  // Not so where states go on in place.
  if (states_.hasRecurrent()) return notFiniteLogits(plan_.path(), "");
  const std::vector<BoundPhase>& phases = schedules_[running_].phases();
  first_not_finite_ = phases.size();
  looks_for_not_finite_ = true;
  team_->run([](void* self, int worker) { static_cast<Session*>(self)->runPhases(worker); }, this);
  looks_for_not_finite_ = false;
  if (first_not_finite_ == phases.size()) return notFiniteLogits(plan_.path(), "");
  const BoundPhase& bound = phases[first_not_finite_];
  const schema::EntryPoint& entry = *plan_.schema().entry_points()->Get(running_);
  const schema::Section& section = *entry.sections()->Get(bound.section);
  std::string op = section.phases()->Get(bound.phase)->op()->str();
  if (section.is_layers()) op += fmt::format(" of layer {}", bound.layer);
  return notFiniteLogits(plan_.path(), op);
}

bool Session::wroteFinite(const BoundPhase& bound) const {
  const schema::EntryPoint& entry = *plan_.schema().entry_points()->Get(running_);
  const auto* operands =
      entry.sections()->Get(bound.section)->phases()->Get(bound.phase)->operands();
  for (uint32_t k = 0; operands && k < operands->size(); ++k) {
    const schema::Operand& operand = *operands->Get(k);
    if (operand.access() == schema::Access::read) continue;
    const bool finite = operand.space() == schema::Space::arena
                            ? wroteFiniteRows(*entry.buffers()->Get(operand.index()), bound, k)
                            : wroteFiniteKeys(operand, bound, k);
    if (!finite) return false;
  }
  return true;
}

bool Session::wroteFiniteRows(const schema::Buffer& buffer, const BoundPhase& bound,
                              uint32_t k) const {
  const auto* const bytes = static_cast<const uint8_t*>(bound.operands[k]);
  const auto dtype = static_cast<DType>(buffer.dtype());
  const int64_t stride = buffer.row_stride() * dtypeBytes(dtype);
  for (int64_t row = 0; row < std::min<int64_t>(bound.numRows(step_), buffer.rows()); ++row)
    if (!allFinite(dtype, bytes + row * stride, buffer.width())) return false;
  return true;
}

// Keys or values: the whole blocks that hold the step's rows. Tokens that were not written are zero
// there.
bool Session::wroteFiniteKeys(const schema::Operand& operand, const BoundPhase& bound,
                              uint32_t k) const {
  const auto* const bytes = static_cast<const uint8_t*>(bound.operands[k]);
  const KvPool& pool = states_.kvPool(operand.index());
  const uint64_t block_bytes =
      operand.space() == schema::Space::keys ? pool.key_block_bytes : pool.value_block_bytes;
  const auto dtype = static_cast<DType>(plan_.schema().states()->Get(operand.index())->dtype());
  for (size_t row = 0; row < rows_.tokens.size(); ++row) {
    const int32_t block = states_.block(operand.index(), rows_.tokens[row].seq, rows_.pos[row]);
    if (!allFinite(dtype, bytes + static_cast<uint64_t>(block) * block_bytes,
                   block_bytes / pool.element_bytes))
      return false;
  }
  return true;
}

std::span<const float> Session::logits(int64_t i) const {
  if (i < 0 || i >= num_logits_rows_) return {};
  return {logits_ + i * logits_stride_, static_cast<size_t>(plan_.vocabSize())};
}

StepOutput Session::output(std::string_view name) const {
  if (!has_outputs_) return {};
  const schema::EntryPoint& entry = *plan_.schema().entry_points()->Get(running_);
  for (uint32_t i = 0; entry.outputs() && i < entry.outputs()->size(); ++i) {
    const schema::Output& output = *entry.outputs()->Get(i);
    if (output.name()->string_view() != name) continue;
    const schema::Buffer& buffer = *entry.buffers()->Get(output.buffer());
    const auto dtype = static_cast<DType>(buffer.dtype());
    return {device_ ? device_->output(i) : arena_ + buffer.offset_bytes(), dtype,
            countOf(output.axis(), step_), buffer.width(),
            static_cast<uint64_t>(buffer.row_stride() * dtypeBytes(dtype))};
  }
  return {};
}

}  // namespace llmrt
