// Many requests through one session: submit, step, and read what became of them.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/engine/request.h"
#include "runtime/engine/scheduler.h"
#include "runtime/session/session.h"
#include "runtime/text/tokenizer.h"

namespace llmrt {

struct EngineOptions {
  SchedulerOptions scheduler;
  int64_t max_waiting = 0;  // more are refused; 0: any number waits
};

struct EngineStats {
  int64_t running = 0, waiting = 0;
  uint64_t submitted = 0, finished = 0, failed = 0;
  uint64_t steps = 0, prompt_tokens = 0, cached_tokens = 0, tokens = 0, preemptions = 0;
};

/// Each request gets the ids and logits that it would get alone, to the bit on CPUs, whatever else
/// runs. Used by one thread at a time.
class Engine {
 public:
  /// Takes over all sequences of `session`. `tokenizer` null: there is no text. Both must outlive
  /// the engine.
  Engine(Session& session, const Tokenizer* tokenizer, const EngineOptions& options = {});

  /// Forgets what runs ahead.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// The request's number, ascending; or why it can never run: a prompt that does not fit is
  /// refused, never cut.
  Result<uint64_t> submit(Request request);
  // The parts of submit(). The two checks change nothing.
  Status check(const Request& request) const;
  Status checkWaiting(int64_t waiting) const;
  uint64_t newId() { return next_id_++; }
  void add(uint64_t id, Request request);
  /// Ends a request, whose last event is kFinished with kCancelled. False: it has ended already.
  bool cancel(uint64_t request);

  /// Runs one step of the model, and appends what came of it: of each request its tokens in order,
  /// then one kFinished or kFailed. False: there is nothing to do until the next submit().
  bool step(std::vector<Event>& events);

  /// Ends all requests, with kFailed.
  void failAll(const Status& status, std::vector<Event>& events);

  /// Hands over what was kept to where the session stores it (Session::store()).
  bool store() { return session_.store(); }

  EngineStats stats() const;
  Session& session() { return session_; }

 private:
  using Part = Scheduler::Part;
  void expire(EngineClock::time_point now, std::vector<Event>& events);
  /// Whether the next step is one more token of each sequence of the one before, and nothing else.
  bool goesOn();
  /// Runs them, or, where `follows`, waits for the step that goes on from the one before; and
  /// starts more of these, as far as the session runs ahead.
  Status runParts(std::span<const Part> parts, bool follows = false);
  Status queueParts(std::span<const Part> parts);
  /// What remains to do of a part after a step that failed.
  Status runAlone(const Part& part, std::vector<Event>& events);
  /// Gives sequences what the last step chose for them.
  void appendTokens(std::span<const Part> parts, std::vector<Event>& events);
  void end(uint64_t id, const Event& event);

  Session& session_;
  const Tokenizer* tokenizer_;
  const EngineOptions options_;
  Scheduler scheduler_;
  std::vector<StepToken> rows_;
  std::vector<TokenChooser*> choosers_;  // of rows that want logits
  std::span<const int32_t> chosen_;      // by them
  std::vector<Part> parts_;
  bool can_go_on_ = false;  // the session's last step chose a token for all that run, and all go on
  std::vector<uint64_t> ids_;  // of requests that end
  std::vector<Event> cancelled_;
  uint64_t next_id_ = 1;
  EngineStats stats_;
};

}  // namespace llmrt
