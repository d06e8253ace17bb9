// llmbench: measures a plan. Parses, then bench() does the rest.
#include "tools/llmbench/bench.h"

int main(int argc, char** argv) {
  llmrt::BenchOptions options;
  return llmrt::runProgram(
      "llmbench", "Measures prefill and decode of a plan beside the limits of this machine.", argc,
      argv,
      [](CLI::App& app, void* state) { static_cast<llmrt::BenchOptions*>(state)->addTo(app); },
      [](void* state) { return llmrt::bench(*static_cast<llmrt::BenchOptions*>(state)); },
      &options);
}
