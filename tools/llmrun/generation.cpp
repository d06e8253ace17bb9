#include "tools/llmrun/generation.h"

#include <fmt/format.h>

#include <cstdio>
#include <string>
#include <utility>

#include "runtime/schema/plan_generated.h"
#include "tools/llmrun/interrupt.h"

namespace llmrt {
namespace {

double perSecond(double amount, double seconds) { return seconds > 0 ? amount / seconds : 0; }

SamplerOptions samplerOptions(SamplerOptions s, const GenerationOptions& o) {
  if (o.temperature) s.temperature = *o.temperature;
  if (o.top_k) s.top_k = *o.top_k;
  if (o.top_p) s.top_p = *o.top_p;
  if (o.min_p) s.min_p = *o.min_p;
  if (o.repetition_penalty) s.repetition_penalty = *o.repetition_penalty;
  s.seed = o.seed;
  return s;
}

}  // namespace

GenerateOptions generateOptions(const LoadedModel& model, const GenerationOptions& o,
                                SamplerOptions sampler, int64_t max_tokens) {
  GenerateOptions options;
  const schema::Generation* recommended = model.plan->schema().generation();
  if (recommended && recommended->max_new_tokens() > 0) max_tokens = recommended->max_new_tokens();
  options.max_tokens = o.max_tokens.value_or(max_tokens);
  options.sampler = samplerOptions(std::move(sampler), o);
  options.stops = o.stops;
  if (!o.ignore_eos) {
    options.eos_ids = defaultEosIds(*model.plan, model.tokenizerOrNull());
    for (std::string& stop : defaultStops(*model.plan)) options.stops.push_back(std::move(stop));
  }
  options.top_logits = o.top_logits;
  options.cancel = &interrupted;
  return options;
}

Speeds speedsOf(const GenerateResult& r) {
  const auto steps = static_cast<double>(r.decode_steps);
  return {perSecond(static_cast<double>(r.prompt_tokens), r.prefill_seconds),
          perSecond(steps, r.decode_seconds),
          perSecond(r.decode_cost.bytes() / 1e9, r.decode_seconds),
          perSecond(r.decode_cost.bytes(), steps)};
}

std::string contextText(const Session& session) {
  const schema::Model& model = *session.plan().schema().model();
  const int64_t taken = session.options().max_seq_len;
  const int64_t compiled = model.max_seq_len(), trained = model.trained_seq_len();
  std::string text = fmt::format("a context of {} tokens", taken);
  if (taken < compiled) text += fmt::format(" of the plan's {} (--max-seq-len)", compiled);
  if (compiled < trained)
    text += fmt::format("{} of the model's {} (llmc compile --max-seq-len)",
                        taken < compiled ? "," : "", trained);
  return text;
}

nlohmann::json resultJson(const std::vector<int32_t>& prompt, const GenerateResult& r,
                          bool with_steps) {
  const Speeds s = speedsOf(r);
  nlohmann::json json = {{"prompt_ids", prompt},
                         {"ids", r.ids},
                         {"text", r.text},
                         {"finish_reason", finishReasonName(r.finish_reason)},
                         {"ttft_ms", r.ttft_seconds * 1e3},
                         {"prefill_tok_s", s.prefill_tok_s},
                         {"decode_tok_s", s.decode_tok_s},
                         {"decode_gb_s", s.decode_gb_s},
                         {"bytes_per_token", s.bytes_per_token}};
  if (with_steps) json["steps"] = r.top_logits;
  return json;
}

void printJson(const nlohmann::json& json) {
  // Text is UTF-8 already; "replace" keeps even a bug of ours from ending in an exception.
  const std::string line = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  std::fwrite(line.data(), 1, line.size(), stdout);
  std::fputc('\n', stdout);
}

}  // namespace llmrt
