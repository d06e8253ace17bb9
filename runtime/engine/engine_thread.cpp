#include "runtime/engine/engine_thread.h"

#include <algorithm>
#include <exception>
#include <iterator>
#include <new>

namespace llmrt {
namespace {

constexpr std::chrono::milliseconds kStorePause(5);  // until there may be room for more

}  // namespace

EngineThread::EngineThread(Session& session, const Tokenizer* tokenizer,
                           const EngineOptions& options, OnEvents on_events)
    : engine_(session, tokenizer, options),
      on_events_(std::move(on_events)),
      thread_([this] { run(); }) {}

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
    LLMRT_RETURN_IF_ERROR(status_);
    LLMRT_RETURN_IF_ERROR(engine_.checkWaiting(numWaiting()));
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

int64_t EngineThread::numWaiting() const {
  return stats_.waiting + in_hand_ + static_cast<int64_t>(submitted_.size());
}

EngineStats EngineThread::stats() const {
  const std::lock_guard lock(mutex_);
  EngineStats stats = stats_;
  stats.waiting = numWaiting();
  return stats;
}

bool EngineThread::turn(bool has_work) {
  {
    std::unique_lock lock(mutex_);
    const auto is_asked = [&] {
      return has_work || stops_ || !submitted_.empty() || !cancelled_.empty();
    };
    while (has_more_to_store_ && !work_.wait_for(lock, kStorePause, is_asked)) {
      lock.unlock();
      has_more_to_store_ = engine_.store();
      lock.lock();
    }
    work_.wait(lock, is_asked);
    if (stops_) return false;
    new_requests_.swap(submitted_);
    new_cancelled_.swap(cancelled_);
    in_hand_ = static_cast<int64_t>(new_requests_.size());
  }
  for (auto& [id, request] : new_requests_) engine_.add(id, std::move(request));
  new_requests_.clear();
  for (const uint64_t id : new_cancelled_) (void)engine_.cancel(id);
  new_cancelled_.clear();
  const bool more = engine_.step(new_events_);
  {
    const std::lock_guard lock(mutex_);
    stats_ = engine_.stats();
    in_hand_ = 0;
  }
  tell();
  has_more_to_store_ = engine_.store();
  return more;
}

void EngineThread::tell() {
  if (new_events_.empty()) return;
  if (on_events_) return on_events_(std::exchange(new_events_, {}));
  {
    const std::lock_guard lock(mutex_);
    std::move(new_events_.begin(), new_events_.end(), std::back_inserter(events_));
  }
  told_.notify_all();
  new_events_.clear();
}

void EngineThread::die(const Status& status) {
  try {
    {
      const std::lock_guard lock(mutex_);
      status_ = status;
      new_events_.clear();
      engine_.failAll(status, new_events_);
      stats_ = engine_.stats();
    }
    tell();
  } catch (...) {
    // No memory to say so: whoever waits gets no more events.
  }
  told_.notify_all();
}

void EngineThread::run() {
  try {
    for (bool has_work = false;;) {
      has_work = turn(has_work);
      const std::lock_guard lock(mutex_);
      if (stops_) return;
    }
  } catch (const std::exception& e) {
    const bool memory = dynamic_cast<const std::bad_alloc*>(&e) != nullptr;
    die(memory ? outOfMemory("out of memory") : internalError(e.what()));
  }
}

}  // namespace llmrt
