// One text in the making: its tokens, what chooses the next, and what ends it. Knows of no other
// sequence, and of no model.
#pragma once

#include <cstdint>
#include <optional>
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
  Sequence(uint64_t id, Request request, int64_t vocab_size, const Tokenizer* tokenizer,
           int64_t most_tokens, EngineClock::time_point now);

  uint64_t id() const { return id_; }
  const Request& request() const { return request_; }
  /// The prompt's and those that were generated.
  std::span<const int32_t> tokens() const { return tokens_; }
  int64_t numTokens() const { return static_cast<int64_t>(tokens_.size()); }

  /// Those of its tokens that may be taken over from what the session has: none where the prompt's
  /// log-probabilities are still to be told.
  std::span<const int32_t> sharable() const { return tellsPrompt() ? tokens().first(1) : tokens(); }
  /// Whether the logits behind token `i` are wanted for the prompt's log-probabilities.
  bool wantsPromptLogits(int64_t i) const {
    return request_.prompt_logprobs && i >= prompt_told_ && i + 1 < num_prompt_;
  }
  /// Whether the logits that the next token is chosen from are wanted.
  bool wantsLogits() const { return request_.top_logits > 0 || request_.logprobs >= 0; }
  bool tellsPrompt() const { return wantsPromptLogits(num_prompt_ - 2); }

  /// Most tokens that are still to come.
  int64_t numLeft() const { return most_generated_ - stats.tokens; }

  /// It runs for the first time.
  void begin(EngineClock::time_point now, int64_t cached_tokens);
  /// What chooses the next token.
  TokenChooser& chooser() { return *sampler_; }
  /// Appends the token that was chosen, fills in an event of kind kToken, and says whether the text
  /// goes on. `logits`: empty where the request wants none told.
  bool append(int32_t token, std::span<const float> logits, EngineClock::time_point now,
              Event& event);
  /// Adds what the logits behind token `i` say of the next one, where wantsPromptLogits(i), to an
  /// event of kind kPrompt.
  void tellPrompt(int64_t i, std::span<const float> logits, Event& event);
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
  int64_t prompt_told_ = 0;  // tokens whose logits prompt_logprobs were made of
  const EngineClock::time_point submitted_;
  std::vector<int32_t> tokens_;
  const int64_t vocab_size_;
  std::optional<Sampler> sampler_;  // of one that has begun: it has tables of the vocabulary
  TextOutput text_;
  FinishReason reason_ = FinishReason::kLength;
  bool has_begun_ = false;
};

}  // namespace llmrt
