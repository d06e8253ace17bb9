#include "tools/llmserve/options.h"

#include <CLI/CLI.hpp>

namespace llmrt::serve {

void Options::addTo(CLI::App& app) {
  model.addTo(app);
  app.add_option("--host", host, "Address to listen at")->capture_default_str();
  app.add_option("--port", port, "Port to listen at; 0: any that is free")->capture_default_str();
  app.add_option("--alias", alias,
                 "Name of the model for clients; default: that of its file or folder");
  app.add_option("--model", more, "NAME=PLAN|MODEL: one more model to serve; may be repeated")
      ->allow_extra_args(false);
  app.add_option("--chat-template", template_file,
                 "File with the Jinja template to use, not the plan's");
  app.add_option(
         "--max-seqs", max_seqs,
         "Most sequences that are generated at once; default: the plan's, of a model 8. More wait")
      ->check(CLI::Range(1, 4096));
  app.add_option("--max-waiting", max_waiting, "Most sequences that wait; more are refused (429)")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--api-key-file", api_key_file,
                 "File of API keys, one a line; requests must have one of them");
  app.add_option("--cors", cors_origin,
                 "Origin (https://example.org) whose web pages may use the server; *: all");
  app.add_flag("--allow-anyone", allow_anyone,
               "Listen at an address that others can reach without asking for API keys");
  app.add_option("--max-body", max_body_bytes, "Most bytes of a request's body")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--max-connections", max_connections, "Most connections at once")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--cache-dir", cache_dir,
                 "Directory where beginnings of requests are kept computed over a restart, with "
                 "their text. It may be removed at any time; several servers may have the same");
  app.add_option("--cache-bytes", cache_bytes, "Most bytes of all files in --cache-dir")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_flag("--log-prompts", log_prompts, "Write prompts into the log");
  app.add_flag("-q,--quiet", quiet, "No line for each request");
}

}  // namespace llmrt::serve
