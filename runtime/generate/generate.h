// From a prompt to text: prefill, then sample and decode until something ends it.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/engine/request.h"
#include "runtime/executor/cost.h"
#include "runtime/io/status.h"
#include "runtime/sampling/sampler.h"
#include "runtime/session/session.h"
#include "runtime/text/tokenizer.h"

namespace llmrt {

struct GenerateOptions {
  int64_t max_tokens = 256;  // most tokens to generate
  SamplerOptions sampler;
  std::vector<int32_t> eos_ids;    // a token of these ends the text
  std::vector<std::string> stops;  // so does the first of these strings; needs a tokenizer
  int32_t top_logits = 0;          // how many of the largest logits to keep of each step
  bool own_text = false;  // text is that of the generated ids alone, not the prompt's continuation:
                          // some vocabularies' first word then has no space before it
  int64_t present = 0;    // of the prompt's first tokens, those that the sequence has already
  const std::atomic<bool>* cancel =
      nullptr;  // looked at between tokens, and between chunks of the prompt
  std::function<void(std::string_view)> on_text;  // whole characters, as soon as they are certain
};

struct GenerateResult {
  std::vector<int32_t> ids;  // generated
  std::string text;          // of the generated part alone
  FinishReason finish_reason = FinishReason::kLength;
  std::vector<std::vector<std::pair<int32_t, float>>>
      top_logits;             // per generated token, largest first
  int64_t cached_tokens = 0;  // of the prompt, those that were there
  int64_t prompt_tokens = 0;  // and those that were computed
  int64_t decode_steps = 0;
  double ttft_seconds = 0;     // from the call to the first token
  double prefill_seconds = 0;  // the prompt's steps, with the choice of the first token
  double decode_seconds = 0;   // the steps of the others, with their choice
  Cost prefill_cost, decode_cost;
};

/// What the plan's generation config asks for; greedy where it does not ask for sampling.
SamplerOptions defaultSamplerOptions(const Plan& plan);
/// The same for a chat: chat_temperature in place of greedy, whose answers repeat themselves.
SamplerOptions chatSamplerOptions(const Plan& plan);
/// The plan's EOS ids; where it has none, the tokenizer's (null: none).
std::vector<int32_t> defaultEosIds(const Plan& plan, const Tokenizer* tokenizer);
/// The stop strings of the plan's generation config.
std::vector<std::string> defaultStops(const Plan& plan);

/// Writes on from `prompt`, in sequence `seq`, which then has all but the last token: a request of
/// an engine of its own. What the session still has of the prompt's beginning is not computed
/// again. `tokenizer` may be null: then there is no text. Cancellation is a finish reason, not an
/// error.
Result<GenerateResult> generate(Session& session, const Tokenizer* tokenizer,
                                std::span<const int32_t> prompt, const GenerateOptions& options,
                                int32_t seq = 0);

}  // namespace llmrt
