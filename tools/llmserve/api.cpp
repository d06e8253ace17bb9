#include "tools/llmserve/api.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <charconv>
#include <cstdio>
#include <ctime>
#include <new>

#include "runtime/io/printable.h"
#include "tools/llmserve/api_response.h"
#include "tools/llmserve/generation.h"

namespace llmrt::serve {
namespace {

constexpr char kOpenapi[] =
#include "openapi.inc"
    ;

/// Those that a page wants to send: clients have some of their own.
std::string headersAsked(const http::Request& request) {
  const std::string* const asked = request.header("access-control-request-headers");
  return asked ? *asked : "Authorization, Content-Type";
}

/// "a/b" of "a%2Fb". What is no number stays.
std::string unquoted(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned byte = 0;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 3, byte, 16).ptr ==
            text.data() + i + 3) {
      out += static_cast<char>(byte);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

const ApiError kEnding{.status = 503, .message = "the server is ending", .type = "server_error"};

constexpr size_t kMaxLoggedPrompt = 2000;
constexpr std::string_view kModels = "/v1/models/";

}  // namespace

struct Api::Call {
  http::Request request;
  std::shared_ptr<http::Reply> reply;
};

struct Api::Route {
  std::string_view method, path;
  void (Api::*run)(Call&);
  bool is_open = false;  // needs no key
  bool is_quick = true;  // answered on the server's thread
};

std::span<const Api::Route> Api::routes() {
  static constexpr Route kRoutes[] = {
      {"GET", "/health", &Api::health, true},
      {"GET", "/v1/health", &Api::health, true},
      {"GET", "/ready", &Api::ready, true},
      {"GET", "/metrics", &Api::metrics},
      {"GET", "/openapi.json", &Api::openapi, true},
      {"GET", "/v1/models", &Api::models},
      {"GET", kModels, &Api::model},
      {"POST", "/v1/chat/completions", &Api::chatCompletions, false, false},
      {"POST", "/v1/completions", &Api::completions, false, false},
      {"POST", "/tokenize", &Api::tokenize, false, false},
      {"POST", "/detokenize", &Api::detokenize, false, false},
      {"POST", "/apply-template", &Api::applyTemplate, false, false},
  };
  return kRoutes;
}

// Null: there is no such path; or one of the path whose method may be another.
const Api::Route* Api::findRoute(const http::Request& head) {
  const Route* found = nullptr;
  for (const Route& route : routes()) {
    const bool is_path = route.path == kModels
                             ? head.path.starts_with(kModels) && head.path.size() > kModels.size()
                             : head.path == route.path;
    if (!is_path) continue;
    found = &route;
    if (route.method == head.method) break;
  }
  return found;
}

Api::Api(std::vector<std::unique_ptr<ServedModel>> models, ApiOptions options)
    : models_(std::move(models)), options_(std::move(options)) {}

Api::~Api() { stop(); }

void Api::stop() {
  if (workers_) {
    workers_->stop();
    workers_->join();
    workers_.reset();
  }
  for (const auto& model : models_) model->stop();
}

http::Response Api::error(unsigned status, std::string_view message) {
  return errorResponse({.status = status, .message = std::string(message)});
}

std::optional<http::Response> Api::refuse(const http::Request& head) {
  const Route* const route = findRoute(head);
  const bool preflight = head.method == "OPTIONS" && !options_.access.cors_origin.empty();
  std::optional<ApiError> error =
      options_.access.refuse(head, preflight || (route && route->is_open));
  if (!error && preflight) return std::nullopt;
  if (!error && !route)
    error = ApiError{.status = 404, .message = "there is no such endpoint", .code = "not_found"};
  if (!error && route->method != head.method)
    error = ApiError{.status = 405,
                     .message = fmt::format("this endpoint takes {} alone", route->method)};
  // Who asks how it is still gets an answer.
  if (!error && draining_ && !preflight && !route->is_quick) error = kEnding;
  if (!error) return std::nullopt;
  http::Response response = errorResponse(*error);
  if (error->status == 405) response.headers.emplace_back("Allow", route->method);
  for (auto& header : options_.access.corsHeaders()) response.headers.push_back(std::move(header));
  metrics_.countRequest(route ? std::string(route->path) : "other", error->status);
  log(head, error->status, "");
  return response;
}

void Api::handle(http::Request request, std::shared_ptr<http::Reply> reply) {
  Call call{std::move(request), std::move(reply)};
  if (call.request.method == "OPTIONS") {
    answer(call, {.status = 204,
                  .content_type = "text/plain",
                  .headers = {{"Access-Control-Allow-Methods", "GET, POST"},
                              {"Access-Control-Allow-Headers", headersAsked(call.request)},
                              {"Access-Control-Max-Age", "600"}}});
    return;
  }
  const Route& route = *findRoute(call.request);
  const auto run = [this, &route](Call& c) {
    try {
      (this->*route.run)(c);
    } catch (const std::bad_alloc&) {
      answerError(c, {.status = 503, .message = "out of memory", .type = "server_error"});
    } catch (const std::exception&) {
      answerError(c, {.status = 500,
                      .message = "the request failed inside the server",
                      .type = "server_error"});
    }
  };
  if (route.is_quick) return run(call);
  boost::asio::post(*workers_, [run, call = std::move(call)]() mutable { run(call); });
}

void Api::answer(const Call& call, http::Response response) {
  for (auto& header : options_.access.corsHeaders()) response.headers.push_back(std::move(header));
  const Route* const route = findRoute(call.request);
  metrics_.countRequest(route ? std::string(route->path) : "other", response.status);
  const unsigned status = response.status;
  call.reply->send(std::move(response));
  log(call.request, status, "");
}

void Api::answerError(const Call& call, const ApiError& error) {
  answer(call, errorResponse(error));
}

void Api::log(const http::Request& request, unsigned status, const std::string& more) noexcept {
  if (!options_.log_requests) return;
  try {
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - request.received).count();
    const std::string line =
        fmt::format("{:%Y-%m-%dT%H:%M:%SZ} {} {} {} {} {:.0f} ms{}\n",
                    fmt::gmtime(std::time(nullptr)), request.peer, printableLine(request.method),
                    printableLine(request.path), status, seconds * 1e3, more);
    std::fwrite(line.data(), 1, line.size(), stderr);  // nobody may read it: the server goes on
  } catch (const std::exception&) {
    // No memory for a line.
  }
}

template <typename Body>
void Api::withModel(Call& call, Body&& body) {
  const Result<Json> json = parseJson(call.request.body);
  if (!json.ok()) return answerError(call, {.message = json.status().message()});
  JsonFields fields(*json);
  const std::string name = fields.text("model", models_.size() == 1 ? models_[0]->name() : "");
  const auto found = std::find_if(models_.begin(), models_.end(),
                                  [&](const auto& m) { return m->name() == name; });
  if (!fields.error() && found == models_.end()) {
    std::vector<std::string_view> names;
    for (const auto& m : models_) names.push_back(m->name());
    ApiError error{.status = 404, .param = "model", .code = "model_not_found"};
    error.message = fmt::format("the model '{}' is not served here: there is {}",
                                printableLine(name), fmt::join(names, ", "));
    return answerError(call, error);
  }
  if (fields.error()) return answerError(call, *fields.error());
  body(*json, **found);
}

void Api::health(Call& call) { answer(call, jsonResponse({{"status", "ok"}})); }

void Api::ready(Call& call) {
  if (draining_) return answerError(call, kEnding);
  answer(call, jsonResponse({{"status", "ready"}}));
}

void Api::metrics(Call& call) {
  answer(call, {.content_type = "text/plain; version=0.0.4; charset=utf-8",
                .body = metrics_.text(models_)});
}

void Api::openapi(Call& call) { answer(call, {.body = kOpenapi}); }

Json Api::modelJson(const ServedModel& model) const {
  return {{"id", model.name()},
          {"object", "model"},
          {"created", model.loadedAt()},
          {"owned_by", "llmc"},
          {"max_model_len", model.maxSeqLen()}};
}

void Api::models(Call& call) {
  Json list = Json::array();
  for (const auto& model : models_) list.push_back(modelJson(*model));
  answer(call, jsonResponse({{"object", "list"}, {"data", list}}));
}

void Api::model(Call& call) {
  // Names with slashes are sent as they are, or quoted.
  const std::string name = unquoted(std::string_view(call.request.path).substr(kModels.size()));
  for (const auto& model : models_)
    if (model->name() == name) return answer(call, jsonResponse(modelJson(*model)));
  answerError(call,
              {.status = 404,
               .message = "there is no model of this name here: /v1/models lists those there are",
               .param = "model",
               .code = "model_not_found"});
}

void Api::generate(Call& call, ServedModel& model, ParsedRequest parsed) {
  if (parsed.error) return answerError(call, *parsed.error);
  const size_t most = model.maxChoices();
  if (const size_t choices = parsed.request.numChoices(); choices > most) {
    return answerError(
        call, {.message = fmt::format("{} answers are asked for at once, and {} is the most here "
                                      "(prompts times 'n'; llmserve --max-waiting)",
                                      choices, most),
               .param = "n"});
  }
  std::string prompt;
  if (options_.log_prompts) {
    prompt = printableLine(parsed.request.prompts[0].text.substr(0, kMaxLoggedPrompt));
    prompt = " prompt: " + prompt;
  }
  const auto received = call.request.received;
  const std::shared_ptr<http::Reply> reply = call.reply;
  call.request.body.clear();  // of which nothing is needed any more
  Generation::start(
      model, std::move(parsed.request), received, reply,
      [this, &model, prompt, request = std::move(call.request)](const Answered& a) {
        metrics_.countRequest(request.path, a.status);
        metrics_.countGeneration(model, a);
        log(request, a.status,
            fmt::format(
                " {}: {} prompt tokens ({} cached), {} tokens, the first after {:.0f} ms{}{}",
                model.name(), a.prompt_tokens, a.cached_tokens, a.tokens, a.ttft_seconds * 1e3,
                a.gone ? "; the client left" : "", prompt));
      },
      options_.access.corsHeaders());
}

void Api::chatCompletions(Call& call) {
  withModel(call, [&](const Json& body, ServedModel& model) {
    generate(call, model, parseChatCompletion(body, model));
  });
}

void Api::completions(Call& call) {
  withModel(call, [&](const Json& body, ServedModel& model) {
    generate(call, model, parseCompletion(body, model));
  });
}

// Both llama.cpp's field names and vLLM's are taken.
void Api::tokenize(Call& call) {
  withModel(call, [&](const Json& body, ServedModel& model) {
    JsonFields fields(body);
    const std::string text = fields.text("prompt", fields.text("content"));
    const bool add_special =
        fields.boolean("add_special_tokens", fields.boolean("add_special", true));
    if (!fields.find("prompt") && !fields.find("content")) fields.fail("prompt", "is missing");
    if (fields.error()) return answerError(call, *fields.error());
    const auto ids = model.tokenizer().encode(text, {.add_bos = add_special});
    if (!ids.ok()) return answerError(call, apiError(ids.status()));
    answer(call,
           jsonResponse(
               {{"tokens", *ids}, {"count", ids->size()}, {"max_model_len", model.maxSeqLen()}}));
  });
}

void Api::detokenize(Call& call) {
  withModel(call, [&](const Json& body, ServedModel& model) {
    JsonFields fields(body);
    std::vector<int32_t> ids;
    const Json* const tokens = fields.array("tokens");
    if (!tokens) fields.fail("tokens", "is missing");
    for (size_t i = 0; tokens && i < tokens->size(); ++i) {
      const Json& id = (*tokens)[i];
      if (id.is_number_integer() && id.get<int64_t>() >= 0 && id.get<int64_t>() < model.vocabSize())
        ids.push_back(id.get<int32_t>());
      else
        fields.fail("tokens", fmt::format("has what is no token id below {}", model.vocabSize()));
    }
    if (fields.error()) return answerError(call, *fields.error());
    const std::string text = model.tokenizer().decode(ids, false);
    answer(call, jsonResponse({{"prompt", text}, {"content", text}}));
  });
}

void Api::applyTemplate(Call& call) {
  withModel(call, [&](const Json& body, ServedModel& model) {
    const RenderedChat chat = renderChatRequest(body, model);
    if (chat.error) return answerError(call, *chat.error);
    answer(call, jsonResponse({{"prompt", chat.text}}));
  });
}

}  // namespace llmrt::serve
