// A session's steps: their rows and inputs, and what becomes of sequences after them.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "runtime/executor/cost.h"
#include "runtime/schema/plan_generated.h"
#include "runtime/session/session.h"

namespace llmrt {

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
          fmt::format("the context is full: {} tokens (`max_seq_len`)", options_.max_seq_len));
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
  LLMRT_ASSIGN_OR_RETURN(const uint32_t entry_point, setRows(tokens, max_rows, kinds));
  const Status status = runRows(entry_point);
  if (!status.ok()) {
    forSequences([&](int32_t seq, int64_t) { undoStep(seq); });
    return status;
  }
  keepRows();
  return {};
}

Result<uint32_t> Session::setRows(std::span<const StepToken> tokens, int64_t max_rows,
                                  std::initializer_list<schema::StepKind> kinds) {
  LLMRT_RETURN_IF_ERROR(finish());
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
  LLMRT_RETURN_IF_ERROR(checkRoom());
  return static_cast<uint32_t>(entry);
}

void Session::keepRows() {
  forSequences([&](int32_t seq, int64_t n) {
    kv_len_[static_cast<size_t>(seq)] += n;
    states_.pass(seq, kvLen(seq));
  });
}

Status Session::checkRoom() {
  bool fits = true;
  states_.planStep();
  forSequences([&](int32_t seq, int64_t n) { fits = fits && planRows(seq, n); });
  if (fits) return {};
  return outOfMemory(fmt::format(
      "no block of the KV cache is free: it holds {} tokens of all sequences", options_.kv_tokens));
}

Status Session::prepareRows(uint32_t entry_point) {
  LLMRT_RETURN_IF_ERROR(inputs_.fill(entry_point, rows_, step_));
  Status status;
  forSequences([&](int32_t seq, int64_t n) {
    const int64_t now = kvLen(seq) + in_flight_;
    if (status.ok()) status = states_.begin(seq, now, now + n);
  });
  return status;
}

Status Session::runRows(uint32_t entry_point) {
  Status status = prepareRows(entry_point);
  if (status.ok()) status = executor_->run(entry_point, executorStep());
  if (status.ok()) profileStep(entry_point);
  return status;
}

void Session::undoStep(int32_t seq) {
  if (states_.hasRecurrent()) {
    reset(seq);
  } else {
    states_.undo(seq, kvLen(seq));
    limitMtp(seq);
  }
}

Step Session::executorStep() const {
  int64_t kv_len = 0;
  for (size_t i = 0; i < rows_.tokens.size(); ++i)
    kv_len = std::max<int64_t>(kv_len, rows_.pos[i] + 1);
  return {step_, kv_len};
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

}  // namespace llmrt
