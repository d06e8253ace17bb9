// llmc render MODEL|PLAN|TEMPLATE CONTEXT.json
#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>

#include "frontend/ChatTemplate.h"
#include "frontend/tokenizer/ImportTokenizer.h"
#include "runtime/chat/conversation.h"
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
  std::string model, context, name;
};

struct Model {
  llmrt::ChatTemplates templates;
  llmrt::SpecialTokens tokens;
};

Result<Model> openPlanModel(const std::string& path) {
  LLMRT_ASSIGN_OR_RETURN(const OpenPlan open, openPlan(path));
  std::optional<llmrt::Tokenizer> tokenizer;
  if (open.plan->tokenizer()) {
    auto created = llmrt::Tokenizer::create(open.plan->tokenizer());
    if (!created.ok()) return std::move(created).status().withContext(path);
    tokenizer = *std::move(created);
  }
  return Model{llmrt::chatTemplates(*open.plan),
               llmrt::specialTokens(*open.plan, tokenizer ? &*tokenizer : nullptr)};
}

// As the plan of a model gets them: what its files leave open, its tokenizer says.
Result<Model> withTokenizersTokens(ChatFiles files, const std::string& model) {
  if (!files.special.says_bos || !files.special.says_eos) {
    const Result<TokenizerTable> table = importTokenizer(model);
    if (table.ok()) {
      addTokenizersTokens(**table, files.special);
    } else if (table.status().code() != llmrt::StatusCode::kNotFound) {
      return table.status();
    }
  }
  return Model{std::move(files.templates), std::move(files.special.tokens)};
}

Result<Model> openDirectory(const fs::path& directory) {
  LLMRT_ASSIGN_OR_RETURN(ChatFiles files, readChatFiles(directory));
  return withTokenizersTokens(std::move(files), directory.empty() ? "." : directory.string());
}

// A directory or a .json file of one is a model, so are plans and GGUF files; all else is the text
// of a template.
Result<Model> openModel(const std::string& named) {
  LLMRT_ASSIGN_OR_RETURN(const std::string model, llmrt::resolveGgufFolder(named));
  std::error_code ignored;
  if (fs::is_directory(model, ignored)) return openDirectory(model);
  if (looksLikePlan(model)) return openPlanModel(model);
  LLMRT_ASSIGN_OR_RETURN(const llmrt::MappedFile file, llmrt::openModelFile(model));
  if (llmrt::GgufFile::looksLikeGguf(file)) {
    LLMRT_ASSIGN_OR_RETURN(const auto gguf, llmrt::GgufFile::open(model));
    LLMRT_ASSIGN_OR_RETURN(ChatFiles files, readChatFiles(*gguf));
    return withTokenizersTokens(std::move(files), model);
  }
  if (fs::path(model).extension() == ".json") return openDirectory(fs::path(model).parent_path());
  return Model{{.text = std::string(file.text()), .named = {}}, {}};
}

Status render(const Flags& f) {
  LLMRT_ASSIGN_OR_RETURN(const Model model, openModel(f.model));
  LLMRT_ASSIGN_OR_RETURN(const llmrt::MappedFile file, llmrt::MappedFile::open(f.context));
  LLMRT_ASSIGN_OR_RETURN(const llmrt::jinja::Document given,
                         llmrt::jinja::parseJsonValue(file.text(), f.context));
  if (!given.value.asDict()) return llmrt::invalidData(f.context + ": is not a JSON object");
  if (model.templates.empty())
    return llmrt::notFound(f.model + ": has no chat template; give a template's file instead");
  const Result<std::string_view> text =
      model.templates.choose(f.name, llmrt::hasTools(*given.value.asDict()));
  if (!text.ok())
    return llmrt::notFound(f.model + ": " + text.status().message() + "; choose with --template");
  LLMRT_ASSIGN_OR_RETURN(const auto parsed, llmrt::jinja::Template::parse(*text, f.model));
  LLMRT_ASSIGN_OR_RETURN(const std::string rendered,
                         llmrt::renderTemplate(parsed, model.tokens, given.value));
  std::cout << rendered << std::flush;
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
                  "tools, ...; special tokens (bos_token, ...) are the model's unless given")
      ->required();
  sub->add_option("--template", f->name,
                  "Of a model with several templates, the one of this name; else it is tool_use "
                  "where CONTEXT has tools and the model such a template, or default");
  sub->callback([f, &chosen] { chosen = [f] { return render(*f); }; });
}

}  // namespace llmc
