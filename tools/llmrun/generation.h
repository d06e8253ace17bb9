// What a prompt and a chat share: flags to options, a result to JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/generate/generate.h"
#include "tools/common/load_model.h"
#include "tools/llmrun/options.h"

namespace llmrt {

/// Of the flags and, where they say nothing, `sampler`; the plan's stops and at most `max_tokens`
/// tokens where the flags do not say otherwise. Ends at Ctrl-C.
GenerateOptions generateOptions(const LoadedModel& model, const GenerationOptions& o,
                                SamplerOptions sampler, int64_t max_tokens);

struct Speeds {
  double prefill_tok_s, decode_tok_s, decode_gb_s, bytes_per_token;
};
Speeds speedsOf(const GenerateResult& result);

/// "a context of 4096 tokens", with how much more the plan or the model has and how to get it.
std::string contextText(const Session& session);

/// The object of --json.
nlohmann::json resultJson(const std::vector<int32_t>& prompt, const GenerateResult& result,
                          bool with_steps);
/// One line on stdout.
void printJson(const nlohmann::json& json);

}  // namespace llmrt
