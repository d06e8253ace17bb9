// Which rows make the next step: of many sequences, within the rows of a step and the blocks of the
// KV cache. Knows tokens by their number alone.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "runtime/engine/sequence.h"
#include "runtime/session/session.h"

namespace llmrt {

struct SchedulerOptions {
  /// Most rows of prompts in a step that others decode in: what a decoding sequence waits for. 0: a
  /// quarter of the session's prefill_chunk.
  int64_t prefill_rows_beside_decodes = 0;
  /// Steps that a request waits for until it counts as of one priority more, so that none waits for
  /// ever.
  int64_t steps_per_priority = 256;
};

/// Every sequence that decodes has a row in each step; what rows are left go to prompts, in chunks.
/// Sequences come in the order of their priority, then of their submission. What one has computed
/// stays in the session for all that begin alike, while it runs and until the place is needed; who
/// would compute what another is just computing waits for it. Where no block is left, for one that
/// decodes the last sequence in that order gives up its place, to be computed again later. A prompt
/// waits for blocks.
class Scheduler {
 public:
  /// Nobody else may use the session, which must outlive it.
  Scheduler(Session& session, const SchedulerOptions& options);

  void add(std::unique_ptr<Sequence> sequence);
  /// Takes a sequence out. Null where there is none of this id.
  std::unique_ptr<Sequence> remove(uint64_t id);
  /// All others give up their places.
  void preemptOthers(const Sequence& sequence);
  /// body(sequence) of all.
  template <typename Body>
  void forEach(Body&& body) const {
    for (const auto& s : sequences_) body(*s);
  }
  bool empty() const { return sequences_.empty(); }
  int64_t numRunning() const;
  int64_t numWaiting() const { return static_cast<int64_t>(sequences_.size()) - numRunning(); }

  /// Tokens of a sequence that the session has not computed yet. Behind the last token of a
  /// sequence the next one is chosen.
  struct Part {
    Sequence* sequence = nullptr;
    int64_t first = 0, rows = 0;  // of its tokens
    bool isLast() const { return first + rows == sequence->numTokens(); }
  };
  /// The parts of the next step; none where there is nothing to do, or nothing that has room. Valid
  /// until the next call.
  std::span<const Part> next(EngineClock::time_point now);

 private:
  bool isBefore(const Sequence& a, const Sequence& b) const;
  /// Those of its tokens that the session has.
  std::span<const int32_t> computed(const Sequence& s) const;
  int64_t pendingOf(const Sequence& s) const { return s.numTokens() - session_.kvLen(s.slot); }
  void admit(EngineClock::time_point now);
  /// Tells the session what sequences have computed since.
  void keepTokens();
  /// Gives a sequence an empty slot, and what the session has of its tokens: how many, and how many
  /// are known.
  Session::Shared place(Sequence& s);
  /// Whether a sequence that runs will compute a block or more of what `s` begins with beyond what
  /// is there: then `s` is to wait for it.
  bool findLeader(Sequence& s, const Session::Shared& shared);
  /// Whether the sequence that `s` waits for is still at it.
  bool waitsForLeader(const Sequence& s) const;
  /// The next place where a prompt's chunk ends, so that the state there can be kept.
  int64_t nextStop(const Sequence& s) const;
  void addStop(Sequence& s, int64_t tokens) const;
  /// It has no slot any more; what was kept of its tokens stays.
  void leave(Sequence& s);
  void preempt(Sequence& s);
  /// The last in order that has a slot; null: none has one.
  Sequence* lastRunning() const;
  void addDecodes();
  void addPrompts();

  Session& session_;
  SchedulerOptions options_;
  std::vector<std::unique_ptr<Sequence>> sequences_;  // in order, as of the last next()
  std::vector<Sequence*> slots_;                      // who has each sequence of the session
  std::vector<Part> parts_;
  int64_t rows_left_ = 0;
};

}  // namespace llmrt
