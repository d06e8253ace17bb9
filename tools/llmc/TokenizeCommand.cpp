// llmc tokenize MODEL|PLAN FILE
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <optional>

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
  std::optional<std::string> text;  // instead of a file
  bool no_bos = false, no_special = false;
};

bool isFile(const std::string& path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

// Whether something was piped or redirected into this program: nothing of the kind is a terminal or
// /dev/null.
bool hasInput() {
  struct stat info;
  return ::fstat(STDIN_FILENO, &info) == 0 &&
         (S_ISFIFO(info.st_mode) || S_ISREG(info.st_mode) || S_ISSOCK(info.st_mode));
}

// What has no size to map: standard input, a named pipe.
llmrt::Result<std::string> readStream(const std::string& path) {
  const bool standard = path == "-" || path.empty();
  std::ifstream file;
  if (!standard) {
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored))
      return llmrt::notFound(path + ": no such file (--text TEXT takes a text itself)");
    if (std::filesystem::is_directory(path, ignored))
      return llmrt::invalidArgument(path + ": is a directory, not a file");
    file.open(path, std::ios::binary);
    if (!file) return llmrt::ioError(path + ": cannot open: " + std::strerror(errno));
  }
  std::istream& in = standard ? std::cin : file;
  std::string text{std::istreambuf_iterator<char>(in), {}};
  if (in.bad()) return llmrt::ioError((standard ? "standard input" : path) + ": cannot read");
  return text;
}

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
  const std::string& path = f.options.path;
  if (f.text) {
    LLMRT_RETURN_IF_ERROR(tokenizeText(tokenizer, *f.text, "--text", f.options, std::cout));
  } else if (isFile(path)) {
    LLMRT_RETURN_IF_ERROR(tokenizeFile(tokenizer, f.options, std::cout));
  } else {
    LLMRT_ASSIGN_OR_RETURN(const std::string text, readStream(path));
    const std::string name = path.empty() || path == "-" ? "standard input" : path;
    LLMRT_RETURN_IF_ERROR(tokenizeText(tokenizer, text, name, f.options, std::cout));
  }
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
  auto* file = sub->add_option("FILE", f->options.path,
                               "The text; - or nothing: standard input, where something is piped");
  sub->add_option("--text", f->text, "The text itself")->excludes(file);
  sub->add_flag("--decode", f->options.decode, "FILE holds ids: print their text");
  sub->add_flag("--lines", f->options.lines, "Each line is a text of its own");
  sub->add_flag("--no-bos", f->no_bos, "Leave out what the tokenizer adds around a text");
  sub->add_flag("--no-special", f->no_special,
                "Special tokens written in the text are text; decoding leaves them out");
  sub->callback([f, &chosen] {
    if (!f->text && f->options.path.empty() && !hasInput())
      throw CLI::ParseError("give FILE, - for standard input, or --text TEXT",
                            CLI::ExitCodes::RequiredError);
    chosen = [f] { return tokenize(*f); };
  });
}

}  // namespace llmc
