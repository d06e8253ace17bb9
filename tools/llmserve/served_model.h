// One model that is served: its plan, its engine, and what its chats have said so far.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/chat/known_answers.h"
#include "runtime/engine/engine_thread.h"
#include "runtime/jinja/template.h"
#include "runtime/text/chat_templates.h"
#include "tools/common/load_model.h"

namespace llmrt::serve {

struct ServedModelOptions {
  std::string name;
  ModelOptions model;
  int64_t max_waiting = 0;    // requests; 0: any number
  std::string template_file;  // in place of the plan's chat template; empty: the plan's
};

/// All functions but load(), start() and stop() may be called from several threads at once.
class ServedModel {
 public:
  static Result<std::unique_ptr<ServedModel>> load(const ServedModelOptions& options);
  /// Takes requests from now on. `post` runs a function later, on one and the same thread: there
  /// events are told.
  void start(std::function<void(std::function<void()>)> post);
  ~ServedModel();

  const std::string& name() const { return name_; }
  const Plan& plan() const { return *model_.plan; }
  const Tokenizer& tokenizer() const { return *model_.tokenizer; }
  const Session& session() const { return *model_.session; }
  int64_t maxSeqLen() const { return model_.session->options().max_seq_len; }
  int64_t vocabSize() const { return model_.plan->vocabSize(); }
  /// Seconds since 1970.
  int64_t loadedAt() const { return loaded_at_; }

  /// What the chat template makes of a JSON object of its variables. Without a template:
  /// kUnsupported.
  Result<std::string> render(const std::string& variables_json) const;
  /// Ids of a text that render() made, with the answers that this model has given as it gave them.
  Result<PromptTokens::Prompt> chatPrompt(std::string text);
  /// A prompt was answered, for those that go on from there: `ids` without what ended them.
  void answered(PromptTokens::Prompt prompt, std::vector<int32_t> ids, std::string content);
  const std::vector<int32_t>& chatEosIds() const { return chat_eos_ids_; }
  /// The text of one token, wherever it stands.
  std::string tokenText(int32_t id) const;
  /// Its bytes, where it may be a part of a character.
  std::string tokenBytes(int32_t id) const;
  /// Most sequences that one request may ask for: as many as run and wait at once.
  size_t maxChoices() const {
    return static_cast<size_t>(engine_options_.max_waiting + session().options().max_batch);
  }

  using OnEvent = std::function<void(Event)>;
  /// `on_event` gets a request's events until its last one.
  Result<uint64_t> submit(Request request, OnEvent on_event);
  void cancel(uint64_t request) {
    if (engine_) engine_->cancel(request);
  }
  EngineStats stats() const { return engine_->stats(); }
  /// Takes no more requests; what runs is dropped, and told nobody.
  void stop();

 private:
  ServedModel(std::string name, LoadedModel model);
  Status loadTemplates(const std::string& file);
  void deliver(std::vector<Event> events);

  const std::string name_;
  LoadedModel model_;
  const int64_t loaded_at_;
  std::optional<jinja::Template> template_, tool_template_;
  SpecialTokens special_tokens_;
  std::vector<int32_t> chat_eos_ids_, before_token_;
  KnownAnswers answers_;
  std::mutex events_mutex_;
  std::map<uint64_t, OnEvent> on_event_;
  EngineOptions engine_options_;
  std::unique_ptr<EngineThread> engine_;  // last: it uses all of the above
};

}  // namespace llmrt::serve
