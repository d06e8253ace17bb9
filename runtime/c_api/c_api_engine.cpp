// The C interface of engines.
#include <chrono>
#include <cmath>
#include <utility>

#include "runtime/c_api/c_api_handles.h"
#include "runtime/engine/engine_thread.h"

struct llmrt_engine {
  const llmrt_plan* plan;
  std::unique_ptr<llmrt::Session> session;
  std::optional<llmrt::EngineThread> engine;
  // What the last event points to.
  llmrt::Event event;
  std::vector<llmrt_logit> top_logits;
};

using llmrt::invalidArgument;
using llmrt::Status;
using namespace llmrt::c_api;  // NOLINT: this file is its interface

namespace {

static_assert(static_cast<int>(llmrt::FinishReason::kDeadline) == LLMRT_FINISH_DEADLINE,
              "llmrt_finish_reason has FinishReason's values");
static_assert(static_cast<int>(llmrt::Event::Kind::kFailed) == LLMRT_EVENT_FAILED,
              "llmrt_event_kind has Event::Kind's values");

const llmrt::Tokenizer* tokenizerOrNull(const llmrt_plan* plan) {
  return plan->tokenizer ? &*plan->tokenizer : nullptr;
}

llmrt_event toC(const llmrt_engine& engine) {
  const llmrt::Event& e = engine.event;
  llmrt_event out{};
  out.request = e.request;
  out.kind = static_cast<llmrt_event_kind>(e.kind);
  out.token = e.token;
  out.text = e.text.data();
  out.text_bytes = e.text.size();
  out.top_logits = engine.top_logits.data();
  out.num_top_logits = engine.top_logits.size();
  out.reason = static_cast<llmrt_finish_reason>(e.reason);
  out.status = static_cast<llmrt_status>(e.status.code());
  out.error = e.status.message().c_str();
  out.prompt_tokens = e.stats.prompt_tokens;
  out.cached_tokens = e.stats.cached_tokens;
  out.tokens = e.stats.tokens;
  out.ttft_seconds = e.stats.ttft_seconds;
  out.seconds = e.stats.seconds;
  return out;
}

/// Seconds as a duration that no clock overflows at.
std::chrono::nanoseconds durationOf(double seconds) {
  constexpr double kMost = 1e9;  // 31 years
  return std::chrono::nanoseconds(static_cast<int64_t>(std::min(seconds, kMost) * 1e9));
}

}  // namespace

extern "C" {

void llmrt_engine_options_init(llmrt_engine_options* options) {
  if (!options) return;
  *options = {};
  options->struct_size = sizeof *options;
}

llmrt_status llmrt_engine_create(const llmrt_plan* plan, const llmrt_weights* weights,
                                 const llmrt_engine_options* options, llmrt_engine** out) {
  return guarded([&]() -> Status {
    LLMRT_RETURN_IF_ERROR(notNull({{plan, "plan"}, {weights, "weights"}, {out, "out"}}));
    if (weights->plan != plan) return invalidArgument("the weights were opened for another plan");
    llmrt_engine_options o;
    llmrt_engine_options_init(&o);
    LLMRT_RETURN_IF_ERROR(readOptions(options, o));
    if (o.max_waiting < 0) return invalidArgument("max_waiting is negative");
    auto engine = std::make_unique<llmrt_engine>();
    engine->plan = plan;
    llmrt::SessionOptions session_options{.threads = o.threads,
                                          .max_seq_len = o.max_seq_len,
                                          .max_batch = o.max_batch,
                                          .prefill_chunk = o.prefill_chunk,
                                          .kv_tokens = o.kv_tokens};
    LLMRT_RETURN_IF_ERROR(llmrt::Session::boundMemory(*plan->plan, session_options));
    LLMRT_ASSIGN_OR_RETURN(engine->session,
                           llmrt::Session::create(*plan->plan, *weights->weights, session_options));
    engine->engine.emplace(*engine->session, tokenizerOrNull(plan),
                           llmrt::EngineOptions{.max_waiting = o.max_waiting});
    *out = engine.release();
    return {};
  });
}

void llmrt_engine_destroy(llmrt_engine* engine) { delete engine; }

void llmrt_request_options_init(llmrt_request_options* options) {
  if (!options) return;
  *options = {};
  options->struct_size = sizeof *options;
}

llmrt_status llmrt_engine_submit(llmrt_engine* engine, const int32_t* prompt, size_t prompt_count,
                                 const llmrt_generate_options* generate,
                                 const llmrt_request_options* options, uint64_t* request) {
  return guarded([&]() -> Status {
    LLMRT_RETURN_IF_ERROR(notNull({{engine, "engine"}, {prompt, "prompt"}, {request, "request"}}));
    llmrt_request_options o;
    llmrt_request_options_init(&o);
    LLMRT_RETURN_IF_ERROR(readOptions(options, o));
    if (o.top_logits < 0) return invalidArgument("top_logits is negative");
    if (std::isnan(o.timeout_seconds) || o.timeout_seconds < 0)
      return invalidArgument("timeout_seconds is negative");
    const llmrt_plan* plan = engine->plan;
    CallersOptions callers;
    LLMRT_RETURN_IF_ERROR(callers.read(plan, generate, llmrt::defaultSamplerOptions(*plan->plan)));
    llmrt::Request r;
    r.prompt.assign(prompt, prompt + prompt_count);
    r.max_tokens = callers.generate.max_tokens;
    r.sampler = std::move(callers.generate.sampler);
    if (!callers.ignore_eos) r.eos_ids = llmrt::defaultEosIds(*plan->plan, tokenizerOrNull(plan));
    // A plan without a tokenizer may still recommend them.
    if (plan->tokenizer || (generate && generate->num_stops > 0))
      r.stops = std::move(callers.generate.stops);
    r.top_logits = o.top_logits;
    r.priority = o.priority;
    if (o.timeout_seconds > 0)
      r.deadline = llmrt::EngineClock::now() + durationOf(o.timeout_seconds);
    LLMRT_ASSIGN_OR_RETURN(*request, engine->engine->submit(std::move(r)));
    return {};
  });
}

void llmrt_engine_cancel(llmrt_engine* engine, uint64_t request) {
  if (engine) (void)guarded([&]() -> Status { return engine->engine->cancel(request), Status(); });
}

llmrt_status llmrt_engine_wait(llmrt_engine* engine, double timeout_seconds, llmrt_event* event,
                               int32_t* has_event) {
  return guarded([&]() -> Status {
    LLMRT_RETURN_IF_ERROR(
        notNull({{engine, "engine"}, {event, "event"}, {has_event, "has_event"}}));
    if (std::isnan(timeout_seconds)) return invalidArgument("timeout_seconds is no number");
    LLMRT_RETURN_IF_ERROR(checkSize(event, "llmrt_event"));
    std::optional<llmrt::Event> next =
        engine->engine->wait(durationOf(std::max(timeout_seconds, 0.0)));
    *has_event = next.has_value();
    if (!next) return {};
    engine->event = *std::move(next);
    engine->top_logits.clear();
    for (const auto& [token, logit] : engine->event.top_logits)
      engine->top_logits.push_back({token, logit});
    writeOut(toC(*engine), event);
    return {};
  });
}

llmrt_status llmrt_engine_get_stats(const llmrt_engine* engine, llmrt_engine_stats* stats) {
  return guarded([&]() -> Status {
    LLMRT_RETURN_IF_ERROR(notNull({{engine, "engine"}, {stats, "stats"}}));
    LLMRT_RETURN_IF_ERROR(checkSize(stats, "llmrt_engine_stats"));
    const llmrt::EngineStats s = engine->engine->stats();
    llmrt_engine_stats full{
        0,       s.running,       s.waiting,       s.submitted, s.finished,   s.failed,
        s.steps, s.prompt_tokens, s.cached_tokens, s.tokens,    s.preemptions};
    writeOut(full, stats);
    return {};
  });
}

}  // extern "C"
