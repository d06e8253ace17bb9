#include "tools/llmserve/generation.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <random>
#include <utility>

#include "runtime/text/utf8.h"
#include "tools/llmserve/api_response.h"

namespace llmrt::serve {
namespace {

constexpr char kKeepAlive[] =
    ": keep-alive\n\n";  // a comment, which clients of server-sent events skip

const char* finishReason(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEos:
    case FinishReason::kStop:
      return "stop";
    default:
      return "length";
  }
}

Json textAndBytes(const ServedModel& model, const std::pair<int32_t, float>& token) {
  const std::string bytes = model.tokenBytes(token.first);
  return {{"token", model.tokenText(token.first)},
          {"logprob", token.second},
          {"bytes", std::vector<uint8_t>(bytes.begin(), bytes.end())}};
}

int64_t numCharacters(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; });
}

}  // namespace

Generation::Generation(ServedModel& model, GenerationRequest request, Clock::time_point received,
                       std::shared_ptr<http::Reply> reply, OnAnswered on_answered,
                       http::Headers headers)
    : model_(model),
      request_(std::move(request)),
      received_(received),
      reply_(std::move(reply)),
      on_answered_(std::move(on_answered)),
      headers_(std::move(headers)),
      id_((request_.is_chat ? "chatcmpl-" : "cmpl-") + randomId()),
      created_(std::time(nullptr)),
      choices_(request_.numChoices()) {}

void Generation::start(ServedModel& model, GenerationRequest request, Clock::time_point received,
                       std::shared_ptr<http::Reply> reply, OnAnswered on_answered,
                       http::Headers headers) {
  const std::shared_ptr<Generation> self(new Generation(model, std::move(request), received,
                                                        std::move(reply), std::move(on_answered),
                                                        std::move(headers)));
  {
    const std::lock_guard lock(self->mutex_);
    if (const std::optional<ApiError> error = self->submit()) {
      self->fail(*error);
      return;
    }
    if (self->request_.stream) {
      self->reply_->begin(self->withHeaders(eventStream()), kKeepAlive);
      self->has_begun_ = true;
      for (size_t i = 0; self->request_.is_chat && i < self->choices_.size(); ++i)
        self->sendPiece(i, "");
    }
  }
  self->reply_->onGone([self] { self->clientGone(); });
}

std::optional<ApiError> Generation::submit() {
  for (size_t i = 0; i < choices_.size(); ++i) {
    Request request = request_.request;
    request.prompt = promptOf(i).ids;
    request.sampler.seed += i % static_cast<size_t>(request_.n);
    const Result<uint64_t> id = model_.submit(
        std::move(request),
        [self = shared_from_this(), i](Event event) { self->onEvent(i, std::move(event)); });
    if (!id.ok()) {
      if (id.status().code() != StatusCode::kOutOfMemory) return apiError(id.status());
      return ApiError{.status = 429,
                      .message = "too many requests wait already: try again in a moment",
                      .type = "rate_limit_error",
                      .code = "rate_limit_exceeded"};
    }
    choices_[i].id = *id;
    ++num_left_;
  }
  return std::nullopt;
}

void Generation::cancelAll() {
  for (const Choice& choice : choices_)
    if (choice.id != 0 && !choice.reason) model_.cancel(choice.id);
}

void Generation::clientGone() {
  const std::lock_guard lock(mutex_);
  if (std::exchange(ended_, true)) return;
  cancelAll();
  answered_.gone = true;
  report();
}

void Generation::onEvent(size_t index, Event event) {
  const std::lock_guard lock(mutex_);
  if (ended_) return;
  Choice& choice = choices_[index];
  switch (event.kind) {
    case Event::Kind::kPrompt:
      std::move(event.prompt_logprobs.begin(), event.prompt_logprobs.end(),
                std::back_inserter(choice.prompt_logprobs));
      break;
    case Event::Kind::kToken:
      if (answered_.ttft_seconds == 0)
        answered_.ttft_seconds = std::chrono::duration<double>(Clock::now() - received_).count();
      if (!request_.wants_tokens) break;
      addToken(choice, event);
      if (request_.stream && (!event.text.empty() || !choice.logprobs.empty()))
        sendPiece(index, event.text);
      break;
    case Event::Kind::kFinished:
      finishChoice(index, event);
      break;
    case Event::Kind::kFailed:
      fail(apiError(event.status));
      break;
  }
}

void Generation::addToken(Choice& choice, const Event& event) {
  const auto& ends = request_.request.eos_ids;
  // What ends a text is no part of it.
  if (std::find(ends.begin(), ends.end(), event.token) != ends.end()) return;
  choice.ids.push_back(event.token);
  choice.text += event.text;
  if (event.logprob) choice.logprobs.push_back(*event.logprob);
}

void Generation::finishChoice(size_t index, const Event& event) {
  Choice& choice = choices_[index];
  choice.reason = event.reason;
  if (request_.wants_tokens) choice.text += event.text;
  // Prompts that are continued several times count once.
  if (index % static_cast<size_t>(request_.n) == 0) {
    answered_.prompt_tokens += event.stats.prompt_tokens;
    answered_.cached_tokens += event.stats.cached_tokens;
  }
  if (request_.wants_tokens) answered_.tokens += event.stats.tokens;
  if (request_.is_chat && !choice.ids.empty())
    model_.answered(promptOf(index), choice.ids, choice.text);
  if (request_.stream) sendPiece(index, request_.wants_tokens ? event.text : "");
  if (--num_left_ == 0) finish();
}

void Generation::fail(const ApiError& error) {
  if (std::exchange(ended_, true)) return;
  cancelAll();
  answered_.status = error.status;
  if (has_begun_) {
    sendEvent(error.json());
    reply_->end();
  } else {
    reply_->send(withHeaders(errorResponse(error)));
  }
  report();
}

void Generation::finish() {
  ended_ = true;
  if (request_.stream) {
    if (request_.include_usage) {
      Json json = head(request_.is_chat ? "chat.completion.chunk" : "text_completion");
      json["choices"] = Json::array();
      json["usage"] = usage();
      sendEvent(json);
    }
    reply_->write("data: [DONE]\n\n");
    reply_->end();
  } else {
    Json json = head(request_.is_chat ? "chat.completion" : "text_completion");
    for (size_t i = 0; i < choices_.size(); ++i)
      json["choices"].push_back(choiceJson(i, echoText(i) + choices_[i].text, false));
    json["usage"] = usage();
    reply_->send(withHeaders(jsonResponse(json)));
  }
  report();
}

http::Response Generation::withHeaders(http::Response response) const {
  response.headers.insert(response.headers.end(), headers_.begin(), headers_.end());
  return response;
}

void Generation::report() {
  answered_.seconds = std::chrono::duration<double>(Clock::now() - received_).count();
  on_answered_(answered_);
}

Json Generation::head(const char* object) const {
  return {{"id", id_},
          {"object", object},
          {"created", created_},
          {"model", model_.name()},
          {"choices", Json::array()}};
}

Json Generation::usage() const {
  return {{"prompt_tokens", answered_.prompt_tokens},
          {"completion_tokens", answered_.tokens},
          {"total_tokens", answered_.prompt_tokens + answered_.tokens},
          {"prompt_tokens_details", {{"cached_tokens", answered_.cached_tokens}}}};
}

std::string Generation::echoText(size_t choice) const {
  return request_.echo ? promptOf(choice).text : "";
}

Json Generation::choiceJson(size_t index, std::string text, bool delta) {
  Choice& choice = choices_[index];
  Json json = {{"index", index}};
  if (request_.is_chat) {
    Json message = Json::object();
    if (!delta || !choice.has_begun) message["role"] = "assistant";
    if (!delta || !choice.has_begun || !text.empty()) message["content"] = std::move(text);
    if (!delta) message["refusal"] = nullptr;
    json[delta ? "delta" : "message"] = std::move(message);
  } else {
    json["text"] = std::move(text);
  }
  json["logprobs"] = request_.request.logprobs >= 0 ? logprobsJson(choice) : Json(nullptr);
  json["finish_reason"] = choice.reason ? Json(finishReason(*choice.reason)) : Json(nullptr);
  return json;
}

// What has been sent of log-probabilities is forgotten.
Json Generation::logprobsJson(Choice& choice) {
  Json json;
  if (request_.is_chat)
    json = {{"content", chatLogprobs(choice.logprobs)}, {"refusal", nullptr}};
  else
    json = completionLogprobs(choice);
  choice.logprobs.clear();
  return json;
}

Json Generation::chatLogprobs(const std::vector<TokenLogprob>& of) const {
  Json content = Json::array();
  for (const TokenLogprob& token : of) {
    Json json = textAndBytes(model_, {token.token, token.logprob});
    json["top_logprobs"] = Json::array();
    for (const auto& top : token.top) json["top_logprobs"].push_back(textAndBytes(model_, top));
    content.push_back(std::move(json));
  }
  return content;
}

Json Generation::completionLogprobs(Choice& choice) {
  Json tokens = Json::array(), logprobs = Json::array(), tops = Json::array(),
       offsets = Json::array();
  const auto add = [&](int32_t token, const TokenLogprob* of) {
    std::string text = model_.tokenText(token);
    offsets.push_back(choice.text_offset);
    choice.text_offset += numCharacters(choice.decoder->push(token));
    tokens.push_back(std::move(text));
    logprobs.push_back(of ? Json(of->logprob) : Json(nullptr));
    Json top = Json::object();
    if (of) {
      // Several tokens may be one text: the most probable of them counts.
      for (const auto& [id, logprob] : of->top) top.emplace(model_.tokenText(id), logprob);
      top.emplace(tokens.back(), of->logprob);  // its own is always there
    }
    tops.push_back(of ? std::move(top) : Json(nullptr));
  };
  const size_t index = static_cast<size_t>(&choice - choices_.data());
  if (!choice.decoder) {
    choice.decoder.emplace(model_.tokenizer());
    if (!request_.echo) choice.decoder->continueAfter(promptOf(index).ids);
  }
  if (request_.echo && !choice.has_begun) {
    const std::vector<int32_t>& prompt = promptOf(index).ids;
    for (size_t i = 0; i < prompt.size(); ++i)
      add(prompt[i], i == 0 ? nullptr : &choice.prompt_logprobs[i - 1]);
  }
  for (const TokenLogprob& token : choice.logprobs) add(token.token, &token);
  return {{"tokens", tokens},
          {"token_logprobs", logprobs},
          {"top_logprobs", tops},
          {"text_offset", offsets}};
}

void Generation::sendPiece(size_t index, std::string text) {
  Choice& choice = choices_[index];
  if (!choice.has_begun) text = echoText(index) + text;
  Json json = head(request_.is_chat ? "chat.completion.chunk" : "text_completion");
  json["choices"].push_back(choiceJson(index, std::move(text), true));
  if (request_.include_usage) json["usage"] = nullptr;
  choice.has_begun = true;
  sendEvent(json);
}

}  // namespace llmrt::serve
