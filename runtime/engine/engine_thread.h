// An engine that runs by itself: requests come from any thread, events go to whoever waits.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/engine/engine.h"

namespace llmrt {

/// All functions may be called by several threads at once.
class EngineThread {
 public:
  /// `session`, which is the engine's alone, and `tokenizer` (null: there is no text) must outlive
  /// it.
  EngineThread(Session& session, const Tokenizer* tokenizer, const EngineOptions& options = {});
  /// Ends after the step at hand. Requests that run get no more events.
  ~EngineThread();

  /// As Engine::submit(). The first event may come before it returns.
  Result<uint64_t> submit(Request request);
  /// Asks for a request's end, after which comes its last event; nothing where it has ended.
  void cancel(uint64_t request);
  /// The next event of any request, in order; none within `most`.
  std::optional<Event> wait(std::chrono::nanoseconds most);
  /// As of the last step.
  EngineStats stats() const;

 private:
  void run();

  Engine engine_;  // the thread's
  mutable std::mutex mutex_;
  std::condition_variable work_, told_;
  std::vector<std::pair<uint64_t, Request>> submitted_;
  std::vector<uint64_t> cancelled_;
  std::deque<Event> events_;
  EngineStats stats_;
  bool stops_ = false;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace llmrt
