#include "runtime/generate/generate.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <optional>

#include "runtime/engine/text_output.h"
#include "runtime/schema/plan_generated.h"
#include "runtime/text/utf8.h"

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

Result<GenerateResult> generate(Session& session, const Tokenizer* tokenizer,
                                std::span<const int32_t> prompt, const GenerateOptions& options,
                                int32_t seq) {
  const Clock::time_point start = Clock::now();
  const schema::Plan& plan = session.plan().schema();
  for (const std::string& stop : options.stops) {
    // Half a character would leave the other half in the text.
    if (const size_t at = findInvalidUtf8(stop); at != stop.size())
      return invalidArgument(fmt::format("a stop text (`stop`) is not UTF-8 at byte {}", at));
  }
  LLMRT_ASSIGN_OR_RETURN(Sampler sampler,
                         Sampler::create(session.plan().vocabSize(), options.sampler));
  GenerateResult result;
  result.prompt_tokens = static_cast<int64_t>(prompt.size());
  const bool seq_exists =
      seq >= 0 && seq < session.options().max_batch;  // prefill says so where not
  const int64_t first_pos = seq_exists ? session.kvLen(seq) : 0;

  if (Status s = session.prefill(seq, prompt, options.cancel); s.code() == StatusCode::kCancelled) {
    result.finish_reason = FinishReason::kCancelled;
    return result;
  } else if (!s.ok()) {
    return s;
  }
  result.prefill_seconds = secondsSince(start);
  result.prefill_cost =
      prefillCost(plan, first_pos, result.prompt_tokens, session.options().prefill_chunk);
  for (int32_t id : options.before) sampler.accept(id);
  for (int32_t id : prompt) sampler.accept(id);
  TextOutput output(tokenizer, options.own_text ? std::span<const int32_t>() : prompt,
                    options.stops);
  const auto show = [&](const std::string& text) {
    if (text.empty()) return;
    result.text += text;
    if (options.on_text) options.on_text(text);
  };

  const int64_t room =
      session.options().max_seq_len - session.kvLen(seq) + 1;  // the last token needs no step
  const int64_t most = std::min(options.max_tokens, room);
  result.ids.reserve(static_cast<size_t>(std::max<int64_t>(most, 0)));
  const auto cancelled = [&] {
    if (!options.cancel || !options.cancel->load(std::memory_order_relaxed)) return false;
    result.finish_reason = FinishReason::kCancelled;
    return true;
  };
  const auto countStep = [&] {
    ++result.decode_steps;
    const SequenceRows row{1, session.kvLen(seq) - 1, 1};
    result.decode_cost += stepCost(plan, {&row, 1});
  };
  // Whether the text goes on after `token`.
  const auto accept = [&](int32_t token) {
    sampler.accept(token);
    result.ids.push_back(token);
    if (result.ids.size() == 1) result.ttft_seconds = secondsSince(start);
    if (std::find(options.eos_ids.begin(), options.eos_ids.end(), token) != options.eos_ids.end()) {
      result.finish_reason = FinishReason::kEos;
      return false;
    }
    show(output.push(token));
    return !output.stopped();
  };
  // Behind the prompt every token has a step. One step may run while the host looks at the token
  // before: then time counts from token to token, else that of the steps alone.
  TokenChooser* const chooser = &sampler;
  Clock::time_point since;
  int64_t queued = 0;
  const auto queueSteps = [&]() -> Status {
    // The first, or one that has no room yet: then this says so.
    if (session.numInFlight() == 0 && (queued == 0 || !session.canQueueNext())) {
      const StepToken first{seq, result.ids.back(), true};
      LLMRT_RETURN_IF_ERROR(session.queue({&first, 1}, {&chooser, 1}, options.top_logits > 0));
      ++queued;
    }
    for (; queued < most - 1 && session.canQueueNext(); ++queued)
      LLMRT_RETURN_IF_ERROR(session.queueNext());
    return {};
  };
  const auto nextToken = [&]() -> Result<int32_t> {
    if (result.ids.empty()) return sampler.sample(session.logits());
    if (queued == 0 || session.hostChooses()) since = Clock::now();
    LLMRT_RETURN_IF_ERROR(queueSteps());
    const Clock::time_point queued_at = Clock::now();
    const bool host_chooses = session.hostChooses();
    LLMRT_ASSIGN_OR_RETURN(const std::span<const int32_t> chosen, session.take());
    const Clock::time_point end = host_chooses ? queued_at : Clock::now();
    result.decode_seconds += std::chrono::duration<double>(end - since).count();
    since = end;
    countStep();
    return chosen[0];
  };
  while (static_cast<int64_t>(result.ids.size()) < most && !cancelled()) {
    LLMRT_ASSIGN_OR_RETURN(const int32_t token, nextToken());
    if (options.top_logits > 0)
      result.top_logits.push_back(largestLogits(session.logits(), options.top_logits));
    if (!accept(token)) break;
  }
  LLMRT_RETURN_IF_ERROR(session.finish());
  show(output.finish());
  if (output.stopped()) result.finish_reason = FinishReason::kStop;
  return result;
}

}  // namespace llmrt
