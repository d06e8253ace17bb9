// What the engine is asked for, and what it tells of it.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "runtime/io/status.h"
#include "runtime/sampling/sampler.h"

namespace llmrt {

using EngineClock = std::chrono::steady_clock;

enum class FinishReason {
  kEos,     // an end-of-sequence token: the last of the ids, not part of the text
  kStop,    // a stop string: not part of the text; ids end with the token that completed it
  kLength,  // max_tokens, or the context is full
  kCancelled,
  kDeadline,  // its time was over
};
/// "eos", "stop", "length", "cancelled", "deadline"
const char* finishReasonName(FinishReason reason);

/// A text to continue.
struct Request {
  std::vector<int32_t> prompt;  // at least one token
  int64_t max_tokens = 256;     // most tokens to generate
  SamplerOptions sampler;
  std::vector<int32_t> eos_ids;    // a token of these ends the text
  std::vector<std::string> stops;  // so does the first of these strings; needs a tokenizer
  bool own_text = false;           // text is that of the generated ids alone (GenerateOptions)
  int32_t top_logits = 0;          // the largest logits to report with each token, so many
  int32_t logprobs = -1;           // of each token, and of so many of the most probable; -1: none
  bool prompt_logprobs = false;    // the same of the prompt's tokens but the first. All of them are
                                   // computed then, whatever others share
  int32_t priority = 0;            // of a higher one runs first, and is preempted last
  std::optional<EngineClock::time_point> deadline;  // then it ends with what it has
};

/// What a request has taken so far.
struct RequestStats {
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;  // of the prompt's, those that were there before it ran
  int64_t tokens = 0;         // generated
  int64_t preemptions = 0;
  double queued_seconds = 0;  // until it first ran
  double ttft_seconds = 0;    // from its submission to its first token
  double seconds = 0;         // from its submission to its end
};

struct Event {
  enum class Kind {
    kToken,     // one more token, and what of the text is certain by now
    kFinished,  // the end: the rest of the text, why, and what it took
    kFailed,    // the end: `status`
    kPrompt     // more of the prompt's log-probabilities: before the first token
  };
  uint64_t request = 0;
  Kind kind = Kind::kToken;
  int32_t token = -1;
  std::string text;
  std::vector<std::pair<int32_t, float>> top_logits;  // largest first
  std::optional<TokenLogprob> logprob;                // of `token`
  std::vector<TokenLogprob> prompt_logprobs;          // of the next tokens of the prompt
  FinishReason reason = FinishReason::kLength;
  Status status;
  RequestStats stats;
};

}  // namespace llmrt
