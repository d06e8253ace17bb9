// The endpoints: which request goes where.
#pragma once

#include <atomic>
#include <boost/asio/thread_pool.hpp>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tools/llmserve/access.h"
#include "tools/llmserve/http_server.h"
#include "tools/llmserve/metrics.h"
#include "tools/llmserve/served_model.h"

namespace llmrt::serve {

struct ApiOptions {
  Access access;
  bool log_requests = true;
  bool log_prompts = false;
};

class Api : public http::Handler {
 public:
  /// At least one model.
  Api(std::vector<std::unique_ptr<ServedModel>> models, ApiOptions options);
  ~Api() override;

  std::optional<http::Response> refuse(const http::Request& head) override;
  void handle(http::Request request, std::shared_ptr<http::Reply> reply) override;
  http::Response error(unsigned status, std::string_view message) override;

  std::span<const std::unique_ptr<ServedModel>> servedModels() const { return models_; }
  /// From now on nothing new is taken.
  void drain() { draining_ = true; }
  /// Ends what still runs. Replies may be gone after it.
  void stop();

 private:
  struct Call;
  struct Route;
  static std::span<const Route> routes();
  static const Route* findRoute(const http::Request& head);

  /// Runs body(call) with a parsed request and its model, or answers with what is wrong with it.
  template <typename Body>
  void withModel(Call& call, Body&& body);
  void health(Call& call);
  void ready(Call& call);
  void metrics(Call& call);
  void openapi(Call& call);
  void models(Call& call);
  void model(Call& call);
  void chatCompletions(Call& call);
  void completions(Call& call);
  void tokenize(Call& call);
  void detokenize(Call& call);
  void applyTemplate(Call& call);
  void generate(Call& call, ServedModel& model, ParsedRequest parsed);

  Json modelJson(const ServedModel& model) const;
  void answer(const Call& call, http::Response response);
  void answerError(const Call& call, const ApiError& error);
  void log(const http::Request& request, unsigned status, const std::string& more) noexcept;

  std::vector<std::unique_ptr<ServedModel>> models_;
  ApiOptions options_;
  Metrics metrics_;
  std::atomic<bool> draining_{false};
  // Long prompts are rendered and tokenized here. None: the API has stopped.
  std::optional<boost::asio::thread_pool> workers_{std::in_place, 2};
};

}  // namespace llmrt::serve
