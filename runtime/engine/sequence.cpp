#include "runtime/engine/sequence.h"

#include <algorithm>
#include <utility>

namespace llmrt {
namespace {

double secondsBetween(EngineClock::time_point a, EngineClock::time_point b) {
  return std::chrono::duration<double>(b - a).count();
}

}  // namespace

Sequence::Sequence(uint64_t id, Request request, int64_t vocab_size, const Tokenizer* tokenizer,
                   int64_t most_tokens, EngineClock::time_point now)
    : id_(id),
      request_(std::move(request)),
      num_prompt_(static_cast<int64_t>(request_.prompt.size())),
      // The last token needs no place: nothing follows it.
      most_generated_(std::min(request_.max_tokens, most_tokens - num_prompt_ + 1)),
      submitted_(now),
      vocab_size_(vocab_size),
      text_(tokenizer, request_.own_text ? std::span<const int32_t>() : request_.prompt,
            request_.stops) {
  tokens_.reserve(static_cast<size_t>(num_prompt_ + most_generated_));
  tokens_ = request_.prompt;
  stats.prompt_tokens = num_prompt_;
}

void Sequence::begin(EngineClock::time_point now, int64_t cached_tokens) {
  if (std::exchange(has_begun_, true)) return;
  sampler_.emplace(*Sampler::create(vocab_size_, request_.sampler));  // Engine::check()ed
  for (const int32_t id : tokens_) sampler_->accept(id);
  stats.queued_seconds = secondsBetween(submitted_, now);
  stats.cached_tokens = cached_tokens;
}

bool Sequence::append(int32_t token, std::span<const float> logits, EngineClock::time_point now,
                      Event& event) {
  sampler_->accept(token);
  tokens_.push_back(token);
  if (++stats.tokens == 1) stats.ttft_seconds = secondsBetween(submitted_, now);
  event.request = id_;
  event.kind = Event::Kind::kToken;
  event.token = token;
  if (request_.top_logits > 0) event.top_logits = largestLogits(logits, request_.top_logits);
  if (request_.logprobs >= 0) event.logprob = tokenLogprob(logits, token, request_.logprobs);
  const std::vector<int32_t>& ends = request_.eos_ids;
  if (std::find(ends.begin(), ends.end(), token) != ends.end()) {
    reason_ = FinishReason::kEos;
    return false;
  }
  event.text = text_.push(token);
  return !text_.stopped() && stats.tokens < most_generated_;
}

void Sequence::tellPrompt(int64_t i, std::span<const float> logits, Event& event) {
  event.request = id_;
  event.kind = Event::Kind::kPrompt;
  event.prompt_logprobs.push_back(
      tokenLogprob(logits, tokens_[static_cast<size_t>(i + 1)], std::max(request_.logprobs, 0)));
  prompt_told_ = i + 1;
}

void Sequence::finish(Event& event, EngineClock::time_point now, FinishReason reason) {
  finish(event, now);
  event.reason = reason;
}

void Sequence::finish(Event& event, EngineClock::time_point now) {
  event.request = id_;
  event.kind = Event::Kind::kFinished;
  event.text = text_.finish();
  event.reason = text_.stopped() ? FinishReason::kStop : reason_;
  stats.seconds = secondsBetween(submitted_, now);
  event.stats = stats;
}

void Sequence::fail(Event& event, EngineClock::time_point now, Status status) {
  event.request = id_;
  event.kind = Event::Kind::kFailed;
  event.status = std::move(status);
  stats.seconds = secondsBetween(submitted_, now);
  event.stats = stats;
}

}  // namespace llmrt
