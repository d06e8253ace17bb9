// What a client asks to be generated: the fields of OpenAI's chat completions and completions.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "runtime/chat/prompt_tokens.h"
#include "runtime/engine/request.h"
#include "tools/llmserve/json_fields.h"
#include "tools/llmserve/served_model.h"

namespace llmrt::serve {

struct GenerationRequest {
  bool is_chat = false;
  std::vector<PromptTokens::Prompt> prompts;  // each is continued `n` times
  int64_t n = 1;
  Request request;           // of each, but for the prompt
  bool wants_tokens = true;  // false: the engine makes one that nobody is told of
  bool echo = false;         // the text begins with the prompt
  bool stream = false, include_usage = false;

  size_t numChoices() const { return prompts.size() * static_cast<size_t>(n); }
};

struct ParsedRequest {
  std::optional<ApiError> error;
  GenerationRequest request;
};

ParsedRequest parseChatCompletion(const Json& body, ServedModel& model);
ParsedRequest parseCompletion(const Json& body, const ServedModel& model);

/// The text of the prompt of a chat completion, as JSON variables of the model's template give it.
struct RenderedChat {
  std::optional<ApiError> error;
  std::string text;
};
RenderedChat renderChatRequest(const Json& body, const ServedModel& model);

/// What an error of the engine or of a tokenizer is to a client.
ApiError apiError(const Status& status);

}  // namespace llmrt::serve
