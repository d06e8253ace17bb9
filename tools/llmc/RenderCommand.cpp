// llmc render MODEL|PLAN|TEMPLATE CONTEXT.json
#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <memory>

#include "frontend/ChatTemplate.h"
#include "frontend/tokenizer/ImportTokenizer.h"
#include "runtime/core/conversation.h"
#include "runtime/io/gguf.h"
#include "runtime/io/mapped_file.h"
#include "runtime/io/model_file.h"
#include "runtime/jinja/json_text.h"
#include "runtime/jinja/template.h"
#include "runtime/schema/plan_generated.h"
#include "runtime/text/tokenizer.h"
#include "tools/llmc/Commands.h"
#include "tools/llmc/OpenPlan.h"

namespace llmc {
namespace {

namespace fs = std::filesystem;
using llmrt::Result;
using llmrt::Status;

struct Flags {
  std::string model, context;
};

void setTokens(const llmrt::Tokenizer& tokenizer, ChatTemplate& out) {
  llmrt::SpecialTokens tokens = llmrt::specialTokens(tokenizer);
  out.bos_token = std::move(tokens.bos);
  out.eos_token = std::move(tokens.eos);
}

Result<ChatTemplate> templateOfPlan(const std::string& path) {
  LLMRT_ASSIGN_OR_RETURN(const OpenPlan open, openPlan(path));
  ChatTemplate out;
  if (open.plan->chat_template()) out.text = open.plan->chat_template()->str();
  if (open.plan->tokenizer()) {
    auto tokenizer = llmrt::Tokenizer::create(open.plan->tokenizer());
    if (!tokenizer.ok()) return std::move(tokenizer).status().withContext(path);
    setTokens(*tokenizer, out);
  }
  return out;
}

Result<ChatTemplate> templateOfGguf(const std::string& path) {
  LLMRT_ASSIGN_OR_RETURN(const auto gguf, llmrt::GgufFile::open(path));
  ChatTemplate out;
  LLMRT_ASSIGN_OR_RETURN(const auto text, gguf->getString("tokenizer.chat_template"));
  out.text = text.value_or("");
  if (gguf->has("tokenizer.ggml.model")) {
    LLMRT_ASSIGN_OR_RETURN(const TokenizerTable table, importTokenizer(path));
    LLMRT_ASSIGN_OR_RETURN(const llmrt::Tokenizer tokenizer, makeTokenizer(*table));
    setTokens(tokenizer, out);
  }
  return out;
}

// A directory or a .json file of one is a model, so are plans and GGUF files; all else is the text
// of a template.
Result<ChatTemplate> openTemplate(const std::string& named) {
  LLMRT_ASSIGN_OR_RETURN(const std::string model, llmrt::resolveGgufFolder(named));
  std::error_code ignored;
  if (fs::is_directory(model, ignored)) return readChatTemplate(model);
  if (looksLikePlan(model)) return templateOfPlan(model);
  LLMRT_ASSIGN_OR_RETURN(const llmrt::MappedFile file, llmrt::openModelFile(model));
  if (llmrt::GgufFile::looksLikeGguf(file)) return templateOfGguf(model);
  if (fs::path(model).extension() == ".json")
    return readChatTemplate(fs::path(model).parent_path());
  ChatTemplate out;
  out.text = file.text();
  return out;
}

Status render(const Flags& f) {
  LLMRT_ASSIGN_OR_RETURN(const ChatTemplate chat_template, openTemplate(f.model));
  if (chat_template.text.empty())
    return llmrt::notFound(f.model + ": has no chat template; give a template's file instead");
  LLMRT_ASSIGN_OR_RETURN(const auto parsed,
                         llmrt::jinja::Template::parse(chat_template.text, f.model));
  LLMRT_ASSIGN_OR_RETURN(const llmrt::MappedFile file, llmrt::MappedFile::open(f.context));
  LLMRT_ASSIGN_OR_RETURN(const llmrt::jinja::Document given,
                         llmrt::jinja::parseJsonValue(file.text(), f.context));
  if (!given.value.asDict()) return llmrt::invalidData(f.context + ": is not a JSON object");
  LLMRT_ASSIGN_OR_RETURN(
      const std::string text,
      llmrt::renderTemplate(parsed, {chat_template.bos_token, chat_template.eos_token},
                            given.value));
  std::cout << text << std::flush;
  return std::cout ? Status() : llmrt::ioError("cannot write to standard output");
}

}  // namespace

void addRenderCommand(CLI::App& app, Command& chosen) {
  auto f = std::make_shared<Flags>();
  CLI::App* sub = app.add_subcommand("render", "Print a chat template's text, to the letter");
  sub->add_option("MODEL", f->model,
                  "Plan, .gguf, Hugging Face directory, or the file of a Jinja template")
      ->required();
  sub->add_option("CONTEXT", f->context,
                  "JSON object of the template's variables: messages, add_generation_prompt, "
                  "tools, ...; bos_token and eos_token are the model's unless given")
      ->required();
  sub->callback([f, &chosen] { chosen = [f] { return render(*f); }; });
}

}  // namespace llmc
