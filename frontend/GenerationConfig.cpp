#include "frontend/GenerationConfig.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "runtime/io/printable.h"

namespace llmc {
namespace {

using llmrt::GgufFile;
using llmrt::invalidData;
using llmrt::Result;
using llmrt::Status;

// Fields of GenerationConfig that change what is generated and are not supported here, with the
// value at which they do nothing (null: none). Beam search, contrastive search and the like are
// named by the field that turns them on alone.
struct UnusedField {
  const char* name;
  nlohmann::json neutral;
};
const std::vector<UnusedField>& unusedFields() {
  static const std::vector<UnusedField> fields = {{"max_time", nullptr},
                                                  {"min_length", 0},
                                                  {"min_new_tokens", 0},
                                                  {"num_beams", 1},
                                                  {"num_return_sequences", 1},
                                                  {"penalty_alpha", 0},
                                                  {"dola_layers", nullptr},
                                                  {"constraints", nullptr},
                                                  {"force_words_ids", nullptr},
                                                  {"guidance_scale", 1},
                                                  {"sequence_bias", nullptr},
                                                  {"encoder_repetition_penalty", 1},
                                                  {"encoder_no_repeat_ngram_size", 0},
                                                  {"forced_bos_token_id", nullptr},
                                                  {"forced_eos_token_id", nullptr},
                                                  {"exponential_decay_length_penalty", nullptr},
                                                  {"top_h", nullptr},
                                                  {"typical_p", 1},
                                                  {"epsilon_cutoff", 0},
                                                  {"eta_cutoff", 0},
                                                  {"token_healing", false},
                                                  {"watermarking_config", nullptr},
                                                  // Not HF's, but written beside them.
                                                  {"presence_penalty", 0},
                                                  {"frequency_penalty", 0}};
  return fields;
}

Status checkRanges(const GenerationDefaults& g) {
  if (!(g.temperature >= 0 && g.temperature <= 1e6))
    return invalidData("temperature is " + briefJson(g.temperature) + ", must be 0 or more");
  if (g.top_k < 0 || g.top_k > std::numeric_limits<int32_t>::max())
    return invalidData("top_k is " + std::to_string(g.top_k) + ", must be 0 or more");
  if (!(g.top_p > 0 && g.top_p <= 1))
    return invalidData("top_p is " + briefJson(g.top_p) + ", must be above 0 and at most 1");
  if (!(g.min_p >= 0 && g.min_p <= 1))
    return invalidData("min_p is " + briefJson(g.min_p) + ", must be from 0 to 1");
  if (!(g.repetition_penalty > 0 && g.repetition_penalty <= 1e6))
    return invalidData("repetition_penalty is " + briefJson(g.repetition_penalty) +
                       ", must be above 0");
  if (g.no_repeat_ngram_size < 0 || g.no_repeat_ngram_size > std::numeric_limits<int32_t>::max())
    return invalidData("no_repeat_ngram_size is " + std::to_string(g.no_repeat_ngram_size) +
                       ", must be 0 or more");
  return {};
}

// Of `value`, which is that of `field` or in it.
Result<std::vector<int64_t>> idsOf(const char* field, const nlohmann::json& value) {
  std::vector<int64_t> ids;
  for (const nlohmann::json& id : value) {
    if (!value.is_array() || !id.is_number_integer() || id > std::numeric_limits<int32_t>::max() ||
        id < std::numeric_limits<int32_t>::min())
      return invalidData(std::string(field) + " is " + briefJson(value) +
                         ", expected a list of token ids");
    ids.push_back(id.get<int64_t>());
  }
  return ids;
}

Result<std::vector<int64_t>> getIds(const JsonFields& config, const char* field) {
  const nlohmann::json* value = config.find(field);
  return value ? idsOf(field, *value) : std::vector<int64_t>();
}

// One text or a list of them.
Result<std::vector<std::string>> getStops(const JsonFields& config) {
  std::vector<std::string> stops;
  const nlohmann::json* value = config.find("stop_strings");
  if (!value) return stops;
  const nlohmann::json list = value->is_array() ? *value : nlohmann::json::array({*value});
  for (const nlohmann::json& stop : list) {
    if (!stop.is_string())
      return invalidData("stop_strings is " + briefJson(*value) +
                         ", expected a string or a list of them");
    stops.push_back(stop.get<std::string>());
  }
  return stops;
}

Result<std::vector<std::vector<int64_t>>> getBadWords(const JsonFields& config,
                                                      const std::vector<int64_t>& eos_ids) {
  std::vector<std::vector<int64_t>> words;
  const nlohmann::json* value = config.find("bad_words_ids");
  if (!value) return words;
  for (const nlohmann::json& word : *value) {
    LLMRT_ASSIGN_OR_RETURN(auto ids, idsOf("bad_words_ids", word));
    if (ids.empty()) return invalidData("bad_words_ids holds an empty list");
    // As NoBadWordsLogitsProcessor: a text must be able to end.
    const bool ends =
        ids.size() == 1 && std::find(eos_ids.begin(), eos_ids.end(), ids[0]) != eos_ids.end();
    if (!ends) words.push_back(std::move(ids));
  }
  return words;
}

}  // namespace

Status readGenerationFields(const JsonFields& config, ModelSpec& spec) {
  GenerationDefaults& g = spec.generation;
  LLMRT_ASSIGN_OR_RETURN(auto do_sample, config.getBool("do_sample"));
  LLMRT_ASSIGN_OR_RETURN(auto temperature, config.getNumber("temperature"));
  LLMRT_ASSIGN_OR_RETURN(auto top_k, config.getInt("top_k"));
  LLMRT_ASSIGN_OR_RETURN(auto top_p, config.getNumber("top_p"));
  LLMRT_ASSIGN_OR_RETURN(auto min_p, config.getNumber("min_p"));
  LLMRT_ASSIGN_OR_RETURN(auto penalty, config.getNumber("repetition_penalty"));
  LLMRT_ASSIGN_OR_RETURN(auto ngram_size, config.getInt("no_repeat_ngram_size"));
  LLMRT_ASSIGN_OR_RETURN(auto max_new_tokens, config.getInt("max_new_tokens"));
  g.do_sample = do_sample.value_or(false);
  g.temperature = temperature.value_or(1.0);
  g.top_k = top_k.value_or(g.do_sample ? 50 : 0);  // GenerationConfig's default
  g.top_p = top_p.value_or(1.0);
  g.min_p = min_p.value_or(0.0);
  g.repetition_penalty = penalty.value_or(1.0);
  g.no_repeat_ngram_size = ngram_size.value_or(0);
  if (max_new_tokens && *max_new_tokens < 1)
    return invalidData("max_new_tokens is " + std::to_string(*max_new_tokens) +
                       ", must be above 0");
  g.max_new_tokens =
      std::min<int64_t>(max_new_tokens.value_or(0), std::numeric_limits<uint32_t>::max());
  LLMRT_RETURN_IF_ERROR(checkRanges(g));
  // HF's chats sample with the config's temperature, unless it says do_sample: false.
  if (do_sample) {
    g.chat_temperature = 0;
  } else if (temperature) {
    g.chat_temperature = *temperature;
  }
  LLMRT_ASSIGN_OR_RETURN(g.suppress_tokens, getIds(config, "suppress_tokens"));
  LLMRT_ASSIGN_OR_RETURN(g.begin_suppress_tokens, getIds(config, "begin_suppress_tokens"));
  LLMRT_ASSIGN_OR_RETURN(g.stop_strings, getStops(config));
  LLMRT_ASSIGN_OR_RETURN(g.bad_words, getBadWords(config, spec.eos_token_ids));

  for (const UnusedField& field : unusedFields()) {
    const nlohmann::json* value = config.find(field.name);
    if (value && *value != field.neutral)
      g.unused.push_back(std::string(field.name) + " " + briefJson(*value));
  }
  // Many say how long the context is; 20 is HF's default.
  LLMRT_ASSIGN_OR_RETURN(auto max_length, config.getInt("max_length"));
  if (max_length && *max_length != 20 && *max_length < spec.max_position_embeddings)
    g.unused.push_back("max_length " + std::to_string(*max_length));
  return {};
}

Status readGgufSampling(const GgufFile& file, ModelSpec& spec) {
  GenerationDefaults& g = spec.generation;
  const auto key = [](const char* name) { return std::string("general.sampling.") + name; };
  LLMRT_ASSIGN_OR_RETURN(auto temp, file.getFloat(key("temp")));
  LLMRT_ASSIGN_OR_RETURN(auto top_k, file.getInt(key("top_k")));
  LLMRT_ASSIGN_OR_RETURN(auto top_p, file.getFloat(key("top_p")));
  LLMRT_ASSIGN_OR_RETURN(auto min_p, file.getFloat(key("min_p")));
  LLMRT_ASSIGN_OR_RETURN(auto penalty, file.getFloat(key("penalty_repeat")));
  LLMRT_ASSIGN_OR_RETURN(auto last_n, file.getInt(key("penalty_last_n")));
  // Files have no key for do_sample. llama.cpp's ways to say that something is off: a temperature
  // or top_k of 0 or less, a top_p of 1 or more, a min_p of 0 or less, a penalty over 0 tokens.
  g.do_sample = temp || top_k || top_p || min_p;
  g.temperature = std::max(temp.value_or(1.0), 0.0);
  g.top_k = std::max<int64_t>(top_k.value_or(0), 0);
  g.top_p = std::min(top_p.value_or(1.0), 1.0);
  g.min_p = std::max(min_p.value_or(0.0), 0.0);
  g.repetition_penalty = last_n == 0 ? 1.0 : penalty.value_or(1.0);
  LLMRT_RETURN_IF_ERROR(checkRanges(g).withContext("metadata general.sampling"));

  if (last_n && *last_n > 0 && g.repetition_penalty != 1)
    g.unused.push_back(key("penalty_last_n") + " " + std::to_string(*last_n));
  for (const char* name : {"xtc_probability", "mirostat"}) {
    LLMRT_ASSIGN_OR_RETURN(auto value, file.getFloat(key(name)));
    if (value.value_or(0) != 0) g.unused.push_back(key(name) + " " + briefJson(*value));
  }
  LLMRT_ASSIGN_OR_RETURN(auto sequence, file.getString(key("sequence")));
  if (sequence) g.unused.push_back(key("sequence") + " " + llmrt::quotedName(*sequence));

  LLMRT_ASSIGN_OR_RETURN(auto suppress, file.getInts("tokenizer.ggml.suppress_tokens"));
  if (suppress) {
    for (const int64_t id : *suppress)
      if (id >= 0 && id < spec.vocab_size) g.suppress_tokens.push_back(id);
  }
  return {};
}

}  // namespace llmc
