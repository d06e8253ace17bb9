// The C interface, but for chats.
#include <string>
#include <utility>
#include <vector>

#include "runtime/c_api/c_api_handles.h"
#include "runtime/executor/thread_team.h"
#include "runtime/sampling/sampler.h"
#include "runtime/schema/plan_generated.h"

struct llmrt_sampler {
  llmrt::Sampler sampler;
  size_t vocab_size;
};

namespace llmrt::c_api {
namespace {

static_assert(static_cast<int>(StatusCode::kInternal) == LLMRT_INTERNAL &&
                  static_cast<int>(StatusCode::kCancelled) == LLMRT_CANCELLED,
              "llmrt_status has StatusCode's values");
static_assert(static_cast<int>(FinishReason::kCancelled) == LLMRT_FINISH_CANCELLED,
              "llmrt_finish_reason has FinishReason's values");

thread_local std::string last_error;

llmrt_sampler_options toC(const SamplerOptions& o) {
  return {sizeof(llmrt_sampler_options),
          o.repetition_penalty,
          o.temperature,
          o.top_k,
          o.top_p,
          o.min_p,
          o.seed};
}

// Writes the caller's options over `options`. What llmrt_sampler_options has no field for stays.
Status readSampler(const llmrt_sampler_options* given, SamplerOptions& options) {
  llmrt_sampler_options o = toC(options);
  LLMRT_RETURN_IF_ERROR(readOptions(given, o));
  options.repetition_penalty = o.repetition_penalty;
  options.temperature = o.temperature;
  options.top_k = o.top_k;
  options.top_p = o.top_p;
  options.min_p = o.min_p;
  options.seed = o.seed;
  return {};
}

}  // namespace

const char* lastError() noexcept { return last_error.c_str(); }

llmrt_status report(const Status& status) noexcept {
  if (status.ok()) return LLMRT_OK;
  try {
    last_error = status.message();
  } catch (...) {
    last_error.clear();  // no memory for a message
  }
  return static_cast<llmrt_status>(status.code());
}

Result<const Tokenizer*> tokenizerOf(const llmrt_plan* plan) {
  if (plan->tokenizer) return &*plan->tokenizer;
  return unsupported(plan->plan->path() + ": has no tokenizer");
}

Status CallersOptions::read(const llmrt_plan* plan, const llmrt_generate_options* options,
                            SamplerOptions sampler) {
  llmrt_generate_options o;
  llmrt_generate_options_init(&o);
  LLMRT_RETURN_IF_ERROR(readOptions(options, o));
  LLMRT_RETURN_IF_ERROR(readSampler(o.sampler, sampler));
  has_sampler = o.sampler != nullptr;
  generate.max_tokens = o.max_tokens;
  generate.sampler = std::move(sampler);
  generate.cancel = &cancel;
  ignore_eos = o.ignore_eos != 0;
  if (!ignore_eos) generate.stops = defaultStops(*plan->plan);
  if (o.num_stops > 0) LLMRT_RETURN_IF_ERROR(notNull({{o.stops, "stops"}}));
  for (size_t i = 0; i < o.num_stops; ++i) {
    LLMRT_RETURN_IF_ERROR(notNull({{o.stops[i], "a stop string"}}));
    generate.stops.emplace_back(o.stops[i]);
  }
  if (o.on_text) {
    generate.on_text = [this, o](std::string_view text) {
      if (o.on_text(o.user, text.data(), text.size()) != 0) cancel = true;
    };
  }
  return {};
}

}  // namespace llmrt::c_api

void llmrt_session::note(int32_t seq, std::span<const int32_t> more) noexcept {
  if (seq < 0 || static_cast<size_t>(seq) >= tokens.size()) return;
  std::vector<int32_t>& of = tokens[static_cast<size_t>(seq)];  // has room for a whole context
  const auto now = static_cast<size_t>(session->kvLen(seq));
  if (now < of.size()) of.resize(now);
  const auto taken = more.first(std::min(more.size(), now - of.size()));
  of.insert(of.end(), taken.begin(), taken.end());
}

void llmrt_session::settle(int32_t seq) noexcept {
  if (seq < 0 || static_cast<size_t>(seq) >= tokens.size()) return;
  std::vector<int32_t>& of = tokens[static_cast<size_t>(seq)];
  if (of.size() == static_cast<size_t>(session->kvLen(seq))) return;
  session->reset(seq);
  of.clear();
}

using llmrt::invalidArgument;
using llmrt::Result;
using llmrt::Status;
using namespace llmrt::c_api;  // NOLINT: this file is its interface

extern "C" {

uint32_t llmrt_api_version(void) { return LLMRT_API_VERSION; }
const char* llmrt_last_error(void) { return llmrt::c_api::lastError(); }

llmrt_status llmrt_plan_open(const char* path, const char* cpu_target, llmrt_plan** out) {
  return guarded([&]() -> Status {
    LLMRT_RETURN_IF_ERROR(notNull({{path, "path"}, {out, "out"}}));
    auto handle = std::make_unique<llmrt_plan>();
    LLMRT_ASSIGN_OR_RETURN(handle->plan,
                           llmrt::Plan::open(path, {.cpu_target = cpu_target ? cpu_target : ""}));
    if (const auto* data = handle->plan->schema().tokenizer()) {
      Result<llmrt::Tokenizer> tokenizer = llmrt::Tokenizer::create(data);
      if (!tokenizer.ok()) return std::move(tokenizer).status().withContext(path);
      handle->tokenizer.emplace(*std::move(tokenizer));
    }
    *out = handle.release();
    return {};
  });
}

void llmrt_plan_close(llmrt_plan* plan) { delete plan; }

llmrt_status llmrt_plan_get_info(const llmrt_plan* plan, llmrt_plan_info* info) {
  return guarded([&]() -> Status {
    LLMRT_RETURN_IF_ERROR(notNull({{plan, "plan"}, {info, "info"}}));
    LLMRT_RETURN_IF_ERROR(checkSize(info, "llmrt_plan_info"));
    const llmrt::schema::Plan& schema = plan->plan->schema();
    llmrt_plan_info full{};
    full.vocab_size = plan->plan->vocabSize();
    full.max_seq_len = plan->plan->maxSeqLen();
    full.max_batch = plan->plan->maxBatch();
    full.num_layers = schema.model()->num_layers();
    full.weights_bytes = schema.weights_bytes();
    full.has_weights = schema.has_weights();
    full.has_tokenizer = plan->tokenizer.has_value();
    full.bos_token_id = plan->tokenizer ? plan->tokenizer->bosId() : -1;
    full.name = schema.model()->name() ? schema.model()->name()->c_str() : "";
    full.target = plan->plan->target().name()->c_str();
    writeOut(full, info);
    return {};
  });
}

llmrt_status llmrt_tokenize(const llmrt_plan* plan, const char* text, size_t bytes, int32_t add_bos,
                            int32_t* ids, size_t capacity, size_t* count) {
  return guarded([&]() -> Status {
    LLMRT_RETURN_IF_ERROR(notNull({{plan, "plan"}, {text, "text"}, {count, "count"}}));
    if (capacity > 0) LLMRT_RETURN_IF_ERROR(notNull({{ids, "ids"}}));
    LLMRT_ASSIGN_OR_RETURN(const llmrt::Tokenizer* tokenizer, tokenizerOf(plan));
    LLMRT_ASSIGN_OR_RETURN(const std::vector<int32_t> all,
                           tokenizer->encode({text, bytes}, {.add_bos = add_bos != 0}));
    copyOut(all.data(), all.size(), ids, capacity, count);
    return {};
  });
}

llmrt_status llmrt_detokenize(const llmrt_plan* plan, const int32_t* ids, size_t num_ids,
                              char* text, size_t capacity, size_t* count) {
  return guarded([&]() -> Status {
    LLMRT_RETURN_IF_ERROR(notNull({{plan, "plan"}, {count, "count"}}));
    if (num_ids > 0) LLMRT_RETURN_IF_ERROR(notNull({{ids, "ids"}}));
    if (capacity > 0) LLMRT_RETURN_IF_ERROR(notNull({{text, "text"}}));
    LLMRT_ASSIGN_OR_RETURN(const llmrt::Tokenizer* tokenizer, tokenizerOf(plan));
    const std::string all = tokenizer->decode({ids, num_ids});
    copyOut(all.data(), all.size(), text, capacity, count);
    return {};
  });
}

llmrt_status llmrt_weights_open(const llmrt_plan* plan, const char* path, llmrt_weights** out) {
  return guarded([&]() -> Status {
    LLMRT_RETURN_IF_ERROR(notNull({{plan, "plan"}, {out, "out"}}));
    LLMRT_ASSIGN_OR_RETURN(auto weights, llmrt::Weights::map(*plan->plan, path ? path : ""));
    *out = new llmrt_weights{plan, std::move(weights)};
    return {};
  });
}

llmrt_status llmrt_weights_synthesize(const llmrt_plan* plan, uint64_t seed, int32_t threads,
                                      llmrt_weights** out) {
  return guarded([&]() -> Status {
    LLMRT_RETURN_IF_ERROR(notNull({{plan, "plan"}, {out, "out"}}));
    LLMRT_ASSIGN_OR_RETURN(
        auto team, llmrt::ThreadTeam::create(threads == 0 ? llmrt::defaultThreads() : threads));
    LLMRT_ASSIGN_OR_RETURN(auto weights, llmrt::Weights::synthesize(*plan->plan, seed, *team));
    *out = new llmrt_weights{plan, std::move(weights)};
    return {};
  });
}

void llmrt_weights_close(llmrt_weights* weights) { delete weights; }

void llmrt_session_options_init(llmrt_session_options* options) {
  if (!options) return;
  *options = {};
  options->struct_size = sizeof *options;
  options->max_batch = 1;
}

llmrt_status llmrt_session_create(const llmrt_plan* plan, const llmrt_weights* weights,
                                  const llmrt_session_options* options, llmrt_session** out) {
  return guarded([&]() -> Status {
    LLMRT_RETURN_IF_ERROR(notNull({{plan, "plan"}, {weights, "weights"}, {out, "out"}}));
    if (weights->plan != plan) return invalidArgument("the weights were opened for another plan");
    llmrt_session_options o;
    llmrt_session_options_init(&o);
    LLMRT_RETURN_IF_ERROR(readOptions(options, o));
    llmrt::SessionOptions session_options{.threads = o.threads,
                                          .max_seq_len = o.max_seq_len,
                                          .max_batch = o.max_batch,
                                          .prefill_chunk = o.prefill_chunk};
    LLMRT_RETURN_IF_ERROR(llmrt::Session::boundMemory(*plan->plan, session_options));
    LLMRT_ASSIGN_OR_RETURN(auto session,
                           llmrt::Session::create(*plan->plan, *weights->weights, session_options));
    const auto rows = static_cast<size_t>(session->maxRows());
    std::vector<std::vector<int32_t>> tokens(static_cast<size_t>(session->options().max_batch));
    for (auto& of : tokens) of.reserve(static_cast<size_t>(session->options().max_seq_len));
    *out = new llmrt_session{plan, std::move(session), std::vector<llmrt::StepToken>(rows),
                             std::move(tokens)};
    return {};
  });
}

void llmrt_session_destroy(llmrt_session* session) { delete session; }

llmrt_status llmrt_prefill(llmrt_session* session, int32_t seq, const int32_t* tokens,
                           size_t count) {
  return guarded([&]() -> Status {
    LLMRT_RETURN_IF_ERROR(notNull({{session, "session"}, {tokens, "tokens"}}));
    Status status = session->session->prefill(seq, {tokens, count});
    session->note(seq, {tokens, count});
    return status;
  });
}

llmrt_status llmrt_decode(llmrt_session* session, int32_t seq, int32_t token) {
  return guarded([&]() -> Status {
    LLMRT_RETURN_IF_ERROR(notNull({{session, "session"}}));
    Status status = session->session->decode(seq, token);
    session->note(seq, {&token, 1});
    return status;
  });
}

llmrt_status llmrt_step(llmrt_session* session, const llmrt_step_token* tokens, size_t count) {
  return guarded([&]() -> Status {
    LLMRT_RETURN_IF_ERROR(notNull({{session, "session"}, {tokens, "tokens"}}));
    if (count > session->step.size()) {
      return invalidArgument(std::to_string(count) +
                             " tokens in a step, the plan was compiled for " +
                             std::to_string(session->step.size()));
    }
    for (size_t i = 0; i < count; ++i) {
      session->step[i] = {tokens[i].seq, tokens[i].token, tokens[i].want_logits != 0};
    }
    Status status = session->session->step({session->step.data(), count});
    for (size_t i = 0; i < count; ++i) session->note(tokens[i].seq, {&tokens[i].token, 1});
    return status;
  });
}

const float* llmrt_logits(const llmrt_session* session, size_t i) {
  if (!session || i > INT32_MAX) return nullptr;
  return session->session->logits(static_cast<int64_t>(i)).data();
}

int64_t llmrt_kv_len(const llmrt_session* session, int32_t seq) {
  if (!session || seq < 0 || seq >= session->session->options().max_batch) return -1;
  return session->session->kvLen(seq);
}

void llmrt_reset(llmrt_session* session, int32_t seq) {
  if (!session) return;
  session->session->reset(seq);
  session->note(seq, {});
}

void llmrt_sampler_options_init(llmrt_sampler_options* options, const llmrt_plan* plan) {
  if (!options) return;
  *options = toC(plan ? llmrt::defaultSamplerOptions(*plan->plan) : llmrt::SamplerOptions{});
}

llmrt_status llmrt_sampler_create(const llmrt_plan* plan, const llmrt_sampler_options* options,
                                  llmrt_sampler** out) {
  return guarded([&]() -> Status {
    LLMRT_RETURN_IF_ERROR(notNull({{plan, "plan"}, {out, "out"}}));
    llmrt::SamplerOptions o = llmrt::defaultSamplerOptions(*plan->plan);
    LLMRT_RETURN_IF_ERROR(readSampler(options, o));
    LLMRT_ASSIGN_OR_RETURN(llmrt::Sampler sampler,
                           llmrt::Sampler::create(plan->plan->vocabSize(), o));
    *out = new llmrt_sampler{std::move(sampler), static_cast<size_t>(plan->plan->vocabSize())};
    return {};
  });
}

void llmrt_sampler_destroy(llmrt_sampler* sampler) { delete sampler; }

void llmrt_sampler_accept(llmrt_sampler* sampler, int32_t token) {
  if (sampler) sampler->sampler.accept(token);
}

int32_t llmrt_sampler_sample(llmrt_sampler* sampler, const float* logits) {
  if (!sampler || !logits) return -1;
  return sampler->sampler.sample({logits, sampler->vocab_size});
}

void llmrt_generate_options_init(llmrt_generate_options* options) {
  if (!options) return;
  *options = {};
  options->struct_size = sizeof *options;
  options->max_tokens = llmrt::GenerateOptions{}.max_tokens;
}

llmrt_status llmrt_generate(llmrt_session* session, int32_t seq, const int32_t* prompt,
                            size_t prompt_count, const llmrt_generate_options* options,
                            int32_t* ids, size_t capacity, size_t* count,
                            llmrt_finish_reason* reason) {
  return guarded([&]() -> Status {
    LLMRT_RETURN_IF_ERROR(notNull({{session, "session"}, {prompt, "prompt"}, {count, "count"}}));
    if (capacity > 0) LLMRT_RETURN_IF_ERROR(notNull({{ids, "ids"}}));
    const llmrt::Tokenizer* tokenizer =
        session->plan->tokenizer ? &*session->plan->tokenizer : nullptr;
    CallersOptions o;
    LLMRT_RETURN_IF_ERROR(
        o.read(session->plan, options, llmrt::defaultSamplerOptions(*session->plan->plan)));
    if (!o.ignore_eos) o.generate.eos_ids = llmrt::defaultEosIds(*session->plan->plan, tokenizer);
    if (prompt_count == 0) return invalidArgument("a prompt needs at least one token");
    std::vector<int32_t> text;
    if (seq >= 0 && static_cast<size_t>(seq) < session->tokens.size())
      text = session->tokens[static_cast<size_t>(seq)];
    o.generate.present = static_cast<int64_t>(text.size());
    text.insert(text.end(), prompt, prompt + prompt_count);
    const Settled settled{*session, seq};
    LLMRT_ASSIGN_OR_RETURN(const llmrt::GenerateResult result,
                           llmrt::generate(*session->session, tokenizer, text, o.generate, seq));
    session->note(seq, {prompt, prompt_count});
    session->note(seq, result.ids);
    copyOut(result.ids.data(), result.ids.size(), ids, capacity, count);
    if (reason) *reason = static_cast<llmrt_finish_reason>(result.finish_reason);
    return {};
  });
}

}  // extern "C"
