#include "runtime/engine/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "runtime/text/utf8.h"

namespace llmrt {

Engine::Engine(Session& session, const Tokenizer* tokenizer, const EngineOptions& options)
    : session_(session),
      tokenizer_(tokenizer),
      options_(options),
      scheduler_(session, options.scheduler) {
  rows_.reserve(static_cast<size_t>(session.maxRows()));
  parts_.reserve(static_cast<size_t>(session.options().max_batch));
  choosers_.reserve(parts_.capacity());
  ids_.reserve(parts_.capacity());
}

Engine::~Engine() { (void)session_.finish(); }

Result<uint64_t> Engine::submit(Request request) {
  LLMRT_RETURN_IF_ERROR(check(request));
  LLMRT_RETURN_IF_ERROR(checkWaiting(scheduler_.numWaiting()));
  const uint64_t id = newId();
  add(id, std::move(request));
  return id;
}

Status Engine::check(const Request& request) const {
  if (request.prompt.empty()) return invalidArgument("a prompt needs at least one token");
  if (request.top_logits < 0 || request.logprobs < -1)
    return invalidArgument("a count of logits or log-probabilities is negative");
  if (request.max_tokens < 1)
    return invalidArgument(fmt::format("max_tokens {}: it must be positive", request.max_tokens));
  const auto length = static_cast<int64_t>(request.prompt.size());
  if (length > session_.options().max_seq_len) {
    return invalidArgument(
        fmt::format("the prompt has {} tokens, the context holds {} (`max_seq_len`)", length,
                    session_.options().max_seq_len));
  }
  const int64_t vocab_size = session_.plan().vocabSize();
  for (const int32_t id : request.prompt) {
    if (id < 0 || id >= vocab_size)
      return invalidArgument(
          fmt::format("token id {} is not in the vocabulary of {}", id, vocab_size));
  }
  if (!request.stops.empty() && !tokenizer_)
    return invalidArgument("stops: there is no tokenizer, and so no text to look for them in");
  for (const std::string& stop : request.stops) {
    // Half a character would leave the other half in the text.
    if (const size_t at = findInvalidUtf8(stop); at != stop.size())
      return invalidArgument(fmt::format("a stop text (`stop`) is not UTF-8 at byte {}", at));
  }
  return Sampler::check(vocab_size, request.sampler);
}

Status Engine::checkWaiting(int64_t waiting) const {
  if (options_.max_waiting == 0 || waiting < options_.max_waiting) return {};
  return outOfMemory(fmt::format("{} requests wait already (max_waiting)", waiting));
}

void Engine::add(uint64_t id, Request request) {
  scheduler_.add(std::make_unique<Sequence>(id, std::move(request), session_.plan().vocabSize(),
                                            tokenizer_, session_.options().max_seq_len,
                                            EngineClock::now()));
  ++stats_.submitted;
  can_go_on_ = false;
}

bool Engine::cancel(uint64_t request) {
  const std::unique_ptr<Sequence> sequence = scheduler_.remove(request);
  if (!sequence) return false;
  can_go_on_ = false;
  sequence->finish(cancelled_.emplace_back(), EngineClock::now(), FinishReason::kCancelled);
  end(request, cancelled_.back());
  return true;
}

void Engine::end(uint64_t id, const Event& event) {
  can_go_on_ = false;
  (void)scheduler_.remove(id);
  ++(event.kind == Event::Kind::kFailed ? stats_.failed : stats_.finished);
  stats_.prompt_tokens += static_cast<uint64_t>(event.stats.prompt_tokens);
  stats_.cached_tokens += static_cast<uint64_t>(event.stats.cached_tokens);
  stats_.preemptions += static_cast<uint64_t>(event.stats.preemptions);
}

EngineStats Engine::stats() const {
  EngineStats stats = stats_;
  stats.running = scheduler_.numRunning();
  stats.waiting = scheduler_.numWaiting();
  return stats;
}

void Engine::expire(EngineClock::time_point now, std::vector<Event>& events) {
  ids_.clear();
  scheduler_.forEach([&](Sequence& s) {
    if (!s.request().deadline || now < *s.request().deadline) return;
    s.finish(events.emplace_back(), now, FinishReason::kDeadline);
    ids_.push_back(s.id());
  });
  for (size_t i = 0; i < ids_.size(); ++i) end(ids_[i], events[events.size() - ids_.size() + i]);
}

void Engine::failAll(const Status& status, std::vector<Event>& events) {
  const EngineClock::time_point now = EngineClock::now();
  const size_t first = events.size();
  scheduler_.forEach([&](Sequence& s) { s.fail(events.emplace_back(), now, status); });
  for (size_t i = first; i < events.size(); ++i) end(events[i].request, events[i]);
}

bool Engine::step(std::vector<Event>& events) {
  std::move(cancelled_.begin(), cancelled_.end(), std::back_inserter(events));
  cancelled_.clear();
  const EngineClock::time_point now = EngineClock::now();
  expire(now, events);
  const bool follows = goesOn();
  if (follows) {
    for (Part& part : parts_) part = {part.sequence, part.sequence->numTokens() - 1, 1};
  } else {
    (void)session_.finish();  // what ran ahead with sequences that have ended since
    const std::span<const Part> next = scheduler_.next(now);
    if (next.empty()) {
      // One sequence alone has room where the session is the engine's alone.
      failAll(options_.scheduler.sequence < 0
                  ? internalError("no request has room in the KV cache")
                  : outOfMemory("no block of the KV cache is free: other sequences hold them"),
              events);
      return false;
    }
    parts_.assign(next.begin(), next.end());
  }
  ++stats_.steps;
  const Status status = runParts(parts_, follows);
  if (status.ok()) {
    appendTokens(parts_, events);
    return true;
  }
  // One of them may have made it fail: the others go on without it.
  for (const Part& part : parts_) {
    if (part.sequence->slot < 0) continue;  // it gave up its place, and comes again
    Status s = parts_.size() == 1 ? status : runAlone(part, events);
    if (s.code() == StatusCode::kOutOfMemory) {
      // What it shared with others is no longer there.
      scheduler_.preemptOthers(*part.sequence);
      s = runAlone(part, events);
    }
    if (s.ok()) continue;
    part.sequence->fail(events.emplace_back(), EngineClock::now(), std::move(s));
    end(part.sequence->id(), events.back());
  }
  can_go_on_ = false;  // parts_ may be gone
  return true;
}

Status Engine::runAlone(const Part& part, std::vector<Event>& events) {
  const int64_t end = part.first + part.rows;
  // The failed step has taken recurrent states with it.
  if (session_.kvLen(part.sequence->slot) < part.first)
    (void)session_.share(part.sequence->slot, part.sequence->sharable());
  int64_t most_rows = session_.options().prefill_chunk;
  if (part.sequence->tellsPrompt()) most_rows = std::min(most_rows, session_.maxLogitsRows());
  for (int64_t first; (first = session_.kvLen(part.sequence->slot)) < end;) {
    const Part next{part.sequence, first, std::min(end - first, most_rows)};
    LLMRT_RETURN_IF_ERROR(runParts({&next, 1}));
    const bool is_last = next.isLast();  // after it the sequence may be gone
    appendTokens({&next, 1}, events);
    if (is_last) break;
  }
  return {};
}

bool Engine::goesOn() {
  return can_go_on_ && scheduler_.numWaiting() == 0 &&
         (session_.numInFlight() > 0 || session_.canQueueNext());
}

Status Engine::runParts(std::span<const Part> parts, bool follows) {
  if (!follows) LLMRT_RETURN_IF_ERROR(queueParts(parts));
  // Of all that run, as long as each has tokens left.
  can_go_on_ = scheduler_.numRunning() == static_cast<int64_t>(parts.size()) &&
               std::all_of(parts.begin(), parts.end(), [](const Part& p) { return p.isLast(); });
  int64_t left = can_go_on_ && scheduler_.numWaiting() == 0 ? INT64_MAX : 0;
  for (const Part& part : parts) left = std::min(left, part.sequence->numLeft());
  while (session_.numInFlight() < left && session_.canQueueNext())
    LLMRT_RETURN_IF_ERROR(session_.queueNext());
  LLMRT_ASSIGN_OR_RETURN(chosen_, session_.take());
  return {};
}

Status Engine::queueParts(std::span<const Part> parts) {
  rows_.clear();
  choosers_.clear();
  bool wants_logits = false;
  for (const Part& part : parts) {
    Sequence& s = *part.sequence;
    for (int64_t i = part.first; i < part.first + part.rows; ++i) {
      const bool chooses = i + 1 == s.numTokens(), tells = s.wantsPromptLogits(i);
      rows_.push_back({s.slot, s.tokens()[static_cast<size_t>(i)], chooses || tells});
      if (chooses || tells) choosers_.push_back(chooses ? &s.chooser() : nullptr);
      wants_logits |= tells;
    }
    wants_logits |= part.isLast() && s.wantsLogits();
  }
  return session_.queue(rows_, choosers_, wants_logits);
}

void Engine::appendTokens(std::span<const Part> parts, std::vector<Event>& events) {
  const EngineClock::time_point now = EngineClock::now();
  size_t next = 0;  // of chosen_
  int64_t row = 0;  // of those that wanted logits
  for (const Part& part : parts) {
    Sequence& s = *part.sequence;
    Event prompt;
    for (int64_t i = part.first; i < part.first + part.rows; ++i)
      if (s.wantsPromptLogits(i)) s.tellPrompt(i, session_.logits(row++), prompt);
    if (!prompt.prompt_logprobs.empty()) events.push_back(std::move(prompt));
    if (!part.isLast()) continue;
    ++stats_.tokens;
    const auto logits = s.wantsLogits() ? session_.logits(row) : std::span<const float>();
    ++row;
    if (s.append(chosen_[next++], logits, now, events.emplace_back())) continue;
    part.sequence->finish(events.emplace_back(), now);
    end(part.sequence->id(), events.back());
  }
}

}  // namespace llmrt
