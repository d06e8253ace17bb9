#include "runtime/engine/scheduler.h"

#include <algorithm>
#include <utility>

#include "runtime/session/common_prefix.h"

namespace llmrt {

Scheduler::Scheduler(Session& session, const SchedulerOptions& options)
    : session_(session),
      options_(options),
      slots_(options.sequence < 0 ? static_cast<size_t>(session.options().max_batch) : 1) {
  if (options_.prefill_rows_beside_decodes == 0)
    options_.prefill_rows_beside_decodes =
        std::max<int64_t>(session.options().prefill_chunk / 4, 1);
  parts_.reserve(slots_.size());
  if (options_.sequence >= 0) return;
  for (size_t i = 0; i < slots_.size(); ++i) session_.reset(static_cast<int32_t>(i));
}

void Scheduler::add(std::unique_ptr<Sequence> sequence) {
  sequences_.push_back(std::move(sequence));
}

std::unique_ptr<Sequence> Scheduler::remove(uint64_t id) {
  const auto found = std::find_if(sequences_.begin(), sequences_.end(),
                                  [&](const auto& s) { return s->id() == id; });
  if (found == sequences_.end()) return nullptr;
  std::unique_ptr<Sequence> sequence = std::move(*found);
  sequences_.erase(found);
  if (sequence->slot >= 0) {
    session_.keepAll(sequence->slot, computed(*sequence));
    if (options_.sequence < 0)
      leave(*sequence);
    else
      ownerOf(sequence->slot) = nullptr;
  }
  return sequence;
}

void Scheduler::leave(Sequence& s) {
  session_.reset(s.slot);
  ownerOf(s.slot) = nullptr;
  s.slot = -1;
}

void Scheduler::keepTokens() {
  for (const Sequence* s : slots_) {
    if (!s) continue;
    const std::span<const int32_t> tokens = computed(*s);
    const auto& stops = s->stops;
    if (std::find(stops.begin(), stops.end(), session_.kvLen(s->slot)) != stops.end())
      session_.keepAll(s->slot, tokens);
    else
      session_.keep(s->slot, tokens);
  }
}

Sequence* Scheduler::lastRunning() const {
  const auto last = std::find_if(sequences_.rbegin(), sequences_.rend(),
                                 [](const auto& s) { return s->slot >= 0; });
  return last == sequences_.rend() ? nullptr : last->get();
}

int64_t Scheduler::numRunning() const {
  return std::count_if(slots_.begin(), slots_.end(), [](const Sequence* s) { return s; });
}

bool Scheduler::isBefore(const Sequence& a, const Sequence& b) const {
  const auto rank = [&](const Sequence& s) {
    return s.request().priority + s.steps_waited / options_.steps_per_priority;
  };
  const int64_t x = rank(a), y = rank(b);
  return x != y ? x > y : a.id() < b.id();
}

std::span<const int32_t> Scheduler::computed(const Sequence& s) const {
  return s.tokens().first(static_cast<size_t>(session_.kvLen(s.slot)));
}

int64_t Scheduler::nextStop(const Sequence& s) const {
  int64_t next = s.numTokens();
  for (const int64_t stop : s.stops)
    if (stop > session_.kvLen(s.slot)) next = std::min(next, stop);
  return next;
}

void Scheduler::addStop(Sequence& s, int64_t tokens) const {
  if (tokens > session_.kvLen(s.slot) && session_.snapshotPays(tokens) &&
      std::find(s.stops.begin(), s.stops.end(), tokens) == s.stops.end())
    s.stops.push_back(tokens);
}

Session::Shared Scheduler::place(Sequence& s) {
  const auto slot = std::find(slots_.begin(), slots_.end(), nullptr);
  *slot = &s;
  s.slot = static_cast<int32_t>(slot - slots_.begin()) + std::max(options_.sequence, 0);
  const int64_t present = std::exchange(options_.present, 0);
  const Session::Shared shared =
      present > 0 ? Session::Shared{present, present} : session_.share(s.slot, s.sharable());
  // Where another text has gone on otherwise, a third may do so too. The last token is left out:
  // who asks the same again computes that one.
  s.stops.clear();
  addStop(s, shared.known);
  addStop(s, s.numTokens() - 1);
  return shared;
}

bool Scheduler::findLeader(Sequence& s, const Session::Shared& shared) {
  if (s.tellsPrompt()) return false;
  for (Sequence* leader : slots_) {
    if (!leader || leader == &s) continue;
    // At least one token is computed: the next one is chosen from its logits.
    const int64_t common = std::min(commonPrefix(leader->tokens(), s.tokens()), s.numTokens() - 1);
    // Behind a snapshot, or else behind whole blocks.
    const bool recurrent = session_.states().hasRecurrent();
    if (recurrent && !session_.snapshotPays(common)) continue;
    const int64_t until = recurrent ? common : common / LLMC_KV_BLOCK_TOKENS * LLMC_KV_BLOCK_TOKENS;
    if (until <= session_.kvLen(leader->slot) ||
        until - (recurrent ? shared.tokens : shared.known) < LLMC_KV_BLOCK_TOKENS)
      continue;
    addStop(*leader, until);
    s.leader = leader->id();
    s.leader_tokens = until;
    return true;
  }
  return false;
}

bool Scheduler::waitsForLeader(const Sequence& s) const {
  return std::any_of(slots_.begin(), slots_.end(), [&](const Sequence* leader) {
    return leader && leader->id() == s.leader && session_.kvLen(leader->slot) < s.leader_tokens;
  });
}

void Scheduler::preempt(Sequence& s) {
  session_.keep(s.slot, computed(s));
  leave(s);
  ++s.stats.preemptions;
}

void Scheduler::preemptOthers(const Sequence& sequence) {
  for (Sequence* const s : std::vector<Sequence*>(slots_))
    if (s && s != &sequence) preempt(*s);
}

// Whoever gets a place has room for its whole prompt beside what the others have left to compute:
// else they would take turns in giving up theirs. The first always has.
void Scheduler::admit(EngineClock::time_point now) {
  const auto fits = [&](const Sequence& s, int64_t tokens) {
    tokens = std::min(tokens, session_.options().max_seq_len - session_.kvLen(s.slot));
    return session_.planSequence(s.slot, tokens);
  };
  int64_t running = numRunning();
  // Of a long queue that waits for others some are looked at in each step, so that none takes long.
  size_t tries_left = 2 * slots_.size() + 8;
  session_.planStep();
  for (const auto& s : sequences_)
    if (s->slot >= 0 && !fits(*s, pendingOf(*s))) return;
  for (const auto& s : sequences_) {
    if (running == static_cast<int64_t>(slots_.size())) break;
    if (s->slot >= 0 || waitsForLeader(*s)) continue;
    const Session::Shared shared = place(*s);
    const bool waits = findLeader(*s, shared);
    if (waits || (!fits(*s, pendingOf(*s) + 1) && running > 0)) {
      leave(*s);  // what it would have shared stays for it
      if (waits && --tries_left > 0) continue;
      break;
    }
    s->begin(now, shared.tokens);
    ++running;
  }
}

void Scheduler::addDecodes() {
  for (const auto& s : sequences_) {
    if (s->slot < 0 || pendingOf(*s) != 1 || rows_left_ == 0) continue;
    // Of one sequence alone nobody can be asked to give up a place.
    if (options_.sequence >= 0 && !session_.planRows(s->slot, 1)) continue;
    while (options_.sequence < 0 && !session_.planRows(s->slot, 1)) {
      // The last in order that has a place: those before `s` have their rows already.
      Sequence* const last = lastRunning();
      preempt(*last);
      if (last == s.get()) break;
    }
    if (s->slot < 0) continue;
    parts_.push_back({s.get(), s->numTokens() - 1, 1});
    --rows_left_;
  }
}

void Scheduler::addPrompts() {
  int64_t left = std::min(rows_left_, session_.options().prefill_chunk);
  if (!parts_.empty()) left = std::min(left, options_.prefill_rows_beside_decodes);
  // Beside one for each that runs.
  int64_t logits_left = session_.maxLogitsRows() - numRunning();
  for (const auto& s : sequences_) {
    if (s->slot < 0 || left == 0) continue;
    const int64_t pending = pendingOf(*s);
    if (pending <= 1) continue;
    int64_t rows = std::min({pending, left, nextStop(*s) - session_.kvLen(s->slot)});
    if (s->tellsPrompt()) rows = std::min(rows, logits_left + 1);
    while (rows > 0 && !session_.planRows(s->slot, rows)) rows /= 2;
    if (rows == 0) continue;
    if (s->tellsPrompt()) logits_left -= rows - 1;
    parts_.push_back({s.get(), s->numTokens() - pending, rows});
    left -= rows;
  }
}

std::span<const Scheduler::Part> Scheduler::next(EngineClock::time_point now) {
  parts_.clear();
  if (sequences_.empty()) return {};
  keepTokens();
  std::sort(sequences_.begin(), sequences_.end(),
            [this](const auto& a, const auto& b) { return isBefore(*a, *b); });
  admit(now);
  for (size_t tries = 0; tries < 2 * slots_.size() + 2; ++tries) {
    session_.planStep();
    rows_left_ = std::min(session_.maxRows(), session_.maxLogitsRows());
    addDecodes();
    rows_left_ = session_.maxRows() - static_cast<int64_t>(parts_.size());
    addPrompts();
    if (!parts_.empty()) break;
    if (options_.sequence >= 0) break;
    // Prompts hold all blocks among them, and none can go on.
    if (Sequence* const last = lastRunning())
      preempt(*last);
    else
      admit(now);  // all have given up their places
  }
  for (const auto& s : sequences_) s->steps_waited += s->slot < 0;
  return parts_;
}

}  // namespace llmrt
