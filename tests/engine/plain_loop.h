// A request without an engine: a prompt, then a token at a time, in a session of its own. What the
// engine and all that is made of it are held against.
#pragma once

#include "runtime/engine/sequence.h"
#include "runtime/generate/generate.h"
#include "runtime/sampling/sampler.h"
#include "runtime/session/session.h"

namespace llmrt {

/// Of a session whose sequence 0 is empty.
inline Result<GenerateResult> plainLoop(Session& session, const Tokenizer* tokenizer,
                                        const Request& request) {
  LLMRT_ASSIGN_OR_RETURN(Sampler sampler,
                         Sampler::create(session.plan().vocabSize(), request.sampler));
  LLMRT_RETURN_IF_ERROR(session.prefill(0, request.prompt));
  for (const int32_t id : request.prompt) sampler.accept(id);
  Sequence sequence(1, request, session.plan().vocabSize(), tokenizer,
                    session.options().max_seq_len, EngineClock::now());
  sequence.begin(EngineClock::now(), 0);
  GenerateResult result;
  for (bool goes_on = true; goes_on;) {
    const int32_t token = sampler.sample(session.logits());
    sampler.accept(token);
    result.ids.push_back(token);
    Event event;
    goes_on = sequence.append(token, session.logits(), EngineClock::now(), event);
    result.text += event.text;
    if (request.top_logits > 0) result.top_logits.push_back(event.top_logits);
    if (goes_on) LLMRT_RETURN_IF_ERROR(session.decode(0, token));
  }
  Event end;
  sequence.finish(end, EngineClock::now());
  result.text += end.text;
  result.finish_reason = end.reason;
  return result;
}

/// What the logits behind each token of a prompt say of the next one, token by token. Of a session
/// whose sequence 0 is empty.
inline Result<std::vector<TokenLogprob>> plainPromptLogprobs(Session& session,
                                                             const Request& request) {
  std::vector<TokenLogprob> out;
  for (size_t i = 0; i + 1 < request.prompt.size(); ++i) {
    LLMRT_RETURN_IF_ERROR(session.prefill(0, {&request.prompt[i], 1}));
    out.push_back(tokenLogprob(session.logits(), request.prompt[i + 1], request.logprobs));
  }
  return out;
}

}  // namespace llmrt
