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
/// Sequences come in the order of their priority, then of their submission. Where no block is free,
/// tokens of texts that have ended go first; then, for one that decodes, the last sequence in that
/// order gives up its place, to be computed again later. A prompt waits for blocks.
class Scheduler {
 public:
  /// Nobody else may use the session, which must outlive it.
  Scheduler(Session& session, const SchedulerOptions& options);

  void add(std::unique_ptr<Sequence> sequence);
  /// Takes a sequence out. Its tokens stay in the session for those that begin with the same, until
  /// their place is needed. Null where there is none of this id.
  std::unique_ptr<Sequence> remove(uint64_t id);
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
  /// A sequence of the session.
  struct Slot {
    Sequence* owner = nullptr;
    std::vector<int32_t> tokens;  // without an owner: what the session has there
    uint64_t last_used = 0;
  };
  bool isBefore(const Sequence& a, const Sequence& b) const;
  int64_t pendingOf(const Sequence& s) const { return s.numTokens() - session_.kvLen(s.slot); }
  void admit(EngineClock::time_point now);
  /// The free slot whose tokens a sequence shares most of, and not a small part of, as the others
  /// are lost; how many in `cached`. Else an empty one, or that of the oldest text. -1: none is
  /// free.
  int32_t chooseSlot(const Sequence& s, int64_t& cached) const;
  /// Gives a sequence a slot; how many of its tokens are there already.
  int64_t place(Sequence& s);
  /// It has no slot any more; its tokens stay there.
  void leave(Sequence& s);
  void preempt(Sequence& s);
  /// The last in order that has a slot; null: none has one.
  Sequence* lastRunning() const;
  /// Drops the tokens of the text that ended longest ago; false: there are none.
  bool dropEnded();
  /// plan() until it is true, or there is no text that has ended and could make room.
  template <typename Plan>
  bool makeRoom(Plan&& plan);
  void addDecodes();
  void addPrompts();

  Session& session_;
  SchedulerOptions options_;
  std::vector<std::unique_ptr<Sequence>> sequences_;  // in order, as of the last next()
  std::vector<Slot> slots_;
  std::vector<Part> parts_;
  int64_t rows_left_ = 0;
  uint64_t clock_ = 0;
};

}  // namespace llmrt
