#include "tools/llmserve/served_model.h"

#include <fmt/format.h>

#include <charconv>
#include <ctime>
#include <utility>

#include "runtime/chat/conversation.h"
#include "runtime/io/mapped_file.h"
#include "runtime/jinja/json_text.h"
#include "runtime/schema/plan_generated.h"

namespace llmrt::serve {
namespace {

constexpr size_t kAnswerBytes = 64 << 20;  // of texts and ids of answers that are remembered

}  // namespace

ServedModel::ServedModel(std::string name, LoadedModel model)
    : name_(std::move(name)),
      model_(std::move(model)),
      loaded_at_(std::time(nullptr)),
      answers_(*model_.tokenizer, kAnswerBytes) {}

ServedModel::~ServedModel() { stop(); }

void ServedModel::start(std::function<void(std::function<void()>)> post) {
  engine_ = std::make_unique<EngineThread>(
      *model_.session, &*model_.tokenizer, engine_options_,
      [this, post = std::move(post)](std::vector<Event> events) {
        // A function object is copied, and so must be what it holds.
        auto held = std::make_shared<std::vector<Event>>(std::move(events));
        post([this, held] { deliver(std::move(*held)); });
      });
}

void ServedModel::stop() {
  engine_.reset();
  const std::lock_guard lock(events_mutex_);
  on_event_.clear();
}

Result<std::unique_ptr<ServedModel>> ServedModel::load(const ServedModelOptions& options) {
  LLMRT_ASSIGN_OR_RETURN(LoadedModel loaded, loadModel(options.model));
  if (!loaded.tokenizer)
    return unsupported(
        fmt::format("{}: has no tokenizer, which serving needs", loaded.plan->path()));
  auto model = std::unique_ptr<ServedModel>(new ServedModel(options.name, std::move(loaded)));
  LLMRT_RETURN_IF_ERROR(model->loadTemplates(options.template_file));
  model->engine_options_.max_waiting = options.max_waiting;
  return model;
}

Status ServedModel::loadTemplates(const std::string& file) {
  const Tokenizer& tokenizer = *model_.tokenizer;
  special_tokens_ = specialTokens(plan().schema(), &tokenizer);
  LLMRT_ASSIGN_OR_RETURN(before_token_, tokenizer.encode("a", {.add_bos = false}));
  ChatTemplates templates = chatTemplates(plan().schema());
  const std::string& from = file.empty() ? plan().path() : file;
  if (!file.empty()) {
    LLMRT_ASSIGN_OR_RETURN(const MappedFile mapped, MappedFile::open(file));
    templates.text = mapped.text();
    templates.named.clear();
  }
  const auto parsed = [&](bool has_tools) -> Result<std::optional<jinja::Template>> {
    const Result<std::string_view> text = templates.choose("", has_tools);
    if (!text.ok()) return std::optional<jinja::Template>();
    // Clients are told what fails in it, but not which file it is of.
    Result<jinja::Template> made = jinja::Template::parse(*text, "the model's chat template");
    if (!made.ok()) return std::move(made).status().withContext(from);
    return std::optional<jinja::Template>(*std::move(made));
  };
  LLMRT_ASSIGN_OR_RETURN(template_, parsed(false));
  LLMRT_ASSIGN_OR_RETURN(tool_template_, parsed(true));
  chat_eos_ids_ = llmrt::chatEosIds(plan(), tokenizer, template_ ? &*template_ : nullptr);
  return {};
}

Result<std::string> ServedModel::render(const std::string& variables_json) const {
  if (!template_) {
    return unsupported(
        fmt::format("the model '{}' has no chat template: it completes texts (/v1/completions), or "
                    "llmserve --chat-template FILE",
                    name_));
  }
  LLMRT_ASSIGN_OR_RETURN(const jinja::Document variables,
                         jinja::parseJsonValue(variables_json, "the messages"));
  const jinja::Dict& given = *variables.value.asDict();
  const jinja::Template& chosen = hasTools(given) && tool_template_ ? *tool_template_ : *template_;
  return renderChat(chosen, {}, special_tokens_, given);
}

Result<PromptTokens::Prompt> ServedModel::chatPrompt(std::string text) {
  return answers_.tokenize(std::move(text));
}

void ServedModel::answered(PromptTokens::Prompt prompt, std::vector<int32_t> ids,
                           std::string content) {
  answers_.add(std::move(prompt), std::move(ids), std::move(content));
}

std::string ServedModel::tokenBytes(int32_t id) const {
  std::string text = tokenText(id);
  if (text.find("\xef\xbf\xbd") == std::string::npos) return text;
  // "<0xE2>" where a vocabulary of characters has bytes as well; a vocabulary of bytes has them as
  // they are.
  const std::string_view piece = tokenizer().piece(id);
  unsigned byte = 0;
  if (piece.size() == 6 && piece.starts_with("<0x") && piece.ends_with('>') &&
      std::from_chars(piece.data() + 3, piece.data() + 5, byte, 16).ptr == piece.data() + 5)
    return std::string(1, static_cast<char>(byte));
  return std::string(piece);
}

std::string ServedModel::tokenText(int32_t id) const {
  // At the beginning of a text some vocabularies leave out a token's space.
  StreamDecoder decoder(tokenizer(), false);
  decoder.continueAfter(before_token_);
  std::string text = decoder.push(id);
  return text += decoder.finish();
}

Result<uint64_t> ServedModel::submit(Request request, OnEvent on_event) {
  // An event of the request may come before submit() returns: it waits for this.
  const std::lock_guard lock(events_mutex_);
  LLMRT_ASSIGN_OR_RETURN(const uint64_t id, engine_->submit(std::move(request)));
  on_event_[id] = std::move(on_event);
  return id;
}

void ServedModel::deliver(std::vector<Event> events) {
  for (Event& event : events) {
    const bool ends = event.kind == Event::Kind::kFinished || event.kind == Event::Kind::kFailed;
    OnEvent on_event;
    {
      const std::lock_guard lock(events_mutex_);
      const auto found = on_event_.find(event.request);
      if (found == on_event_.end()) continue;
      on_event = ends ? std::move(found->second) : found->second;
      if (ends) on_event_.erase(found);
    }
    on_event(std::move(event));
  }
}

}  // namespace llmrt::serve
