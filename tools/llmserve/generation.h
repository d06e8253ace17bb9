// A request that is being answered: from the engine's events to OpenAI's answers, whole or as a
// stream.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "tools/llmserve/api_response.h"
#include "tools/llmserve/generation_request.h"
#include "tools/llmserve/http_server.h"
#include "tools/llmserve/served_model.h"

namespace llmrt::serve {

/// What is told of a request that has been answered.
struct Answered {
  unsigned status = 200;
  bool gone = false;  // the client left before the end
  int64_t prompt_tokens = 0, cached_tokens = 0, tokens = 0;
  double ttft_seconds = 0;  // from the request to its first token; 0: there was none
  double seconds = 0;
};

class Generation : public std::enable_shared_from_this<Generation> {
 public:
  using OnAnswered = std::function<void(const Answered&)>;
  using Clock = std::chrono::steady_clock;

  /// Submits all of a request's choices to the model, which must outlive what runs, and answers as
  /// they come, with `headers` in each answer.
  static void start(ServedModel& model, GenerationRequest request, Clock::time_point received,
                    std::shared_ptr<http::Reply> reply, OnAnswered on_answered,
                    http::Headers headers);

 private:
  struct Choice {
    uint64_t id = 0;  // of the engine's request
    std::string text;
    std::vector<int32_t> ids;
    std::vector<TokenLogprob> logprobs;  // not yet sent, where the answer is a stream
    std::vector<TokenLogprob> prompt_logprobs;
    bool has_begun = false;  // something of it was sent
    std::optional<FinishReason> reason;
    int64_t text_offset = 0;  // characters of the text that the tokens so far have said
    std::optional<StreamDecoder> decoder;  // counts them
  };

  Generation(ServedModel& model, GenerationRequest request, Clock::time_point received,
             std::shared_ptr<http::Reply> reply, OnAnswered on_answered, http::Headers headers);
  const PromptTokens::Prompt& promptOf(size_t choice) const {
    return request_.prompts[choice / static_cast<size_t>(request_.n)];
  }
  std::optional<ApiError> submit();
  void cancelAll();
  void clientGone();
  void onEvent(size_t choice, Event event);
  void addToken(Choice& choice, const Event& event);
  void finishChoice(size_t index, const Event& event);
  void fail(const ApiError& error);
  void finish();
  void report();

  // Answers.
  Json head(const char* object) const;
  Json usage() const;
  Json choiceJson(size_t index, std::string text, bool delta);
  Json logprobsJson(Choice& choice);
  Json chatLogprobs(const std::vector<TokenLogprob>& of) const;
  Json completionLogprobs(Choice& choice);
  std::string echoText(size_t choice) const;
  http::Response withHeaders(http::Response response) const;
  void sendEvent(const Json& json) { reply_->write("data: " + textOf(json) + "\n\n"); }
  void sendPiece(size_t index, std::string text);

  ServedModel& model_;
  const GenerationRequest request_;
  const Clock::time_point received_;
  const std::shared_ptr<http::Reply> reply_;
  const OnAnswered on_answered_;
  const http::Headers headers_;
  const std::string id_;
  const int64_t created_;
  std::mutex mutex_;  // of all below: events come while choices are still being submitted
  std::vector<Choice> choices_;
  size_t num_left_ = 0;
  bool has_begun_ = false;  // the stream
  bool ended_ = false;
  Answered answered_;
};

}  // namespace llmrt::serve
