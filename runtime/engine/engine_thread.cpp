#include "runtime/engine/engine_thread.h"

#include <iterator>

namespace llmrt {

EngineThread::EngineThread(Session& session, const Tokenizer* tokenizer,
                           const EngineOptions& options)
    : engine_(session, tokenizer, options), thread_([this] { run(); }) {}

EngineThread::~EngineThread() {
  {
    const std::lock_guard lock(mutex_);
    stops_ = true;
  }
  work_.notify_one();
  thread_.join();
}

Result<uint64_t> EngineThread::submit(Request request) {
  LLMRT_RETURN_IF_ERROR(engine_.check(request));
  uint64_t id = 0;
  {
    const std::lock_guard lock(mutex_);
    LLMRT_RETURN_IF_ERROR(
        engine_.checkWaiting(stats_.waiting + static_cast<int64_t>(submitted_.size())));
    id = engine_.newId();
    submitted_.emplace_back(id, std::move(request));
  }
  work_.notify_one();
  return id;
}

void EngineThread::cancel(uint64_t request) {
  {
    const std::lock_guard lock(mutex_);
    cancelled_.push_back(request);
  }
  work_.notify_one();
}

std::optional<Event> EngineThread::wait(std::chrono::nanoseconds most) {
  std::unique_lock lock(mutex_);
  // A deadline far in the future would overflow the clock.
  most = std::min<std::chrono::nanoseconds>(most, std::chrono::hours(24 * 365));
  told_.wait_for(lock, most, [this] { return !events_.empty(); });
  if (events_.empty()) return std::nullopt;
  std::optional<Event> event = std::move(events_.front());
  events_.pop_front();
  return event;
}

EngineStats EngineThread::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

void EngineThread::run() {
  std::vector<std::pair<uint64_t, Request>> submitted;
  std::vector<uint64_t> cancelled;
  std::vector<Event> events;
  for (bool has_work = false;;) {
    {
      std::unique_lock lock(mutex_);
      work_.wait(lock,
                 [&] { return has_work || stops_ || !submitted_.empty() || !cancelled_.empty(); });
      if (stops_) return;
      submitted.swap(submitted_);
      cancelled.swap(cancelled_);
    }
    for (auto& [id, request] : submitted) engine_.add(id, std::move(request));
    submitted.clear();
    for (const uint64_t id : cancelled) (void)engine_.cancel(id);
    cancelled.clear();
    has_work = engine_.step(events);
    {
      const std::lock_guard lock(mutex_);
      std::move(events.begin(), events.end(), std::back_inserter(events_));
      stats_ = engine_.stats();
    }
    if (!events.empty()) told_.notify_all();
    events.clear();
  }
}

}  // namespace llmrt
