#include "tools/llmrun/options.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <system_error>

namespace llmrt {
namespace {

// "1,2,3". Not CLI11's own list, to which "" is an option that was not given.
std::vector<int32_t> parseIds(const std::string& text) {
  std::vector<int32_t> ids;
  const char *at = text.data(), *const end = at + text.size();
  for (;; ++at) {
    const auto [next, error] = std::from_chars(at, end, ids.emplace_back());
    if (error != std::errc() || (next != end && *next != ','))
      throw CLI::ValidationError("--prompt-ids", "takes token ids like 1,2,3, got '" + text + "'");
    if (next == end) return ids;
    at = next;
  }
}

}  // namespace

void RunOptions::addTo(CLI::App& app) {
  model.addTo(app);
  app.add_flag(
      "--profile", profile,
      "Per-op time against its limit, on stderr after the run; with --device cuda per kernel");
  app.add_flag("--json", json, "stdout is one line, a JSON object");

  auto* input = app.add_option_group("input", "At most one; stdin where none is given");
  input->add_option("--prompt", prompt.text,
                    "Text to continue; with --chat the one message to answer");
  input->add_option("--prompt-file", prompt.file, "File with that text");
  auto* ids = input->add_option_function<std::string>(
      "--prompt-ids", [this](const std::string& text) { prompt.ids = parseIds(text); },
      "Token ids to continue: 1,2,3; no BOS is added");
  auto* measured = input->add_option(
      "--perplexity", perplexity,
      "File whose perplexity to measure, over its first --max-tokens tokens, in windows of "
      "--max-seq-len (default: the plan's, 4096 at most)");
  input->require_option(0, 1);
  app.add_option("--against", against,
                 "With --perplexity: another plan of the model, whose predictions this one's are "
                 "compared with (KL divergence, same most probable token)")
      ->needs(measured);
  auto* chat_flag =
      app.add_flag("--chat", is_chat,
                   "A conversation: in a terminal with line editing and commands, which /help "
                   "lists; what a pipe gives is one message, with --json each of its lines")
          ->excludes(ids)
          ->excludes(measured);
  app.add_flag("--chat-lines", chat.lines,
               "With --chat: each line of stdin is a message, as with --json; none is a command")
      ->needs(chat_flag);
  app.add_option("--system", chat.system, "With --chat: the system message")->needs(chat_flag);
  app.add_option("--chat-template", chat.template_file,
                 "With --chat: a file with the Jinja template to use, not the plan's")
      ->needs(chat_flag);

  app.add_option("-n,--max-tokens", generation.max_tokens,
                 "Most tokens to generate; default: the model's generation config, otherwise 256, "
                 "with --chat what the context holds")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--temperature", generation.temperature,
                 "0: greedy. Default: the model's generation config, otherwise 0, with --chat 0.7");
  app.add_option("--top-k", generation.top_k, "Sample from the K most probable tokens; 0: all");
  app.add_option("--top-p", generation.top_p,
                 "Sample from the fewest tokens of this probability; 1: all");
  app.add_option("--min-p", generation.min_p,
                 "Drop tokens below this share of the most probable one; 0: none");
  app.add_option("--repetition-penalty", generation.repetition_penalty,
                 "Divides the logits of tokens seen; 1: off");
  app.add_option("--seed", generation.seed, "Of sampling: the same seed gives the same text")
      ->capture_default_str();
  app.add_option("--stop", generation.stops, "Text that ends the output; may be repeated")
      ->allow_extra_args(false);
  app.add_flag("--ignore-eos", generation.ignore_eos, "Do not stop at an end-of-sequence token");
  auto* top = app.add_option("--top-logits", generation.top_logits,
                             "With --json: the K largest logits of every step");
  top->check(CLI::NonNegativeNumber);
  app.callback([this] {
    if (generation.top_logits > 0 && !json)
      throw CLI::ValidationError("--top-logits", "needs --json");
  });
}

}  // namespace llmrt
