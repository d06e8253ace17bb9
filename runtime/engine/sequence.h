// One text in the making: its tokens, what chooses the next, and what ends it. Knows of no other
// sequence, and of no model.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "runtime/engine/request.h"
#include "runtime/engine/text_output.h"
#include "runtime/sampling/sampler.h"

namespace llmrt {

class Sequence {
 public:
  /// `most_tokens`: what the context holds. The request is one that Engine::submit() took.
  Sequence(uint64_t id, Request request, Sampler sampler, const Tokenizer* tokenizer,
           int64_t most_tokens, EngineClock::time_point now);

  uint64_t id() const { return id_; }
  const Request& request() const { return request_; }
  /// The prompt's and those that were generated.
  std::span<const int32_t> tokens() const { return tokens_; }
  int64_t numTokens() const { return static_cast<int64_t>(tokens_.size()); }

  /// It runs for the first time.
  void begin(EngineClock::time_point now, int64_t cached_tokens);
  /// What chooses the next token.
  TokenChooser& chooser() { return sampler_; }
  /// Appends the token that was chosen, fills in an event of kind kToken, and says whether the text
  /// goes on. `logits`: empty where the request wants none told.
  bool append(int32_t token, std::span<const float> logits, EngineClock::time_point now,
              Event& event);
  /// Fills in an event of kind kFinished: at the reason that append() found, or `reason`.
  void finish(Event& event, EngineClock::time_point now);
  void finish(Event& event, EngineClock::time_point now, FinishReason reason);
  void fail(Event& event, EngineClock::time_point now, Status status);

  RequestStats stats;
  // The scheduler's.
  int32_t slot = -1;           // the session's sequence; -1: it waits
  int64_t steps_waited = 0;    // that others ran in
  std::vector<int64_t> stops;  // numbers of its tokens behind which recurrent states are kept
  uint64_t leader = 0;         // the sequence that computes what this one begins with, 0: none;
  int64_t leader_tokens = 0;   // once it has so many tokens

 private:
  const uint64_t id_;
  const Request request_;
  const int64_t num_prompt_, most_generated_;
  const EngineClock::time_point submitted_;
  std::vector<int32_t> tokens_;
  Sampler sampler_;
  TextOutput text_;
  FinishReason reason_ = FinishReason::kLength;
  bool has_begun_ = false;
};

}  // namespace llmrt
