#include "tools/llmserve/generation_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cfloat>
#include <charconv>
#include <random>

#include "runtime/generate/generate.h"
#include "runtime/io/printable.h"

namespace llmrt::serve {
namespace {

constexpr int64_t kMaxChoices = 128, kMaxPrompts = 1024, kMaxStops = 64, kMaxTopLogprobs = 20;
constexpr size_t kMaxStopBytes = 4096;
constexpr float kGreedyTemperature = 1e-5f;        // below, quotients leave what a float holds
constexpr int64_t kDefaultCompletionTokens = 16;   // OpenAI's
constexpr int64_t kMostTokens = int64_t{1} << 40;  // more than any context: the context ends it

uint64_t randomSeed() {
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32) | device();
}

void readStops(JsonFields& fields, std::vector<std::string>& stops) {
  const Json* const value = fields.find("stop");
  if (!value) return;
  const auto add = [&](const Json& stop) {
    if (!stop.is_string()) return fields.fail("stop", "must be a string, or an array of strings");
    const auto& text = stop.get_ref<const std::string&>();
    if (text.size() > kMaxStopBytes)
      return fields.fail("stop", fmt::format("has a text of more than {} bytes", kMaxStopBytes));
    if (!text.empty()) stops.push_back(text);
  };
  if (!value->is_array()) return add(*value);
  if (value->size() > kMaxStops)
    return fields.fail("stop", fmt::format("has more than {} texts", kMaxStops));
  for (const Json& stop : *value) add(stop);
}

void readLogitBias(JsonFields& fields, int64_t vocab_size, SamplerOptions& sampler) {
  const Json* const biases = fields.object("logit_bias");
  if (!biases) return;
  for (const auto& [key, value] : biases->items()) {
    int32_t id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0 || id >= vocab_size)
      return fields.fail("logit_bias",
                         fmt::format("has a key that is no token id below {}", vocab_size));
    if (!value.is_number() || !(std::abs(value.get<double>()) <= 100))
      return fields.fail("logit_bias", "must have numbers from -100 to 100");
    sampler.logit_bias.emplace_back(id, value.get<float>());
  }
}

// What both kinds of completion have in common. The sampler has the model's defaults.
void readCommon(JsonFields& fields, int64_t vocab_size, GenerationRequest& out) {
  SamplerOptions& sampler = out.request.sampler;
  const auto number = [&](const char* name, float& value, double least, double most) {
    value = static_cast<float>(fields.number(name, value, least, most));
  };
  number("temperature", sampler.temperature, 0, 100);
  if (sampler.temperature < kGreedyTemperature) sampler.temperature = 0;
  number("top_p", sampler.top_p, 0, 1);
  sampler.top_p = std::max(sampler.top_p, FLT_MIN);  // 0: the most probable token alone
  number("min_p", sampler.min_p, 0, 1);
  number("presence_penalty", sampler.presence_penalty, -2, 2);
  number("frequency_penalty", sampler.frequency_penalty, -2, 2);
  number("repetition_penalty", sampler.repetition_penalty, 0.01, 100);
  sampler.top_k = static_cast<int32_t>(
      std::max<int64_t>(fields.integer("top_k", sampler.top_k, -1, INT32_MAX), 0));
  readLogitBias(fields, vocab_size, sampler);
  sampler.seed = fields.find("seed") ? static_cast<uint64_t>(fields.integer("seed", 0, INT64_MIN))
                                     : randomSeed();
  readStops(fields, out.request.stops);
  out.n = fields.integer("n", 1, 1, kMaxChoices);
  if (fields.boolean("ignore_eos", false)) {
    out.request.eos_ids.clear();
    out.request.stops.clear();
    readStops(fields, out.request.stops);
  }
  out.stream = fields.boolean("stream", false);
  if (const Json* const options = fields.object("stream_options")) {
    JsonFields inner(*options, "stream_options.");
    out.include_usage = inner.boolean("include_usage", false);
    fields.fail(inner.error());
  }
}

// What waits for a later version is refused by name: an answer without it would be a wrong one.
void refuseLater(JsonFields& fields) {
  for (const char* name : {"functions", "function_call", "audio", "guided_json", "guided_regex",
                           "guided_choice", "guided_grammar", "structured_outputs"})
    if (fields.find(name)) fields.fail(name, "is not supported", "unsupported_parameter");
  if (const Json* const format = fields.object("response_format")) {
    JsonFields inner(*format, "response_format.");
    if (inner.text("type", "text") != "text")
      inner.fail("type", "can only be 'text': structured output is not supported yet",
                 "unsupported_parameter");
    fields.fail(inner.error());
  }
  if (const Json* const choice = fields.find("tool_choice");
      choice && *choice != "auto" && *choice != "none")
    fields.fail("tool_choice", "can only be 'auto' or 'none'", "unsupported_parameter");
}

// A message's text: a string, or its parts in one.
std::string textOf(const Json& content, const std::string& name, JsonFields& fields) {
  if (content.is_string()) return content.get<std::string>();
  std::string text;
  if (!content.is_array()) {
    fields.fail(name, "must be a string, or an array of parts of type 'text'");
    return text;
  }
  for (size_t i = 0; i < content.size(); ++i) {
    const Json& part = content[i];
    const std::string part_name = fmt::format("{}[{}]", name, i);
    const auto type = part.find("type");
    if (!part.is_object() || type == part.end() || !type->is_string()) {
      fields.fail(part_name, "must be an object with a 'type', a string");
    } else if (*type != "text" && *type != "input_text" && *type != "output_text") {
      fields.fail(part_name, fmt::format("is of type '{}': only parts of type 'text' are supported",
                                         printableLine(type->get<std::string>().substr(0, 40))));
    } else if (!part.contains("text") || !part["text"].is_string()) {
      fields.fail(part_name + ".text", "must be a string");
    } else {
      text += part["text"].get_ref<const std::string&>();
    }
    if (fields.error()) break;
  }
  return text;
}

// As templates expect messages: contents are texts, arguments of calls are objects.
Json messageForTemplate(const Json& message, size_t index, JsonFields& fields) {
  const std::string name = fmt::format("messages[{}]", index);
  if (!message.is_object() || !message.contains("role") || !message["role"].is_string()) {
    fields.fail(name, "must be an object with a 'role', a string");
    return {};
  }
  Json out = message;
  const auto calls = out.find("tool_calls");
  const bool has_calls = calls != out.end() && calls->is_array() && !calls->empty();
  const auto content = message.find("content");
  if (content == message.end() || content->is_null()) {
    if (!has_calls && message["role"] != "assistant") fields.fail(name + ".content", "is missing");
    if (!has_calls) out["content"] = "";
  } else {
    out["content"] = textOf(*content, name + ".content", fields);
  }
  if (!has_calls) {
    out.erase("tool_calls");
    return out;
  }
  for (Json& call : *calls) {
    if (!call.is_object() || !call.contains("function") || !call["function"].is_object()) {
      fields.fail(name + ".tool_calls", "must have objects with a 'function'");
      break;
    }
    Json& function = call["function"];
    const auto arguments = function.find("arguments");
    if (arguments == function.end() || !arguments->is_string()) continue;
    if (const Result<Json> parsed = parseJson(arguments->get<std::string>());
        parsed.ok() && parsed->is_object())
      *arguments = *parsed;
  }
  return out;
}

Json templateVariables(const Json& body, JsonFields& fields) {
  Json variables = Json::object();
  Json& messages = variables["messages"] = Json::array();
  if (const Json* const given = fields.array("messages"); !given || given->empty()) {
    fields.fail("messages", "must have at least one message");
  } else {
    for (const Json& message : *given)
      messages.push_back(messageForTemplate(message, messages.size(), fields));
  }
  const Json* const choice = fields.find("tool_choice");
  if (const Json* const tools = fields.array("tools");
      tools && !tools->empty() && !(choice && *choice == "none"))
    variables["tools"] = *tools;
  variables["add_generation_prompt"] = fields.boolean("add_generation_prompt", true);
  if (fields.boolean("continue_final_message", false))
    fields.fail("continue_final_message", "is not supported", "unsupported_parameter");
  if (const std::string effort = fields.text("reasoning_effort"); !effort.empty())
    variables["reasoning_effort"] = effort;
  if (const Json* const more = fields.object("chat_template_kwargs"))
    for (const auto& [name, value] : more->items()) {
      if (name == "messages" || name == "tools")
        fields.fail("chat_template_kwargs", "may not have '" + name + "'");
      variables[name] = value;
    }
  return variables;
}

// Models that were trained to fill in write their tokens in one of these ways.
constexpr std::array<std::array<const char*, 3>, 4> kFillIn = {{
    {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"},
    {"<fim_prefix>", "<fim_suffix>", "<fim_middle>"},
    {"<fim-prefix>", "<fim-suffix>", "<fim-middle>"},
    {"\u2581<PRE>", "\u2581<SUF>", "\u2581<MID>"},
}};

int32_t specialToken(const Tokenizer& tokenizer, const char* text) {
  const auto ids = tokenizer.encode(text, {.add_bos = false});
  return ids.ok() && ids->size() == 1 && tokenizer.isSpecial(ids->front()) ? ids->front() : -1;
}

// The prompt between which and `suffix` the model is to write; nullopt: it has no tokens for that.
Result<std::optional<std::vector<int32_t>>> fillInPrompt(const Tokenizer& tokenizer,
                                                         const std::string& prefix,
                                                         const std::string& suffix) {
  for (const auto& [before, behind, middle] : kFillIn) {
    const std::array<int32_t, 3> marks = {specialToken(tokenizer, before),
                                          specialToken(tokenizer, behind),
                                          specialToken(tokenizer, middle)};
    if (std::count(marks.begin(), marks.end(), -1) > 0) continue;
    LLMRT_ASSIGN_OR_RETURN(std::vector<int32_t> ids,
                           tokenizer.encode(""));  // BOS, where there is one
    for (const auto& [mark, text] : {std::pair(marks[0], &prefix), std::pair(marks[1], &suffix)}) {
      LLMRT_ASSIGN_OR_RETURN(const auto of_text,
                             tokenizer.encode(*text, {.add_bos = false, .parse_special = false}));
      ids.push_back(mark);
      ids.insert(ids.end(), of_text.begin(), of_text.end());
    }
    ids.push_back(marks[2]);
    return std::optional(std::move(ids));
  }
  return std::optional<std::vector<int32_t>>();
}

// [1, 2, 3]
std::optional<std::vector<int32_t>> idsOf(const Json& list, int64_t vocab_size) {
  std::vector<int32_t> ids;
  for (const Json& id : list) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= vocab_size)
      return std::nullopt;
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

void addPrompt(JsonFields& fields, const Json& prompt, const ServedModel& model,
               GenerationRequest& out) {
  const Tokenizer& tokenizer = model.tokenizer();
  PromptTokens::Prompt& made = out.prompts.emplace_back();
  if (prompt.is_string()) {
    made.text = prompt.get<std::string>();
    if (const std::string suffix = fields.text("suffix"); !suffix.empty()) {
      const auto filled = fillInPrompt(tokenizer, made.text, suffix);
      if (!filled.ok()) return fields.fail(apiError(filled.status()));
      if (!*filled)
        return fields.fail("suffix", "needs a model that was trained to fill in",
                           "unsupported_parameter");
      made.ids = **filled;
    } else {
      const auto ids = tokenizer.encode(made.text);
      if (!ids.ok()) return fields.fail(apiError(ids.status()));
      made.ids = *ids;
    }
  } else if (prompt.is_array()) {
    const auto ids = idsOf(prompt, model.vocabSize());
    if (!ids)
      return fields.fail("prompt",
                         fmt::format("has what is no token id below {}", model.vocabSize()));
    made.ids = *ids;
    made.text = tokenizer.decode(made.ids);
  } else {
    return fields.fail("prompt", "must be a string, an array of strings, or token ids");
  }
  if (made.ids.empty())
    fields.fail("prompt", "is empty, and the model has no token that begins a text");
}

void readPrompts(JsonFields& fields, const ServedModel& model, GenerationRequest& out) {
  const Json* const prompt = fields.find("prompt");
  if (!prompt) return fields.fail("prompt", "is missing");
  const bool several = prompt->is_array() && !prompt->empty() &&
                       (prompt->front().is_string() || prompt->front().is_array());
  if (!several) return addPrompt(fields, *prompt, model, out);
  if (prompt->size() > kMaxPrompts)
    return fields.fail("prompt", fmt::format("has more than {} texts", kMaxPrompts));
  for (const Json& one : *prompt) addPrompt(fields, one, model, out);
}

// Said here, in the words of the API, rather than by the engine.
void checkLengths(JsonFields& fields, const char* name, const ServedModel& model,
                  const GenerationRequest& out) {
  for (const PromptTokens::Prompt& prompt : out.prompts) {
    if (static_cast<int64_t>(prompt.ids.size()) <= model.maxSeqLen()) continue;
    fields.fail(name,
                fmt::format("has {} tokens, and the model's context holds {} here",
                            prompt.ids.size(), model.maxSeqLen()),
                "context_length_exceeded");
  }
}

}  // namespace

ApiError apiError(const Status& status) {
  ApiError error{.message = status.message()};
  switch (status.code()) {
    case StatusCode::kInvalidArgument:
    case StatusCode::kUnsupported:
      break;
    case StatusCode::kOutOfMemory:
      error.status = 503;
      error.type = "server_error";
      break;
    default:
      error.status = 500;
      error.type = "server_error";
  }
  return error;
}

RenderedChat renderChatRequest(const Json& body, const ServedModel& model) {
  JsonFields fields(body);
  const Json variables = templateVariables(body, fields);
  if (fields.error()) return {fields.error(), ""};
  Result<std::string> text = model.render(variables.dump());
  if (text.ok()) return {std::nullopt, *std::move(text)};
  ApiError error = apiError(text.status());
  error.param = "messages";
  return {std::move(error), ""};
}

ParsedRequest parseChatCompletion(const Json& body, ServedModel& model) {
  ParsedRequest parsed;
  GenerationRequest& out = parsed.request;
  JsonFields fields(body);
  out.is_chat = true;
  out.request.own_text = true;
  out.request.sampler = chatSamplerOptions(model.plan());
  out.request.eos_ids = model.chatEosIds();
  out.request.stops = defaultStops(model.plan());
  readCommon(fields, model.vocabSize(), out);
  refuseLater(fields);
  out.request.max_tokens =
      fields.integer("max_completion_tokens", fields.integer("max_tokens", kMostTokens, 1), 1);
  if (fields.boolean("logprobs", false))
    out.request.logprobs =
        static_cast<int32_t>(fields.integer("top_logprobs", 0, 0, kMaxTopLogprobs));
  if (fields.error()) return {fields.error(), {}};
  RenderedChat chat = renderChatRequest(body, model);
  if (chat.error) return {std::move(chat.error), {}};
  Result<PromptTokens::Prompt> prompt = model.chatPrompt(std::move(chat.text));
  if (!prompt.ok()) return {apiError(prompt.status()), {}};
  out.prompts.push_back(*std::move(prompt));
  if (out.prompts[0].ids.empty())
    fields.fail("messages", "become no text at all in the model's chat template");
  checkLengths(fields, "messages", model, out);
  parsed.error = fields.error();
  return parsed;
}

ParsedRequest parseCompletion(const Json& body, const ServedModel& model) {
  ParsedRequest parsed;
  GenerationRequest& out = parsed.request;
  JsonFields fields(body);
  out.request.sampler = defaultSamplerOptions(model.plan());
  out.request.eos_ids = defaultEosIds(model.plan(), &model.tokenizer());
  out.request.stops = defaultStops(model.plan());
  readCommon(fields, model.vocabSize(), out);
  refuseLater(fields);
  out.echo = fields.boolean("echo", false);
  const int64_t max_tokens = fields.integer("max_tokens", kDefaultCompletionTokens, 0);
  out.wants_tokens = max_tokens > 0;
  out.request.max_tokens = std::max<int64_t>(max_tokens, 1);
  out.request.logprobs = static_cast<int32_t>(fields.integer("logprobs", -1, 0, kMaxTopLogprobs));
  out.request.prompt_logprobs = out.echo && out.request.logprobs >= 0;
  if (fields.integer("best_of", out.n, 1) != out.n)
    fields.fail("best_of", "can only be as many as 'n'", "unsupported_parameter");
  readPrompts(fields, model, out);
  checkLengths(fields, "prompt", model, out);
  parsed.error = fields.error();
  return parsed;
}

}  // namespace llmrt::serve
