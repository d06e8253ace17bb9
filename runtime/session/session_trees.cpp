// Trees of drafted tokens: what a session looks at in one step, and what it keeps of it.
#include <fmt/format.h>

#include <utility>
#include <vector>

#include "runtime/executor/cost.h"
#include "runtime/schema/plan_generated.h"
#include "runtime/session/session.h"

namespace llmrt {

Status Session::checkTrees(std::span<const TreeToken> tokens) {
  tree_.clear();
  if (parent_.empty())
    return unsupported("the plan has no code for trees: compile it with --verify");
  if (tokens.size() > parent_.size()) {
    return invalidArgument(
        fmt::format("{} tokens in trees, the plan was compiled for {} (--verify)", tokens.size(),
                    parent_.size()));
  }
  for (const TreeToken& t : tokens) tree_.push_back({t.seq, t.token, true});
  LLMRT_RETURN_IF_ERROR(check(tree_, static_cast<int64_t>(parent_.size())));
  size_t first = 0;  // of the rows of the sequence at hand
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i].seq != tokens[first].seq) first = i;
    const int64_t parent = tokens[i].parent;
    if (parent < -1 || parent >= static_cast<int64_t>(i) ||
        (parent >= 0 && parent < static_cast<int64_t>(first))) {
      return invalidArgument(
          fmt::format("token {} of the trees continues token {}: it must be one before it of its "
                      "sequence, or -1",
                      i, parent));
    }
  }
  return {};
}

Status Session::verify(std::span<const TreeToken> tokens) {
  LLMRT_RETURN_IF_ERROR(finish());
  forgetTrees();
  if (Status s = checkTrees(tokens); !s.ok()) {
    tree_.clear();
    return s;
  }
  const auto count = static_cast<int64_t>(tokens.size());
  const int entry = selectEntryPoint(plan_.schema(), count, count, {schema::StepKind::verify});
  if (entry < 0) {
    tree_.clear();
    return invalidArgument(
        fmt::format("the plan gives logits of fewer than {} rows of trees", count));
  }
  for (size_t i = 0; i < tokens.size(); ++i) {
    const TreeToken& t = tokens[i];
    in_tree_[static_cast<size_t>(t.seq)] = 1;
    const auto length = static_cast<int32_t>(kvLen(t.seq));
    slot_[i] = i > 0 && t.seq == tokens[i - 1].seq ? slot_[i - 1] + 1 : length;
    parent_[i] = t.parent;
    pos_[i] = t.parent < 0 ? length : pos_[static_cast<size_t>(t.parent)] + 1;
    logits_rows_[i] = static_cast<int32_t>(i);
  }
  rows_ = {tree_, pos_.data(), {logits_rows_.data(), tree_.size()}, slot_.data(), parent_.data()};
  step_ = {count, count, options_.max_batch, states_.blocksPerSeq()};
  Status status = checkRoom();
  if (status.ok()) status = runRows(static_cast<uint32_t>(entry));
  if (!status.ok()) forgetTrees();
  return status;
}

Status Session::commit(std::span<const int32_t> accepted) {
  if (tree_.empty()) return invalidArgument("there is nothing to commit: verify() comes before it");
  if (accepted.empty()) {
    forgetTrees();
    return {};
  }
  for (size_t i = 0; i < accepted.size(); ++i) {
    const int32_t row = accepted[i];
    if (row < 0 || row >= static_cast<int32_t>(tree_.size()) || (i > 0 && row <= accepted[i - 1])) {
      return invalidArgument(
          fmt::format("accepted token {} of {} in trees: they must be given once and in order", row,
                      tree_.size()));
    }
    const bool begins = i == 0 || tree_[static_cast<size_t>(accepted[i - 1])].seq !=
                                      tree_[static_cast<size_t>(row)].seq;
    if (parent_[static_cast<size_t>(row)] != (begins ? -1 : accepted[i - 1])) {
      return invalidArgument(
          fmt::format("accepted token {} does not continue the one before it", row));
    }
  }
  const auto count = static_cast<int64_t>(accepted.size());
  const int entry = selectEntryPoint(plan_.schema(), count, 0, {schema::StepKind::commit});
  if (entry < 0) return unsupported("the plan has no code for trees: compile it with --verify");
  // In place: what was accepted stands at or behind where it goes.
  for (size_t i = 0; i < accepted.size(); ++i) {
    const auto row = static_cast<size_t>(accepted[i]);
    tree_[i] = tree_[row];
    slot_[i] = slot_[row];
    pos_[i] = pos_[row];
  }
  rows_ = {
      {tree_.data(), accepted.size()}, pos_.data(), {}, slot_.data(), nullptr, accepted.data()};
  step_ = {count, 0, options_.max_batch, states_.blocksPerSeq()};
  const Status status = runRows(static_cast<uint32_t>(entry));
  std::vector<int32_t> undone;
  if (status.ok())
    keepRows();
  else if (states_.hasRecurrent())
    forSequences([&](int32_t seq, int64_t) { undone.push_back(seq); });
  forgetTrees();
  for (const int32_t seq : undone) reset(seq);
  return status;
}

void Session::forgetTrees() {
  if (tree_.empty()) return;
  tree_.clear();
  for (int32_t seq = 0; seq < options_.max_batch; ++seq) {
    if (!std::exchange(in_tree_[static_cast<size_t>(seq)], uint8_t{0})) continue;
    states_.undo(seq, kvLen(seq));
    limitMtp(seq);
  }
}

}  // namespace llmrt
