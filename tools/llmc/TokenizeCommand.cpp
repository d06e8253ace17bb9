// llmc tokenize MODEL|PLAN FILE
#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "frontend/tokenizer/ImportTokenizer.h"
#include "frontend/tokenizer/TokenizeFile.h"
#include "runtime/schema/plan_generated.h"
#include "tools/llmc/Commands.h"
#include "tools/llmc/OpenPlan.h"

namespace llmc {
namespace {

struct Flags {
  std::string model;
  TokenizeOptions options;
  bool no_bos = false, no_special = false;
};

llmrt::Result<llmrt::Tokenizer> openTokenizer(const std::string& model) {
  if (looksLikePlan(model)) {
    LLMRT_ASSIGN_OR_RETURN(const OpenPlan open, openPlan(model));
    if (!open.plan->tokenizer()) return llmrt::notFound(model + ": the plan has no tokenizer");
    auto tokenizer = llmrt::Tokenizer::create(open.plan->tokenizer());
    if (!tokenizer.ok()) return std::move(tokenizer).status().withContext(model);
    return tokenizer;
  }
  LLMRT_ASSIGN_OR_RETURN(const TokenizerTable table, importTokenizer(model));
  return makeTokenizer(*table);
}

llmrt::Status tokenize(Flags& f) {
  LLMRT_ASSIGN_OR_RETURN(const llmrt::Tokenizer tokenizer, openTokenizer(f.model));
  f.options.add_bos = !f.no_bos;
  f.options.parse_special = !f.no_special;
  LLMRT_RETURN_IF_ERROR(tokenizeFile(tokenizer, f.options, std::cout));
  std::cout.flush();
  return std::cout ? llmrt::Status() : llmrt::ioError("cannot write to standard output");
}

}  // namespace

void addTokenizeCommand(CLI::App& app, Command& chosen) {
  auto f = std::make_shared<Flags>();
  CLI::App* sub = app.add_subcommand("tokenize", "Print the token ids of a text");
  sub->add_option("MODEL", f->model,
                  "Plan, .gguf, Hugging Face directory, config.json, or a tokenizer's own file "
                  "(tokenizer.json, tokenizer.model, *.tiktoken, vocab.json)")
      ->required();
  sub->add_option("FILE", f->options.path, "The text")->required();
  sub->add_flag("--decode", f->options.decode, "FILE holds ids: print their text");
  sub->add_flag("--lines", f->options.lines, "Each line is a text of its own");
  sub->add_flag("--no-bos", f->no_bos, "Leave out what the tokenizer adds around a text");
  sub->add_flag("--no-special", f->no_special,
                "Special tokens written in the text are text; decoding leaves them out");
  sub->callback([f, &chosen] { chosen = [f] { return tokenize(*f); }; });
}

}  // namespace llmc
