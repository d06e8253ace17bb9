#include "runtime/engine/scheduler.h"

#include <algorithm>
#include <utility>

namespace llmrt {
namespace {

int64_t commonPrefix(std::span<const int32_t> a, std::span<const int32_t> b) {
  const size_t n = std::min(a.size(), b.size());
  return std::mismatch(a.begin(), a.begin() + static_cast<ptrdiff_t>(n), b.begin()).first -
         a.begin();
}

}  // namespace

Scheduler::Scheduler(Session& session, const SchedulerOptions& options)
    : session_(session),
      options_(options),
      slots_(static_cast<size_t>(session.options().max_batch)) {
  if (options_.prefill_rows_beside_decodes == 0)
    options_.prefill_rows_beside_decodes =
        std::max<int64_t>(session.options().prefill_chunk / 4, 1);
  parts_.reserve(slots_.size());
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
  if (sequence->slot >= 0) leave(*sequence);
  return sequence;
}

void Scheduler::leave(Sequence& s) {
  const auto known = s.tokens().first(static_cast<size_t>(session_.kvLen(s.slot)));
  slots_[static_cast<size_t>(s.slot)] = {nullptr, {known.begin(), known.end()}, ++clock_};
  s.slot = -1;
}

Sequence* Scheduler::lastRunning() const {
  const auto last = std::find_if(sequences_.rbegin(), sequences_.rend(),
                                 [](const auto& s) { return s->slot >= 0; });
  return last == sequences_.rend() ? nullptr : last->get();
}

int64_t Scheduler::numRunning() const {
  return std::count_if(slots_.begin(), slots_.end(), [](const Slot& s) { return s.owner; });
}

bool Scheduler::isBefore(const Sequence& a, const Sequence& b) const {
  const auto rank = [&](const Sequence& s) {
    return s.request().priority + s.steps_waited / options_.steps_per_priority;
  };
  const int64_t x = rank(a), y = rank(b);
  return x != y ? x > y : a.id() < b.id();
}

int32_t Scheduler::chooseSlot(const Sequence& s, int64_t& cached) const {
  int32_t best = -1;
  cached = 0;
  for (int32_t i = 0; i < static_cast<int32_t>(slots_.size()); ++i) {
    const Slot& slot = slots_[static_cast<size_t>(i)];
    if (slot.owner) continue;
    // At least one token is computed: the next one is chosen from its logits.
    int64_t shared = std::min(commonPrefix(slot.tokens, s.tokens()), s.numTokens() - 1);
    if (2 * shared < static_cast<int64_t>(slot.tokens.size()) || !session_.wouldKeep(i, shared))
      shared = 0;
    const bool better =
        best < 0 || shared > cached ||
        (shared == cached && slot.last_used < slots_[static_cast<size_t>(best)].last_used);
    if (!better) continue;
    best = i;
    cached = shared;
  }
  return best;
}

int64_t Scheduler::place(Sequence& s) {
  int64_t cached = 0;
  s.slot = chooseSlot(s, cached);
  Slot& slot = slots_[static_cast<size_t>(s.slot)];
  if (cached > 0)
    cached = session_.truncate(s.slot, cached);
  else
    session_.reset(s.slot);
  slot.owner = &s;
  slot.tokens.clear();
  return cached;
}

void Scheduler::preempt(Sequence& s) {
  session_.reset(s.slot);
  slots_[static_cast<size_t>(s.slot)] = {};
  s.slot = -1;
  ++s.stats.preemptions;
}

bool Scheduler::dropEnded() {
  Slot* oldest = nullptr;
  for (Slot& slot : slots_)
    if (!slot.owner && !slot.tokens.empty() && (!oldest || slot.last_used < oldest->last_used))
      oldest = &slot;
  if (!oldest) return false;
  session_.reset(static_cast<int32_t>(oldest - slots_.data()));
  *oldest = {};
  return true;
}

template <typename Plan>
bool Scheduler::makeRoom(Plan&& plan) {
  do {
    if (plan()) return true;
  } while (dropEnded());
  return false;
}

// Whoever gets a place has room for its whole prompt beside what the others have left to compute:
// else they would take turns in giving up theirs. The first always has.
void Scheduler::admit(EngineClock::time_point now) {
  const auto fits = [&](const Sequence& s, int64_t tokens) {
    tokens = std::min(tokens, session_.options().max_seq_len - session_.kvLen(s.slot));
    return makeRoom([&] { return session_.planSequence(s.slot, tokens); });
  };
  int64_t running = numRunning();
  session_.planStep();
  for (const auto& s : sequences_)
    if (s->slot >= 0 && !fits(*s, pendingOf(*s))) return;
  for (const auto& s : sequences_) {
    if (running == static_cast<int64_t>(slots_.size())) break;
    if (s->slot >= 0) continue;
    const int64_t cached = place(*s);
    if (!fits(*s, pendingOf(*s) + 1) && running > 0) {
      leave(*s);  // what it would have shared stays for it
      break;
    }
    s->begin(now, cached);
    ++running;
  }
}

void Scheduler::addDecodes() {
  for (const auto& s : sequences_) {
    if (s->slot < 0 || pendingOf(*s) != 1 || rows_left_ == 0) continue;
    while (!makeRoom([&] { return session_.planRows(s->slot, 1); })) {
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
  for (const auto& s : sequences_) {
    if (s->slot < 0 || left == 0) continue;
    const int64_t pending = pendingOf(*s);
    if (pending <= 1) continue;
    int64_t rows = std::min(pending, left);
    while (rows > 0 && !makeRoom([&] { return session_.planRows(s->slot, rows); })) rows /= 2;
    if (rows == 0) continue;
    parts_.push_back({s.get(), s->numTokens() - pending, rows});
    left -= rows;
  }
}

std::span<const Scheduler::Part> Scheduler::next(EngineClock::time_point now) {
  parts_.clear();
  if (sequences_.empty()) return {};
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
