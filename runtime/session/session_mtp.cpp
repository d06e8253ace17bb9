// Steps of the MTP block: guesses of what comes after the next token.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "runtime/executor/cost.h"
#include "runtime/schema/plan_generated.h"
#include "runtime/session/session.h"

namespace llmrt {

Status Session::checkMtp(std::span<const MtpToken> tokens, std::span<const float> hidden) {
  if (hidden_size_ == 0)
    return unsupported("the plan has no code for multi-token prediction: compile it with --mtp");
  if (tokens.empty()) return invalidArgument("a step needs at least one token");
  if (tokens.size() > chunk_.size())
    return invalidArgument(fmt::format("{} tokens in a step, the plan was compiled for {}",
                                       tokens.size(), chunk_.size()));
  if (hidden.size() != tokens.size() * static_cast<size_t>(hidden_size_))
    return invalidArgument(fmt::format("hidden rows of {} elements, {} tokens need {} each",
                                       hidden.size(), tokens.size(), hidden_size_));
  std::fill(seen_.begin(), seen_.end(), uint8_t{0});
  for (size_t i = 0; i < tokens.size(); ++i) {
    const MtpToken& t = tokens[i];
    if (t.seq < 0 || t.seq >= options_.max_batch)
      return invalidArgument(fmt::format("sequence {} of {}", t.seq, options_.max_batch));
    if (t.token < 0 || t.token >= plan_.vocabSize())
      return invalidArgument(
          fmt::format("token id {} is not in the vocabulary of {}", t.token, plan_.vocabSize()));
    if (i > 0 && t.seq == tokens[i - 1].seq) {
      if (t.pos != tokens[i - 1].pos + 1)
        return invalidArgument(fmt::format("position {} of sequence {} comes after position {}",
                                           t.pos, t.seq, tokens[i - 1].pos));
    } else {
      if (std::exchange(seen_[static_cast<size_t>(t.seq)], uint8_t{1}))
        return invalidArgument(fmt::format("tokens of sequence {} are not adjacent", t.seq));
      if (mtpLen(t.seq) < 0)
        return unsupported(fmt::format(
            "sequence {} shares the beginning of another, which the MTP block has not seen",
            t.seq));
      if (t.pos < 0 || t.pos > mtpLen(t.seq))
        return invalidArgument(
            fmt::format("position {} of sequence {}, of which the MTP block has seen {} tokens",
                        t.pos, t.seq, mtpLen(t.seq)));
      if (kvLen(t.seq) == 0)
        return invalidArgument(fmt::format("sequence {} has no tokens", t.seq));
    }
    if (t.pos >= options_.max_seq_len)
      return invalidArgument(
          fmt::format("the context is full: {} tokens (`max_seq_len`)", options_.max_seq_len));
  }
  return {};
}

Status Session::mtp(std::span<const MtpToken> tokens, std::span<const float> hidden) {
  LLMRT_RETURN_IF_ERROR(finish());
  forgetTrees();
  LLMRT_RETURN_IF_ERROR(checkMtp(tokens, hidden));
  int64_t logits_rows = 0;
  for (const MtpToken& t : tokens) logits_rows += t.want_logits;
  const auto count = static_cast<int64_t>(tokens.size());
  const int entry = selectEntryPoint(plan_.schema(), count, logits_rows, {schema::StepKind::mtp});
  if (entry < 0)
    return invalidArgument(
        fmt::format("{} rows of the MTP block in a step: the plan was compiled for fewer", count));
  size_t wanted = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const MtpToken& t = tokens[i];
    chunk_[i] = {t.seq, t.token, t.want_logits};
    pos_[i] = t.pos;
    if (t.want_logits) logits_rows_[wanted++] = static_cast<int32_t>(i);
  }
  rows_ = {{chunk_.data(), tokens.size()}, pos_.data(), {logits_rows_.data(), wanted}};
  rows_.hidden = hidden;
  step_ = {count, logits_rows, options_.max_batch, states_.blocksPerSeq()};
  // Rows behind a sequence's tokens take the places of tokens to come.
  Status status;
  size_t end = 0;
  forSequences([&](int32_t seq, int64_t n) {
    end += static_cast<size_t>(n);
    const int64_t last = tokens[end - 1].pos + 1;
    if (status.ok() && last > kvLen(seq)) status = states_.begin(seq, kvLen(seq), last);
  });
  if (status.ok()) status = inputs_.fill(static_cast<uint32_t>(entry), rows_, step_);
  if (status.ok()) status = executor_->run(static_cast<uint32_t>(entry), executorStep());
  if (status.ok()) profileStep(static_cast<uint32_t>(entry));
  end = 0;
  forSequences([&](int32_t seq, int64_t n) {
    const int64_t first = tokens[end].pos;
    end += static_cast<size_t>(n);
    mtp_len_[static_cast<size_t>(seq)] = status.ok() ? first + n : first;
  });
  return status;
}

}  // namespace llmrt
