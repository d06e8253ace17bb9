// An engine that runs by itself: requests come from any thread, events go to whoever waits.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/engine/engine.h"

namespace llmrt {

/// All functions may be called by several threads at once. Where the thread runs out of memory all
/// requests fail, and so does every later submission.
class EngineThread {
 public:
  /// Gets the events of a step, on the engine's thread, which it must not hold up. Throws nothing.
  using OnEvents = std::function<void(std::vector<Event>)>;

  /// `session`, which is the engine's alone, and `tokenizer` (null: there is no text) must outlive
  /// it. With `on_events` there is nothing to wait() for.
  EngineThread(Session& session, const Tokenizer* tokenizer, const EngineOptions& options = {},
               OnEvents on_events = {});
  /// Ends after the step at hand. Requests that run get no more events.
  ~EngineThread();

  /// As Engine::submit(). The first event may come before it returns.
  Result<uint64_t> submit(Request request);
  /// Asks for a request's end, after which comes its last event; nothing where it has ended.
  void cancel(uint64_t request);
  /// The next event of any request, in order; none within `most`.
  std::optional<Event> wait(std::chrono::nanoseconds most);
  /// As of the last step; what was submitted since waits.
  EngineStats stats() const;

 private:
  void run();
  /// One turn: takes what was asked for, and runs a step. Whether there is more to do.
  bool turn(bool has_work);
  void die(const Status& status);
  int64_t numWaiting() const;  // with mutex_ held

  /// Hands over new_events_.
  void tell();

  Engine engine_;  // the thread's
  const OnEvents on_events_;
  mutable std::mutex mutex_;
  std::condition_variable work_, told_;
  std::vector<std::pair<uint64_t, Request>> submitted_;
  std::vector<uint64_t> cancelled_;
  std::deque<Event> events_;
  EngineStats stats_;
  int64_t in_hand_ = 0;  // submitted, and not yet among stats_
  Status status_;        // why nothing runs any more
  bool stops_ = false;
  // The thread's.
  std::vector<std::pair<uint64_t, Request>> new_requests_;
  std::vector<uint64_t> new_cancelled_;
  std::vector<Event> new_events_;
  bool has_more_to_store_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace llmrt
