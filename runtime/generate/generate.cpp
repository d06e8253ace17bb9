#include "runtime/generate/generate.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "runtime/engine/engine.h"
#include "runtime/schema/plan_generated.h"

namespace llmrt {
namespace {

using Clock = std::chrono::steady_clock;

double secondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::vector<int32_t> idsOf(const flatbuffers::Vector<int32_t>* ids) {
  return ids ? std::vector<int32_t>(ids->begin(), ids->end()) : std::vector<int32_t>();
}

int32_t clampedToInt(uint32_t value) {
  return static_cast<int32_t>(std::min<uint32_t>(value, INT32_MAX));
}

}  // namespace

SamplerOptions defaultSamplerOptions(const Plan& plan) {
  SamplerOptions options;
  const schema::Generation* g = plan.schema().generation();
  if (!g) return options;
  options.repetition_penalty = g->repetition_penalty();
  options.top_k = clampedToInt(g->top_k());
  options.top_p = g->top_p();
  options.min_p = g->min_p();
  options.temperature = g->do_sample() ? g->temperature() : 0.0f;
  options.bans.no_repeat_ngram_size = clampedToInt(g->no_repeat_ngram_size());
  options.bans.suppress_tokens = idsOf(g->suppress_tokens());
  options.bans.begin_suppress_tokens = idsOf(g->begin_suppress_tokens());
  if (g->bad_words())
    for (const schema::TokenSequence* word : *g->bad_words())
      options.bans.bad_words.push_back(idsOf(word->ids()));
  return options;
}

SamplerOptions chatSamplerOptions(const Plan& plan) {
  SamplerOptions options = defaultSamplerOptions(plan);
  const schema::Generation* g = plan.schema().generation();
  if (!g) {
    options.temperature = schema::GenerationT().chat_temperature;
  } else if (!g->do_sample()) {
    options.temperature = g->chat_temperature();
  }
  return options;
}

std::vector<std::string> defaultStops(const Plan& plan) {
  const schema::Generation* g = plan.schema().generation();
  std::vector<std::string> stops;
  if (g && g->stop_strings())
    for (const flatbuffers::String* stop : *g->stop_strings()) stops.push_back(stop->str());
  return stops;
}

std::vector<int32_t> defaultEosIds(const Plan& plan, const Tokenizer* tokenizer) {
  const schema::Generation* g = plan.schema().generation();
  if (g && g->eos_token_ids() && g->eos_token_ids()->size() > 0) {
    return {g->eos_token_ids()->begin(), g->eos_token_ids()->end()};
  }
  if (tokenizer && tokenizer->eosId() >= 0) return {tokenizer->eosId()};
  return {};
}

namespace {

Request requestOf(std::span<const int32_t> prompt, const GenerateOptions& o) {
  Request request;
  request.prompt.assign(prompt.begin(), prompt.end());
  // One is chosen in any case, of which nobody hears where none is wanted.
  request.max_tokens = std::max<int64_t>(o.max_tokens, 1);
  request.sampler = o.sampler;
  request.eos_ids = o.eos_ids;
  request.stops = o.stops;
  request.own_text = o.own_text;
  request.top_logits = o.top_logits;
  return request;
}

}  // namespace

Result<GenerateResult> generate(Session& session, const Tokenizer* tokenizer,
                                std::span<const int32_t> prompt, const GenerateOptions& options,
                                int32_t seq) {
  const Clock::time_point start = Clock::now();
  const schema::Plan& plan = session.plan().schema();
  const auto length = static_cast<int64_t>(prompt.size());
  if (seq < 0 || seq >= session.options().max_batch)
    return invalidArgument(fmt::format("sequence {} of {}", seq, session.options().max_batch));
  if (options.present != 0 &&
      (options.present != session.kvLen(seq) || options.present >= length)) {
    return invalidArgument(fmt::format("present {}: the sequence has {} tokens, the prompt {}",
                                       options.present, session.kvLen(seq), length));
  }
  const bool wants_tokens = options.max_tokens > 0;
  Engine engine(session, tokenizer, {.scheduler = {.sequence = seq, .present = options.present}});
  LLMRT_ASSIGN_OR_RETURN(const uint64_t id, engine.submit(requestOf(prompt, options)));

  GenerateResult result;
  std::vector<Event> events;
  for (bool ended = false; !ended;) {
    if (options.cancel && options.cancel->load(std::memory_order_relaxed)) engine.cancel(id);
    const Clock::time_point step = Clock::now();
    events.clear();
    engine.step(events);
    const double seconds = secondsSince(step);
    const bool is_prompt = result.ids.empty();
    if (is_prompt) result.prefill_seconds += seconds;
    for (Event& event : events) {
      if (event.kind == Event::Kind::kFailed) return std::move(event.status);
      if (event.kind == Event::Kind::kToken) {
        result.ids.push_back(event.token);
        if (options.top_logits > 0) result.top_logits.push_back(std::move(event.top_logits));
        if (is_prompt) {
          result.ttft_seconds = secondsSince(start);
        } else {
          ++result.decode_steps;
          result.decode_seconds += seconds;
          const SequenceRows row{1, session.kvLen(seq) - 1, 1};
          result.decode_cost += stepCost(plan, {&row, 1});
        }
      } else {
        ended = true;
        result.finish_reason = event.reason;
        result.cached_tokens = event.stats.cached_tokens;
      }
      if (!wants_tokens) continue;
      result.text += event.text;
      if (!event.text.empty() && options.on_text) options.on_text(event.text);
    }
  }
  if (!wants_tokens) {
    result.ids.clear();
    result.top_logits.clear();
    if (result.finish_reason != FinishReason::kCancelled)
      result.finish_reason = FinishReason::kLength;
  }
  LLMRT_RETURN_IF_ERROR(session.finish());
  result.prompt_tokens = length - result.cached_tokens;
  result.prefill_cost = prefillCost(plan, result.cached_tokens, result.prompt_tokens,
                                    session.options().prefill_chunk);
  return result;
}

}  // namespace llmrt
