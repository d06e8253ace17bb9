// llmrun: executes a plan. Parses, then run() does the rest.
#include "tools/llmrun/options.h"
#include "tools/llmrun/run.h"

int main(int argc, char** argv) {
  llmrt::RunOptions options;
  return llmrt::runProgram(
      "llmrun", "Runs a plan made by llmc: continues a prompt, or measures a text's perplexity.",
      argc, argv,
      [](CLI::App& app, void* state) { static_cast<llmrt::RunOptions*>(state)->addTo(app); },
      [](void* state) { return llmrt::run(*static_cast<llmrt::RunOptions*>(state)); }, &options);
}
