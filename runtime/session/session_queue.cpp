// Steps whose tokens are chosen as they end: on a device they run ahead of the host.
#include <fmt/format.h>

#include <utility>

#include "runtime/schema/plan_generated.h"
#include "runtime/session/session.h"

namespace llmrt {

Status Session::queue(std::span<const StepToken> tokens, std::span<TokenChooser* const> choosers,
                      bool wants_logits) {
  LLMRT_ASSIGN_OR_RETURN(
      queued_entry_,
      setRows(tokens, max_rows_, {schema::StepKind::prefill, schema::StepKind::decode}));
  if (choosers.size() != rows_.logits_rows.size()) {
    return invalidArgument(fmt::format("{} choosers for {} tokens that want logits",
                                       choosers.size(), rows_.logits_rows.size()));
  }
  queued_.assign(tokens.begin(), tokens.end());
  rows_.tokens = queued_;
  choices_.clear();
  for (size_t i = 0; i < choosers.size(); ++i) {
    if (choosers[i])
      choices_.push_back({rows_.logits_rows[i], static_cast<int32_t>(i), choosers[i]});
  }
  chosen_.resize(choices_.size());
  wants_logits_ = wants_logits;
  can_follow_ = choices_.size() == queued_.size();
  for (size_t i = 1; i < queued_.size(); ++i)
    if (queued_[i].seq == queued_[i - 1].seq) can_follow_ = false;
  return queueRows(false);
}

bool Session::canQueueNext() {
  if (!can_follow_) return false;  // their choosers may be gone
  // A recurrent state would have gone on with a step that is not taken; what such a step writes of
  // keys and values the next one writes again.
  const int64_t depth = states_.hasRecurrent() ? 1 : executor_->depth(choices_, wants_logits_);
  if (in_flight_ >= depth) return false;
  states_.planStep();
  for (const StepToken& t : queued_) {
    if (kvLen(t.seq) + in_flight_ >= options_.max_seq_len || !planRows(t.seq, in_flight_ + 1))
      return false;
  }
  return true;
}

Status Session::queueNext() {
  if (!canQueueNext()) return invalidArgument("no step can go on from the one queued last");
  for (size_t i = 0; i < queued_.size(); ++i)
    pos_[i] = static_cast<int32_t>(kvLen(queued_[i].seq) + in_flight_);
  return queueRows(true);
}

Status Session::queueRows(bool follows) {
  Status status = prepareRows(queued_entry_);
  if (status.ok())
    status = executor_->queue(queued_entry_, executorStep(), choices_, follows, wants_logits_);
  ++in_flight_;
  if (!status.ok()) {
    (void)finish();
    return status;
  }
  profileStep(queued_entry_);
  return {};
}

Result<std::span<const int32_t>> Session::take() {
  if (in_flight_ == 0) return invalidArgument("no step is in flight: queue() comes before take()");
  if (Status s = executor_->take(chosen_); !s.ok()) {
    (void)finish();
    return s;
  }
  --in_flight_;
  keepRows();
  for (size_t i = 0; i < choices_.size(); ++i)
    queued_[static_cast<size_t>(choices_[i].row)].token = chosen_[i];
  return std::span<const int32_t>(chosen_);
}

Status Session::finish() {
  can_follow_ = false;
  choices_.clear();
  if (std::exchange(in_flight_, 0) == 0) return {};
  const Status status = executor_->finish();
  forSequences([&](int32_t seq, int64_t) { undoStep(seq); });
  return status;
}

}  // namespace llmrt
